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

_SQRT_2PI = math.sqrt(2 * math.pi)
_LEVEL_LIMIT = 2.0**31  # as ken.density.LEVEL_BITS


@njit(nogil=True, cache=True, inline="always")
def _quantum(density):
    """The spacing of levels around a density: 1, or more beyond 2**31 (see `ken.density.levels`)."""
    if density < _LEVEL_LIMIT or not math.isfinite(density):
        return 1.0
    return math.ldexp(1.0, math.frexp(density)[1] - 31)


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


#: Kernels by number, in the order of `ken.density.KERNELS`; left to right is no kernel, but an order of visiting.
LEFT_TO_RIGHT, GAUSSIAN, TOPHAT, EPANECHNIKOV, EXPONENTIAL, LINEAR, COSINE = range(-1, 6)
_INTEGRALS = np.array([math.sqrt(2 * math.pi), 2.0, 4 / 3, 2.0, 1.0, 4 / math.pi])


@njit(nogil=True, cache=True)
def density_at(x, point, h, kernel):
    """The density at one point, summed directly; x: (n,) sorted."""
    total = 0.0
    if kernel == GAUSSIAN:
        for i in range(x.shape[0]):
            u = (point - x[i]) / h
            total += math.exp(-0.5 * u * u)
    elif kernel == EXPONENTIAL:
        for i in range(x.shape[0]):
            total += math.exp(-abs(point - x[i]) / h)
    else:
        for i in range(np.searchsorted(x, point - h), x.shape[0]):
            u = abs(point - x[i]) / h
            if u >= 1.0:
                if x[i] > point:
                    break
                continue
            if kernel == TOPHAT:
                total += 1.0
            elif kernel == EPANECHNIKOV:
                total += 1.0 - u * u
            elif kernel == LINEAR:
                total += 1.0 - u
            else:
                total += math.cos(math.pi / 2 * u)
    return total / (x.shape[0] * _INTEGRALS[kernel]) / h


@njit(nogil=True, cache=True, error_model="numpy")
def expand(x, k, step, h, terms, cut, moments, table, out):
    """Approximate density at k even grid points; returns the bound on its error, or -1 if there is none.

    x: (n,) sorted. moments: (boxes, 16), table: (16, offsets): scratch. out: (k,).
    """
    n = x.shape[0]
    low, high = x[0], x[n - 1]
    half = 0.5 * h
    if not 1e-6 < half / step < 1e6:  # no bandwidth of a rule is that far from the range of the row
        return -1.0
    # A box is s units wide, a grid step m units; one of the two is 1, so that both lattices agree.
    s, m = 1, 1
    if step <= half:
        s = int(half / step)
    else:
        m = math.ceil(step / half)
    unit = step / m
    width = s * unit
    boxes = (k - 1) * m // s + 1
    reach = int(min(float((k - 1) * m), math.ceil(cut * h / unit))) + s
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
    n = x.shape[0]
    low, high = x[0], x[n - 1]
    peak = 1.0 / _SQRT_2PI / h  # no density is higher
    # More terms where the densities are high, that few points lie within the bound of a level boundary.
    terms, cut = 8, 6.5
    if 1e-7 * peak > 1e-2:
        terms, cut = 16, 8.3
    bound = -1.0
    if math.isfinite(peak) and step > 0.0:
        bound = expand(x, k, step, h, terms, cut, moments, table, level)
    highest = 0.0
    for j in range(k):
        f = level[j]
        if bound >= 0.0 and f < _LEVEL_LIMIT:
            below = math.floor(f)
            beyond = f - below - 0.5
            if abs(beyond) > bound:
                level[j] = below + 1.0 if beyond > 0.0 else below
                highest = max(highest, level[j])
                continue
        level[j] = _level(density_at(x, point_at(j, k, low, high, step), h, GAUSSIAN))
        highest = max(highest, level[j])
    return highest


@njit(nogil=True, cache=True, inline="always")
def _level(density):
    q = _quantum(density)
    return np.rint(density / q) * q


@njit(nogil=True, cache=True, error_model="numpy")
def levels_of_other_kernels(x, k, step, h, kernel, level):
    """The same for the other kernels: the sums of most are short, and that of the exponential one is a recursion."""
    low, high = x[0], x[-1]
    bound = _exponential(x, k, step, h, level) if kernel == EXPONENTIAL else -1.0
    highest = 0.0
    for j in range(k):
        f = level[j]
        if bound >= 0.0 and f < _LEVEL_LIMIT:
            below = math.floor(f)
            beyond = f - below - 0.5
            if abs(beyond) > bound * f:
                level[j] = below + 1.0 if beyond > 0.0 else below
                highest = max(highest, level[j])
                continue
        level[j] = _level(density_at(x, point_at(j, k, low, high, step), h, kernel))
        highest = max(highest, level[j])
    return highest


@njit(nogil=True, cache=True, error_model="numpy")
def _exponential(x, k, step, h, out):
    """Density of the exponential kernel at the grid points; returns the bound on its relative error.

    What lies left of a grid point weighs there exp(-distance / h) of what it weighed at the point before; so on the
    right. Roundings add up along the row, as do those of the direct sum, from which this may differ by the bound.
    """
    n = x.shape[0]
    low, high = x[0], x[n - 1]
    i, total, before = 0, 0.0, low
    for j in range(k):
        point = point_at(j, k, low, high, step)
        total *= math.exp((before - point) / h)
        while i < n and x[i] <= point:
            total += math.exp((x[i] - point) / h)
            i += 1
        out[j], before = total, point
    i, total, before = n - 1, 0.0, high
    scale = 1.0 / (n * _INTEGRALS[EXPONENTIAL]) / h
    for j in range(k - 1, -1, -1):
        point = point_at(j, k, low, high, step)
        total *= math.exp((point - before) / h)
        while i >= 0 and x[i] > point:
            total += math.exp((point - x[i]) / h)
            i -= 1
        out[j], before = (out[j] + total) * scale, point
    return 2.3e-16 * (4.0 * (n + k) + 16.0 * (high - low) / h)


@njit(nogil=True, cache=True, error_model="numpy")
def row_levels(x, k, h, kernel):
    """The levels of the k grid points of one sorted row that is not constant, as `claim_rows` finds them; k > 1."""
    n = x.shape[0]
    level = np.zeros(k)
    step = (x[n - 1] - x[0]) / (k - 1)
    if kernel == GAUSSIAN:
        moments = np.empty((int(4 * math.sqrt(2.0 * n) * n**0.2) + 16, 16))
        levels(x, k, step, h, moments, np.empty((16, 3 * k + 96)), level)
    else:
        levels_of_other_kernels(x, k, step, h, kernel, level)
    return level
