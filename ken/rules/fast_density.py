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

from ken.density import LEVEL_BITS
from ken.models.compiling import njit
from ken.rules.prefix_sums import GAUSSIAN, densities_at, density_at

_SQRT_2PI = math.sqrt(2 * math.pi)
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7 = map(np.uint64, range(8))
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


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _gather(x, low, h, width, boxes, terms, moments):
    """The moments of each box: sums of powers of the distances to its centre in bandwidths, over factorials."""
    n = x.shape[0]
    moments[:boxes, :terms] = 0.0
    per_width, per_bandwidth = 1.0 / width, 1.0 / h
    i = 0
    while i < n:
        b = min(int((x[i] - low) * per_width), boxes - 1)
        centre = low + (b + 0.5) * width
        # Entries of a box lie together: the first moments are summed where no other entry waits for them.
        m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = 0.0
        while i < n and min(int((x[i] - low) * per_width), boxes - 1) == b:
            d = (x[i] - centre) * per_bandwidth
            square = d * d
            m0 += 1.0
            m1 += d
            m2 += square
            m3 += square * d
            v = square * square
            m4 += v
            m5 += v * d
            v *= square
            m6 += v
            v *= d
            m7 += v
            for p in range(8, terms):
                v *= d
                moments[b, p] += v
            i += 1
        moments[b, 0], moments[b, 1], moments[b, 2], moments[b, 3] = m0, m1, m2, m3
        moments[b, 4], moments[b, 5], moments[b, 6], moments[b, 7] = m4, m5, m6, m7
    factorial = 1.0
    for p in range(2, terms):
        factorial /= p
        for b in range(boxes):
            moments[b, p] *= factorial


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _tabulate(reach, s, step, terms, table):
    """Hermite functions at u = (t - reach - s/2) step for t up to 2 reach; those of -u are the same but for a sign."""
    last = 2 * reach
    half = (last + s) // 2 + 1  # from there on the table is its own mirror image
    for t in range(min(half, last + 1)):
        u = (t - reach - 0.5 * s) * step
        table[0, t] = math.exp(-0.5 * u * u)
        table[1, t] = u * table[0, t]
    for t in range(half, last + 1):
        mirrored = last + s - t
        table[0, t] = table[0, mirrored]
        table[1, t] = -table[1, mirrored]
    for p in range(1, terms - 1):
        before, now, after = table[p - 1], table[p], table[p + 1]
        for t in range(last + 1):
            after[t] = (t - reach - 0.5 * s) * step * now[t] - p * before[t]


@njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _add_box(moments, b, table, at, terms, out, first, last):
    """Add box b at grid points from first on and before last; their Hermite functions begin at `at` in the table.

    Unsigned places need no look at their sign and views of rows would be counted, either of which takes longer than to
    add.
    """
    start, begin, count = np.uint64(first), np.uint64(at), np.uint64(max(last - first, 0))
    a0, a1, a2, a3, a4, a5 = moments[b, 0], moments[b, 1], moments[b, 2], moments[b, 3], moments[b, 4], moments[b, 5]
    if terms == 6:
        for j in range(count):
            t = begin + j
            near = a0 * table[_P0, t] + a1 * table[_P1, t] + a2 * table[_P2, t]
            out[start + j] += near + (a3 * table[_P3, t] + a4 * table[_P4, t] + a5 * table[_P5, t])
        return
    a6, a7 = moments[b, 6], moments[b, 7]
    for j in range(count):
        t = begin + j
        near = a0 * table[_P0, t] + a1 * table[_P1, t] + a2 * table[_P2, t] + a3 * table[_P3, t]
        far = a4 * table[_P4, t] + a5 * table[_P5, t] + a6 * table[_P6, t] + a7 * table[_P7, t]
        out[start + j] += near + far
    for p in range(8, terms, 4):
        a0, a1, a2, a3 = moments[b, p], moments[b, p + 1], moments[b, p + 2], moments[b, p + 3]
        q = np.uint64(p)
        for j in range(count):
            t = begin + j
            near = a0 * table[q, t] + a1 * table[q + _P1, t]
            out[start + j] += near + (a2 * table[q + _P2, t] + a3 * table[q + _P3, t])


@njit(nogil=True, cache=True, error_model="numpy")
def expand(x, k, step, h, terms, cut, moments, table, out):
    """Approximate density at k even grid points; returns the bound on its error, or -1 if there is none.

    terms: 6, 8, 12 or 16, cut: bandwidths beyond which a box is left out; the bound follows from both.
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

    _gather(x, low, h, width, boxes, terms, moments)
    _tabulate(reach, s, unit / h, terms, table)

    out[:k] = 0.0
    for b in range(boxes):
        if moments[b, 0] == 0.0:
            continue
        first = max(0, -((reach - s * b) // m))
        last = min(k, (s * b + reach) // m + 1)
        shift = reach - s * b
        if m == 1:
            _add_box(moments, b, table, first + shift, terms, out, first, last)
        else:
            for p in range(0, terms, 2):
                a0, a1 = moments[b, p], moments[b, p + 1]
                for j in range(first, last):
                    t = m * j + shift
                    out[j] += a0 * table[p, t] + a1 * table[p + 1, t]

    scale = 1.0 / (n * _SQRT_2PI) / h
    for j in range(k):
        out[j] *= scale
    series = 1.0865 * (0.5 * width / h) ** terms / math.sqrt(math.gamma(terms + 1.0))
    # Rounding: of the sums, and of x and grid points against the bandwidth (|φ'| <= 0.61).
    rounding = 1e-13 + 16 * 2.3e-16 * (max(abs(low), abs(high)) + (high - low)) / h
    return n * scale * (series + math.exp(-0.5 * cut * cut) + rounding)


@njit(nogil=True, cache=True, error_model="numpy")
def levels(x, k, step, h, moments, table, level):
    """The level of each of the k grid points of one sorted row; returns the highest."""
    peak = 1.0 / _SQRT_2PI / h  # no density is higher
    # More terms where the densities are high or the points many, that few lie within the bound of a level boundary.
    terms, cut = 8, 6.2
    if 1.4e-5 * peak * k < 0.1:
        terms, cut = 6, 5.0
    elif 1e-7 * peak > 1e-2:
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
