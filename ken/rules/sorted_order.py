"""The order that sorts each row, and its k lowest, by what numpy has vector instructions for.

A value becomes an integer in the same order, the place of its entry goes into the bits below, and the integers are
sorted: no two are equal, so that any sort will do, and of equal values those that come first come first. Stored values
have few bits (float32 all of 32, float16 19 of them, bfloat16 16), so one integer of 32 or 64 bits holds both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sorted_order(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """The indices that sort each row; where all rows fit into float32, equal values by their place, -0.0 as 0.0.

    rows: (m, n) float64, finite. Returns (m, n). Among equal values that need more than float32 any order may come.

    >>> sorted_order(np.array([[2.0, 0.0, -1.0, -0.0, 2.0]]))
    array([[2, 1, 3, 0, 4]])
    """
    n = rows.shape[1]
    with np.errstate(over="ignore", under="ignore"):
        narrow = rows.astype(np.float32, order="C")
    if n >= 1 << 31 or not np.array_equal(narrow, rows):
        return np.argsort(rows, axis=1)
    narrow += np.float32(0)  # -0.0 becomes 0.0
    keys = narrow.view(np.int32)
    free = _free_bits(keys)
    keys ^= (keys >> 31) & np.int32(0x7FFFFFFF)  # sign and magnitude to two's complement
    place = np.arange(n, dtype=np.int64)
    if n <= 1 << free:
        keys &= np.int32(-1 << free)  # the bits that were free are ones in negative keys
        keys |= place.astype(np.int32)
        keys.sort(axis=1)
        return (keys & np.int32((1 << free) - 1)).astype(np.int64)
    wide = keys.astype(np.int64)
    wide <<= 32
    wide |= place
    wide.sort(axis=1)
    wide &= 0xFFFFFFFF
    return wide


def _free_bits(keys: NDArray[np.int32]) -> int:
    """How many of the lowest bits are 0 in all of them."""
    used = int(np.bitwise_or.reduce(keys, axis=None))
    return (used & -used).bit_length() - 1 if used else 31


def first_lowest(scores: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """A mask of the k lowest of each row; of equal ones those that come first. Rows are parted, not sorted.

    scores: (m, n); 1 <= k <= n. The same as the first k of a stable sort, which has NaN last.

    >>> first_lowest(np.array([[2.0, 1.0, 2.0, 0.0]]), 3)
    array([[ True,  True, False,  True]])
    """
    threshold = np.partition(scores, k - 1, axis=1)[:, k - 1 : k]
    if scores.dtype.kind == "f" and np.isnan(threshold).any():
        mask = np.zeros(scores.shape, dtype=bool)
        np.put_along_axis(mask, np.argsort(scores, axis=1, kind="stable")[:, :k], True, axis=1)
        return mask
    mask = np.asarray(scores <= threshold)
    over = np.flatnonzero(np.count_nonzero(mask, axis=1) > k)
    if over.size:  # of those that are equal to the threshold only some
        lower, equal = scores[over] < threshold[over], scores[over] == threshold[over]
        wanted = k - np.count_nonzero(lower, axis=1, keepdims=True)
        mask[over] = lower | (equal & (np.cumsum(equal, axis=1, dtype=np.int64) <= wanted))
    return mask
