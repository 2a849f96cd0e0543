"""The compiled loop that counts what was retained: one block of rows in, its sums by row and by column out."""

from __future__ import annotations

import math

import numpy as np

from ken.models.compiling import njit

#: Columns of a block's counts by row, and of its sums by row.
ROW_COUNTS = (
    *("paired", "retained", "paired_retained", "changed", "retained_changed", "tails", "tails_retained", "pairs"),
)
ROW_SUMS = ("energy_retained", "energy_reset", "std", "kurtosis")
#: The same by column.
COLUMN_COUNTS = ("retained", "changed", "retained_changed")
COLUMN_SUMS = ("energy_retained", "energy_reset")


@njit(nogil=True, cache=True, error_model="numpy")
def tally(fine_tuned, pretrained, mask, above, counts, sums, column_counts, column_sums):
    """Add up one block of m rows of n entries.

    fine_tuned, pretrained: (m, n) float64; NaN where there is no pretrained value, at the end of a row or in all of
    it. mask: (m, n) bool. above: (1, n) bool, the mask of the row before, or (0, n). counts: (m, 8) int64, sums:
    (m, 4) float64, column_counts: (n, 3) int64, column_sums: (n, 2) float64, all zeros on entry; see the names above.
    """
    m, n = fine_tuned.shape
    for r in range(m):
        x, before, kept = fine_tuned[r], pretrained[r], mask[r]
        up = mask[r - 1] if r > 0 else above[0] if above.shape[0] else kept
        has_up = r > 0 or above.shape[0] > 0
        paired = retained = paired_retained = changed = retained_changed = pairs = 0
        inside = outside = 0.0
        low, high, total = math.inf, -math.inf, 0.0
        for j in range(n):
            is_kept = kept[j]
            retained += is_kept
            column_counts[j, 0] += is_kept
            if math.isnan(before[j]):
                continue
            update = x[j] - before[j]
            square = update * update
            is_changed = update != 0.0
            paired += 1
            changed += is_changed
            column_counts[j, 1] += is_changed
            low, high = min(low, x[j]), max(high, x[j])
            if is_kept:
                paired_retained += 1
                retained_changed += is_changed
                column_counts[j, 2] += is_changed
                inside += square
                column_sums[j, 0] += square
                if j > 0 and kept[j - 1]:
                    pairs += 1
                if has_up and up[j]:
                    pairs += 1
            else:
                outside += square
                column_sums[j, 1] += square
        counts[r, 0], counts[r, 1], counts[r, 2] = paired, retained, paired_retained
        counts[r, 3], counts[r, 4], counts[r, 7] = changed, retained_changed, pairs
        sums[r, 0], sums[r, 1] = inside, outside
        sums[r, 3] = math.nan
        if paired == 0 or low == high:
            continue
        # In units of the range: squares of very small and very large values would leave float64.
        half = 1.0 if math.isfinite(high - low) else 0.5
        spread = high * half - low * half
        for j in range(paired):
            total += (x[j] * half - low * half) / spread
        mean = total / paired
        second = fourth = 0.0
        for j in range(paired):
            d = (x[j] * half - low * half) / spread - mean
            second += d * d
            fourth += d * d * d * d
        second /= paired
        beyond = 2.0 * math.sqrt(second)
        sums[r, 2] = math.sqrt(second) * spread / half
        sums[r, 3] = fourth / paired / (second * second) - 3.0
        tails = tails_retained = 0
        for j in range(paired):
            if abs((x[j] * half - low * half) / spread - mean) > beyond:
                tails += 1
                tails_retained += kept[j]
        counts[r, 5], counts[r, 6] = tails, tails_retained
    return None


def empty(rows: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Zeros for `tally` to add to: counts and sums by row, counts and sums by column."""
    return (
        np.zeros((rows, len(ROW_COUNTS)), np.int64),
        np.zeros((rows, len(ROW_SUMS))),
        np.zeros((n, len(COLUMN_COUNTS)), np.int64),
        np.zeros((n, len(COLUMN_SUMS))),
    )
