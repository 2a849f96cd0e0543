"""The safetensors container: written as a stream, with its header last, and read without trusting it.

A safetensors file is eight bytes with the length of the header, the header (JSON: for each blob its dtype, shape and
place, and a map of texts), then the blobs without a gap. The header may end in spaces: so room is left for it, and
blobs can be written before their sizes are known. The `safetensors` library reads the files again and checks that
header and blobs fit each other.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ken.errors import FormatError
from ken.models.tensors.tensor_bytes import digest, dtype_name
from ken.models.tensors.tensor_reader import Entries, Store

if TYPE_CHECKING:
    import torch

#: safetensors' names of the dtypes that it can hold; BYTES is for blobs that are no tensors.
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2": "F8_E5M2",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "float8_e8m0fnu": "F8_E8M0",
    "complex64": "C64",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
BYTES = "U8"
_NAMES = {stored: name for name, stored in DTYPES.items()}

_LONGEST_HEADER = 100_000_000  # that of the safetensors library
_WIDEST = 10**15  # no offset is larger; it stands for any while room is reserved


class Writer:
    """Writes blobs one after the other; `finish` writes the header in front of them.

    names are the blobs to come with the length of their shapes, as room for them is reserved. metadata is a
    map of texts at least as long as the one that `finish` will be given.
    """

    def __init__(self, file: BinaryIO, names: Mapping[str, Sequence[int]], metadata: Mapping[str, str]) -> None:
        if "__metadata__" in names:
            raise FormatError("safetensors cannot hold a tensor of the name '__metadata__'")
        widest = {"dtype": "F8_E4M3FNUZ", "data_offsets": [_WIDEST, _WIDEST]}
        draft = {name: {**widest, "shape": [max(n, _WIDEST) for n in shape]} for name, shape in names.items()}
        self._room = -(-len(_header(draft, metadata)) // 8) * 8
        if self._room > _LONGEST_HEADER:
            raise FormatError(f"the header would take {self._room} bytes; safetensors allows {_LONGEST_HEADER}")
        self._file = file
        self._blobs: dict[str, dict[str, Any]] = {}
        self._end = 0
        file.write(bytes(8 + self._room))

    def add(self, name: str, dtype: str, shape: Sequence[int], parts: Iterable[Any]) -> None:
        """Append a blob, given as parts that are bytes or the like."""
        start = self._end
        for part in parts:
            self._file.write(part)
            self._end += len(part)
        self._blobs[name] = {"dtype": dtype, "shape": [*shape], "data_offsets": [start, self._end]}

    def leave(self, name: str, dtype: str, shape: Sequence[int], length: int) -> tuple[int, int]:
        """Say that a blob of so many bytes is written by others: where in the file it begins, and where it ends."""
        start, self._end = self._end, self._end + length
        self._blobs[name] = {"dtype": dtype, "shape": [*shape], "data_offsets": [start, self._end]}
        return 8 + self._room + start, 8 + self._room + self._end

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write the header into the room that was left for it."""
        header = _header(self._blobs, metadata)
        assert len(header) <= self._room, "the header outgrew its room"
        self._file.seek(0)
        self._file.write(self._room.to_bytes(8, "little") + header.ljust(self._room))


def stored_dtype(dtype: torch.dtype) -> str:
    """safetensors' name of a dtype; raises `FormatError` if it cannot hold it."""
    name = dtype_name(dtype)
    if name not in DTYPES:
        raise FormatError(f"safetensors cannot hold tensors of dtype {name}")
    return DTYPES[name]


