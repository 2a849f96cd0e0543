"""Distances between floats of one format, counted in representable numbers: small integers, and exact.

Read as an integer in numerical order, a float has a place on a line: its *key*. -0.0 has key -1, +0.0 key 0, the
smallest subnormal key 1. The distance of two floats in units in the last place (ulp) is the difference of their keys,
modulo 2^bits: from one of the two and the distance the other follows bit for bit, whatever the bits are, those of
infinities and NaN included. A difference in floating point would not do that.

All arrays are one-dimensional unsigned integers as wide as the float (uint8, 16, 32, 64); a mask is packed, eight
entries a byte, the first in the highest bit. The loops are compiled and let go of the GIL. They work on a block of
entries at a time: its floats become keys, the keys at the places of the mask are moved, and it is turned back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken.models.compiling import njit
from ken.subnetwork.ulp_avx512 import LANES, available, exchange_lanes

# For each byte of a mask: the places of its set bits, then anything up to eight; and how many there are.
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
_PLACES = np.argsort(1 - _BITS, axis=1, kind="stable").astype(np.uint16)
_SET = _BITS.sum(axis=1).astype(np.int64)
# The byte with its bits in opposite order: in a mask the first entry has the highest bit, in a vector the lowest.
_REVERSED = (_BITS << np.arange(8, dtype=np.uint8)).sum(axis=1).astype(np.uint16)
# Where the sign bit is, and all bits but the sign; as arrays, so that they have the width of the values.
_SIGN = {2**w: np.array([8 * 2**w - 1, 2 ** (8 * 2**w - 1) - 1], f"u{2**w}") for w in range(4)}

# Entries that are worked on at a time: their places fit into 16 bits, they and their values into the nearest cache.
_BLOCK = 4096
#: Entries of a piece that one thread moves: a multiple of 8, so that masks are cut between bytes.
PIECE = 1 << 19
#: A mask and the distances at it.
Distances: TypeAlias = "tuple[NDArray[np.uint8], NDArray[np.unsignedinteger]]"


@njit(nogil=True, cache=True, inline="always")
def _key(bits, sign):
    """Sign and magnitude to two's complement; its own inverse, since the sign bit stays."""
    return bits ^ ((0 - (bits >> sign[0])) & sign[1])


@njit(nogil=True, cache=True)
def _take(fine_tuned, base, mask, sign, out):
    count = 0
    for i in range(fine_tuned.size):
        out[count] = _key(fine_tuned[i], sign) - _key(base[i], sign)
        count += (mask[i >> 3] >> (7 - (i & 7))) & 1
    return count


@njit(nogil=True, cache=True)
def _places(mask, places, set_bits, out):
    """The places of the set bits of a mask, in order; returns how many.

    Eight are written for every byte, and those that are too many are written over by the next: no branch depends on
    the mask, and every byte is one vector's work.
    """
    count = 0
    for i in range(mask.size):
        byte = mask[i]
        start = np.uint16(8 * i)
        for place in range(8):
            out[count + place] = start + places[byte, place]
        count += set_bits[byte]
    return count


@njit(nogil=True, cache=True)
def _exchange(values, mask_down, down, mask_up, up, places, set_bits, sign):
    """Move the values down by one set of distances and up by another, a block at a time."""
    at = np.empty(_BLOCK + 8, np.uint16)
    at_down = at_up = 0
    for start in range(0, values.size, _BLOCK):
        stop = min(start + _BLOCK, values.size)
        first, last = start >> 3, (stop + 7) >> 3
        block = values[start:stop]
        for i in range(block.size):
            block[i] = _key(block[i], sign)
        if down.size:
            count = _places(mask_down[first:last], places, set_bits, at)
            for i in range(count):
                block[at[i]] -= down[at_down + i]
            at_down += count
        if up.size:
            count = _places(mask_up[first:last], places, set_bits, at)
            for i in range(count):
                block[at[i]] += up[at_up + i]
            at_up += count
        for i in range(block.size):
            block[i] = _key(block[i], sign)


@njit(nogil=True, cache=True)
def _exchange_vectors(values, mask_down, down, mask_up, up, set_bits, reverse):
    """The same for as many entries as whole vectors hold. Returns how far it went in values, down, up."""
    done = at_down = at_up = 0
    lanes_down = lanes_up = np.uint16(0)
    while done + LANES <= values.size:
        byte = done >> 3
        count_down = count_up = 0
        if down.size:
            first, second = mask_down[byte], mask_down[byte + 1]
            lanes_down = np.uint16(reverse[first] | (reverse[second] << 8))
            count_down = set_bits[first] + set_bits[second]
        if up.size:
            first, second = mask_up[byte], mask_up[byte + 1]
            lanes_up = np.uint16(reverse[first] | (reverse[second] << 8))
            count_up = set_bits[first] + set_bits[second]
        exchange_lanes(values, done, lanes_down, down, at_down, lanes_up, up, at_up)  # type: ignore[call-arg]
        at_down += count_down
        at_up += count_up
        done += LANES
    return done, at_down, at_up


