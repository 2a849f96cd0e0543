"""Codings: masks and distances to bytes and back. FORMAT.md says the same in words.

Whatever bytes come in, decoding ends in the result or in a `FormatError`, and asks for no more memory than the number
of entries that the caller expects calls for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import zstandard
from numba import njit
from numpy.typing import NDArray

from ken.errors import FormatError

_LEVEL = 3
# The most that a frame may ask of a decoder that works as a stream; ours ask for 2 MiB.
_WINDOW = 1 << 23


def encode_mask(bits: NDArray[np.uint8], entries: int, retained: int) -> tuple[str, bytes]:
    """The smallest of the codings "none", "all", "bits", "bits+zstd" and "gaps+zstd", with its bytes.

    >>> encode_mask(np.array([0b11000000], np.uint8), 2, 2)
    ('all', b'')
    """
    if retained in (0, entries):
        return ("all" if retained else "none"), b""
    found = {"bits": bits.tobytes(), "bits+zstd": _compress(bits.data)}
    if retained * 3 < entries:  # more retained entries take more gaps, of a byte each, than they save
        positions = np.flatnonzero(np.unpackbits(bits, count=entries))
        found["gaps+zstd"] = _compress(_to_leb128(np.diff(positions, prepend=-1) - 1).data)
    return min(found.items(), key=lambda item: len(item[1]))


def decode_mask(coding: str, data: memoryview, entries: int, retained: int) -> NDArray[np.uint8]:
    """Packed mask of that many entries. Raises `FormatError` unless exactly `retained` are set and data is used up."""
    size = -(-entries // 8)
    if coding in ("all", "none"):
        if len(data) or retained != (entries if coding == "all" else 0):
            raise FormatError(
                f"a mask of coding {coding!r} must have no bytes and fit its count, got {len(data)} bytes"
            )
        bits = np.full(size, 255 if coding == "all" else 0, np.uint8)
        if entries % 8:
            bits[-1] &= 256 - (1 << (-entries % 8))
        return bits
    if coding == "bits":
        bits = np.frombuffer(data, np.uint8)
        if bits.size != size:
            raise FormatError(f"the mask must have {size} bytes, got {bits.size}")
    elif coding == "bits+zstd":
        bits = np.frombuffer(_decompress(data, size), np.uint8)
    elif coding == "gaps+zstd":
        longest = max(1, -(-entries.bit_length() // 7))  # bytes that the longest possible gap takes
        codes = np.frombuffer(_decompress(data, retained * longest, at_most=True), np.uint8)
        bits = np.zeros(size, np.uint8)
        if not _mark(codes, entries, retained, bits):
            raise FormatError(f"the gaps of the mask do not mark {retained} of {entries} entries")
    else:
        raise FormatError(f"unknown coding of a mask: {coding!r}")
    if int(np.bitwise_count(bits).sum()) != retained:
        raise FormatError(f"the mask must retain {retained} entries, got {int(np.bitwise_count(bits).sum())}")
    if entries % 8 and bits[-1] & ((1 << (-entries % 8)) - 1):
        raise FormatError("the spare bits behind the mask must be 0")
    return bits


def encode_ulps(ulps: NDArray[Any], compress: bool = True) -> list[bytes]:
    """One run of bytes for each byte of a distance, lowest first, compressed where that is shorter.

    Distances near 0, up or down, become small unsigned numbers first (zigzag), so that the high bytes are mostly 0.
    """
    planes = np.empty((ulps.dtype.itemsize, ulps.size), np.uint8)
    _split(ulps, 8 * ulps.dtype.itemsize - 1, planes)
    return [min(plane.tobytes(), _compress(plane.data), key=len) if compress else plane.tobytes() for plane in planes]


def decode_ulps(data: memoryview, lengths: Sequence[int], retained: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The distances again, `retained` of them; a run as long as that many bytes is stored as it is."""
    if len(lengths) != dtype.itemsize or sum(lengths) != len(data):
        raise FormatError(f"{dtype.itemsize} byte planes of {len(data)} bytes were expected, got lengths {[*lengths]}")
    ulps = np.zeros(retained, dtype)
    start = 0
    for place, length in enumerate(lengths):
        part = data[start : start + length]
        plane = np.frombuffer(part if length == retained else _decompress(part, retained), np.uint8)
        _join(plane, 8 * place, ulps)
        start += length
    _unfold(ulps)
    return ulps


def pack(data: bytes) -> bytes:
    """Bytes of any kind, compressed; of no bytes none."""
    return _compress(data) if data else b""


def unpack(data: memoryview, size: int) -> bytes:
    """The bytes again, `size` of them."""
    return _decompress(data, size) if size or len(data) else b""


def _compress(data: bytes | memoryview) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(data)


def _decompress(data: memoryview, size: int, at_most: bool = False) -> bytes:
    """What one frame gives, which must be `size` bytes (or at most that many), and nothing may follow it.

    The frame says how many bytes it gives before anything is reserved for them.
    """
    try:
        frame = zstandard.get_frame_parameters(data)
        fits = 0 <= frame.content_size <= size if at_most else frame.content_size == size
        if not fits or frame.window_size > _WINDOW:
            says = "nothing" if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN else f"{frame.content_size}"
            limit = f"{'at most ' if at_most else ''}{size}"
            raise FormatError(
                f"compressed bytes must give {limit} bytes and need a window of at most {_WINDOW}, "
                f"their frame says {says} and {frame.window_size}"
            )
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError(f"compressed bytes are damaged: {error}") from None


def _to_leb128(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Seven bits a byte, lowest first; the highest bit says that another byte follows."""
    count = np.maximum(1, -(-np.frexp(numbers.astype(np.float64))[1] // 7)) if numbers.size else np.zeros(0, int)
    out = np.empty(int(count.sum()), np.uint8)
    starts = np.cumsum(count) - count
    for place in range(int(count.max(initial=0))):
        has = count > place
        more = (count[has] > place + 1).astype(np.uint8) << 7
        out[starts[has] + place] = ((numbers[has] >> (7 * place)) & 127).astype(np.uint8) | more
    return out


@njit(nogil=True, cache=True)
def _mark(codes, entries, retained, bits):
    position, found, at = -1, 0, 0
    while at < codes.size:
        gap, shift = 0, 0
        while True:
            if at == codes.size or shift > 56:
                return False
            byte = codes[at]
            at += 1
            gap += np.int64(byte & 127) << shift  # type: ignore[assignment]
            shift += 7
            if byte < 128:
                break
        if gap >= entries - position - 1 or found == retained:  # compared first: the sum might overflow
            return False
        position += gap + 1
        bits[position >> 3] |= 128 >> (position & 7)
        found += 1
    return found == retained


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
