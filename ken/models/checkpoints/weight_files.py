"""One file of weights, of whichever kind: its tensors by name, read as they are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ken.errors import FormatError, PairingError
from ken.models.checkpoints import mistaken_files
from ken.models.checkpoints.numpy_files import read_npz
from ken.models.checkpoints.remote.remote_reader import open_reader
from ken.models.checkpoints.state_dicts import tensors_of
from ken.models.checkpoints.torch_files import read_torch
from ken.models.tensors.tensor_reader import Store

if TYPE_CHECKING:
    import torch

#: A file, opened: what gives its tensors.
OpenedFile: TypeAlias = "Store | Mapping[str, torch.Tensor]"
#: What files that can be read end in: safetensors, files of torch.save, arrays of NumPy.
ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".npz")


class Opened(NamedTuple):
    """A file, the names of its tensors, and what there is to note about it."""

    file: OpenedFile
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def open_file(path: Path) -> Opened:
    """The tensors of one file. Raises `FormatError` if it is damaged, and `PairingError` if it is no weights at all."""
    if path.suffix == ".safetensors":
        try:
            reader = open_reader(path)
        except FormatError as error:
            if word := mistaken_files.weights(path):
                raise FormatError(f"{path} is not a whole safetensors file: it {word}") from None
            raise error
        return Opened(reader, reader.names)
    if path.suffix not in ENDINGS:
        raise PairingError(
            f"{path} is no file of weights that can be read ({', '.join(ENDINGS)}){mistaken_files.advice_for(path)}"
        )
    if path.suffix == ".npz":
        arrays, notes = read_npz(path)
        return Opened(arrays, arrays.names, notes)
    state, notes = read_torch(path)
    try:
        tensors = tensors_of(state)
    except PairingError as error:
        raise PairingError(f"{path}: {error}") from None
    return Opened(tensors, tuple(tensors), notes)