def _header(blobs: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    return json.dumps({"__metadata__": dict(metadata), **blobs}, separators=(",", ":")).encode("ascii")


class Reader(Store):
    """A safetensors file, opened: the header has been read and checked, blobs are read when asked for.

    Raises `FormatError` if it is none, and `OSError` if it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        # Opened once more: what is read a stretch at a time must not stay in memory, as the pages of a map do.
        self._raw = self.path.open("rb", buffering=0)
        self._reading = threading.Lock()
        # Both are asked for a dozen times each while a model is pruned.
        self._tensors: dict[str, torch.Tensor] = {}
        self._entries: dict[str, Entries] = {}
        weakref.finalize(self, self._raw.close)
        try:
            self._file = safe_open(str(self.path), framework="pt").__enter__()
            self.names: tuple[str, ...] = tuple(self._file.keys())
            self.metadata: dict[str, str] = dict(self._file.metadata() or {})
        except SafetensorError as error:
            raise FormatError(f"{path} is not a whole safetensors file: {error}") from None

    @property
    def identity(self) -> tuple[int, int]:
        """Which file on which device this reads, whatever the path names by now."""
        status = os.fstat(self._raw.fileno())
        return status.st_dev, status.st_ino

    def layout(self, name: str) -> tuple[str, tuple[int, ...]]:
        """(dtype by safetensors' name, shape) of a blob, from the header alone."""
        part = self._file.get_slice(name)
        return part.get_dtype(), tuple(part.get_shape())

    def tensor(self, name: str) -> torch.Tensor:
        """A blob as a tensor on the CPU; its bytes are read from the disk as they are used."""
        known = self._tensors.get(name)
        return self._tensors.setdefault(name, self._mapped(name)) if known is None else known

    def _mapped(self, name: str) -> torch.Tensor:
        """A view of the file. The library makes one in five times the time, which counts where there are thousands."""
        import torch
        from safetensors import SafetensorError

        blob = self._blobs.get(name, {})
        dtype = getattr(torch, _NAMES.get(blob.get("dtype", ""), ""), None)
        entries = math.prod(blob.get("shape", ()))
        try:
            if dtype is None or entries == 0 or sys.byteorder != "little":
                return self._file.get_tensor(name)
            flat = torch.frombuffer(self._map, dtype=dtype, count=entries, offset=self._begins[name])
            return flat.view(blob["shape"])
        except (SafetensorError, RuntimeError, ValueError, OverflowError) as error:  # it may have been cut since
            raise FormatError(f"{self.path}: {name} cannot be read: {error}") from None

    @cached_property
    def _map(self) -> mmap.mmap:
        """The whole file, read as it is used; what is written to it stays in memory."""
        return mmap.mmap(self._raw.fileno(), 0, access=mmap.ACCESS_COPY)

    def entries(self, name: str) -> Entries:
        """A blob that is read a stretch at a time; no more of it is ever in memory."""
        if name not in self._entries:
            self._entries[name] = self._entries_of(name)
        return self._entries[name]

    def _entries_of(self, name: str) -> Entries:
        import torch

        tensor = self.tensor(name)
        begin, dtype = self._begins[name], tensor.dtype

        def read(start: int, stop: int) -> torch.Tensor:
            if start == stop:
                return torch.empty(0, dtype=dtype)
            data = self._read(begin + start * dtype.itemsize, (stop - start) * dtype.itemsize)
            return torch.frombuffer(data, dtype=dtype)

        return Entries(tuple(tensor.shape), dtype, read)

    @cached_property
    def _blobs(self) -> dict[str, dict[str, Any]]:
        """What the header says of each blob. The library has checked it, but does not tell where they begin."""
        blobs: dict[str, dict[str, Any]] = json.loads(self._head[8:])
        blobs.pop("__metadata__", None)
        return blobs

    @cached_property
    def _begins(self) -> dict[str, int]:
        """Where in the file each blob begins."""
        length = len(self._head)
        return {name: length + blob["data_offsets"][0] for name, blob in self._blobs.items()}

    @property
    def _head(self) -> bytes:
        """The header, and its length in front of it."""
        return bytes(self._read(0, 8 + int.from_bytes(self._read(0, 8), "little")))

    def _read(self, at: int, length: int) -> bytearray:
        data = bytearray(length)
        room, done = memoryview(data), 0
        while done < length:
            count = self._read_into(room[done:], at + done)
            if not count:
                raise FormatError(f"{self.path} has been cut short: it ends before byte {at + length}")
            done += count
        return data

    def _read_into(self, room: memoryview, at: int) -> int:
        if hasattr(os, "preadv"):  # a process that was forked has the same file, and its place in it, too
            return os.preadv(self._raw.fileno(), [room], at)
        with self._reading:
            self._raw.seek(at)
            return self._raw.readinto(room) or 0

    @property
    def fingerprint(self) -> str:
        """That of the header: of a subnetwork file, which has the checksums of all blobs there, that of the whole."""
        return digest(self._head)

    def __copy__(self) -> Reader:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Reader:
        return self

    def __reduce__(self) -> tuple[Callable[..., Reader], tuple[str, str]]:
        """For another process: there the file is opened again."""
        return _reopened, (str(self.path.absolute()), self.fingerprint)


def _reopened(path: str, fingerprint: str) -> Reader:
    """The reader of a file that another process had open. Raises `FormatError` if it is gone, or is another one."""
    remedy = "a subnetwork can be sent without its file as net.in_memory"
    try:
        reader = Reader(path)
        header = reader.fingerprint
    except (OSError, FormatError) as error:
        raise FormatError(f"this relies on the file {path}, which cannot be opened here ({error}); {remedy}") from error
    if header != fingerprint:
        raise FormatError(
            f"this relies on the file {path}, which has become another since "
            f"(header {header}, expected {fingerprint}); {remedy}"
        )
    return reader
