"""The order of rows, and their k lowest, against numpy's stable sort."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ken.rules.sorted_order import first_lowest, sorted_order

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**-149])
SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=40)


@given(arrays(np.float64, SHAPES, elements=FLOATS))
def test_rows_that_fit_into_float32_have_the_order_of_a_stable_sort(rows):
    assert np.array_equal(sorted_order(rows), np.argsort(rows, axis=1, kind="stable"))


@given(arrays(np.float64, SHAPES, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_any_other_rows_are_sorted(rows):
    order = sorted_order(rows)
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(rows.shape[1]), (len(rows), 1)))
    assert (np.diff(np.take_along_axis(rows, order, axis=1)) >= 0).all() if np.abs(rows).max() < 1e307 else True


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 100, 8191, 8192, 8193, 65_536, 65_537])
def test_every_length_and_dtype(dtype, n):
    """Place and value share 32 bits up to 8,192 entries of float16 and 65,536 of bfloat16, and 64 bits beyond."""
    values = torch.from_numpy(np.random.default_rng(n).normal(0, 0.04, (3, n))).to(dtype)
    rows = values.double().numpy()
    assert np.array_equal(sorted_order(rows), np.argsort(rows, axis=1, kind="stable"))


@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, 2.0**-149, -(2.0**127)])
def test_constant_rows_are_in_order_already(value):
    assert sorted_order(np.full((2, 9), value)).tolist() == [list(range(9))] * 2


def test_values_beyond_float32_do_not_become_equal():
    rows = np.array([[1 + 2.0**-40, 1.0, 1 - 2.0**-40], [1e300, 1e299, 2e300]])
    assert sorted_order(rows).tolist() == [[2, 1, 0], [1, 0, 2]]


def _first(scores, k):
    mask = np.zeros(scores.shape, dtype=bool)
    np.put_along_axis(mask, np.argsort(scores, axis=1, kind="stable")[:, :k], True, axis=1)
    return mask


@given(
    arrays(
        np.float64, SHAPES, elements=st.integers(-3, 3).map(float) | st.sampled_from([np.inf, -np.inf, np.nan, -0.0])
    ),
    st.floats(0, 1),
)
def test_the_k_lowest_are_the_first_of_a_stable_sort(scores, share):
    k = max(1, round(share * scores.shape[1]))
    assert np.array_equal(first_lowest(scores, k), _first(scores, k))


@given(arrays(np.uint64, SHAPES, elements=st.integers(2**64 - 4, 2**64 - 1) | st.integers(0, 2)), st.floats(0, 1))
def test_the_k_lowest_whole_numbers(scores, share):
    k = max(1, round(share * scores.shape[1]))
    assert np.array_equal(first_lowest(scores, k), _first(scores, k))
