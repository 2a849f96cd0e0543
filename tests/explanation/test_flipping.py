"""Mask stability: what flips is counted again from the definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import grid_rule, published_rule
from strategies import rows

import ken
from ken import rules
from ken.density import KERNELS, bandwidth
from ken.errors import BudgetError, RuleError


def differ(a, b):
    return np.flatnonzero(a != b).tolist()


@settings(max_examples=150)
@given(
    rows(),
    st.sampled_from(["ken", "density"]),
    st.sampled_from(["normal reference", "scott", 0.25]),
    st.sampled_from([*KERNELS]),
    st.booleans(),
    st.data(),
)
def test_halved_and_doubled_are_masks_at_other_bandwidths(row, rule, width, kernel, update, data):
    k = data.draw(st.integers(1, len(row)), label="k")
    pretrained = row * 0.75
    on = "update" if update else "weights"
    result = ken.stability(row, k, pretrained, rule=rule, on=on, bandwidth=width, kernel=kernel)
    values = row - pretrained if update else row
    if k == len(row) or np.ptp(values) == 0:
        assert all(np.isnan(flips.share) and len(flips.entries) == 0 for flips in result)
        return
    own = ken.explain_row(row, k, pretrained, rule=rule, on=on, bandwidth=width, kernel=kernel).mask
    h = float(bandwidth(values[None], width)[0, 0])
    for flips, factor in ((result.halved, 0.5), (result.doubled, 2.0)):
        changed = max(h * factor, 5e-324)
        other = ken.explain_row(row, k, pretrained, rule=rule, on=on, bandwidth=changed, kernel=kernel).mask
        assert flips.entries.tolist() == differ(own, other)
        assert flips.share == len(flips.entries) / len(row)
        assert len(flips.entries) % 2 == 0


@pytest.mark.parametrize(("rule", "oracle"), [("ken", published_rule), ("grid", grid_rule)])
def test_reversed_is_the_definition_run_backwards(rule, oracle):
    flipped = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 90))
        row = rng.normal(size=n) * 0.3
        if seed % 3 == 0:
            row = np.round(row, 1)
        k = int(rng.integers(1, n))
        want = differ(oracle(row, k), oracle(row, k, backwards=True))
        result = ken.stability(row, k, rule=rule)
        if np.ptp(row) > 0:
            assert result.reversed.entries.tolist() == want, seed
            assert result.reversed.share == len(want) / n
        flipped += len(want)
    assert flipped > 20


def test_a_bandwidth_that_matters_flips_entries_and_a_grid_has_none():
    row = np.random.default_rng(0).standard_t(3, 400) * 0.05
    assert ken.stability(row, 100, rule="density").halved.share > 0
    for rule in [name for name in rules.names() if name not in ("ken", "density", "changed")]:
        result = ken.stability(row, 100, row * 0.5, rule=rule)
        assert np.isnan(result.halved.share)
        assert np.isnan(result.doubled.share)
        assert np.isnan(result.reversed.share) == (rule != "grid")
    assert np.isnan(ken.stability(row, 100, rule="density").reversed.share)


def test_a_rule_of_the_users_may_heed_the_bandwidth():
    @rules.register("wide")
    def wide(block, k):
        first = 0 if block.settings.bandwidth == "normal reference" or block.settings.bandwidth < 1 else 1
        mask = np.zeros(block.values.shape, bool)
        mask[:, first : first + k] = True
        return mask

    try:
        result = ken.stability(np.arange(10.0), 3, rule="wide", bandwidth=0.75)
        assert (result.halved.share, result.doubled.share) == (0.0, 0.2)
        assert result.doubled.entries.tolist() == [0, 3]
        assert np.isnan(result.reversed.share)
    finally:
        rules.forget("wide")


def test_rows_without_a_decision_are_stable_in_no_sense():
    for row, k in ((np.full(5, 0.25), 2), (np.array([3.0]), 1), (np.arange(4.0), 4), (np.arange(4.0), 9)):
        assert all(np.isnan(flips.share) for flips in ken.stability(row, k))
    assert np.isnan(ken.stability(np.arange(4.0) + 1, 2, np.arange(4.0), on="update").halved.share)


def test_bandwidths_at_the_ends_of_float64_stay_bandwidths():
    tiny = np.array([0.0, 5e-324, 1e-323, 2e-323])
    assert ken.stability(tiny, 2).halved.share >= 0
    assert ken.stability(np.array([0.0, 1.0, 3.0]), 2, bandwidth=1.7e308).doubled.share >= 0


def test_what_the_rule_refuses_is_refused():
    with pytest.raises(RuleError, match="rule must be one of"):
        ken.stability(np.arange(4.0), 2, rule="no")
    with pytest.raises(BudgetError, match="k must be at least 1"):
        ken.stability(np.arange(4.0), 0)
    with pytest.raises(RuleError, match="needs the pretrained values"):
        ken.stability(np.arange(4.0), 2, on="update")
