"""How many neighbours a retained entry would have by chance: the exact distribution, from the row counts alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def expected(retained: ArrayLike, n: int) -> NDArray[np.float64]:
    """Expected number of retained entries with 0, 1, 2, 3 and 4 retained neighbours, (5,) float64.

    retained: (rows,) whole numbers in [0, n], how many of a row's n entries are retained. The masks are random: every
    choice of that many places is equally likely, and rows are independent. Neighbours are left, right, above, below.

    It is exact. Let a row hold a of n entries, the one above it b, the one below it c. A place is retained with
    probability a/n. Given that, its two side neighbours are drawn without replacement from the other n − 1 places of
    the row, of which a − 1 are retained; those above and below are retained with probability b/n and c/n, whatever
    the row looks like. The first and the last place of a row have one side neighbour, the first and the last row
    none above or below. Expectations add up over places, dependent or not.

    >>> expected([1, 1], 2).tolist()
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
    found: NDArray[np.float64] = counts.sum(axis=1)
    return found
