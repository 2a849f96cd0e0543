"""How unevenly an amount is spread: Gini coefficient and entropy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


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
