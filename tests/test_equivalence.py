"""Two one-sided tests on outcomes whose truth is known, and what is said of them."""

import doctest

import equivalence as module
import numpy as np
import pytest
from equivalence import LEVEL, equivalence, verdict
from evidence_statistics import MARGIN, estimate
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats


@given(st.integers(0, 2**32 - 1), st.floats(-0.02, 0.02))
def test_alike_is_where_the_90_percent_interval_lies_within_the_margin(seed, mean):
    values = np.random.default_rng(seed).normal(mean, 0.2, (1, 1, 400))
    interval = stats.ttest_1samp(values.ravel(), 0).confidence_interval(1 - 2 * LEVEL)
    inside = interval.low > -MARGIN and interval.high < MARGIN
    assert (equivalence(estimate(values), values.shape) < LEVEL) == inside


def differences(rng, shift, spread, texts):
    """Right or wrong answers of two models that differ on one text in ten, by `shift` in the mean."""
    easier = rng.normal(scale=spread, size=(3, 1, 1))
    chances = np.clip(0.05 + (shift + easier) / 2, 0, 0.1), np.clip(0.05 - (shift + easier) / 2, 0, 0.1)
    drawn = rng.random((3, 1, texts))
    return (drawn < chances[0]).astype(int) - (drawn > 1 - chances[1])


@pytest.mark.parametrize("spread", [0.0, 0.005])
@pytest.mark.parametrize("shift", [MARGIN, -MARGIN])
def test_a_difference_as_large_as_the_margin_is_called_alike_in_one_of_twenty_cases_at_most(shift, spread):
    rng, cases, wrong = np.random.default_rng(0), 500, 0
    for _ in range(cases):
        values = differences(rng, shift, spread, 500)
        wrong += equivalence(estimate(values), values.shape) < LEVEL
    assert wrong / cases < LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / cases)


def test_models_that_do_not_differ_are_called_alike_if_there_are_texts_enough():
    rng, cases, right = np.random.default_rng(1), 300, {500: 0, 8000: 0}
    for texts in right:
        for _ in range(cases):
            values = differences(rng, 0, 0, texts)
            right[texts] += equivalence(estimate(values), values.shape) < LEVEL
    assert right[8000] / cases > 0.8
    assert right[500] / cases < 0.6


@pytest.mark.parametrize(("texts", "alike"), [(100, False), (298, False), (299, True)])
def test_of_texts_that_all_fare_alike_there_must_be_enough(texts, alike):
    values = np.zeros((3, 1, texts))
    assert (equivalence(estimate(values), values.shape) < LEVEL) == alike
    assert equivalence(estimate(values + 1), values.shape) == 1


def test_what_may_be_said():
    said = [verdict(p, q) for p in (0.01, 0.2) for q in (0.01, 0.2)]
    assert said == ["differs, small", "differs", "alike", "open"]


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(module).failed == 0
