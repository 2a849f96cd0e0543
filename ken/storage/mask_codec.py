"""Masks to bytes and back. FORMAT.md says the same in words.

Whatever bytes come in, decoding ends in the result or in a `FormatError`, and asks for no more memory than the number
of entries that the caller expects calls for.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ken.errors import FormatError
from ken.models.compiling import njit
from ken.storage import zstd_codec

# Entries whose gaps are made at a time.
_BLOCK = 1 << 23


def encode(bits: NDArray[np.uint8], entries: int, retained: int) -> tuple[str, bytes]:
    """The smallest of the codings "none", "all", "bits", "bits+zstd" and "gaps+zstd", with its bytes.

    >>> encode(np.array([0b11000000], np.uint8), 2, 2)
    ('all', b'')
    """
    if retained in (0, entries):
        return ("all" if retained else "none"), b""
    codings = {"bits": bits.tobytes(), "bits+zstd": zstd_codec.compress(bits.data)}
    if retained * 3 < entries:  # more retained entries take more gaps, of a byte each, than they save
        codings["gaps+zstd"] = zstd_codec.compress(np.concatenate([*_gaps(bits)]).data)
    return min(codings.items(), key=lambda item: len(item[1]))


def decode(coding: str, data: memoryview, entries: int, retained: int) -> NDArray[np.uint8]:
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
        bits = np.frombuffer(zstd_codec.decompress(data, size), np.uint8)
    elif coding == "gaps+zstd":
        longest = max(1, -(-entries.bit_length() // 7))  # bytes that the longest possible gap takes
        codes = np.frombuffer(zstd_codec.decompress(data, retained * longest, at_most=True), np.uint8)
        bits = np.zeros(size, np.uint8)
        if not _mark(codes, entries=entries, retained=retained, bits=bits):
            raise FormatError(f"the gaps of the mask do not mark {retained} of {entries} entries")
    else:
        raise FormatError(f"unknown coding of a mask: {coding!r}")
    marked = int(np.bitwise_count(bits).sum())
    if marked != retained:
        raise FormatError(f"the mask must retain {retained} entries, got {marked}")
    if entries % 8 and bits[-1] & ((1 << (-entries % 8)) - 1):
        raise FormatError("the spare bits behind the mask must be 0")
    return bits


def _gaps(bits: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The gaps of a mask as LEB128. Spare bits are 0, so they make none."""
    before = -1
    for start in range(0, 8 * bits.size, _BLOCK):
        positions = np.flatnonzero(np.unpackbits(bits[start // 8 : (start + _BLOCK) // 8])) + start
        yield _to_leb128(np.diff(positions, prepend=before) - 1)
        before = int(positions[-1]) if positions.size else before


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
    position, marked, at = -1, 0, 0
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
        if gap >= entries - position - 1 or marked == retained:  # compared first: the sum might overflow
            return False
        position += gap + 1
        bits[position >> 3] |= 128 >> (position & 7)
        marked += 1
    return marked == retained
