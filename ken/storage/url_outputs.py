"""The same rules for outputs behind URLs: nothing that is read, and nothing of another kind, is written over."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ken.errors import OutputError
from ken.models.checkpoints.file_names import is_index
from ken.models.checkpoints.location import Place
from ken.models.checkpoints.remote.remote_file import RefusedError, RemoteFile, place_in
from ken.models.checkpoints.remote.remote_header import LONGEST_HEADER
from ken.models.checkpoints.remote.urls import name_of, protocol_of, shown
from ken.storage.file_kinds import EFFECTS, FOLDER, RESULTS, kind_of
from ken.storage.uploads import check_new

_SHOWN = 4096


class ReadUrls:
    """What is read from behind URLs, by file system and path."""

    def __init__(self) -> None:
        self._read: dict[tuple[Any, ...], tuple[str, str]] = {}

    def add(self, what: str, place: Place) -> None:
        """Take in a model or a file. Of an index all of its folder counts."""
        protocol, path = place_in(place.url, place.options)
        if is_index(name_of(place.url)):
            path = path.rpartition("/")[0]
        self._read[protocol, path] = what, place.text

    def add_identity(self, what: str, identity: tuple[Any, ...], text: str) -> None:
        """Take in a file that is open."""
        self._read[identity] = what, text

    def check(self, url: str) -> None:
        """Raise `OutputError` if a URL is that of something that is read, or of something inside of it."""
        protocol, path = place_in(url)
        parts = path.split("/")
        for count in range(len(parts), 0, -1):
            given = self._read.get((protocol, "/".join(parts[:count])))
            if given is not None:
                relation = "is" if count == len(parts) else "lies inside"
                raise OutputError(
                    f"{shown(url)} cannot be written: it {relation} {given[0]}, {given[1]}, which must stay; give "
                    "another name"
                )


def check_urls(wanted: Sequence[tuple[str, str]], read: ReadUrls, *, overwrite: bool) -> None:
    """Refuse outputs behind URLs, each with its kind, as `ken.storage.outputs.check_outputs` does those on the disk."""
    seen: dict[tuple[str, str], str] = {}
    for url, kind in wanted:
        if protocol_of(url) in ("http", "https"):
            raise OutputError(f"{shown(url)} cannot be written: web servers are read from alone; give another place")
        if kind in (RESULTS, EFFECTS):
            raise OutputError(f"{shown(url)} cannot be {kind}: it grows a line at a time; give a path on the disk")
        read.check(url)
        identity = place_in(url)
        if identity in seen:
            raise OutputError(f"{seen[identity]} and {shown(url)} are one file; give every output a name of its own")
        seen[identity] = shown(url)
        if kind == FOLDER:
            check_new(url)
        else:
            _check_kind(url, kind, overwrite)


def _check_kind(url: str, kind: str, overwrite: bool) -> None:
    try:
        file = RemoteFile(url)
    except RefusedError:  # there is none, or it may not be looked at: then it may not be replaced either
        return
    if not file.is_file:
        raise IsADirectoryError(f"{file.text} cannot be written: it is a folder")
    if overwrite or not file.size:
        return
    length = int.from_bytes(file.read(0, min(8, file.size)), "little")
    head = file.read(0, min(file.size, max(_SHOWN, 8 + length) if length <= LONGEST_HEADER else _SHOWN))
    with tempfile.TemporaryDirectory(prefix="ken-") as folder:
        beginning = Path(folder) / "beginning"
        beginning.write_bytes(head)
        held = kind_of(beginning)
    if held not in ("", kind):
        raise OutputError(
            f"{file.text} is there already and holds {held}, not {kind}; give another name, or have it replaced: "
            "--force, in Python overwrite=True"
        )
