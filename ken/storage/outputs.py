"""Nothing that is read, and nothing of another kind, is written over: every output is checked here before any work.

outputs, inputs ──► files and folders by their identity on the disk ──► an error that names both, or nothing
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ken.errors import OutputError
from ken.models.adapters.sources import base_named
from ken.models.checkpoints.adapter_names import Adapters
from ken.models.checkpoints.checkpoint_files import companions
from ken.models.checkpoints.hub import in_cache
from ken.models.checkpoints.location import PROTOCOL, Location, place_of
from ken.models.checkpoints.remote.remote_reader import RemoteReader
from ken.storage.atomic_files import check_new_folder, check_place
from ken.storage.file_kinds import FOLDER, RESULTS, kind_of
from ken.storage.lazy_tensors import readers
from ken.storage.uploads import target
from ken.storage.url_outputs import ReadUrls, check_urls
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    from ken.models.pairing.pairs import PairOfModels

#: Which file on which device: the same by whatever name, link or spelling it is reached.
Identity: TypeAlias = tuple[int, int]


class _Input(NamedTuple):
    """What is read, in words and by its path."""

    what: str
    path: Path


def check_outputs(
    outputs: Sequence[tuple[str | Path | None, str]],
    inputs: Mapping[str, Any],
    *,
    overwrite: bool = False,
    new_folder: bool = False,
) -> None:
    """Refuse to write over anything that is read, and over a file that holds something else. Nothing is changed.

    Files are compared by what they are on the disk, whatever they are called: by links, through "..", in other letters.

    Args:
        outputs: Path and kind (`ken.storage.file_kinds`) of each file or folder that will be written; no path: none.
        inputs: What is read, by what it is called: paths, hub ids, subnetworks. Of a checkpoint folder all that is in
            it counts, of a file of weights what is read beside it, of a subnetwork the file that it was opened from.
            What is in memory is passed over.
        overwrite: An existing file may hold something of another kind. Never an input, and a file of results never.
        new_folder: The folder of the outputs is made if it is not there.

    Raises:
        OutputError: An output is, or lies inside, something that is read, or has the name by which the hub was asked
            for it; two outputs are one file; or a file is there that holds something else.
        OSError: There is no folder to write into, or the path is a folder or a device.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     texts = Path(folder) / "texts.csv"
    ...     _ = texts.write_text("text,label")
    ...     try:
    ...         check_outputs([(texts, "the table of a sweep")], {"the texts": texts})
    ...     except OutputError as error:
    ...         print(str(error).replace(folder, "…"))
    …/texts.csv cannot be written: it is the texts, …/texts.csv, which must stay; give another name
    """
    placed = [(target(path), kind) for path, kind in outputs if path is not None]
    if not placed:
        return
    wanted = [(path, kind) for path, kind in placed if isinstance(path, Path)]
    read = _Read()
    for what, source in inputs.items():
        read.add(what, source)
    check_urls([(url, kind) for url, kind in placed if isinstance(url, str)], read.urls, overwrite=overwrite)
    for path, _ in wanted:
        read.check(path)
    _check_apart([path for path, _ in wanted])
    for path, kind in wanted:
        if kind == FOLDER:
            check_new_folder(path)
            continue
        if not new_folder or path.parent.is_dir():
            check_place(path)
        _check_kind(path, kind, overwrite)


def models_of(pair: PairOfModels | None) -> dict[str, Any]:
    """The two models of a pair as inputs, by what they are called; none if there is no pair."""
    if pair is None:
        return {}
    models = {"the fine-tuned model": pair.fine_tuned, "the pretrained model": pair.pretrained}
    if pair.pretrained is None:
        models["the pretrained model"] = base_named(pair.fine_tuned)
    if isinstance(pair.fine_tuned, Adapters):
        models |= {f"the adapter {name}": folder for name, folder in pair.fine_tuned.folders.items()}
    return models


class _Read:
    """Everything that is read, by identity; of folders that are not there yet, the name. Hub ids by their path."""

    def __init__(self) -> None:
        self._files: dict[Identity, _Input] = {}
        self._folders: dict[Identity, _Input] = {}
        self._names: list[tuple[Path, _Input]] = []
        self._ids: dict[Path, _Input] = {}
        self.urls = ReadUrls()

    def add(self, what: str, source: Any) -> None:
        """Take in a path, a hub id or a subnetwork; anything else is in memory."""
        if isinstance(source, SubnetworkData):
            for reader in readers(source.tensors):
                if isinstance(reader, RemoteReader):
                    self.urls.add_identity(what, reader.identity, reader.file.text)
                else:
                    self._files[reader.identity] = _Input(what, reader.path)
            for called, model in models_of(source.pair).items():
                self.add(called, model)
        elif isinstance(source, str | os.PathLike | Location):
            named = source if isinstance(source, str | Location) else Path(source)
            place = place_of(named)
            if place.url:
                self.urls.add(what, place)
                return
            path = place.path
            if place.address is not None:
                if not str(named.place if isinstance(named, Location) else named).startswith(PROTOCOL):
                    self._ids[_real(path)] = _Input(what, path)
                cached = in_cache(named)
                if cached is None:
                    return
                path = cached
            given = _Input(what, path)
            self._names.append((_real(path), given))
            identity = _identity(path)
            if identity is None:
                return
            if path.is_dir():  # with all files in it or below, and those that links in it lead to
                self._folders[identity] = given
                for file, inside in _files_below(path):
                    self._files.setdefault(inside, _Input(what, file))
            else:
                self._files[identity] = given
                for file in companions(path):
                    if (beside := _identity(file)) is not None:
                        self._files.setdefault(beside, _Input(what, file))

    def check(self, path: Path) -> None:
        """Raise `OutputError` if the path is something that is read, or lies inside of it."""
        identity = _identity(path)
        for inputs in (self._files, self._folders):
            if identity is not None and identity in inputs:
                raise _must_stay(path, inputs[identity])
        for place in dict.fromkeys((_real(path), _real(path.parent) / path.name)):
            if place in self._ids:
                hub = self._ids[place]
                raise OutputError(
                    f"{path} cannot be written: from then on it would be read in place of {hub.what}, the hub's "
                    f"{hub.path}; give another name"
                )
            for name, given in self._names:
                if place == name:
                    raise _must_stay(path, given)
                if name in place.parents:
                    raise _must_stay(path, given, inside=True)
            for above in place.parents:
                folder = self._folders.get(_identity(above) or (-1, -1))
                if folder is not None:
                    raise _must_stay(path, folder, inside=True)


def _must_stay(path: Path, given: _Input, *, inside: bool = False) -> OutputError:
    relation, way_out = "is", "must stay; give another name"
    if inside:
        relation, way_out = "lies inside", "must stay as it is; give a place outside of it"
    return OutputError(f"{path} cannot be written: it {relation} {given.what}, {given.path}, which {way_out}")


def _files_below(folder: Path) -> Iterator[tuple[Path, Identity]]:
    """The files in a folder and in those below. Links to folders are passed over: they are not read either."""
    waiting = [str(folder)]
    while waiting:
        with suppress(OSError):  # not ours to look into, and so nothing that will be read
            for entry in os.scandir(waiting.pop()):
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                with suppress(OSError):  # a link that leads nowhere, or in a circle
                    status = entry.stat()
                    if not stat.S_ISDIR(status.st_mode):
                        yield Path(entry.path), (status.st_dev, status.st_ino)


def _check_apart(paths: Sequence[Path]) -> None:
    """Raise `OutputError` if two outputs are one file, or would be where large and small letters are the same."""
    seen: dict[object, Path] = {}
    for path in paths:
        place = _real(path)
        keys: set[object] = {(_identity(place.parent) or place.parent, place.name.casefold())}
        if (identity := _identity(path)) is not None:
            keys.add(identity)
        for key in keys & seen.keys():
            raise OutputError(f"{seen[key]} and {path} are one file; give every output a name of its own")
        seen |= dict.fromkeys(keys, path)


def _check_kind(path: Path, kind: str, overwrite: bool) -> None:
    if not path.is_file() or (overwrite and kind != RESULTS):
        return
    held = kind_of(path)
    if held in ("", kind):
        return
    way_out = "" if kind == RESULTS else ", or have it replaced: --force, in Python overwrite=True"
    raise OutputError(f"{path} is there already and holds {held}, not {kind}; give another name{way_out}")


def _identity(path: Path) -> Identity | None:
    """Of what a path leads to, links followed; None if there is nothing."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
