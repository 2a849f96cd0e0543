"""Checkpoints on disk: one file of weights, or a folder as `save_pretrained` writes it. Read lazily."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import FormatError, PairingError
from ken.models.checkpoints import candidates, mistaken_files
from ken.models.checkpoints.links import inside
from ken.models.checkpoints.other_files import gather, plain
from ken.models.checkpoints.safetensors_file import Reader
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
    """Tensors of some files; a tensor is a view of its file, read as it is used."""

    def __init__(
        self,
        places: Mapping[str, Store | Mapping[str, torch.Tensor]],
        stored_names: Mapping[str, str] | None = None,
    ) -> None:
        self._places = places
        self._stored_names = stored_names or {}

    def renamed(self, names: Mapping[str, str]) -> OnDisk:
        """The same tensors by other names, given as a mapping from the names here; those not named are left out."""
        stored = {new: self._stored_names.get(old, old) for old, new in names.items()}
        return OnDisk({new: self._places[old] for old, new in names.items()}, stored)

    def __getitem__(self, name: str) -> torch.Tensor:
        place, stored = self._places[name], self._stored_names.get(name, name)
        return place.tensor(stored) if isinstance(place, Store) else place[stored]

    def entries(self, name: str) -> Entries:
        """The entries of a tensor, to be read a stretch at a time (of a .bin file they stay mapped into memory)."""
        place, stored = self._places[name], self._stored_names.get(name, name)
        return place.entries(stored) if isinstance(place, Store | OnDisk) else Entries.of(place[stored])

    def with_aliases(self, tied: Mapping[str, str]) -> OnDisk:
        """The same tensors, and further names of some, given as a mapping from those to the names here."""
        stored = {alias: self._stored_names.get(name, name) for alias, name in tied.items()}
        places = {alias: self._places[name] for alias, name in tied.items()}
        return OnDisk({**self._places, **places}, {**self._stored_names, **stored})

    def loaded(self) -> dict[str, torch.Tensor]:
        """The tensors of .bin files, which are there without being read, and may share memory."""
        return {name: self[name] for name, place in self._places.items() if not isinstance(place, Store | OnDisk)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def open_path(path: str | Path) -> Folder:
    """Open a .safetensors or .bin file, or a folder that has model.safetensors, pytorch_model.bin, or shards of either.

    Of safetensors only headers are read. A .bin file is a pickle: torch reads it with `weights_only`, which runs no
    code, and maps it into memory. What an index leaves out of its files, and shards without an index if they are
    all there, are read with a note. Raises `PairingError` if there is nothing of the kind, which says what there is
    instead, or an index that names files or tensors that are not there, and `FormatError` for files that are damaged.

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
    return Folder(tensors, shards, config, around.files, around.left, tuple(notes))


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors of one file."""
    if path.suffix == ".safetensors":
        try:
            reader = Reader(path)
        except FormatError as error:
            if word := mistaken_files.weights(path):
                raise FormatError(f"{path} is not a whole safetensors file: it {word}") from None
            raise error
        return OnDisk(dict.fromkeys(reader.names, reader))
    if path.suffix != ".bin":
        raise PairingError(f"{path} is neither a .safetensors nor a .bin file{candidates.advice_for(path)}")
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # torch has no class for what is wrong with a file
        word = mistaken_files.weights(path)
        reason = f"it {word}" if word else _reason(str(error))
        raise FormatError(f"{path} cannot be read as weights alone: {reason}") from None
    if not isinstance(found, Mapping):
        raise PairingError(f"{path} must hold tensors by name, got {type(found).__name__}")
    return found


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
    return OnDisk({name: files[file] for name, file in shards.items()}), shards


def _without_index(path: Path, notes: list[str]) -> tuple[Mapping[str, torch.Tensor], dict[str, str]]:
    """Shards that have lost their index: their names say whether all are there."""
    sets: dict[tuple[str, str, str], list[str]] = {}
    for file in sorted(path.iterdir()):
        if found := _SHARD.fullmatch(file.name):
            sets.setdefault((found[4], found[1], found[3]), []).append(file.name)
    if not sets:
        raise PairingError(
            f"the folder {path} has none of {WEIGHTS}, {INDEX}, {_BIN}, {_BIN_INDEX}; {candidates.advice(path)}"
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
    return OnDisk({name: files[file] for name, file in shards.items()}), shards


def _whole(files: Mapping[str, Mapping[str, torch.Tensor]], path: Path, known: Mapping[str, str]) -> dict[str, str]:
    """The tensors of all files that are not known yet, and the file of each. Of two, the values must be the same."""
    place: dict[str, str] = {}
    for file, tensors in files.items():
        for name in tensors:
            if name in known:
                continue
            first = place.setdefault(name, file)
            if first != file and not _equal(files[first][name], tensors[name]):
                raise PairingError(f"{path / first} and {file} have different tensors {name}, and no index says which")
    return place


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    import torch

    return one.dtype == other.dtype and torch.equal(one, other)


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = inside(folder, name)
    if word := mistaken_files.pointer(path):
        raise PairingError(f"{path} {word}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        empty = "it is empty; " if not path.stat().st_size else ""
        raise PairingError(f"{path} is not JSON: {empty}{error}") from None
    if not isinstance(found, dict):
        raise PairingError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return found
