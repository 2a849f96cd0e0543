"""How two models are related, in numbers: the size of the update, and the correlation of their values.

The sums are taken from the pass that prunes, a stretch at a time, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Norms and the correlation are kept to so many digits: the last ones depend on how a processor adds.
_DIGITS = 7
# Fewer entries in fewer matrices prove nothing, whatever their correlation: tensors made up for a trial are unrelated.
_LEAST_ENTRIES, _LEAST_MATRICES = 20_000, 4
# Fine-tuned models correlate with their pretrained one at 0.9 and more, and strangers at less than 0.01.
_UNRELATED = 0.1


@dataclass(frozen=True, slots=True)
class Relation:
    """Two models in numbers, over all pruned entries that have a pretrained value.

    entries: how many those are. update, fine_tuned, pretrained: root of the sum of squares of the update, and of the
    values of either model; None if that is beyond float64. matrices: how many pruned tensors have two dimensions or
    more, and matrix_entries, how many entries. correlation: of the values of those, each tensor about its own means;
    None if the values of either are all equal.
    """

    entries: int = 0
    update: float | None = None
    fine_tuned: float | None = None
    pretrained: float | None = None
    matrices: int = 0
    matrix_entries: int = 0
    correlation: float | None = None

    @property
    def size(self) -> float | None:
        """The norm of the update in units of that of the pretrained values; None if that is 0 or not known."""
        return self.update / self.pretrained if self.update is not None and self.pretrained else None

    @property
    def unrelated(self) -> bool:
        """Whether the values have so little in common that neither model can have been made from the other."""
        enough = self.matrices >= _LEAST_MATRICES and self.matrix_entries >= _LEAST_ENTRIES
        return enough and self.correlation is not None and self.correlation < _UNRELATED

    def __str__(self) -> str:
        size = "" if self.size is None else f"{100 * self.size:.3g} % of the pretrained values (norms)"
        alike = "" if self.correlation is None else f"matrices correlate at {_cut(self.correlation)}"
        return ", ".join(filter(None, [size, alike])) or "not known"


#: As wide as any relation can be written: to reserve room for one.
WIDEST = Relation(2**53 - 1, *(1.000001e-300,) * 3, 2**53 - 1, 2**53 - 1, -1.000001e-300)


def _cut(correlation: float) -> str:
    """Cut off, not rounded: 1 is said of equal values alone."""
    return f"{math.trunc(correlation * 10_000) / 10_000:g}"


class _Stretch(NamedTuple):
    """What is added up of some entries x (fine-tuned) and y (pretrained)."""

    entries: int
    x: float
    y: float
    xx: float
    yy: float
    xy: float


@dataclass(slots=True)
class Sums:
    """Gathers the sums of all tensors; any thread may add to it.

    >>> sums = Sums()
    >>> sums.add("w", True, np.array([[3.0, 1.0]]), np.array([[1.0, 3.0]]))
    >>> relation = sums.relation()
    >>> round(relation.update**2), relation.correlation
    (8, -1.0)
    """

    _parts: dict[tuple[str, bool], list[_Stretch]] = field(default_factory=dict)

    def add(self, name: str, matrix: bool, fine_tuned: NDArray[np.float64], pretrained: NDArray[np.float64]) -> None:
        """Take in some entries of a tensor, as many of one model as of the other; matrix: it has rows and columns."""
        x, y = fine_tuned.reshape(-1), pretrained.reshape(-1)
        with np.errstate(all="ignore"):
            # Not `dot`, which starts threads of its own beside those that prune.
            products = (float(np.einsum("i,i", *pair)) for pair in ((x, x), (y, y), (x, y)))
            stretch = _Stretch(x.size, float(x.sum()), float(y.sum()), *products)
        self._parts.setdefault((name, matrix), []).append(stretch)

    def condensed(self) -> list[tuple[str, bool, list[tuple[float, ...]]]]:
        """The same in a few numbers for each tensor, from which exactly the same relation follows: see `include`."""
        return [(name, matrix, _condensed(parts)) for (name, matrix), parts in self._parts.items()]

    def include(self, name: str, matrix: bool, numbers: Iterable[Sequence[float]]) -> None:
        """Take in what `condensed` of others gives.

        >>> one, all_of_it = Sums(), Sums()
        >>> one.add("w", True, np.array([3.0, 1.0]), np.array([1.0, 3.0]))
        >>> for name, matrix, numbers in one.condensed():
        ...     all_of_it.include(name, matrix, numbers)
        >>> all_of_it.relation() == one.relation()
        True
        """
        stretches = (_Stretch(int(entries), *sums) for entries, *sums in numbers)
        self._parts.setdefault((name, matrix), []).extend(stretches)

    def relation(self) -> Relation:
        """What they amount to, whatever the order in which they came."""
        xx, yy, xy = self._added((part for parts in self._parts.values() for part in parts), ("xx", "yy", "xy"))
        update, fine_tuned, pretrained = (_norm(square) for square in (xx + yy - 2 * xy, xx, yy))
        matrices = [parts for (_, matrix), parts in self._parts.items() if matrix]
        return Relation(
            entries=sum(part.entries for parts in self._parts.values() for part in parts),
            update=update,
            fine_tuned=fine_tuned,
            pretrained=pretrained,
            matrices=len(matrices),
            matrix_entries=sum(part.entries for parts in matrices for part in parts),
            correlation=self._correlation(matrices),
        )

    @staticmethod
    def _added(parts: Iterable[_Stretch], names: tuple[str, ...]) -> list[float]:
        parts = list(parts)
        return [_sum(getattr(part, name) for part in parts) for name in names]

    def _correlation(self, matrices: Iterable[list[_Stretch]]) -> float | None:
        about_means = []
        for parts in matrices:
            count = sum(part.entries for part in parts)
            x, y, xx, yy, xy = self._added(parts, ("x", "y", "xx", "yy", "xy"))
            if count:
                about_means.append((xx - x * x / count, yy - y * y / count, xy - x * y / count))
        spread_x, spread_y, common = (_sum(sums[i] for sums in about_means) for i in range(3))
        product = math.sqrt(spread_x) * math.sqrt(spread_y) if spread_x > 0 and spread_y > 0 else math.nan
        # What is left of equal values is a rounding error.
        scale = _sum(square for parts in matrices for part in parts for square in (part.xx, part.yy))
        if not (math.isfinite(product) and product > 1e-14 * scale and math.isfinite(common)):
            return None
        return _rounded(min(1.0, max(-1.0, common / product)))


def _condensed(parts: Sequence[_Stretch]) -> list[tuple[float, ...]]:
    """Stretches of the same exact sums: fewer, unless a sum is beyond float64."""
    parts = sorted(parts)  # threads bring them in any order, and the numbers must not depend on it
    exact = [_exactly(getattr(part, name) for part in parts) for name in _Stretch._fields[1:]]
    if not all(math.isfinite(number) for numbers in exact for number in numbers):
        return [tuple(part) for part in parts]
    entries = [float(sum(part.entries for part in parts))]
    return list(zip_longest(entries, *exact, fillvalue=0.0))


def _exactly(values: Iterable[float]) -> list[float]:
    """A few numbers with exactly the same sum, unrounded (Shewchuk 1997, "Adaptive precision arithmetic").

    >>> _exactly([1e16, 1.0, 1.0, -1e16])
    [2.0]
    """
    partials: list[float] = []
    for value in values:
        kept = []
        for partial in partials:
            large, small = (value, partial) if abs(value) >= abs(partial) else (partial, value)
            value = large + small
            if lost := small - (value - large):
                kept.append(lost)
        partials = [*kept, value] if value else kept
    return partials


def _sum(values: Iterable[float]) -> float:
    """Rounded once, and so the same in any order; NaN for what is beyond float64."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.nan


def _norm(square: float) -> float | None:
    return _rounded(math.sqrt(max(square, 0.0))) if math.isfinite(square) else None


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
