"""The compiled loop behind the rules `ken` and `grid`: a sorted row in, a mask out.

"Nearest unclaimed entry" is a union-find over the sorted distinct values: every value points to the nearest one on its
left, and on its right, that still has unclaimed entries. The levels come from `ken.rules.fast_density`.
"""

from __future__ import annotations

import numpy as np

from ken.models.compiling import njit
from ken.rules.fast_density import levels, levels_of_other_kernels, most_boxes, point_at
from ken.rules.prefix_sums import LEFT_TO_RIGHT

_COUNTING = 4096  # levels up to here are sorted by counting
_AS_GIVEN = -2  # beside LEFT_TO_RIGHT


@njit(nogil=True, cache=True, inline="always")
def _find(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


# Groups up to this size are sorted by insertion, which for them is several times as quick as the general sort.
_FEW = 24


@njit(nogil=True, cache=True)
def _sort(index, first, stop):
    """Sort a stretch in place, by a heap; numba's own sort takes longer to compile than most of this file."""
    count = stop - first
    for end in range(count + count // 2 - 1, 0, -1):
        if end >= count:  # the heap grows from its leaves
            parent, size = end - count, count
        else:  # the highest goes to the end
            parent, size = 0, end
            index[first], index[first + end] = index[first + end], index[first]
        while 2 * parent + 1 < size:
            child = 2 * parent + 1
            if child + 1 < size and index[first + child] < index[first + child + 1]:
                child += 1
            if index[first + parent] >= index[first + child]:
                break
            index[first + parent], index[first + child] = index[first + child], index[first + parent]
            parent = child


@njit(nogil=True, cache=True)
def _group(row, order, x, index, value, start):
    """Sort out equal values: value and start of each group (from 1), entries of a group by index."""
    n = row.shape[0]
    groups, by_index = 1, True
    before, entry_before = row[order[0]], order[0]
    x[0], index[0], value[1], start[1], start[2] = before, entry_before, before, 0, 1
    for i in range(1, n):
        entry = order[i]
        v = row[entry]
        x[i] = v
        index[i] = entry
        by_index &= (v != before) | (entry > entry_before)
        groups += v != before
        value[groups] = v  # written again for each of its entries, which takes less than to ask
        start[groups + 1] = i + 1
        before, entry_before = v, entry
    if not by_index:
        for g in range(1, groups + 1):
            first, stop = start[g], start[g + 1]
            if stop - first > _FEW:
                _sort(index, first, stop)
                continue
            for i in range(first + 1, stop):  # in bfloat16 most groups are of two to five
                entry, j = index[i], i
                while j > first and index[j - 1] > entry:
                    index[j] = index[j - 1]
                    j -= 1
                index[j] = entry
    return groups


@njit(nogil=True, cache=True, error_model="numpy")
def _place(value, groups, k, low, high, step, place):
    """Where each grid point falls among the groups: place[j] is the first group that is not below point j."""
    per_step = 1.0 / step
    if k == 1 or not 0.0 < per_step < np.inf:
        g = 1
        for j in range(k):
            point = point_at(j, k, low, high, step)
            while g <= groups and value[g] < point:
                g += 1
            place[j] = g
        return
    # The grid is even, so a group knows its cell, to within a rounding error; to merge both is to guess at every step.
    for j in range(k):
        place[j] = 0
    last = k - 1
    for g in range(1, groups + 1):
        v = value[g]
        j = min(int((v - low) * per_step) + 1, last)
        while j > 0 and (high if j - 1 == last else (j - 1) * step + low) > v:
            j -= 1
        while j < k and (high if j == last else j * step + low) <= v:
            j += 1
        if j < k:
            place[j] += 1
    g = 1
    for j in range(k):
        g += place[j]
        place[j] = g


@njit(nogil=True, cache=True)
def _visiting_order(level, k, highest, counts, visit):
    """Grid points by level, highest first, within a level from left to right."""
    if highest < _COUNTING:
        top = int(highest)
        counts[: top + 2] = 0
        for j in range(k):
            counts[top - int(level[j]) + 1] += 1
        for q in range(top + 1):
            counts[q + 1] += counts[q]
        for j in range(k):
            q = top - int(level[j])
            visit[counts[q]] = j
            counts[q] += 1
    else:
        _highest_first(level, k, visit)


@njit(nogil=True, cache=True)
def _highest_first(level, k, visit):
    """Grid points by level, by merges of neighbouring stretches; numba's argsort takes seconds to compile."""
    room = np.empty(k, np.int64)
    for j in range(k):
        visit[j] = j
    length = 1
    while length < k:
        for first in range(0, k - length, 2 * length):
            middle, stop = first + length, min(first + 2 * length, k)
            if level[visit[middle - 1]] >= level[visit[middle]]:
                continue  # as it is wherever the density falls
            i, j = first, middle
            for at in range(first, stop):
                if j == stop or (i < middle and level[visit[i]] >= level[visit[j]]):
                    room[at] = visit[i]
                    i += 1
                else:
                    room[at] = visit[j]
                    j += 1
            for at in range(first, stop):
                visit[at] = room[at]
        length *= 2


@njit(nogil=True, cache=True)
def claim_rows(rows, order, bandwidths, k, kernel, mask):
    """Mark, for each row, the k entries that the k grid points claim.

    rows: (m, n) float64, finite. order: (m, n) indices that sort each row. bandwidths: (m,) float64.
    1 <= k < n. kernel: GAUSSIAN: visit grid points by level (rule `ken`), or LEFT_TO_RIGHT (rule `grid`).
    mask: (m, n) bool, all False on entry; exactly k of every row are True on return.
    """
    _claim_rows(rows, order, bandwidths, k, kernel, None, np.empty(k, np.int64), np.empty(k, np.int64), mask)


@njit(nogil=True, cache=True)
def claim_rows_of_other_kernels(rows, order, bandwidths, k, kernel, mask):
    """The same for the other kernels, which most processes need not compile."""
    _claim_rows(rows, order, bandwidths, k, kernel, True, np.empty(k, np.int64), np.empty(k, np.int64), mask)


@njit(nogil=True, cache=True)
def claim_row(row, order, visit, claimed):
    """What each grid point claims when those of one row are visited in the order that is given.

    row: (n,) float64, finite, not constant. order: (n,) indices that sort it. visit: (k,) int64, each number below k
    once; k < n. claimed: (k,) int64; on return the entry of each grid point.
    """
    n = row.shape[0]
    mask = np.zeros((1, n), np.bool_)
    _claim_rows(row.reshape(1, n), order.reshape(1, n), row[:1], visit.shape[0], _AS_GIVEN, None, visit, claimed, mask)


@njit(nogil=True, cache=True, error_model="numpy")
def _claim_rows(rows, order, bandwidths, k, kernel, others, visit, claimed, mask):
    """All of the above. visit, claimed: (k,) int64; of the last row, the order and the claims.

    others: None where no other kernel than the Gaussian one is asked for: what is behind it is not compiled then.
    """
    m, n = rows.shape
    x = np.empty(n)
    index = np.empty(n, np.int32)  # half as wide, all of it stays in the cache for rows twice as long
    value = np.empty(n + 2)
    start = np.zeros(n + 2, np.int32)
    unclaimed = np.empty(n + 2, np.int32)  # of each group, the place of its first entry that is
    left = np.empty(n + 2, np.int32)
    right = np.empty(n + 2, np.int32)
    place = np.empty(k, np.int32)
    level = np.zeros(k)
    counts = np.empty(_COUNTING + 2, np.int64)
    moments = np.empty((most_boxes(n), 16))
    table = np.empty((16, 3 * k + 96))

    for r in range(m):
        groups = _group(rows[r], order[r], x, index, value, start)
        if groups == 1:
            mask[r, :k] = True
            continue
        low, high = x[0], x[n - 1]
        step = (high - low) / (k - 1) if k > 1 else 0.0
        if kernel == _AS_GIVEN:
            pass
        elif kernel != LEFT_TO_RIGHT and k > 1:
            if others is None:
                highest = levels(x, k, step, bandwidths[r], moments, table, level)
            else:
                highest = levels_of_other_kernels(x, k, step, bandwidths[r], kernel, level)
            _visiting_order(level, k, highest, counts, visit)
        else:
            for j in range(k):
                visit[j] = j

        _place(value, groups, k, low, high, step, place)
        # Two values may be equally far from a grid point in float64 though they differ: only if this close.
        close = False
        nearly = (high - low) * 2.0**-51
        for g in range(1, groups):
            if value[g + 1] - value[g] <= nearly:
                close = True
        for g in range(groups + 2):
            left[g] = g
            right[g] = g
            unclaimed[g] = start[g]

        for t in range(k):
            j = visit[t]
            point = point_at(j, k, low, high, step)
            a = place[j] - 1
            if left[a] != a:
                a = _find(left, a)
            b = place[j]
            if right[b] != b:
                b = _find(right, b)
            best = a
            if a == 0:
                best = b
            elif b <= groups:
                to_left, to_right = point - value[a], value[b] - point
                best = b if to_right < to_left else a  # no jump: which of the two it is cannot be guessed
                if to_right == to_left and index[unclaimed[b]] < index[unclaimed[a]]:
                    best = b
            if close:
                distance = abs(value[best] - point)
                c = a
                while c > 0 and point - value[c] == distance:
                    if index[unclaimed[c]] < index[unclaimed[best]]:
                        best = c
                    c = _find(left, c - 1)
                c = b
                while c <= groups and value[c] - point == distance:
                    if index[unclaimed[c]] < index[unclaimed[best]]:
                        best = c
                    c = _find(right, c + 1)
            first = unclaimed[best]
            entry = index[first]
            mask[r, entry] = True
            claimed[j] = entry
            unclaimed[best] = first + 1
            done = first + 1 == start[best + 1]
            left[best] = best - done
            right[best] = best + done
