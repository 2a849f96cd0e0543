"""The kernel density estimate of a row: grid, density, level (its bandwidth: `ken.bandwidths`). Exact and vectorised.

Everything here is float64 and follows the definitions term by term. It is the reference for the compiled
loops in `ken.kernels`, and what the views draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ken.bandwidths import bandwidth as bandwidth
from ken.errors import BudgetError, RuleError, ValuesError

Array = NDArray[np.float64]

#: Levels are whole numbers up to 2**31; beyond that they keep 31 significant bits, see `levels`.
LEVEL_BITS = 31

#: Kernel -> its shape at u = |g - x| / h, and the integral of that. They are those of sklearn's KernelDensity; all but
#: the first and "exponential" are 0 from u = 1 on.
KERNELS: dict[str, tuple[Callable[[Array], Array], float]] = {
    "gaussian": (lambda u: np.exp(-0.5 * u * u), math.sqrt(2 * math.pi)),
    "tophat": (lambda u: np.where(u < 1, 1.0, 0.0), 2.0),
    "epanechnikov": (lambda u: np.where(u < 1, 1 - u * u, 0.0), 4 / 3),
    "exponential": (lambda u: np.exp(-u), 2.0),
    "linear": (lambda u: np.where(u < 1, 1 - u, 0.0), 1.0),
    "cosine": (lambda u: np.where(u < 1, np.cos(np.pi / 2 * np.minimum(u, 1)), 0.0), 4 / math.pi),
}

# Entries times points that one vectorised evaluation may hold at once: 512 kB of float64, which stay in the cache.
_BLOCK = 1 << 16


def grid(rows: Array, k: int) -> Array:
    """The k evenly spaced points from each row's minimum to its maximum, ``(rows, n) -> (rows, k)``.

    Both ends are included; for k = 1 the grid is the minimum alone. The arithmetic is that of
    `numpy.linspace` on each row by itself.

    >>> grid(np.array([[2.0, 0.0, 1.0]]), 5).tolist()
    [[0.0, 0.5, 1.0, 1.5, 2.0]]
    """
    if k < 1:
        raise BudgetError(f"k must be at least 1, got {k}")
    rows = np.asarray(rows, dtype=np.float64)
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    if k == 1:
        return low
    spread = high - low
    with np.errstate(under="ignore"):
        step = spread / (k - 1)
        place = np.arange(k, dtype=np.float64)
        points = np.where(step > 0, place * step, place / (k - 1) * spread) + low
    points[:, -1:] = high
    return points


def density(rows: Array, points: Array, bandwidths: Array, kernel: str = "gaussian") -> Array:
    """Kernel density of each row at its own points, ``(rows, n), (rows, m) -> (rows, m)``.

    f(g) = 1/(n h) Σ K(|g − x_i|/h), in 1/units of the values, with bandwidths h of shape ``(rows, 1)``, all
    above 0, and one of `KERNELS`. Memory is bounded: long rows are evaluated a few points at a time.

    >>> density(np.array([[0.0]]), np.array([[0.0]]), np.array([[1.0]])).round(6).tolist()
    [[0.398942]]
    >>> density(np.array([[0.0, 3.0]]), np.array([[0.5]]), np.array([[1.0]]), "linear").tolist()
    [[0.25]]
    """
    rows, points = np.asarray(rows, dtype=np.float64), np.asarray(points, dtype=np.float64)
    if not (np.asarray(bandwidths) > 0).all():
        raise ValuesError(f"bandwidths must be above 0, got {float(np.min(bandwidths))}")
    check_kernel(kernel)
    shape, integral = KERNELS[kernel]
    entries = rows.shape[1]
    result = np.empty(points.shape)
    step = max(1, _BLOCK // max(1, entries))
    with np.errstate(under="ignore", over="ignore"):
        for row in range(rows.shape[0]):
            h = float(bandwidths[row, 0])
            for start in range(0, points.shape[1], step):
                u = np.abs(points[row, start : start + step, None] - rows[row]) / h
                result[row, start : start + step] = shape(u).sum(axis=1)
            result[row] /= entries * integral
            result[row] /= h
    return result


def check_kernel(name: str) -> None:
    """Raise `RuleError` unless there is a kernel of that name."""
    if name not in KERNELS:
        raise RuleError(f"kernel must be one of {', '.join(KERNELS)}; got {name!r}")


def levels(densities: Array) -> Array:
    """Densities rounded to whole numbers, half to even: the order in which grid points are visited.

    Above 2**31 rounding to whole numbers would rank points by the last bits of float64, which differ between
    machines; there the level keeps 31 significant bits instead. Only rows with a standard deviation below
    2e-10 or so come near.

    >>> levels(np.array([0.5, 1.5, 2.4])).tolist()
    [0.0, 2.0, 2.0]
    """
    densities = np.asarray(densities, dtype=np.float64)
    exponent = np.frexp(np.where(np.isfinite(densities), densities, 0.0))[1]
    shift = np.maximum(exponent - LEVEL_BITS, 0)
    return np.ldexp(np.rint(np.ldexp(densities, -shift)), shift)
