"""The compiled loops behind densities: a sorted row in, the levels of its grid points out.

Only the level of a grid point matters, its density rounded to a whole number. Entries are gathered into boxes at most
half a bandwidth wide; each box is expanded in Hermite functions around its centre (the fast Gauss transform of
Greengard & Strain 1991). By Cramér's inequality |He_p(u)| exp(-u²/4) ≤ 1.0865 √p!, so cutting the series after p terms
costs at most 1.0865 |d|^p / √p! per entry, d being the distance to the centre in bandwidths. Grid points whose density
lies within that bound (plus those of the cut-off tail and of rounding) of a level boundary are summed again, directly.
The grid is even, so the Hermite functions depend on (grid point − box) alone: one small table a row.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ken.density import LEVEL_BITS
from ken.rules.prefix_sums import GAUSSIAN, densities_at, density_at

_SQRT_2PI = math.sqrt(2 * math.pi)
_LEVEL_LIMIT = 2.0**LEVEL_BITS


@njit(nogil=True, cache=True, inline="always")
def _quantum(density):
    """The spacing of levels around a density: 1, or more beyond 2**31 (see `ken.density.levels`)."""
    if density < _LEVEL_LIMIT or not math.isfinite(density):
        return 1.0
    return math.ldexp(1.0, math.frexp(density)[1] - LEVEL_BITS)


@njit(nogil=True, cache=True, inline="always")
def point_at(j, k, low, high, step):
    """Grid point j, with the arithmetic of `ken.density.grid`."""
    if j == k - 1 and k > 1:
        return high
    if step > 0.0:
        return j * step + low
    if k > 1:
        return j / (k - 1) * (high - low) + low
    return low


@njit(nogil=True, cache=True, error_model="numpy")
def expand(x, k, step, h, terms, cut, moments, table, out):
    """Approximate density at k even grid points; returns the bound on its error, or -1 if there is none.

    x: (n,) sorted. moments: (boxes, 16), table: (16, offsets): scratch. out: (k,).
    """
    n = x.shape[0]
    low, high = x[0], x[n - 1]
    half = 0.5 * h
    if not (half / step > 1e-6 and math.isfinite(1.0 / h)):
        return -1.0
    # A box is s units wide, a grid step m units; one of the two is 1, so that both lattices agree. Of a bandwidth much
    # wider than the row, boxes are a half of the row.
    s, m = 1, 1
    if step <= half:
        s = int(min(half / step, max(1.0, 0.5 * k)))
    else:
        m = math.ceil(step / half)
    unit = step / m
    width = s * unit
    boxes = (k - 1) * m // s + 1
    reach = math.ceil(min(float((k - 1) * m), cut * h / unit)) + s  # the least first: numba's ceil is an int64
    # Near the smallest numbers 1 / width overflows, and rounding is no longer relative: the bound would not hold.
    if boxes > moments.shape[0] or 2 * reach + 1 > table.shape[1] or not unit > 1e-290:
        return -1.0

    moments[:boxes, :terms] = 0.0
    for i in range(n):
        b = min(int((x[i] - low) * (1.0 / width)), boxes - 1)
        d = (x[i] - (low + (b + 0.5) * width)) * (1.0 / h)
        v = 1.0
        for p in range(terms):
            moments[b, p] += v
            v *= d
    factorial = 1.0
    for p in range(2, terms):
        factorial *= p
        for b in range(boxes):
            moments[b, p] /= factorial

    for t in range(2 * reach + 1):
        u = (t - reach - 0.5 * s) * unit / h
        g = math.exp(-0.5 * u * u)
        before, now = 0.0, 1.0
        for p in range(terms):
            table[p, t] = now * g
            before, now = now, u * now - p * before

    out[:k] = 0.0
    for b in range(boxes):
        if moments[b, 0] == 0.0:
            continue
        first = max(0, -((reach - s * b) // m))
        last = min(k, (s * b + reach) // m + 1)
        shift = reach - s * b
        for p in range(0, terms, 4):
            a0, a1, a2, a3 = moments[b, p], moments[b, p + 1], moments[b, p + 2], moments[b, p + 3]
            if m == 1:
                t0, t1 = first + shift, last + shift
                r0, r1 = table[p, t0:t1], table[p + 1, t0:t1]
                r2, r3 = table[p + 2, t0:t1], table[p + 3, t0:t1]
                o = out[first:last]
                for j in range(last - first):
                    o[j] += a0 * r0[j] + a1 * r1[j] + a2 * r2[j] + a3 * r3[j]
            else:
                for j in range(first, last):
                    t = m * j + shift
                    out[j] += a0 * table[p, t] + a1 * table[p + 1, t] + a2 * table[p + 2, t] + a3 * table[p + 3, t]

    scale = 1.0 / (n * _SQRT_2PI) / h
    for j in range(k):
        out[j] *= scale
    series = 1.0865 * (0.5 * width / h) ** terms / math.sqrt(factorial * terms)
    # Rounding: of the sums, and of x and grid points against the bandwidth (|φ'| <= 0.61).
    rounding = 1e-13 + 16 * 2.3e-16 * (max(abs(low), abs(high)) + (high - low)) / h
    return n * scale * (series + math.exp(-0.5 * cut * cut) + rounding)


@njit(nogil=True, cache=True, error_model="numpy")
def levels(x, k, step, h, moments, table, level):
    """The level of each of the k grid points of one sorted row; returns the highest."""
    peak = 1.0 / _SQRT_2PI / h  # no density is higher
    # More terms where the densities are high, that few points lie within the bound of a level boundary.
    terms, cut = 8, 6.5
    if 1e-7 * peak > 1e-2:
        terms, cut = 16, 8.3
    bound = -1.0
    if math.isfinite(peak) and step > 0.0:
        bound = expand(x, k, step, h, terms, cut, moments, table, level)
    return _rounded(x, k, step, h, GAUSSIAN, 0.0 if bound >= 0.0 else -1.0, bound, level)


@njit(nogil=True, cache=True, error_model="numpy")
def _rounded(x, k, step, h, kernel, relative, absolute, level):
    """Densities to levels: those within their bound of a level boundary are summed again; returns the highest.

    level: (k,), the densities on entry. relative, absolute: the bound on their errors; relative -1: there is none.
    """
    low, high = x[0], x[x.shape[0] - 1]
    highest = 0.0
    for j in range(k):
        f = level[j]
        if relative == 0.0 and absolute == 0.0:
            level[j] = _level(f)
            highest = max(highest, level[j])
            continue
        if relative >= 0.0 and math.isfinite(f):
            quantum = _quantum(f)
            below = math.floor(f / quantum)
            beyond = f / quantum - below - 0.5
            if abs(beyond) * quantum > relative * f + absolute:
                level[j] = quantum * (below + 1.0 if beyond > 0.0 else max(below, 0.0))
                highest = max(highest, level[j])
                continue
        level[j] = _level(density_at(x, point_at(j, k, low, high, step), h, kernel))
        highest = max(highest, level[j])
    return highest


@njit(nogil=True, cache=True, inline="always")
def _level(density):
    q = _quantum(density)
    return np.rint(density / q) * q


@njit(nogil=True, cache=True, error_model="numpy")
def levels_of_other_kernels(x, k, step, h, kernel, level):
    """The same for the other kernels, whose densities come from one pass over the row."""
    low, high = x[0], x[-1]
    points = np.empty(k)
    for j in range(k):
        points[j] = point_at(j, k, low, high, step)
    relative, absolute = densities_at(x, points, h, kernel, level)
    return _rounded(x, k, step, h, kernel, relative, absolute, level)


@njit(nogil=True, cache=True)
def most_boxes(n):
    """How many boxes there is room for: as the normal reference rule needs, and for far narrower bandwidths.

    The population std of a row is at least its range / √(2n), which bounds the number of such bandwidths in it. Where a
    bandwidth is too narrow for this room, direct sums are short.
    """
    return max(int(4 * math.sqrt(2.0 * n) * n**0.2) + 16, min(4 * n, 1 << 16))


@njit(nogil=True, cache=True, error_model="numpy")
def row_levels(x, k, h, kernel):
    """The levels of the k grid points of one sorted row that is not constant, as `claim_rows` finds them; k > 1."""
    n = x.shape[0]
    level = np.zeros(k)
    step = (x[n - 1] - x[0]) / (k - 1)
    if kernel == GAUSSIAN:
        moments = np.empty((most_boxes(n), 16))
        levels(x, k, step, h, moments, np.empty((16, 3 * k + 96)), level)
    else:
        levels_of_other_kernels(x, k, step, h, kernel, level)
    return level
