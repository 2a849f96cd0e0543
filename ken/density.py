"""The kernel density estimate of a row: grid, density, level (its bandwidth: `ken.density`). Exact and vectorised.

Everything here is float64 and follows the definitions term by term. It is the reference for the compiled
loops in `ken.rules.fast_density`, and what the views draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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

#: Kernel -> its number in compiled loops.
KERNEL_CODES = {name: code for code, name in enumerate(KERNELS)}

# Entries times points that one vectorised evaluation may hold at once: 512 kB of float64, which stay in the cache.
_BLOCK = 1 << 16


def grid(rows: Array, k: int) -> Array:
    """The k evenly spaced points from each row's minimum to its maximum, with the arithmetic of `numpy.linspace`.

    Args:
        rows: Values, (rows, n).
        k: Number of points, at least 1.

    Returns:
        The points, (rows, k) float64, both ends included; for k = 1 the minimum alone.

    Raises:
        BudgetError: k is below 1.

    Example:
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
    """Kernel density of each row at its own points: f(g) = 1/(n h) Σ K(|g − x_i|/h).

    Memory is bounded: long rows are evaluated a few points at a time.

    Args:
        rows: Values, (rows, n).
        points: Where to evaluate the density, (rows, m).
        bandwidths: h for each row, (rows, 1), above 0, in units of the values.
        kernel: One of `KERNELS`.

    Returns:
        The densities, (rows, m) float64, in 1/units of the values.

    Raises:
        ValuesError: A bandwidth is not above 0.
        RuleError: There is no such kernel.

    Example:
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
    """See that there is a kernel of that name.

    Args:
        name: The name.

    Raises:
        RuleError: There is none.

    Example:
        >>> check_kernel("linear")
    """
    if name not in KERNELS:
        raise RuleError(f"kernel must be one of {', '.join(KERNELS)}; got {name!r}")


def levels(densities: Array) -> Array:
    """Densities rounded to whole numbers, half to even: the order in which grid points are visited.

    Above 2**31 rounding to whole numbers would rank points by the last bits of float64, which differ between
    machines; there the level keeps 31 significant bits instead. Only rows with a standard deviation below
    2e-10 or so come near.

    Args:
        densities: Densities, of any shape.

    Returns:
        The levels, float64 in the same shape.

    Example:
        >>> levels(np.array([0.5, 1.5, 2.4])).tolist()
        [0.0, 2.0, 2.0]
    """
    densities = np.asarray(densities, dtype=np.float64)
    exponent = np.frexp(np.where(np.isfinite(densities), densities, 0.0))[1]
    shift = np.maximum(exponent - LEVEL_BITS, 0)
    return np.ldexp(np.rint(np.ldexp(densities, -shift)), shift)


# --- bandwidths: rules from a row to a width, in units of the values

#: The rule of "Less is KEN".
NORMAL_REFERENCE = "normal reference"


def bandwidth(rows: Array, rule: str | float = NORMAL_REFERENCE) -> Array:
    """Bandwidth of each row.

    The rules are

    - "normal reference": 1.06 · σ · n^(-1/5) with the population standard deviation (Silverman 1986, eq. 3.28; the
      constant of "Less is KEN", arXiv 2402.03142)
    - "scott": s · n^(-1/5) with the sample standard deviation (Scott 1992, as scipy's `gaussian_kde`)
    - "silverman": 0.9 · min(s, IQR/1.34) · n^(-1/5) (Silverman 1986, eq. 3.31); s alone if the IQR is 0
    - "isj": improved Sheather-Jones (Botev, Grotowski & Kroese 2010), from the package KDEpy, which the extra `isj`
      installs. For rows of several modes; slow. Of short rows, or of few different values, it often finds none: such a
      row has that of the normal reference (`widths` says which).

    Args:
        rows: Values, (rows, n).
        rule: One of these, or a number above 0: the bandwidth of all rows that are not constant.

    Returns:
        The bandwidths, (rows, 1) float64, in units of the values; 0 for a constant row.

    Raises:
        ValuesError: The range of a row is beyond float64.
        RuleError: There is no such rule.

    Example:
        >>> bandwidth(np.array([[-1.0, 1.0], [3.0, 3.0]])).round(4).tolist()
        [[0.9228], [0.0]]
        >>> bandwidth(np.array([[-1.0, 1.0], [3.0, 3.0]]), 0.5).tolist()
        [[0.5], [0.0]]
    """
    return widths(rows, rule).bandwidths


class Widths(NamedTuple):
    """Bandwidths, and where a rule found none.

    Args:
        bandwidths: The bandwidth of each row, (rows, 1) float64.
        stood_in: Whether it is that of the normal reference as the rule found none, (rows,) bool.

    Example:
        >>> widths(np.array([[-1.0, 1.0]]), 0.5)
        Widths(bandwidths=array([[0.5]]), stood_in=array([False]))
    """

    bandwidths: Array
    stood_in: NDArray[np.bool_]


def widths(rows: Array, rule: str | float = NORMAL_REFERENCE) -> Widths:
    """Bandwidth of each row, and of which rows the rule found none; the rest is as in `bandwidth`.

    Args:
        rows: Values, (rows, n).
        rule: A rule, or a number.

    Returns:
        The bandwidths, and where the normal reference stands in.

    Example:
        >>> widths(np.array([[0.0, 2.0]]), "scott").stood_in.tolist()
        [False]
    """
    rows = np.asarray(rows, dtype=np.float64)
    bandwidths = _widths(rows, rule)
    stood_in = np.isnan(bandwidths[:, 0])
    if stood_in.any():
        bandwidths[stood_in] = _widths(rows[stood_in], NORMAL_REFERENCE)
    return Widths(bandwidths, stood_in)


def _widths(rows: Array, rule: str | float) -> Array:
    """As `bandwidth`; NaN where the rule finds none."""
    find = _estimator(rule)
    if rows.size == 0:
        return np.zeros((rows.shape[0], 1))
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        spread = high - low
        if not np.isfinite(spread).all():
            row = int(np.flatnonzero(~np.isfinite(spread[:, 0]))[0])
            raise ValuesError(
                f"the range of a row must be below 1.8e308, got {low[row, 0]} to {high[row, 0]} in row {row}"
            )
        width = find(rows)
        # Squares leave the range of float64 long before the values do: rescale those rows by a power of two.
        odd = ((spread < 1e-140) | (spread > 1e140)) & (spread > 0)
        if odd.any() and not isinstance(rule, Real):
            some = odd[:, 0]
            exponent = np.frexp(spread[some])[1]
            width[some] = np.ldexp(find(np.ldexp(rows[some] - low[some], -exponent)), exponent)
        # A row that is not constant has a bandwidth, be it the smallest number there is.
        return np.where(spread > 0, np.maximum(width, np.nextafter(0.0, 1.0)), 0.0)


def check_bandwidth(rule: str | float) -> None:
    """See that there is such a bandwidth rule, and that the package that it needs is installed.

    Args:
        rule: A rule, or a number.

    Raises:
        RuleError: It is neither, or the package is not installed.

    Example:
        >>> check_bandwidth(0.5)
    """
    _estimator(rule)
    if rule == "isj":
        _improved_sheather_jones()


def _estimator(rule: str | float) -> Callable[[Array], Array]:
    if isinstance(rule, Real) and not isinstance(rule, bool):
        if not (math.isfinite(rule) and rule > 0):
            raise RuleError(f"a bandwidth must be a finite number above 0, got {rule}")
        return lambda rows: np.full((rows.shape[0], 1), float(rule))
    if not isinstance(rule, str) or rule not in BANDWIDTHS:
        raise RuleError(f"bandwidth must be a number or one of {', '.join(BANDWIDTHS)}; got {rule!r}")
    return BANDWIDTHS[rule]


def _normal_reference(rows: Array) -> Array:
    return np.asarray(1.06 * rows.std(axis=1, keepdims=True) * rows.shape[1] ** -0.2)


def _sample_std(rows: Array) -> Array:
    n = rows.shape[1]
    return np.asarray(rows.std(axis=1, keepdims=True) * math.sqrt(n / (n - 1)) if n > 1 else np.zeros((len(rows), 1)))


def _scott(rows: Array) -> Array:
    return np.asarray(_sample_std(rows) * rows.shape[1] ** -0.2)


def _silverman(rows: Array) -> Array:
    s = _sample_std(rows)
    low, high = np.percentile(rows, [25, 75], axis=1, keepdims=True)
    between = (high - low) / 1.34
    return np.asarray(0.9 * np.where(between > 0, np.minimum(s, between), s) * rows.shape[1] ** -0.2)


# A row's range in KDEpy: from 12 on, the margin of its mesh is relative to the range.
_ISJ_RANGE = 16.0


def _improved_sheather_jones() -> Callable[[Array], float]:
    try:
        from KDEpy.bw_selection import improved_sheather_jones
    except ImportError as error:
        raise RuleError(f"the bandwidth rule isj needs KDEpy: pip install 'ken-pruning[isj]' ({error})") from None
    return improved_sheather_jones


def _isj(rows: Array) -> Array:
    find = _improved_sheather_jones()
    widths = np.full((len(rows), 1), np.nan)
    for row, values in enumerate(rows):
        scale = float(np.ptp(values))
        if not 1e-140 < scale < 1e140:
            widths[row] = 0.0  # constant, or about to be rescaled
            continue
        with suppress(ValueError, ArithmeticError):  # what it raises where it finds no root
            # It has limits in units of the values, so it is given every row at the same scale.
            width = scale / _ISJ_RANGE * float(find((_ISJ_RANGE * (values - values.min()) / scale)[:, None]))
            widths[row] = width if 0 < width < math.inf else math.nan
    return widths


#: Rules by name.
BANDWIDTHS: dict[str, Callable[[Array], Array]] = {
    NORMAL_REFERENCE: _normal_reference,
    "scott": _scott,
    "silverman": _silverman,
    "isj": _isj,
}
