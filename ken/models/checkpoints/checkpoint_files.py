"""Checkpoints on disk: one file of weights, or a folder as `save_pretrained` writes it. Read lazily."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ken.errors import FormatError, PairingError
from ken.models.checkpoints import mistaken_files
from ken.models.checkpoints.links import inside
from ken.models.checkpoints.other_files import gather, plain
from ken.models.checkpoints.safetensors_file import Reader
from ken.models.tensors.storages import aliases
from ken.models.tensors.tensor_reader import Entries, Store

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
_BIN, _BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"

_SHARD = re.compile(r"(model|pytorch_model)-(\d{5})-of-(\d{5})\.(safetensors|bin)")


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies on disk: tensors by name, the file each is in (no more than one: empty), config, other files.

    files and left are what comes along with the model and what stays behind (`ken.models.checkpoints.other_files`).
    notes are sentences about what was guessed or passed over.
    """

    tensors: Mapping[str, torch.Tensor]
    shards: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class OnDisk(Mapping[str, "torch.Tensor"]):
    """Tensors of some files; a tensor is a view of its file, read as it is used.

    Made of the file of each tensor, opened, and the name that it has there.
    """

    def __init__(self, places: Mapping[str, tuple[Store | Mapping[str, torch.Tensor], str]]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> torch.Tensor:
        file, stored_name = self._places[name]
        return file.tensor(stored_name) if isinstance(file, Store) else file[stored_name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def entries(self, name: str) -> Entries:
        """The entries of a tensor, to be read a stretch at a time (of a .bin file they stay mapped into memory)."""
        file, stored_name = self._places[name]
        return entries_of(file, stored_name)

    def place(self, name: str) -> tuple[Store | Mapping[str, torch.Tensor], str]:
        """The file of a tensor, and its name there."""
        return self._places[name]

    def renamed(self, names: Mapping[str, str]) -> OnDisk:
        """The same tensors by other names, as `renamed` gives them."""
        return OnDisk({new: self._places[old] for new, old in names.items()})

    def loaded(self) -> dict[str, torch.Tensor]:
        """The tensors of .bin files, which are there without being read, and may share memory."""
        return {name: self[name] for name, (file, _) in self._places.items() if not isinstance(file, Store | OnDisk)}


def entries_of(tensors: Store | Mapping[str, torch.Tensor], name: str) -> Entries:
    """The entries of one of some tensors, to be read a stretch at a time; no more of a safetensors file is read."""
    if isinstance(tensors, Store | OnDisk):
        return tensors.entries(name)
    return Entries.from_tensor(tensors[name])


Place: TypeAlias = "tuple[Store | Mapping[str, torch.Tensor], str]"


def same_place(one: Place, other: Place) -> bool:
    """Whether two tensors, each among others by its name, are one blob of one file or one view of one memory.

    Then they are equal, and need not be read. That of others it cannot be told says nothing about their values.

    >>> import torch
    >>> tensors = {"a": torch.ones(2), "b": torch.ones(2)}
    >>> same_place((tensors, "a"), (tensors, "a")), same_place((tensors, "a"), (tensors, "b"))
    (True, False)
    """
    (file, name), (other_file, other_name) = _stored(one), _stored(other)
    if isinstance(file, Reader) and isinstance(other_file, Reader):
        return (file.identity, name) == (other_file.identity, other_name)
    if isinstance(file, Store) or isinstance(other_file, Store):
        return False
    return bool(aliases({"one": file[name], "other": other_file[other_name]}))


def _stored(place: Place) -> Place:
    """The file itself, or the mapping, and the name there."""
    tensors, name = place
    return _stored(tensors.place(name)) if isinstance(tensors, OnDisk) else place


def renamed(tensors: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> Mapping[str, torch.Tensor]:
    """Tensors by new names, mapped to the old ones. What is not named is left out, what is named twice has aliases."""
    if isinstance(tensors, OnDisk):
        return tensors.renamed(names)
    return {new: tensors[old] for new, old in names.items()}


def open_path(path: str | Path) -> Folder:
    """Open a .safetensors or .bin file, or a folder that has model.safetensors, pytorch_model.bin, or shards of either.

    Of safetensors only headers are read. A .bin file is a pickle: torch reads it with `weights_only`, which runs no
    code, and maps it into memory. What an index leaves out, and shards without an index if all are there, are read
    with a note.

    Raises `PairingError` if there is nothing of the kind, or less than an index names, and `FormatError` for damaged
    files.

    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"w": torch.ones(2)}, Path(folder) / "model.safetensors")
    ...     dict(open_path(folder).tensors)
    {'w': tensor([1., 1.])}
    """
    path = Path(path)
    if path.is_file():
        return Folder(_read(path))
    if not path.is_dir():
        raise PairingError(f"there is no file or folder {path}")
    config = _json(path, CONFIG) if (path / CONFIG).is_file() else None
    shards: dict[str, str] = {}
    notes: list[str] = []
    for single, index in ((WEIGHTS, INDEX), (_BIN, _BIN_INDEX)):  # in this order, as in transformers
        if (path / single).is_file():
            tensors, read = _read(inside(path, single)), {single, index}
            break
        if (path / index).is_file():
            tensors, shards = _sharded(path, index, notes)
            read = {index, *shards.values()}
            break
    else:
        tensors, shards = _without_index(path, notes)
        read = {*shards.values()}
    # What is written is safetensors.
    shards = {name: _SHARD.sub(r"model-\2-of-\3.safetensors", file) for name, file in shards.items()}
    shards = {name: str(Path(file).with_suffix(".safetensors")) for name, file in shards.items()}
    around = gather(path, read)
    return Folder(tensors, shards, config, files=around.files, left=around.left, notes=tuple(notes))


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors of one file."""
    if path.suffix == ".safetensors":
        try:
            reader = Reader(path)
        except FormatError as error:
            if word := mistaken_files.weights(path):
                raise FormatError(f"{path} is not a whole safetensors file: it {word}") from None
            raise error
        return OnDisk({name: (reader, name) for name in reader.names})
    if path.suffix != ".bin":
        raise PairingError(f"{path} is neither a .safetensors nor a .bin file{mistaken_files.advice_for(path)}")
    import torch

    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # torch has no class for what is wrong with a file
        word = mistaken_files.weights(path)
        reason = f"it {word}" if word else _reason(str(error))
        raise FormatError(f"{path} cannot be read as weights alone: {reason}") from None
    if not isinstance(tensors, Mapping):
        raise PairingError(f"{path} must hold tensors by name, got {type(tensors).__name__}")
    return tensors


def _reason(reason: str) -> str:
    """Why torch cannot read a file as weights, without its advice to read the file in another way, which runs code."""
    unknown = re.search(r"GLOBAL ([\w.]+)", reason)
    if unknown or re.search(r"[Uu]nsupported (global|class)|persistent id", reason):
        what = f" ({unknown[1][:100]})" if unknown else ""
        return (
            f"there is more in it than tensors{what}, which only code could read, and none is run; get the model as "
            "safetensors, or have its state dict saved alone"
        )
    if re.search(r"weights.only", reason, re.IGNORECASE):
        return "it is damaged, or torch.save has not written it"
    return (reason.splitlines() or ["it is damaged"])[0][:300]


def _is_zip(path: Path) -> bool:
    """Whether a .bin file is of the newer kind, which can be mapped into memory."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _sharded(path: Path, index: str, notes: list[str]) -> tuple[Mapping[str, torch.Tensor], dict[str, str]]:
    shards = _json(path, index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(file, str) for file in shards.values()):
        raise PairingError(f"{path / index} has no weight_map from tensor names to file names")
    files: dict[str, Mapping[str, torch.Tensor]] = {}
    for file in dict.fromkeys(shards.values()):
        if not plain(file):
            raise PairingError(f"{path / index} names {file!r}, which is not the name of a file in its folder")
        if not (path / file).is_file():
            raise PairingError(f"{path / index} names {file}, which is not there")
        files[file] = _read(inside(path, file))
    for name, file in shards.items():
        if name not in files[file]:
            raise PairingError(f"{path / index} says that {name} is in {file}, which has no such tensor")
    # transformers reads its files whole, whatever the index says of them.
    omitted = _whole(files, path, shards)
    if omitted:
        notes.append(
            f"{index} leaves out {len(omitted):,} of the tensors in its files ({next(iter(omitted))}, …); "
            "they were read as well"
        )
    shards = {**shards, **omitted}
    return _spread(files, shards), shards


def _without_index(path: Path, notes: list[str]) -> tuple[Mapping[str, torch.Tensor], dict[str, str]]:
    """Shards that have lost their index: their names say whether all are there."""
    sets: dict[tuple[str, str, str], list[str]] = {}
    for file in sorted(path.iterdir()):
        if match := _SHARD.fullmatch(file.name):
            stem, _, count, ending = match.groups()
            sets.setdefault((ending, stem, count), []).append(file.name)
    if not sets:
        raise PairingError(
            f"the folder {path} has none of {WEIGHTS}, {INDEX}, {_BIN}, {_BIN_INDEX}; {mistaken_files.advice(path)}"
        )
    (ending, stem, count), names = max(sets.items())
    wanted = [f"{stem}-{number:05d}-of-{count}.{ending}" for number in range(1, int(count) + 1)]
    missing = [name for name in wanted if name not in names]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise PairingError(
            f"the folder {path} has {len(names)} of {int(count)} shards and no index of them: {missing[0]}{more} "
            "missing; get the whole checkpoint again"
        )
    files = {name: _read(inside(path, name)) for name in wanted}
    shards = _whole(files, path, {})
    notes.append(f"the {len(wanted)} shards have no index beside them; they were read in the order of their names")
    return _spread(files, shards), shards


def _spread(files: Mapping[str, Mapping[str, torch.Tensor]], shards: Mapping[str, str]) -> OnDisk:
    return OnDisk({name: (files[file], name) for name, file in shards.items()})


def _whole(files: Mapping[str, Mapping[str, torch.Tensor]], path: Path, listed: Mapping[str, str]) -> dict[str, str]:
    """The tensors of all files that are not listed yet, and the file of each. Of two, the values must be the same."""
    shards: dict[str, str] = {}
    for file, tensors in files.items():
        for name in tensors:
            if name in listed:
                continue
            first = shards.setdefault(name, file)
            if first != file and not _equal(files[first][name], tensors[name]):
                raise PairingError(f"{path / first} and {file} have different tensors {name}, and no index says which")
    return shards


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    import torch

    return one.dtype == other.dtype and torch.equal(one, other)


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = inside(folder, name)
    if word := mistaken_files.pointer(path):
        raise PairingError(f"{path} {word}")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        empty = "it is empty; " if not path.stat().st_size else ""
        raise PairingError(f"{path} is not JSON: {empty}{error}") from None
    if not isinstance(settings, dict):
        raise PairingError(f"{path} must hold a JSON object, got {type(settings).__name__}")
    return settings
