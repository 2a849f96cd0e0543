"""Differences between two evaluations of the same items, and several of them judged together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating]


class Difference(NamedTuple):
    """The mean of differences, item by item.

    Attributes:
        mean: The mean.
        error: Its standard error; NaN for a single item.
        low: Where its interval begins.
        high: Where it ends.
        p: Of the hypothesis that there is no difference, two-sided.

    Example:
        >>> round(difference(np.array([1.0, 2.0, 3.0, 4.0])).low, 2)
        0.45
    """

    mean: float
    error: float
    low: float
    high: float
    p: float


NOTHING_KNOWN = Difference(math.nan, math.nan, low=math.nan, high=math.nan, p=math.nan)


def difference(differences: Values, confidence: float = 0.95, together: int = 1) -> Difference:
    """Of differences item by item: their mean, by Student's t.

    Args:
        differences: (items,).
        confidence: That all intervals of a family hold at once, at least.
        together: How many intervals are in the family; each is as wide as Bonferroni's bound asks for.

    Returns:
        Mean, standard error, interval, p.

    Example:
        >>> difference(np.zeros(3))
        Difference(mean=0.0, error=0.0, low=0.0, high=0.0, p=1.0)
    """
    from scipy import stats

    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return NOTHING_KNOWN._replace(mean=mean)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    if error == 0:  # all alike: no items tell anything but this
        return Difference(mean, 0.0, low=mean, high=mean, p=float(mean == 0))
    reach = float(stats.t.isf((1 - confidence) / 2 / together, n - 1)) * error
    return Difference(
        mean, error, low=mean - reach, high=mean + reach, p=float(2 * stats.t.sf(abs(mean) / error, n - 1))
    )


def sign_test(gained: int, lost: int) -> float:
    """The exact p of outcomes that changed: as many to the good as to the bad, if nothing changed (McNemar).

    Args:
        gained: Items that are right now and were wrong.
        lost: Items that are wrong now and were right.

    Returns:
        p, two-sided.

    Example:
        >>> sign_test(0, 5), sign_test(0, 0)
        (0.0625, 1.0)
    """
    from scipy import stats

    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """p-values of a family of hypotheses, so that 5 % of families at the most have a false finding (Holm 1979).

    Args:
        ps: One for each hypothesis; NaN for those of which nothing is known, which count for nothing.

    Returns:
        The adjusted ones, in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03, math.nan])
        [0.03, 0.06, 0.06, nan]
    """
    known = sorted((p, place) for place, p in enumerate(ps) if not math.isnan(p))
    adjusted, highest = [math.nan] * len(ps), 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        adjusted[place] = highest
    return adjusted
