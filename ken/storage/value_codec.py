"""Distances as byte planes, and back, a stretch at a time. FORMAT.md says the same in words.

Distances near 0, up or down, become small unsigned numbers first (zigzag), so that the high bytes are mostly 0; then
all lowest bytes make one run, all second bytes the next. Each is compressed by itself, where that makes it shorter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken.errors import FormatError
from ken.models.compiling import njit
from ken.models.tensors.tensor_bytes import bytes_of
from ken.models.tensors.tensor_reader import Entries
from ken.storage import zstd_codec
from ken.storage.spools import Spool

#: Bytes of a plane that is compressed at once.
_SHORT = 1 << 16


class Plane(NamedTuple):
    """A finished plane: how many bytes it takes, and these bytes, in parts."""

    length: int
    parts: Iterator[bytes]


class Encoder:
    """Takes distances of so many bytes each, `retained` in all, in order.

    What is compressed waits in memory, and in a nameless file in the given folder when it becomes too much.

    >>> encoder = Encoder(2, 3)
    >>> encoder.add(np.array([1, 65535], np.uint16))
    >>> encoder.add(np.array([0], np.uint16))
    >>> [b"".join(plane.parts) for plane in encoder.finish()]
    [b'\\x02\\x01\\x00', b'\\x00\\x00\\x00']
    """

    def __init__(self, width: int, retained: int, folder: Path | None = None) -> None:
        self._retained = retained
        self._planes: list[_PlaneWriter | _ShortPlaneWriter] = [
            _ShortPlaneWriter() if retained <= _SHORT else _PlaneWriter(retained, folder) for _ in range(width)
        ]

    def add(self, ulps: NDArray[Any]) -> None:
        """Append some."""
        planes = np.empty((len(self._planes), ulps.size), np.uint8)
        _split(ulps, 8 * len(self._planes) - 1, planes)
        for writer, plane in zip(self._planes, planes, strict=True):
            writer.add(plane)

    def finish(self) -> list[Plane]:
        """All planes, lowest first, each as it is shorter."""
        return [plane.finish() for plane in self._planes]

    def plain(self) -> list[Plane]:
        """All planes as they are, whether that is shorter or not; after `finish`."""
        return [plane.plain() for plane in self._planes]


class _ShortPlaneWriter:
    """One plane that waits as it is, to be compressed at once: as long as it is short, that is quicker."""

    def __init__(self) -> None:
        self._data = b""

    def add(self, data: NDArray[np.uint8]) -> None:
        self._data += data.tobytes()

    def finish(self) -> Plane:
        frame = zstd_codec.compress(self._data)
        return Plane(len(frame), iter([frame])) if len(frame) < len(self._data) else self.plain()

    def plain(self) -> Plane:
        return Plane(len(self._data), iter([self._data]))


class _PlaneWriter:
    """One plane. That it is not worth compressing is found out in the end, and then undone."""

    def __init__(self, size: int, folder: Path | None) -> None:
        self._size = size
        self._compressor = zstd_codec.compressor(size)
        self._spool = Spool(folder)

    def add(self, data: NDArray[np.uint8]) -> None:
        self._spool.write(self._compressor.compress(data.data))

    def finish(self) -> Plane:
        self._spool.write(self._compressor.flush())
        return Plane(self._spool.length, self._spool.parts()) if self._spool.length < self._size else self.plain()

    def plain(self) -> Plane:
        return Plane(self._size, zstd_codec.parts(self._spool.rewound()))


class Decoder:
    """The distances of a blob again, from the first on. Raises `FormatError` for bytes that are not those of planes.

    dtype is that of a distance; a plane of exactly `retained` bytes is stored as it is, any other is one frame.
    """

    def __init__(self, blob: Entries, lengths: Sequence[int], retained: int, dtype: np.dtype[Any]) -> None:
        _check_lengths(lengths, blob.count, dtype)
        self._dtype = dtype
        self._planes: list[zstd_codec.Stretch | zstd_codec.FrameReader] = []
        start = 0
        for length in lengths:
            stretch = zstd_codec.Stretch(lambda a, b: bytes_of(blob.read(a, b)), start, start + length)
            self._planes.append(stretch if length == retained else zstd_codec.FrameReader(stretch, retained))
            start += length

    def take(self, count: int) -> NDArray[Any]:
        """The next so many."""
        ulps = np.zeros(count, self._dtype)
        for place, plane in enumerate(self._planes):
            _join(np.frombuffer(plane.read(count), np.uint8), 8 * place, ulps)
        _unfold(ulps)
        return ulps


def decode(data: memoryview, lengths: Sequence[int], retained: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """All distances of a blob that is in memory."""
    _check_lengths(lengths, len(data), dtype)
    ulps = np.zeros(retained, dtype)
    start = 0
    for place, length in enumerate(lengths):
        part = data[start : start + length]
        plane = part if length == retained else zstd_codec.decompress(part, retained)
        _join(np.frombuffer(plane, np.uint8), 8 * place, ulps)
        start += length
    _unfold(ulps)
    return ulps


def _check_lengths(lengths: Sequence[int], total: int, dtype: np.dtype[Any]) -> None:
    """Raise `FormatError` unless there is a plane for every byte of a distance, and they make up the blob."""
    if len(lengths) != dtype.itemsize or sum(lengths) != total:
        raise FormatError(f"{dtype.itemsize} byte planes of {total} bytes were expected, got lengths {[*lengths]}")


# The loop goes over a block plane by plane, so that each inner loop is plain arithmetic on neighbouring entries.
_BLOCK = 4096


@njit(nogil=True, cache=True)
def _split(ulps, top, planes):
    codes = np.empty(_BLOCK, ulps.dtype)
    for start in range(0, ulps.size, _BLOCK):
        block = ulps[start : start + _BLOCK]
        for i in range(block.size):
            codes[i] = (block[i] << np.uint64(1)) ^ (np.uint64(0) - (block[i] >> np.uint64(top)))
        for plane in range(planes.shape[0]):
            row = planes[plane, start : start + _BLOCK]
            for i in range(row.size):
                row[i] = codes[i] >> np.uint64(8 * plane)


@njit(nogil=True, cache=True)
def _join(plane, shift, codes):
    for i in range(codes.size):
        codes[i] |= np.uint64(plane[i]) << np.uint64(shift)


@njit(nogil=True, cache=True)
def _unfold(codes):
    for i in range(codes.size):
        codes[i] = (codes[i] >> np.uint64(1)) ^ (np.uint64(0) - (codes[i] & np.uint64(1)))
