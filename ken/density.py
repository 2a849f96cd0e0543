"""The kernel density estimate of a row: bandwidth, grid, density, level. Exact and vectorised.

Everything here is float64 and follows the definitions term by term. It is the reference for the compiled
loops in `ken.kernels`, and what the views draw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ken.errors import BudgetError, ValuesError

Array = NDArray[np.float64]

#: Levels are whole numbers up to 2**31; beyond that they keep 31 significant bits, see `levels`.
LEVEL_BITS = 31

# Entries times points that one vectorised evaluation may hold at once: 8 MB of float64.
_BLOCK = 1 << 20


def bandwidth(rows: Array) -> Array:
    """Normal-reference bandwidth of each row, ``(rows, n) -> (rows, 1)``, in units of the values.

    1.06 · std · n^(-1/5) with the population standard deviation (Silverman 1986, eq. 3.28; the constant of
    "Less is KEN", arXiv 2402.03142). A constant row gives 0: it has no density to speak of.

    Raises `ValuesError` if a row's range is beyond float64.

    >>> bandwidth(np.array([[-1.0, 1.0], [3.0, 3.0]])).round(4).tolist()
    [[0.9228], [0.0]]
    """
    rows = np.asarray(rows, dtype=np.float64)
    if rows.size == 0:
        return np.zeros((rows.shape[0], 1))
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        spread = high - low
        std = rows.std(axis=1, keepdims=True)
        if not np.isfinite(spread).all():
            row = int(np.flatnonzero(~np.isfinite(spread[:, 0]))[0])
            raise ValuesError(
                f"the range of a row must be below 1.8e308, got {low[row, 0]} to {high[row, 0]} in row {row}"
            )
        # Squares leave the range of float64 long before the values do: rescale those rows by a power of two.
        odd = ((spread < 1e-140) | (spread > 1e140)) & (spread > 0)
        if odd.any():
            some = odd[:, 0]
            exponent = np.frexp(spread[some])[1]
            scaled = np.ldexp(rows[some] - low[some], -exponent)
            std[some] = np.ldexp(scaled.std(axis=1, keepdims=True), exponent)
        width = 1.06 * std * rows.shape[1] ** -0.2
        # A row that is not constant has a bandwidth, be it the smallest number there is.
        return np.where(spread > 0, np.maximum(width, np.nextafter(0.0, 1.0)), 0.0)


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


def density(rows: Array, points: Array, bandwidths: Array) -> Array:
    """Gaussian kernel density of each row at its own points, ``(rows, n), (rows, m) -> (rows, m)``.

    f(g) = 1/(n h) Σ φ((g − x_i)/h), in 1/units of the values, with bandwidths h of shape ``(rows, 1)``, all
    above 0. Memory is bounded: long rows are evaluated a few points at a time.

    >>> density(np.array([[0.0]]), np.array([[0.0]]), np.array([[1.0]])).round(6).tolist()
    [[0.398942]]
    """
    rows, points = np.asarray(rows, dtype=np.float64), np.asarray(points, dtype=np.float64)
    if not (np.asarray(bandwidths) > 0).all():
        raise ValuesError(f"bandwidths must be above 0, got {float(np.min(bandwidths))}")
    entries = rows.shape[1]
    result = np.empty(points.shape)
    step = max(1, _BLOCK // max(1, entries))
    with np.errstate(under="ignore", over="ignore"):
        for row in range(rows.shape[0]):
            h = float(bandwidths[row, 0])
            for start in range(0, points.shape[1], step):
                u = (points[row, start : start + step, None] - rows[row]) / h
                u *= u
                u *= -0.5
                result[row, start : start + step] = np.exp(u, out=u).sum(axis=1)
            result[row] /= entries * np.sqrt(2 * np.pi)
            result[row] /= h
    return result


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
