"""Files of NumPy: `.npz` as tensors. Members are mapped into memory where `numpy.savez` has stored them as they are."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ken.errors import FormatError, KenError, PairingError
from ken.models.checkpoints.state_dicts import from_array
from ken.models.tensors.tensor_reader import Entries, Store

if TYPE_CHECKING:
    import torch

# Of the header of a member in a zip file: how long it is, and where the lengths of name and extra field stand.
_LOCAL, _LENGTHS = 30, slice(26, 30)


class ArrayFile(Store):
    """The arrays of a file as tensors, by name."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.names = tuple(tensors)
        self._tensors = tensors

    def tensor(self, name: str) -> torch.Tensor:
        """An array as a tensor; its bytes are read from the disk as they are used."""
        return self._tensors[name]

    def entries(self, name: str) -> Entries:
        """Its entries, to be read a stretch at a time: copies, since in the file they may lie at any byte."""
        mapped = Entries.from_tensor(self._tensors[name])
        return Entries(mapped.shape, mapped.dtype, lambda start, stop: mapped.read(start, stop).clone())


def read_npz(path: Path) -> tuple[ArrayFile, tuple[str, ...]]:
    """The arrays of a file, as tensors, and what there is to note. Nothing in it is unpickled.

    Members that are compressed are read whole; the others are mapped, and read as they are used.

    Raises `FormatError` for a damaged file, and `PairingError` for arrays of Python objects.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "a.npz", w=np.ones((1, 2)))
    ...     read_npz(Path(folder) / "a.npz")[0].tensor("w")
    tensor([[1., 1.]], dtype=torch.float64)
    """
    tensors: dict[str, torch.Tensor] = {}
    compressed = []
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    raise PairingError(f"{path} holds {member.filename[:80]!r}, which is no array of NumPy (.npy)")
                name = member.filename.removesuffix(".npy")
                if name in tensors:
                    raise PairingError(f"{path} holds two arrays of the name {name[:80]!r}")
                array = _array(archive, member, raw)
                if member.compress_type != zipfile.ZIP_STORED:
                    compressed.append(name)
                tensors[name] = from_array(f"{path}: {name}", array)
    except KenError:
        raise
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, OSError) and not path.is_file():
            raise
        raise FormatError(f"{path} cannot be read as arrays alone: {str(error)[:300]}") from None
    notes: tuple[str, ...] = ()
    if compressed:
        notes = (
            f"{len(compressed)} arrays of {path.name} are compressed ({compressed[0]}, …): they were read into memory "
            "whole; numpy.savez stores them so that they need not be",
        )
    return ArrayFile(tensors), notes


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, raw: Any) -> NDArray[Any]:
    """One member. What is not compressed becomes a map of the file."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if dtype.hasobject:
            raise PairingError(f"{member.filename} holds Python objects, which only a pickle could give; none is read")
        header = file.tell()
    order: Literal["C", "F"] = "F" if fortran else "C"
    if member.compress_type != zipfile.ZIP_STORED or not np.prod(shape):
        with archive.open(member) as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array
    raw.seek(member.header_offset)
    lengths = raw.read(_LOCAL)[_LENGTHS]
    start = member.header_offset + _LOCAL + sum(np.frombuffer(lengths, dtype="<u2").tolist()) + header
    if header + np.prod(shape, dtype=object) * dtype.itemsize != member.file_size:
        raise FormatError(f"{raw.name}: {member.filename} has been cut short, or is no array")
    return np.memmap(raw.name, dtype=dtype, mode="r", offset=start, shape=shape, order=order)
