"""The entries of highest score of a range that is larger than memory: a radix select over sortable keys.

scores ──► keys (uint64, in the order of the scores) ──► histogram of their top bits ──► the bin of the threshold
             └── stretch by stretch, as often as needed ◄── histogram of the bits below, until the bin is small

Knuth, The Art of Computer Programming 3, sec. 5.2.5 (radix sorting) and 5.3.3 (selection).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken.errors import RuleError
from ken.rules.registered import Score
from ken.rules.row_block import RowBlock

Keys = NDArray[np.uint64]

#: Bits that one pass over the range settles. 64 is a multiple of it.
_BITS = 16
#: So many keys may be in memory together: a bin with no more of them is collected.
_COLLECTED = 1 << 21

_SIGN = np.uint64(1 << 63)


def sortable(scores: NDArray[Any]) -> Keys:
    """Numbers in the order of the scores: equal where these are equal, and larger where they are larger.

    Args:
        scores: float64 without NaN, infinities allowed; or uint64. Any shape.

    Returns:
        The keys, in the same shape; uint64 are their own.

    Raises:
        RuleError: A score is NaN, or of another dtype.

    Example:
        >>> keys = sortable(np.array([-np.inf, -1.0, -0.0, 0.0, 5e-324, 2.0]))
        >>> np.diff(keys.astype(object)) > 0
        array([ True,  True, False,  True,  True])
    """
    if scores.dtype == np.uint64:
        return scores
    if scores.dtype != np.float64:
        raise RuleError(f"a score must be float64 or uint64, got {scores.dtype}")
    if np.isnan(scores).any():
        where = [int(i) for i in np.argwhere(np.isnan(scores))[0]]
        raise RuleError(f"a score must be a number, got nan at {where} of shape {scores.shape}")
    bits = (scores + 0.0).view(np.uint64)  # -0.0 + 0.0 is 0.0
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def keys_of(score: Score, block: RowBlock) -> Keys:
    """The keys of a block of rows, flat; raises `RuleError` for scores that no key stands for."""
    scores = score(block)
    if scores.shape != block.fine_tuned.shape:
        raise RuleError(f"a rule's score must have the shape of the rows, {block.fine_tuned.shape}, got {scores.shape}")
    return sortable(scores).reshape(-1)


def score_of(key: int, dtype: str = "float64") -> float | int:
    """The score of a key: the way back from `sortable`.

    >>> [score_of(int(key)) for key in sortable(np.array([-1.5, 0.25]))]
    [-1.5, 0.25]
    """
    if dtype == "uint64":
        return key
    bits = np.uint64(key)
    return float((bits ^ _SIGN if bits & _SIGN else ~bits).view(np.float64))


class Threshold(NamedTuple):
    """What decides about the entries of a tensor, one by one, when rows share a budget.

    Attributes:
        key: Entries of a higher key (`sortable` of their score) are retained, those of a lower one reset.
        ties: Of entries of this key, those before this place are retained; places count from 0, in C order.
    """

    key: int
    ties: int

    def mask(self, keys: Keys, start: int = 0) -> NDArray[np.bool_]:
        """Which entries are retained.

        Args:
            keys: Keys of consecutive entries, flat.
            start: The place of the first of them.

        Returns:
            The mask, (entries,) bool.

        Example:
            >>> Threshold(5, ties=2).mask(np.array([7, 5, 5, 1], np.uint64)).tolist()
            [True, True, False, False]
        """
        mask = keys > np.uint64(self.key)
        first = max(self.ties - start, 0)
        mask[:first] |= keys[:first] == np.uint64(self.key)
        return mask


class Cut(NamedTuple):
    """Where a range is cut: entries above the key are retained, and of those that equal it the first.

    Attributes:
        key: The key of the last entry that is retained: the threshold.
        stretch: Number of the stretch in which that entry is.
        position: Its position in there. Entries of the same key before it, in whatever stretch, are retained.
        retained: How many entries of each stretch are retained.
    """

    key: int
    stretch: int
    position: int
    retained: tuple[int, ...]

    def threshold(self, sizes: Sequence[int], first: int = 0) -> Threshold:
        """What decides about some of the stretches by itself.

        Args:
            sizes: How many entries these stretches have, in order.
            first: Number of the first of them.

        Returns:
            The threshold of their entries, counted from the first of them on.

        Example:
            >>> cut = Cut(5, stretch=1, position=2, retained=(4, 3, 0))
            >>> [cut.threshold([4], number).ties for number in range(3)]
            [4, 3, 0]
        """
        before = self.stretch - first
        whole = sum(sizes[: max(before, 0)])
        return Threshold(self.key, whole + (self.position + 1 if 0 <= before < len(sizes) else 0))


def highest(
    keys: Callable[[int], Keys],
    sizes: Sequence[int],
    count: int,
    over: Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]] = map,
) -> Cut:
    """Cut a range so that the entries of highest key are retained; of equal ones those that come first.

    Args:
        keys: Gives the keys of a stretch by its number, flat; it is asked for each several times.
        sizes: How many entries the stretches have, in order.
        count: How many entries of all are retained: from 1 to the sum of sizes.
        over: Applies a function to the numbers of stretches and gives the results in order, as `map` does; one that
            does it in several threads is quicker.

    Returns:
        The cut. It is exact, and does not depend on how the range is cut into stretches.

    Raises:
        RuleError: There are not so many entries.

    Example:
        >>> parts = [np.array([3, 9, 3], np.uint64), np.array([3, 4], np.uint64)]
        >>> cut = highest(parts.__getitem__, [3, 2], 3)
        >>> cut.key, cut.threshold([3, 2]).mask(np.concatenate(parts)).tolist()
        (3, [True, True, False, False, True])
    """
    total = sum(sizes)
    if not 1 <= count <= total:
        raise RuleError(f"from 1 to {total} entries of the range can be retained, got {count}")
    if count == total:
        return Cut(0, len(sizes) - 1, position=max(sizes[-1] - 1, 0), retained=tuple(sizes))
    stretches = range(len(sizes))
    low, high, wanted = _bin(keys, stretches, total, count=count, over=over)

    def in_the_bin(stretch: int) -> tuple[int, Keys | int]:
        """How many keys are above the bin, and those in it; of a bin with one key alone, how many they are."""
        part = keys(stretch)
        above = int(np.count_nonzero(part > np.uint64(high)))
        inside = (part >= np.uint64(low)) & (part <= np.uint64(high))
        return above, int(np.count_nonzero(inside)) if low == high else part[inside]

    higher, equal, key = [], [], low
    above, inside = zip(*over(in_the_bin, stretches), strict=True)
    if low == high:
        higher, equal = list(above), list(inside)
    else:
        collected = np.concatenate(inside)
        key = int(np.partition(collected, len(collected) - wanted)[len(collected) - wanted])
        higher = [more + int(np.count_nonzero(part > np.uint64(key))) for more, part in zip(above, inside, strict=True)]
        equal = [int(np.count_nonzero(part == np.uint64(key))) for part in inside]
    # The ties that are retained are the first in the range; the stretch with the last of them is read once more.
    ties = count - sum(higher)
    up_to = np.cumsum(equal)
    last = int(np.searchsorted(up_to, ties))
    within = ties - int(up_to[last] - equal[last])
    position = int(np.flatnonzero(keys(last) == np.uint64(key))[within - 1])
    tied = [*equal[:last], within, *[0] * (len(sizes) - last - 1)]
    retained = tuple(more + some for more, some in zip(higher, tied, strict=True))
    return Cut(key, last, position=position, retained=retained)


def _bin(
    keys: Callable[[int], Keys],
    stretches: Sequence[int],
    total: int,
    *,
    count: int,
    over: Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]],
) -> tuple[int, int, int]:
    """The lowest and the highest key of a bin that is small, or of one key alone, and has the threshold in it.

    Also how many of its entries are retained.
    """
    low, shift, inside = 0, 64, total
    while inside > _COLLECTED and shift:
        shift -= _BITS
        counts = np.zeros(1 << _BITS, np.int64)

        def histogram(stretch: int, low: int = low, shift: int = shift) -> NDArray[np.int64]:
            part = keys(stretch)
            digits = part >> np.uint64(shift)
            if shift + _BITS < 64:
                digits = digits[digits >> np.uint64(_BITS) == np.uint64(low >> shift >> _BITS)]
            return np.bincount((digits & np.uint64((1 << _BITS) - 1)).astype(np.int64), minlength=1 << _BITS)

        for part in over(histogram, stretches):
            counts += part
        from_above = np.cumsum(counts[::-1])
        steps = int(np.searchsorted(from_above, count))
        digit = len(counts) - 1 - steps
        inside = int(counts[digit])
        count -= int(from_above[steps]) - inside
        low |= digit << shift
    return low, low + (1 << shift) - 1, count
