import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import rows

from ken.density import bandwidth
from ken.retention.statistics import pairs
from ken.retention.tally_loop import COLUMN_COUNTS, COLUMN_SUMS, ROW_COUNTS, ROW_SUMS, empty, tally


def by_names(fine_tuned, pretrained, mask, above):
    arrays = empty(*mask.shape)
    tally(fine_tuned, pretrained, mask, above, *arrays)
    names = ROW_COUNTS, ROW_SUMS, COLUMN_COUNTS, COLUMN_SUMS
    return [dict(zip(columns, array.T, strict=True)) for columns, array in zip(names, arrays, strict=True)]


@given(rows(), st.integers(0, 2**32 - 1))
def test_moments_are_those_of_numpy_whatever_the_row(row, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((1, len(row))) < 0.5
    counts, sums, _, _ = by_names(row[None], np.zeros((1, len(row))), mask, mask[:0])
    # Of a narrow row far from 0 the mean is not exact, so neither is numpy's deviation from it.
    rounding = 1e-15 * np.abs(row).max()
    widths = 1.06 * sums["std"] * len(row) ** -0.2
    np.testing.assert_allclose(widths, bandwidth(row[None])[:, 0], rtol=1e-9, atol=rounding)
    if row.max() > row.min():
        # Units are taken out before powers are: rows may be narrow, far from 0, or huge.
        exact = (row - row.min()) / (row.max() - row.min())
        z = (exact - exact.mean()) / exact.std()
        np.testing.assert_allclose(sums["kurtosis"], np.mean(z**4) - 3, rtol=1e-8, atol=1e-8)
        sure = np.abs(np.abs(z) - 2) > 1e-9
        assert np.sum((np.abs(z) > 2) & sure) <= counts["tails"][0] <= np.sum((np.abs(z) > 2) | ~sure)
        assert np.sum((np.abs(z) > 2) & sure & mask[0]) <= counts["tails_retained"][0] <= counts["tails"][0]
    else:
        assert np.isnan(sums["kurtosis"][0])
        assert counts["tails"][0] == sums["std"][0] == 0


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_pairs_of_a_block_and_of_the_row_above_it(m, n, seed):
    mask = np.random.default_rng(seed).random((m + 1, n)) < 0.5
    zeros = np.zeros((m, n))
    with_above = by_names(zeros, zeros, mask[1:], mask[:1])[0]["pairs"].sum()
    without = by_names(zeros, zeros, mask[1:], mask[:0])[0]["pairs"].sum()
    assert without == pairs(mask[1:])
    assert with_above == pairs(mask) - pairs(mask[:1])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_counts_and_sums_of_rows_and_columns(m, n, seed):
    rng = np.random.default_rng(seed)
    fine_tuned, pretrained = rng.normal(size=(2, m, n))
    pretrained[rng.random((m, n)) < 0.3] = fine_tuned[0, 0]
    fine_tuned[0, :] = pretrained[0, :]
    mask = rng.random((m, n)) < 0.5
    update = fine_tuned - pretrained
    counts, sums, column_counts, column_sums = by_names(fine_tuned, pretrained, mask, mask[:0])
    for axis, counted, energies in ((1, counts, sums), (0, column_counts, column_sums)):
        assert counted["retained"].tolist() == mask.sum(axis=axis).tolist()
        assert counted["changed"].tolist() == (update != 0).sum(axis=axis).tolist()
        assert counted["retained_changed"].tolist() == ((update != 0) & mask).sum(axis=axis).tolist()
        np.testing.assert_allclose(energies["energy_retained"], (update**2 * mask).sum(axis=axis), rtol=1e-12)
        np.testing.assert_allclose(energies["energy_reset"], (update**2 * ~mask).sum(axis=axis), rtol=1e-12)


def test_entries_without_a_pretrained_value_are_left_out_whatever_they_hold():
    fine_tuned = np.array([[1.0, 2.0, 4.0], [np.nan, np.inf, 1.0]])
    pretrained = np.array([[0.0, 2.0, np.nan], [np.nan] * 3])
    counts, sums, columns, energies = by_names(fine_tuned, pretrained, np.ones((2, 3), bool), np.zeros((0, 3), bool))
    assert counts["paired"].tolist() == [2, 0]
    assert counts["paired_retained"].tolist() == [2, 0]
    assert counts["retained"].tolist() == [3, 3]
    assert counts["pairs"].tolist() == [1, 0]
    assert sums["std"].tolist() == [0.5, 0.0]
    assert energies["energy_retained"].tolist() == [1, 0, 0]
    assert columns["changed"].tolist() == [1, 0, 0]
