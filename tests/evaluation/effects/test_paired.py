"""Differences, their intervals, and tests of many at once."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ken.evaluation.effects.paired import difference, holm, sign_test


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_procedure_rejects(ps, level):
    rejected, ranked = set(), sorted(range(len(ps)), key=ps.__getitem__)
    for rank, place in enumerate(ranked):
        if ps[place] * (len(ps) - rank) > level:
            break
        rejected.add(place)
    adjusted = holm(ps)
    assert {place for place, p in enumerate(adjusted) if p <= level} == rejected
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))


def test_intervals_hold_as_often_as_they_say():
    random = np.random.default_rng(0)
    family, trials = 10, 400
    missed = sum(
        any(
            not one.low <= 0 <= one.high
            for one in (difference(random.normal(size=30), 0.9, family) for _ in range(family))
        )
        for _ in range(trials)
    )
    assert missed / trials < 0.1 + 3 * math.sqrt(0.09 / trials)
    single = difference(np.array([1.0]))
    assert math.isnan(single.error)
    assert single.mean == 1.0


def test_the_sign_test_counts_changes_alone():
    assert sign_test(0, 10) == pytest.approx(2 * 0.5**10)
    assert sign_test(5, 5) == 1.0
