"""The entries of highest score of a range, against a stable sort of all of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ken.errors import RuleError
from ken.rules import thresholds
from ken.rules.thresholds import highest, score_of, sortable

FLOATS = st.one_of(st.sampled_from([0.0, -0.0, 1.0, np.inf, -np.inf, 5e-324]), st.floats(allow_nan=False))


@st.composite
def scores(draw):
    """float64 or uint64, many of them equal."""
    size = draw(st.integers(1, 60))
    if draw(st.booleans()):
        pool = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6))
        return np.array(draw(st.lists(st.sampled_from(pool), min_size=size, max_size=size)), np.uint64)
    return draw(hnp.arrays(np.float64, size, elements=FLOATS))


def first_of_the_highest(values, count):
    """The oracle: Python's stable sort, numbers compared as numbers."""
    order = sorted(range(len(values)), key=lambda i: values.tolist()[i], reverse=True)
    mask = np.zeros(len(values), bool)
    mask[order[:count]] = True
    return mask


@settings(max_examples=300)
@given(scores(), st.data())
def test_the_highest_are_those_of_a_stable_sort_however_the_range_is_cut(values, data):
    count = data.draw(st.integers(1, len(values)))
    bounds = [0, *sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4))), len(values)]
    parts = [values[start:stop] for start, stop in pairwise(bounds)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "_COLLECTED", data.draw(st.sampled_from([0, 1, 3, 1 << 21])))
        cut = highest(lambda i: sortable(parts[i]), [len(part) for part in parts], count)
    sizes = [len(part) for part in parts]
    masks = [cut.threshold([len(part)], i).mask(sortable(part)) for i, part in enumerate(parts)]
    np.testing.assert_array_equal(cut.threshold(sizes).mask(sortable(values)), np.concatenate(masks))
    for start, part, mask in zip(bounds, parts, masks, strict=False):
        np.testing.assert_array_equal(cut.threshold(sizes).mask(sortable(part), start), mask)
    np.testing.assert_array_equal(np.concatenate(masks), first_of_the_highest(values, count))
    assert cut.retained == tuple(int(mask.sum()) for mask in masks)


@given(scores())
def test_keys_are_in_the_order_of_the_scores_and_lead_back(values):
    keys = sortable(values)
    for one, other, first, second in zip(values[:-1], values[1:], keys[:-1], keys[1:], strict=True):
        assert (one < other, one == other) == (first < second, first == second)
    assert [score_of(int(key), str(values.dtype)) for key in keys] == values.tolist()


def test_a_range_is_read_no_more_often_than_it_must_be():
    draws = np.random.default_rng(0).normal(size=(8, 5000))
    asked = []

    def keys(stretch):
        asked.append(stretch)
        return sortable(np.abs(draws[stretch]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "_COLLECTED", 4000)
        highest(keys, [5000] * 8, 20_000)
    # Once for the histogram, once to collect the bin of the threshold, and one stretch for the place of the last tie.
    assert sorted(asked) == sorted([*range(8), *range(8), asked[-1]])


def test_bad_scores_and_counts_are_errors():
    with pytest.raises(RuleError, match=r"a score must be a number, got nan at \[0, 1\] of shape \(1, 2\)"):
        sortable(np.array([[0.0, np.nan]]))
    with pytest.raises(RuleError, match="a score must be float64 or uint64, got float32"):
        sortable(np.zeros(2, np.float32))
    for count in (0, 4):
        with pytest.raises(RuleError, match=f"from 1 to 3 entries of the range can be retained, got {count}"):
            highest(lambda _: np.zeros(3, np.uint64), [3], count)
