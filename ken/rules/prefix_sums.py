"""The compiled sums behind densities: one point at a time, directly, or all sorted points of a row in one pass.

A direct sum leaves out nothing but zeros: beyond 40 bandwidths exp(-u²/2), beyond 750 exp(-u), is 0 in float64. A pass
goes over entries and points together, so that it costs the same for every bandwidth, and says how far it may be from
the density: of the exponential kernel a recursion, of those that end at one bandwidth sums up to each entry.
"""

from __future__ import annotations

import math

import numpy as np

from ken.density import KERNELS
from ken.models.compiling import njit

#: `ken.density.KERNEL_CODES` as names; left to right is no kernel, but an order of visiting.
LEFT_TO_RIGHT, GAUSSIAN, TOPHAT, EPANECHNIKOV, EXPONENTIAL, LINEAR, COSINE = range(-1, 6)
_INTEGRALS = np.array([integral for _, integral in KERNELS.values()])
#: From so many bandwidths on, a kernel is exactly 0 in float64.
_ENDS = np.array([40.0, 1.0, 1.0, 750.0, 1.0, 1.0])
_HALF_PI = math.pi / 2
_EPSILON = 2.3e-16


@njit(nogil=True, cache=True)
def _first_above(x, value, or_equal):
    """As `np.searchsorted` has it, which takes a second to compile: the first entry above a value, or equal to it."""
    low, high = 0, x.shape[0]
    while low < high:
        middle = (low + high) // 2
        if x[middle] < value or (x[middle] == value and not or_equal):
            low = middle + 1
        else:
            high = middle
    return low


@njit(nogil=True, cache=True)
def density_at(x, point, h, kernel):
    """The density at one point, summed directly; x: (n,) sorted."""
    n = x.shape[0]
    reach = _ENDS[kernel] * h
    # Values are floats and rounding keeps order: what is left out is further than the reach, however that is rounded.
    first = _first_above(x, point - reach, True)
    last = _first_above(x, point + reach, False)
    total = 0.0
    if kernel == GAUSSIAN:
        for i in range(first, last):
            u = (point - x[i]) / h
            total += math.exp(-0.5 * u * u)
    elif kernel == EXPONENTIAL:
        for i in range(first, last):
            total += math.exp(-abs(point - x[i]) / h)
    else:
        for i in range(first, last):
            u = abs(point - x[i]) / h
            if u >= 1.0:
                continue
            if kernel == TOPHAT:
                total += 1.0
            elif kernel == EPANECHNIKOV:
                total += 1.0 - u * u
            elif kernel == LINEAR:
                total += 1.0 - u
            else:
                total += math.cos(_HALF_PI * u)
    return total / (n * _INTEGRALS[kernel]) / h


@njit(nogil=True, cache=True, error_model="numpy")
def all_alike(x, h, kernel):
    """Whether the kernel is exactly 1 between any two entries of a sorted row, so that its density is one number."""
    u = (x[x.shape[0] - 1] - x[0]) / h
    if kernel == GAUSSIAN:
        return math.exp(-0.5 * u * u) == 1.0
    if kernel == EXPONENTIAL:
        return math.exp(-u) == 1.0
    if kernel == TOPHAT:
        return u < 1.0
    if kernel == EPANECHNIKOV:
        return 1.0 - u * u == 1.0
    return 1.0 - u == 1.0 if kernel == LINEAR else math.cos(_HALF_PI * u) == 1.0


@njit(nogil=True, cache=True, error_model="numpy")
def densities_at(x, points, h, kernel, out):
    """Densities at sorted points of all kernels but the Gaussian one.

    x: (n,) sorted. points: (m,) sorted, out: (m,). Returns the bounds on their errors: relative to each, and absolute;
    the first is -1 if there are none.
    """
    if not math.isfinite(1.0 / h):
        return -1.0, 0.0
    if kernel == EXPONENTIAL:
        return _exponential(x, points, h, out), 0.0
    if kernel != TOPHAT and not (x[x.shape[0] - 1] - x[0]) / h < 1e7:
        return -1.0, 0.0  # the sums would say nothing, and direct ones are short
    return 0.0, _ending(x, points, h, kernel, out)


@njit(nogil=True, cache=True, error_model="numpy")
def _exponential(x, points, h, out):
    """The exponential kernel; returns the bound on the relative error.

    What lies left of a point weighs there exp(-distance / h) of what it weighed at the point before; so on the
    right. Roundings add up along the row, as do those of the direct sum, from which this may differ by the bound.
    """
    n, m = x.shape[0], points.shape[0]
    low, high = x[0], x[n - 1]
    i, total, before = 0, 0.0, low
    for j in range(m):
        point = points[j]
        total *= math.exp((before - point) / h)
        while i < n and x[i] <= point:
            total += math.exp((x[i] - point) / h)
            i += 1
        out[j], before = total, point
    i, total, before = n - 1, 0.0, high
    scale = 1.0 / (n * _INTEGRALS[EXPONENTIAL]) / h
    for j in range(m - 1, -1, -1):
        point = points[j]
        total *= math.exp((point - before) / h)
        while i >= 0 and x[i] > point:
            total += math.exp((point - x[i]) / h)
            i -= 1
        out[j], before = (out[j] + total) * scale, point
    return _EPSILON * (4.0 * (n + m) + 16.0 * (high - low) / h)


@njit(nogil=True, cache=True, error_model="numpy")
def _ending(x, points, h, kernel, out):
    """Kernels that are 0 from one bandwidth on; returns the bound on the error.

    Within a bandwidth of a point lies a stretch of the sorted row, and the kernel is a sum of products of the place of
    the point and that of the entry: counts and sums up to each entry suffice. They are exact for the tophat. For the
    others at most n roundings of sums of n terms, each at most 1 + range / h, or the square of that, add up.
    """
    n, m = x.shape[0], points.shape[0]
    middle = x[0] + 0.5 * (x[n - 1] - x[0])
    # Sums over the first i entries of a(t) and b(t), t being the place of the entry in bandwidths.
    a, b = np.zeros(n + 1), np.zeros(n + 1)
    if kernel != TOPHAT:
        for i in range(n):
            t = (x[i] - middle) / h
            one, other = t, t * t
            if kernel == COSINE:
                one, other = math.cos(_HALF_PI * t), math.sin(_HALF_PI * t)
            a[i + 1], b[i + 1] = a[i] + one, b[i] + other
    first, here, last = 0, 0, 0
    for j in range(m):
        point = points[j]
        while first < n and x[first] < point and (point - x[first]) / h >= 1.0:
            first += 1
        while here < n and x[here] <= point:
            here += 1
        while last < n and not (x[last] > point and (x[last] - point) / h >= 1.0):
            last += 1
        t = (point - middle) / h
        count = float(last - first)
        if kernel == TOPHAT:
            total = count
        elif kernel == EPANECHNIKOV:
            total = count - (count * t * t - 2.0 * t * (a[last] - a[first]) + (b[last] - b[first]))
        elif kernel == LINEAR:
            left = (here - first) * t - (a[here] - a[first])
            right = (a[last] - a[here]) - (last - here) * t
            total = count - (left + right)
        else:
            total = math.cos(_HALF_PI * t) * (a[last] - a[first]) + math.sin(_HALF_PI * t) * (b[last] - b[first])
        out[j] = total / (n * _INTEGRALS[kernel]) / h
    if kernel == TOPHAT:
        return 0.0
    widest = 1.0 + (x[n - 1] - x[0]) / h
    if kernel == EPANECHNIKOV:
        widest *= widest
    return 2.0 * _EPSILON * (n + 16.0) * widest / _INTEGRALS[kernel] / h
