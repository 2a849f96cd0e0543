"""Checkpoints on disk: one safetensors file, or a folder of them as `save_pretrained` writes it. Read lazily."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.container import Reader
from ken.errors import PairingError

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"

# Files of a checkpoint folder that belong to the model and are not weights: its configuration and its tokenizer.
# No Python among them: a subnetwork may come from a stranger, and transformers can be told to run such files.
_SUFFIXES = {".json", ".txt", ".model", ".jinja", ".tiktoken", ".bpe", ".spm", ".vocab"}
_NOT_OF_THE_MODEL = {INDEX, "pytorch_model.bin.index.json", "trainer_state.json", "all_results.json"}
_LONGEST_FILE = 1 << 26


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies on disk: tensors by name, the file each is in (no more than one: empty), config, other files."""

    tensors: Mapping[str, torch.Tensor]
    shards: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


class _OnDisk(Mapping[str, "torch.Tensor"]):
    """Tensors of some safetensors files; a tensor is a view of its file, read as it is used."""

    def __init__(self, places: Mapping[str, Reader]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._places[name].tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def open_path(path: str | Path) -> Folder:
    """Open a .safetensors file, or a folder with model.safetensors or with shards and their index.

    Only headers are read. Raises `PairingError` if there is nothing of the kind, or an index that names files or
    tensors that are not there, and `FormatError` for files that are damaged.

    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"w": torch.ones(2)}, Path(folder) / "model.safetensors")
    ...     dict(open_path(folder).tensors)
    {'w': tensor([1., 1.])}
    """
    path = Path(path)
    if path.is_file():
        if path.suffix != ".safetensors":
            raise PairingError(f"{path} is not a .safetensors file; other formats cannot be read")
        reader = Reader(path)
        return Folder(_OnDisk(dict.fromkeys(reader.names, reader)))
    if not path.is_dir():
        raise PairingError(f"there is no file or folder {path}")
    shards: dict[str, str] = {}
    if (path / WEIGHTS).is_file():  # first, as in transformers
        reader = Reader(path / WEIGHTS)
        places = dict.fromkeys(reader.names, reader)
    elif (path / INDEX).is_file():
        places, shards = _sharded(path)
    else:
        raise PairingError(f"the folder {path} has neither {WEIGHTS} nor {INDEX}")
    config = _json(path / CONFIG) if (path / CONFIG).is_file() else None
    return Folder(_OnDisk(places), shards, config, _files(path))


def _sharded(path: Path) -> tuple[dict[str, Reader], dict[str, str]]:
    shards = _json(path / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(file, str) and plain(file) for file in shards.values()):
        raise PairingError(f"{path / INDEX} has no weight_map from tensor names to file names")
    for file in dict.fromkeys(shards.values()):
        if not (path / file).is_file():
            raise PairingError(f"{path / INDEX} names {file}, which is not there")
    readers = {file: Reader(path / file) for file in dict.fromkeys(shards.values())}
    names = {file: set(reader.names) for file, reader in readers.items()}
    for name, file in shards.items():
        if name not in names[file]:
            raise PairingError(f"{path / INDEX} says that {name} is in {file}, which has no such tensor")
    return {name: readers[file] for name, file in shards.items()}, shards


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
