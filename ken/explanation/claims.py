"""Claims: what each grid point takes when its turn comes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Claim(NamedTuple):
    """What one grid point did when its turn came: step counts from 1, point and entry from 0."""

    step: int
    point: int
    at: float
    entry: int
    distance: float
    taken: tuple[int, ...]  #: nearer entries, which earlier points had claimed, nearest first


def claims_in_order(values: Array, order: NDArray[np.intp]) -> NDArray[np.intp]:
    """What each of the k grid points of a row (n,) claims when they are visited in that order (k,); k < n.

    >>> claims_in_order(np.array([0.0, 0.4, 0.5, 0.6, 1.0]), np.array([2, 1, 0])).tolist()
    [0, 2, 4]
    """
    from ken.rules.nearest_unclaimed import claim_row  # numba takes a second to import: only where it is used

    claimed = np.empty(len(order), np.int64)
    claim_row(np.ascontiguousarray(values), np.argsort(values), order.astype(np.int64), claimed)
    return claimed.astype(np.intp)
