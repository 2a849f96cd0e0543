from itertools import combinations, pairwise, product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ken.retention.statistics import Chance, chance, pairs, z_score


def count_by_definition(mask):
    """Half the sum over retained entries of their retained neighbours, above, below, left and right."""
    rows, n = mask.shape
    total = 0
    for i, j in zip(*np.nonzero(mask), strict=True):
        for k, m in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            total += 0 <= k < rows and 0 <= m < n and bool(mask[k, m])
    return total / 2


def every_mask(retained, n):
    """All masks with so many retained entries in each row; all are equally likely."""
    choices = [list(combinations(range(n), a)) for a in retained]
    for rows in product(*choices):
        mask = np.zeros((len(rows), n), bool)
        for row, places in zip(mask, rows, strict=True):
            row[list(places)] = True
        yield mask


@given(st.data())
def test_mean_and_variance_are_those_of_all_masks_together(data):
    n = data.draw(st.integers(1, 5))
    retained = data.draw(st.lists(st.integers(0, n), min_size=1, max_size=3 if n > 3 else 4))
    counts = np.array([pairs(mask) for mask in every_mask(retained, n)])
    expected = chance(retained, n)
    np.testing.assert_allclose(expected.mean, counts.mean(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(expected.variance, counts.var(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("a", range(8))
def test_one_longer_row(a):
    counts = np.array([pairs(mask) for mask in every_mask([a], 7)])
    assert chance([a], 7) == pytest.approx((counts.mean(), counts.var()))


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_pairs_are_counted_by_the_definition(rows, n, seed):
    mask = np.random.default_rng(seed).random((rows, n)) < 0.5
    assert pairs(mask) == count_by_definition(mask)


def test_a_long_row_loses_no_digits():
    n, a = 10**9, 5 * 10**8
    expected = chance([a], n)
    np.testing.assert_allclose(expected.mean, a * (a - 1) / n, rtol=1e-15)
    np.testing.assert_allclose(expected.variance, n / 16, rtol=1e-6)


def test_no_rows_no_entries_and_no_choice():
    assert chance([], 0) == chance([], 3) == chance([0], 1) == Chance(0.0, 0.0)
    assert chance([3, 3], 3) == Chance(7.0, 0.0)
    assert np.isnan(z_score(7, Chance(7.0, 0.0)))


def test_z_scores_of_many_random_masks_have_mean_0_and_deviation_1():
    rng = np.random.default_rng(0)
    retained = rng.integers(0, 31, 20)
    scores = []
    for _ in range(2000):
        mask = rng.permuted(np.arange(30) < retained[:, None], axis=1)
        scores.append(z_score(pairs(mask), chance(retained, 30)))
    assert abs(np.mean(scores)) < 4 / sqrt(2000)
    assert abs(np.std(scores) - 1) < 4 / sqrt(2 * 2000)


def test_a_checkerboard_has_no_pairs_and_blocks_have_many():
    board = np.indices((8, 8)).sum(axis=0) % 2 == 0
    blocks = np.arange(8) < 4
    assert z_score(pairs(board), chance(board.sum(axis=1), 8)) < -4
    assert z_score(pairs(np.tile(blocks, (8, 1))), chance([4] * 8, 8)) > 4
    assert all(a <= b for a, b in pairwise([0, pairs(board), pairs(np.tile(blocks, (8, 1)))]))
