"""What stands in the compiled loops in place of numba's own sorts and searches, against numpy's; and long ties."""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ken import rules
from ken.rules import nearest_unclaimed, prefix_sums

NUMBERS = st.lists(st.integers(-5, 5), min_size=1, max_size=70)


@given(NUMBERS, st.data())
def test_a_stretch_is_sorted_in_place_and_nothing_beside_it(numbers, data):
    index = np.array(numbers, np.int32)
    first = data.draw(st.integers(0, index.size), label="first")
    stop = data.draw(st.integers(first, index.size), label="stop")
    expected = index.copy()
    expected[first:stop].sort()
    nearest_unclaimed._sort(index, first, stop)
    np.testing.assert_array_equal(index, expected)


@given(NUMBERS, st.integers(0, 3))
def test_grid_points_come_by_level_and_from_left_to_right_within_one(numbers, beyond):
    level = np.array(numbers + [9] * beyond, np.float64)
    k = len(numbers)
    visit = np.full(level.size, -1, np.int64)
    nearest_unclaimed._highest_first(level, k, visit)
    np.testing.assert_array_equal(visit[:k], np.argsort(-level[:k], kind="stable"))
    assert (visit[k:] == -1).all()


@given(NUMBERS, st.integers(-6, 6))
def test_entries_are_found_as_numpy_finds_them(numbers, value):
    x = np.sort(np.array(numbers, np.float64))
    assert prefix_sums._first_above(x, float(value), True) == np.searchsorted(x, value)
    assert prefix_sums._first_above(x, float(value), False) == np.searchsorted(x, value, side="right")


@pytest.mark.parametrize("rule", ["ken", "grid"])
@pytest.mark.parametrize("n", [60, 300])
def test_long_ties_of_values_that_float32_cannot_hold_go_by_index(rule, n):
    """Their order comes from a sort that leaves equal values in any order."""
    row = np.random.default_rng(n).integers(-2, 3, n) / 3
    definition = {"ken": oracles.published_rule, "grid": oracles.grid_rule}[rule]
    for k in (1, n // 3, n - 1):
        np.testing.assert_array_equal(rules.retain(row, k, rule), definition(row, k))


@pytest.mark.parametrize("kernel", ["epanechnikov", "tophat"])
def test_left_to_right_is_the_same_whatever_the_kernel(kernel):
    rows = np.random.default_rng(0).normal(size=(3, 50))
    np.testing.assert_array_equal(rules.retain(rows, 20, "grid", kernel=kernel), rules.retain(rows, 20, "grid"))
    assert not np.array_equal(rules.retain(rows, 20, "density", kernel=kernel), rules.retain(rows, 20, "density"))
