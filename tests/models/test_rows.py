import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import shapes

from ken.errors import BudgetError
from ken.models.pairing.rows import CUTS, row_budget, row_shape
from ken.pruning.selection import Selection


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((), (1, 1)),
        ((7,), (1, 7)),
        ((3, 5), (3, 5)),
        ((8, 512, 64), (8 * 512, 64)),  # stacked experts
        ((32, 16, 3), (32, 48)),  # the kernel of a 1-D convolution
        ((64, 3, 7, 7), (64, 147)),
        ((2, 3, 4, 5, 6), (2, 360)),
        ((0,), (0, 0)),
        ((4, 0), (0, 0)),
    ],
)
def test_row_shape(shape, rows):
    assert row_shape(shape) == rows


@given(shapes())
def test_rows_hold_every_entry_once(shape):
    rows, n = row_shape(shape)
    assert rows * n == math.prod(shape)


@given(st.integers(1, 5000), st.floats(0.001, 1.0))
def test_a_share_retains_between_one_entry_and_all(n, share):
    assert 1 <= row_budget(share, n) <= n
    assert abs(row_budget(share, n) - share * n) <= max(0.5, 1 - share * n)


def test_numpy_numbers_are_numbers():
    assert row_budget(np.int64(5), 8) == 5
    assert row_budget(np.float32(0.5), 8) == 4


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "k must be at least 1, got 0"),
        (-3, "k must be at least 1, got -3"),
        (0.0, "above 0 and at most 1, got 0.0"),
        (1.5, "above 0 and at most 1, got 1.5"),
        (math.nan, "above 0 and at most 1, got nan"),
        (True, "must be an int, a float or a mapping, got True"),
        ("half", "must be an int, a float or a mapping, got 'half'"),
        ({}, "at least one pattern"),
        ({"*": {"*": 1}}, "must be a number, got a mapping"),
    ],
)
def test_impossible_budgets_are_refused(k, message):
    with pytest.raises(BudgetError, match=message.replace(".", r"\.").replace("*", r"\*")):
        Selection(k)


def test_an_impossible_budget_in_a_mapping_names_its_pattern():
    with pytest.raises(BudgetError, match="got 0") as caught:
        Selection({"*.bias": 3, "*.query.*": 0})
    assert caught.value.__notes__ == ["in the budget for pattern '*.query.*'"]


def test_selection_takes_the_first_pattern_that_matches():
    selection = Selection({"*.query.*": 5, "*.weight": 0.5})
    assert selection.k_of("a.query.weight") == 5
    assert selection.k_of("a.key.weight") == 0.5
    assert selection.reason_to_carry("a.bias") == "no budget"


def test_include_and_exclude_are_globs_on_the_full_name():
    selection = Selection(3, include=("encoder.*",), exclude=("*.bias",))
    assert selection.reason_to_carry("encoder.weight") == ""
    assert selection.reason_to_carry("encoder.bias") == "excluded by '*.bias'"
    assert selection.reason_to_carry("pooler.weight") == "not included"
    with pytest.raises(BudgetError, match="include must be a sequence of patterns, got the string 'a'"):
        Selection(3, include="a")


@given(st.lists(st.integers(0, 20), max_size=5), st.sampled_from(["", *CUTS]))
def test_rows_of_any_cut_make_up_the_tensor(shape, cut):
    rows, n = row_shape(shape, cut)
    assert rows * n == math.prod(shape)
    if rows and len(shape) > 1 and cut:
        assert n == {"last": shape[-1], "first": math.prod(shape[1:]), "whole": math.prod(shape)}[cut]
    if rows and len(shape) < 2:
        assert (rows, n) == (1, math.prod(shape))


def test_the_first_pattern_that_fits_says_how_a_tensor_is_cut():
    selection = Selection(0.5, rows={"conv.*": "last", "*.weight": "whole"})
    names = ["conv.weight", "fc.weight", "bias"]
    assert [selection.cut_of(name) for name in names] == ["last", "whole", ""]


@pytest.mark.parametrize("rows", [{"*": "rows"}, {"*": ""}, {"*": 1}, {"a": "last", "*": "LAST"}, "last", ["last"]])
def test_other_ways_to_cut_are_refused(rows):
    with pytest.raises(BudgetError, match=r"rows (of pattern '\*' must be one of last, first, whole|must map name)"):
        Selection(0.5, rows=rows)