def width(array: NDArray[np.unsignedinteger]) -> int:
    """Bytes of one entry."""
    return array.dtype.itemsize


def take(
    fine_tuned: NDArray[np.unsignedinteger],
    base: NDArray[np.unsignedinteger],
    mask: NDArray[np.uint8],
    retained: int,
) -> NDArray[np.unsignedinteger]:
    """The distances from base to fine_tuned at the entries of the mask, in order.

    >>> bits = lambda *numbers: np.array(numbers, np.float32).view(np.uint32)
    >>> take(bits(1.0, 2.0, -0.0), bits(1.0, 1.9999999, 0.0), np.array([0b01100000], np.uint8), 2).view(np.int32)
    array([ 1, -1], dtype=int32)
    """
    out = np.empty(retained + 1, fine_tuned.dtype)  # one more: an entry is written before its bit is looked at
    _take(fine_tuned, base, mask, sign=_SIGN[width(out)], out=out)
    return out[:retained]


def marked_in(mask: NDArray[np.uint8]) -> int:
    """How many bits of a packed mask are set.

    >>> marked_in(np.full(100, 0b00010001, np.uint8))
    200
    """
    words = mask.size // 8 * 8
    return int(np.bitwise_count(mask[:words].view(np.uint64)).sum()) + int(np.bitwise_count(mask[words:]).sum())


def pieces(mask: NDArray[np.uint8], entries: int, step: int = PIECE) -> Iterator[tuple[slice, slice, slice]]:
    """Cut a tensor for several threads: slices of its entries, of its mask's bytes, of what it retains.

    >>> for entries, part, retained in pieces(np.array([0b11110000, 0b10000000], np.uint8), 9, step=8):
    ...     print(entries, part, retained)
    slice(0, 8, None) slice(0, 1, None) slice(0, 4, None)
    slice(8, 9, None) slice(1, 2, None) slice(4, 5, None)
    """
    if entries <= step:
        if entries:
            yield slice(0, entries), slice(None), slice(None)  # no need to count
        return
    count = 0
    for start in range(0, entries, step):
        stop = min(start + step, entries)
        part = slice(start // 8, -(-stop // 8))
        marked = marked_in(mask[part])
        yield slice(start, stop), part, slice(count, count + marked)
        count += marked


def cut(distances: Distances | None, entries: int, step: int = PIECE) -> Iterator[Distances | None]:
    """The mask and the distances of a tensor for every piece of it; None for each, if there are none.

    >>> whole = np.array([0b11110000, 0b10000000], np.uint8), np.arange(5, dtype=np.uint32)
    >>> [part.tolist() for _, part in cut(whole, 9, step=8)], [*cut(None, 9, step=8)]
    ([[0, 1, 2, 3], [4]], [None, None])
    """
    if distances is None:
        yield from (None for _ in range(0, entries, step))
        return
    mask, values = distances
    for _, part, retained in pieces(mask, entries, step):
        yield mask[part], values[retained]


def exchange(
    values: NDArray[np.unsignedinteger],
    down: Distances | None,
    up: Distances | None,
    vector: bool | None = None,
) -> None:
    """Move values down by the distances at one mask, and up by those at another, in place; each (mask, distances).

    The same with down and up exchanged undoes it. vector says whether to use the vector instructions of
    `ken.subnetwork.ulp_avx512`; by default where the processor has them. The result is the same.

    >>> values = np.array([1.5, -2.5, 0.0], np.float64).view(np.uint64)
    >>> step = np.array([0b11000000], np.uint8), np.array([3, 2**64 - 9], np.uint64)
    >>> exchange(values, None, step)
    >>> exchange(values, step, None)
    >>> values.view(np.float64)
    array([ 1.5, -2.5,  0. ])
    """
    nothing = np.zeros(0, np.uint8), np.zeros(0, values.dtype)
    mask_down, down_by = down or nothing
    mask_up, up_by = up or nothing
    done = at_down = at_up = 0
    if available(width(values)) if vector is None else vector:
        moves = mask_down, down_by, mask_up, up_by
        done, at_down, at_up = _exchange_vectors(values, *moves, set_bits=_SET, reverse=_REVERSED)
    if done < values.size:
        rest = values[done:], mask_down[done // 8 :], down_by[at_down:], mask_up[done // 8 :], up_by[at_up:]
        _exchange(*rest, _PLACES, _SET, _SIGN[width(values)])


def keys(bits: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """The keys of floats, or the floats of keys: the same map both ways. A key is the distance from +0.0.

    >>> keys(np.array([0.0, -0.0], np.float16).view(np.uint16)).view(np.int16)
    array([ 0, -1], dtype=int16)
    """
    top, low = _SIGN[width(bits)]
    return bits ^ ((bits >> top) * low)
