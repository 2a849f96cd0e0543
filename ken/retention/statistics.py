"""How unevenly an amount is spread, and how often retained entries are neighbours, beside what chance would give."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


def gini(amounts: ArrayLike) -> float:
    """Gini coefficient of amounts (n,), none below 0: 0 if all are equal, 1 − 1/n if one has everything.

    Σᵢⱼ |xᵢ − xⱼ| / (2 n Σ x). NaN if there are none, or only zeros.

    >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 5])
    (0.0, 0.75)
    """
    x = np.sort(np.asarray(amounts, dtype=np.float64))
    total = float(x.sum())
    if not 0 < total < math.inf:
        return math.nan
    n = len(x)
    return max(0.0, float((np.arange(1 - n, n, 2) * (x / total)).sum()) / n)


def entropy(amounts: ArrayLike) -> float:
    """Entropy of amounts (n,), none below 0, as a share of the highest: 1 if all are equal, 0 if one has everything.

    −Σ p log p / log n with p = x / Σ x. NaN if there are fewer than two, or only zeros.

    >>> entropy([1, 1, 1, 1]), entropy([0, 0, 0, 5])
    (1.0, 0.0)
    """
    x = np.asarray(amounts, dtype=np.float64)
    total = float(x.sum())
    if len(x) < 2 or not 0 < total < math.inf:
        return math.nan
    p = x[x > 0] / total
    p = p[p > 0]
    return min(1.0, max(0.0, -float((p * np.log(p)).sum()) / math.log(len(x))))


class Chance(NamedTuple):
    """Mean and variance of a count under chance."""

    mean: float
    variance: float


def pairs(mask: NDArray[np.bool_]) -> int:
    """Pairs of neighbours in a mask (rows, n) that are both retained.

    Neighbours lie side by side in a row, or in the same column of two consecutive rows.

    >>> pairs(np.array([[True, True], [False, True]]))
    2
    """
    return int((mask[:, 1:] & mask[:, :-1]).sum() + (mask[1:] & mask[:-1]).sum())


def chance(retained: ArrayLike, n: int) -> Chance:
    """Exact mean and variance of `pairs` if every row holds so many retained entries, at places drawn at random.

    The rows are independent, all places of a row equally likely. Let row i hold a of n entries, and row i + 1 b. In a
    row, pairs = a − runs, and the number of runs of retained entries is hypergeometric (n, n − a + 1, a), so the pairs
    have mean a(a − 1)/n and variance a(a − 1)(n − a)(n − a + 1) / (n²(n − 1)). Between two rows the number of pairs is
    hypergeometric (n, a, b): mean ab/n, variance ab(n − a)(n − b) / (n²(n − 1)). And none of these numbers are
    correlated: given one of two rows whole, the expected pairs between them are ab/n whatever it looks like. So all
    variances add up.

    Args:
        retained: (rows,) whole numbers in [0, n], how many entries of each row are retained.
        n: Entries of a row.

    Returns:
        Mean and variance.

    Example:
        >>> chance([1, 1], 2)
        Chance(mean=0.5, variance=0.25)
    """
    a = np.asarray(retained, dtype=np.float64)
    mean = float((a * (a - 1)).sum() + (a[1:] * a[:-1]).sum()) / n if n else 0.0
    if n < 2:
        return Chance(mean, 0.0)
    inside = a * (a - 1) * (n - a) * (n - a + 1)
    between = a[1:] * a[:-1] * (n - a[1:]) * (n - a[:-1])
    return Chance(mean, float(inside.sum() + between.sum()) / n / n / (n - 1))


def z_score(count: float, expected: Chance) -> float:
    """How many standard deviations a count lies above what chance would give.

    Args:
        count: What was counted.
        expected: Mean and variance under chance.

    Returns:
        (count − mean) / standard deviation; NaN where chance leaves no choice.

    Example:
        >>> z_score(1, Chance(0.5, 0.25)), z_score(1, Chance(1.0, 0.0))
        (1.0, nan)
    """
    return (count - expected.mean) / math.sqrt(expected.variance) if expected.variance > 0 else math.nan


def expected_neighbours(retained: ArrayLike, n: int) -> NDArray[np.float64]:
    """Expected number of retained entries with 0, 1, 2, 3 and 4 retained neighbours, if masks are random.

    Every choice of that many places is equally likely, and rows are independent. Neighbours are left, right, above,
    below. It is exact. Let a row hold a of n entries, the one above it b, the one below it c. A place is retained with
    probability a/n. Given that, its two side neighbours are drawn without replacement from the other n − 1 places of
    the row, of which a − 1 are retained; those above and below are retained with probability b/n and c/n, whatever the
    row looks like. The first and the last place of a row have one side neighbour, the first and the last row none above
    or below. Expectations add up over places, dependent or not.

    Args:
        retained: (rows,) whole numbers in [0, n], how many entries of each row are retained.
        n: Entries of a row.

    Returns:
        (5,) float64.

    Example:
        >>> expected_neighbours([1, 1], 2).tolist()
        [1.0, 1.0, 0.0, 0.0, 0.0]
    """
    a = np.asarray(retained, dtype=np.float64)
    if not len(a) or n < 1:
        return np.zeros(5)
    none, two, one = np.zeros(len(a)), np.zeros(len(a)), np.zeros(len(a))
    if n > 2:
        pairs = (n - 1) * (n - 2)
        two = (a - 1) * (a - 2) / pairs
        none = (n - a) * (n - a - 1) / pairs
        one = 2 * (a - 1) * (n - a) / pairs
    sides = (n - 2) * np.array([none, one, two]) if n > 1 else np.array([np.ones(len(a)), none, none])
    if n > 1:
        sides += 2 * np.array([(n - a) / (n - 1), (a - 1) / (n - 1), np.zeros(len(a))])
    counts = np.zeros((5, len(a)))
    counts[:3] = sides * (a / n)  # a row without retained entries drops out here, whatever stands above
    for beside in (np.append(0.0, a[:-1] / n), np.append(a[1:] / n, 0.0)):
        counts[1:] = counts[1:] * (1 - beside) + counts[:-1] * beside
        counts[0] *= 1 - beside
    return counts.sum(axis=1)
