"""A remote folder as one on the disk: small files as they are, each safetensors file as a stub that has its header.

The stub begins as the file does and is cut off behind the header: whoever takes it for the file gets an error, never
wrong values. `remote_behind` knows which file it stands for.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from ken.errors import HubError, RemoteError
from ken.models.checkpoints.file_names import is_index
from ken.models.checkpoints.hub_files import Wanted, further, shards_of, wanted
from ken.models.checkpoints.other_files import plain
from ken.models.checkpoints.remote.remote_file import PIECE, RefusedError, RemoteFile, file_system, tried
from ken.models.checkpoints.remote.remote_header import LONGEST_HEADER
from ken.models.checkpoints.remote.urls import joined, name_of, shown

_FILES = (".safetensors", ".bin", ".gguf", ".json", ".pt", ".pth", ".ckpt", ".npz")
_STUBBED = ".safetensors"
_WEIGHTS = (".bin", ".gguf", ".pt", ".pth", ".ckpt", ".npz")
_SHOWN = 512  # bytes of what is no safetensors file, so that it can be said what it is
_MOST = 10_000
_BESIDE = "config.json"


@dataclass(slots=True)
class _Mirror:
    """A folder on the disk, the files in it by their path, and what there is to note."""

    folder: Path
    files: dict[str, RemoteFile] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


_mirrors: dict[tuple[str, str, str], _Mirror] = {}
_behind: dict[Path, RemoteFile] = {}


@cache
def _temporary(process: int) -> tempfile.TemporaryDirectory[str]:
    """Where the mirrors of a process are; it goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="ken-remote-", ignore_cleanup_errors=True)


def remote_behind(path: Path) -> RemoteFile | None:
    """The remote file that a stub stands for; None for any other path.

    >>> remote_behind(Path("model.safetensors")) is None
    True
    """
    return _behind.get(Path(os.path.realpath(path))) if _behind else None


def notes_of(path: Path) -> tuple[str, ...]:
    """What there is to note about the mirror that a path lies in, or is."""
    path = Path(os.path.realpath(path))
    return tuple(note for mirror in _mirrors.values() if mirror.folder in (path, path.parent) for note in mirror.notes)


def mirrored(url: str, options: Mapping[str, Any] | None = None, variant: str = "") -> Path:
    """What stands on the disk for a remote file or folder: of a folder what a model needs, of a file its config, too.

    The one that is there is taken again as long as nothing has changed.

    Raises `RemoteError` if there is nothing, no weights, or it cannot be read.
    """
    name = name_of(url)
    if PurePosixPath(name).suffix in _FILES:
        return _file(url, options)
    return _folder(url, options, variant)


def mirrored_file(url: str, options: Mapping[str, Any] | None = None) -> Path:
    """The stub, or copy, of one file alone."""
    mirror = _mirror(url, options, "file")
    _add(mirror, name_of(url), url, options=options)
    return mirror.folder / name_of(url)


def completed(path: Path) -> Path:
    """The same path, with whole files in the place of stubs: for libraries that read files on their own."""
    for stub in [path, *(path.rglob(f"*{_STUBBED}") if path.is_dir() else ())]:
        file = remote_behind(stub)
        if file is not None:
            _write(stub, file)
            del _behind[Path(os.path.realpath(stub))]
    return path


def _file(url: str, options: Mapping[str, Any] | None) -> Path:
    path = mirrored_file(url, options)
    mirror, name = _mirror(url, options, "file"), name_of(url)
    place, mark, query = url.partition("?")
    folder = f"{place.rpartition('/')[0]}{mark}{query}"
    if name != _BESIDE:
        try:
            _add(mirror, _BESIDE, joined(folder, _BESIDE), options=options)
        except RefusedError:  # there is none, or it may not be known whether there is one
            _remove(mirror, _BESIDE)
    if is_index(name):
        for shard in shards_of(mirror.folder, Wanted((name,), indices=(name,))):
            _add(mirror, shard, joined(folder, shard), options=options)
    return path


def _folder(url: str, options: Mapping[str, Any] | None, variant: str) -> Path:
    text = shown(url)
    fs, root = file_system(url, options)

    def find() -> list[str]:
        fs.invalidate_cache()
        return list(fs.find(root if not root.startswith("http") else f"{root.rstrip('/')}/"))

    paths = tried(find, f"{text}: to list it", options=options)
    front = f"{root.rstrip('/')}/"
    names = [path.removeprefix(front) for path in paths if path.startswith(front)]
    if len(names) > _MOST:
        raise RemoteError(f"{text} has more than {_MOST:,} files; give the folder of the model")
    if not names:
        raise RemoteError(f"there is no file or folder {text}, or it is empty")
    try:
        needed = wanted(names, "", variant, where=text)
    except HubError as error:
        raise RemoteError(str(error)) from None
    mirror = _mirror(url, options, f"folder {variant}")
    for name in needed.files:
        _add(mirror, name, joined(url, name), options=options)
    more = further(mirror.folder, needed, names)
    for name in more:
        _add(mirror, name, joined(url, name), options=options)
    for name in mirror.files.keys() - {*needed.files, *more}:
        _remove(mirror, name)
    return mirror.folder


def _mirror(url: str, options: Mapping[str, Any] | None, kind: str) -> _Mirror:
    """The mirror of a URL, which is empty when it is new. Other credentials have another one."""
    key = url, kind, repr(sorted((options or {}).items()))
    if key not in _mirrors or not _mirrors[key].folder.is_dir():
        above = Path(os.path.realpath(tempfile.mkdtemp(dir=_temporary(os.getpid()).name)))
        folder = above / (name_of(url) if kind != "file" else "file")
        folder.mkdir()
        _mirrors[key] = _Mirror(folder)
    return _mirrors[key]


def _add(mirror: _Mirror, name: str, url: str, *, options: Mapping[str, Any] | None) -> None:
    """Put a file into a mirror, unless it is there and has not changed."""
    if not all(plain(part) for part in name.split("/")):
        raise RemoteError(f"{shown(url)} has {name!r}, which is no name of a file")
    file, path = RemoteFile(url, options), mirror.folder / name
    if not file.is_file:
        raise RemoteError(f"{file.text} is a folder, and no file")
    if name in mirror.files and mirror.files[name].stamp == file.stamp and path.exists():
        return
    _remove(mirror, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == _STUBBED:
        file.check_ranges()
        length = int.from_bytes(file.read(0, min(8, file.size)), "little")
        begin = file.read(0, min(file.size, 8 + length if length <= LONGEST_HEADER else _SHOWN))
        path.write_bytes(begin)
        _behind[path] = file
    else:
        _write(path, file)
        if path.suffix in _WEIGHTS:
            mirror.notes.append(
                f"{file.text} was got whole, {path.stat().st_size:,} bytes: of files other than safetensors no ranges "
                "are read"
            )
    mirror.files[name] = file


def _remove(mirror: _Mirror, name: str) -> None:
    path, file = mirror.folder / name, mirror.files.pop(name, None)
    _behind.pop(path, None)
    path.unlink(missing_ok=True)
    if file is not None:
        mirror.notes = [note for note in mirror.notes if not note.startswith(f"{file.text} ")]


def _write(path: Path, file: RemoteFile) -> None:
    """All of a remote file, a piece at a time; under its name when it is complete."""
    part = path.with_name(f".{path.name[:40]}.part")
    with part.open("wb") as target:
        if file.size <= PIECE:
            target.write(file.whole())
        else:
            for start in range(0, file.size, PIECE):
                target.write(file.read(start, min(PIECE, file.size - start)))
    part.replace(path)
