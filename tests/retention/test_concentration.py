import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ken.retention.statistics import entropy, gini

amounts = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e6)), min_size=2, max_size=30).filter(any)


@given(amounts)
def test_gini_is_half_the_relative_mean_difference(amounts):
    x = np.array(amounts)
    want = np.abs(x[:, None] - x).mean() / (2 * x.mean())
    np.testing.assert_allclose(gini(amounts), want, rtol=1e-9, atol=1e-12)


@given(amounts)
def test_entropy_is_that_of_scipy_over_its_highest_value(amounts):
    want = stats.entropy(amounts) / np.log(len(amounts))
    np.testing.assert_allclose(entropy(amounts), want, rtol=1e-9, atol=1e-12)


@given(amounts, st.floats(1e-3, 1e3), st.randoms(use_true_random=False))
def test_both_are_in_bounds_and_know_neither_unit_nor_order(amounts, factor, random):
    other = [x * factor for x in amounts]
    random.shuffle(other)
    for measure in (gini, entropy):
        assert 0 <= measure(amounts) <= 1
        np.testing.assert_allclose(measure(other), measure(amounts), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("amounts", [[], [0, 0, 0]])
def test_nothing_is_spread_in_no_way(amounts):
    assert np.isnan(gini(amounts))
    assert np.isnan(entropy(amounts))


def test_one_amount_has_no_entropy():
    assert gini([3]) == 0
    assert np.isnan(entropy([3]))
