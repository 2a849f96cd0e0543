"""The compiled loop behind the rule `density`: which entries lie where the density of their row is highest.

An entry's density is needed only where it decides. Densities on a lattice of eight points a bandwidth come from the
expansion of `ken.rules.fast_density`, those between by interpolation through six points; both have a bound. The sixth
derivative of a density is at most 15 φ(0) / h⁷, the product |s(s-1)...(s-5)| at most 16.9 on [0, 5], and the sum of the
absolute weights at most 3.11 there. Entries that lie within the bound of the k-th highest are summed directly.
"""

from __future__ import annotations

import math

import numpy as np

from ken.models.compiling import njit
from ken.rules.fast_density import expand, most_boxes
from ken.rules.prefix_sums import GAUSSIAN, all_alike, densities_at, density_at

_PEAK = 1 / math.sqrt(2 * math.pi)
_A_BANDWIDTH = 8  # lattice points
_TERMS, _CUT = 16, 8.3


@njit(nogil=True, cache=True, error_model="numpy")
def _approximate(x, h, moments, table, lattice, out):
    """Densities at the entries of a sorted row; returns the bound on their error, or -1 if there is none."""
    low, high = x[0], x[-1]
    if not (high - low) / h < (lattice.shape[0] - 8) / _A_BANDWIDTH or not h > 1e-290:
        return -1.0
    points = max(6, math.ceil(_A_BANDWIDTH * (high - low) / h) + 1)
    step = (high - low) / (points - 1)
    bound = expand(x, points, step, h, _TERMS, _CUT, moments, table, lattice) if step > 0.0 else -1.0
    if bound < 0.0:
        return -1.0
    for i in range(x.shape[0]):
        at = (x[i] - low) / step
        first = min(max(int(at) - 2, 0), points - 6)
        s = at - first
        a0, a1, a2, a3, a4, a5 = s, s - 1, s - 2, s - 3, s - 4, s - 5
        out[i] = (
            -lattice[first] * a1 * a2 * a3 * a4 * a5 / 120
            + lattice[first + 1] * a0 * a2 * a3 * a4 * a5 / 24
            - lattice[first + 2] * a0 * a1 * a3 * a4 * a5 / 12
            + lattice[first + 3] * a0 * a1 * a2 * a4 * a5 / 12
            - lattice[first + 4] * a0 * a1 * a2 * a3 * a5 / 24
            + lattice[first + 5] * a0 * a1 * a2 * a3 * a4 / 120
        )
    return 3.2 * bound + (16.9 * 15 / 720 * (step / h) ** 6 + 1e-11) * _PEAK / h


@njit(nogil=True, cache=True, error_model="numpy")
def densest_rows(rows, order, bandwidths, k, kernel, mask):
    """Mark, for each row, the k entries of highest density; of equally high ones those that come first.

    rows: (m, n) float64, finite. order: (m, n) indices that sort each row. bandwidths: (m,) float64. 1 <= k < n.
    mask: (m, n) bool, all False on entry; exactly k of every row are True on return.
    """
    m, n = rows.shape
    x = np.empty(n)
    sorted_density = np.empty(n)
    density = np.empty(n)
    moments = np.empty((most_boxes(n), 16))
    table = np.empty((16, 256))
    lattice = np.empty(max(1 << 14, 2 * n))
    unsure = np.empty(n, np.int64)

    for r in range(m):
        h = bandwidths[r]
        for i in range(n):
            x[i] = rows[r, order[r, i]]
        if x[0] == x[n - 1] or all_alike(x, h, kernel):
            mask[r, :k] = True
            continue
        if kernel == GAUSSIAN:
            bound = _approximate(x, h, moments, table, lattice, sorted_density)
        else:
            relative, absolute = densities_at(x, x, h, kernel, sorted_density)
            bound = relative * sorted_density.max() + absolute if relative >= 0.0 else -1.0
        if bound < 0.0:
            for i in range(n):
                if i > 0 and x[i] == x[i - 1]:
                    sorted_density[i] = sorted_density[i - 1]
                else:
                    sorted_density[i] = density_at(x, x[i], h, kernel)
        for i in range(n):
            density[order[r, i]] = sorted_density[i]
        threshold = np.partition(sorted_density, n - k)[n - k]
        margin = 2 * max(bound, 0.0)
        sure, count = 0, 0
        for i in range(n):
            if density[i] > threshold + margin:
                mask[r, i] = True
                sure += 1
            elif density[i] >= threshold - margin:
                unsure[count] = i
                count += 1
        if bound > 0.0 and sure + count > k:
            for j in range(count):
                density[unsure[j]] = density_at(x, rows[r, unsure[j]], h, kernel)
        best = np.argsort(-density[unsure[:count]], kind="mergesort")
        for j in range(k - sure):
            mask[r, unsure[best[j]]] = True
