"""Checkpoints on disk: one file of weights, or a folder as `save_pretrained` writes it. Read lazily."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.container import Reader
from ken.entries import Entries
from ken.errors import FormatError, PairingError

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
_BIN, _BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"

# Files of a checkpoint folder that belong to the model and are not weights: its configuration and its tokenizer.
# No Python among them: a subnetwork may come from a stranger, and transformers can be told to run such files.
_SUFFIXES = {".json", ".txt", ".model", ".jinja", ".tiktoken", ".bpe", ".spm", ".vocab"}
_NOT_OF_THE_MODEL = {INDEX, _BIN_INDEX, "trainer_state.json", "all_results.json"}
_LONGEST_FILE = 1 << 26


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies on disk: tensors by name, the file each is in (no more than one: empty), config, other files."""

    tensors: Mapping[str, torch.Tensor]
    shards: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


class OnDisk(Mapping[str, "torch.Tensor"]):
    """Tensors of some files; a tensor is a view of its file, read as it is used."""

    def __init__(
        self,
        places: Mapping[str, Reader | Mapping[str, torch.Tensor]],
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
        return place.tensor(stored) if isinstance(place, Reader) else place[stored]

    def entries(self, name: str) -> Entries:
        """The entries of a tensor, to be read a stretch at a time (of a .bin file they stay mapped into memory)."""
        place, stored = self._places[name], self._stored_names.get(name, name)
        return place.entries(stored) if isinstance(place, Reader | OnDisk) else Entries.of(place[stored])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def open_path(path: str | Path) -> Folder:
    """Open a .safetensors or .bin file, or a folder that has model.safetensors, pytorch_model.bin, or shards of either.

    Of safetensors only headers are read. A .bin file is a pickle: torch reads it with `weights_only`, which runs no
    code, and maps it into memory. Raises `PairingError` if there is nothing of the kind, or an index that names files
    or tensors that are not there, and `FormatError` for files that are damaged.

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
    config = _json(path / CONFIG) if (path / CONFIG).is_file() else None
    for single, index in ((WEIGHTS, INDEX), (_BIN, _BIN_INDEX)):  # in this order, as in transformers
        if (path / single).is_file():
            return Folder(_read(_inside(path, single)), {}, config, _files(path))
        if (path / index).is_file():
            tensors, shards = _sharded(path, index)
            if index == _BIN_INDEX:  # what is written is safetensors
                shards = {
                    name: f"{Path(file).stem.replace('pytorch_model', 'model')}.safetensors"
                    for name, file in shards.items()
                }
            return Folder(tensors, shards, config, _files(path))
    raise PairingError(f"the folder {path} has none of {WEIGHTS}, {INDEX}, {_BIN}, {_BIN_INDEX}")


def _read(path: Path) -> Mapping[str, torch.Tensor]:
    """The tensors of one file."""
    if path.suffix == ".safetensors":
        reader = Reader(path)
        return OnDisk(dict.fromkeys(reader.names, reader))
    if path.suffix != ".bin":
        raise PairingError(f"{path} is neither a .safetensors nor a .bin file")
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # torch has no class for what is wrong with a file
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise FormatError(f"{path} cannot be read as weights alone: {reason}") from None
    if not isinstance(found, Mapping):
        raise PairingError(f"{path} must hold tensors by name, got {type(found).__name__}")
    return found


def _is_zip(path: Path) -> bool:
    """Whether a .bin file is of the newer kind, which can be mapped into memory."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _inside(folder: Path, name: str) -> Path:
    """A file of a folder. It may be a link, but not one that leads out of it, except into a hub cache's own blobs."""
    file, here = (folder / name).resolve(), folder.resolve()
    blobs = here.parents[1] / "blobs" if len(here.parents) > 1 and here.parent.name == "snapshots" else None
    if file.parent not in (here, blobs):
        raise PairingError(f"{folder / name} is a link that leads out of its folder, to {file}")
    return file if file.suffix else folder / name  # blobs have no suffix


def _sharded(path: Path, index: str) -> tuple[Mapping[str, torch.Tensor], dict[str, str]]:
    shards = _json(path / index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(file, str) for file in shards.values()):
        raise PairingError(f"{path / index} has no weight_map from tensor names to file names")
    files: dict[str, Mapping[str, torch.Tensor]] = {}
    for file in dict.fromkeys(shards.values()):
        if not plain(file):
            raise PairingError(f"{path / index} names {file!r}, which is not the name of a file in its folder")
        if not (path / file).is_file():
            raise PairingError(f"{path / index} names {file}, which is not there")
        files[file] = _read(_inside(path, file))
    for name, file in shards.items():
        if name not in files[file]:
            raise PairingError(f"{path / index} says that {name} is in {file}, which has no such tensor")
    return OnDisk({name: files[file] for name, file in shards.items()}), shards


def _files(path: Path) -> dict[str, Path]:
    return {file.name: file for file in sorted(path.iterdir()) if file.is_file() and belongs(file.name, file)}


def belongs(name: str, file: Path | None = None) -> bool:
    """Whether a file of that name is part of a model's configuration or tokenizer, and safe to write.

    >>> belongs("tokenizer.json"), belongs("modeling.py"), belongs("../config.json"), belongs("trainer_state.json")
    (True, False, False, False)
    """
    if not plain(name) or Path(name).suffix not in _SUFFIXES or name in _NOT_OF_THE_MODEL:
        return False
    return file is None or file.stat().st_size <= _LONGEST_FILE


def plain(name: str) -> bool:
    """Whether a name is that of a file in a folder and nothing else: no path, not hidden, printable.

    >>> plain("model-00001-of-00002.safetensors"), plain("a/b"), plain("..")
    (True, False, False)
    """
    return (
        0 < len(name.encode("utf-8", "replace")) <= 255
        and not name.startswith(".")
        and name.isprintable()
        and not set(name) & set('/\\:*?"<>|')
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PairingError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise PairingError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return found
