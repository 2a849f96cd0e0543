import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from KDEpy.bw_selection import improved_sheather_jones
from strategies import rows

from ken import bandwidths
from ken.bandwidths import RULES, bandwidth
from ken.errors import RuleError, ValuesError


@given(st.integers(2, 400), st.integers(0, 2**32 - 1))
def test_rules_are_their_formulas(n, seed):
    row = np.random.default_rng(seed).standard_t(3, n)
    s, factor = np.std(row, ddof=1), n**-0.2
    between = scipy.stats.iqr(row) / 1.34
    want = {
        "normal reference": 1.06 * np.std(row) * factor,
        "scott": s * scipy.stats.gaussian_kde(row).scotts_factor(),
        "silverman": 0.9 * min(s, between) * factor,
    }
    for rule, width in want.items():
        np.testing.assert_allclose(bandwidth(row[None], rule), [[width]], rtol=1e-9)


def test_isj_is_that_of_kdepy_at_any_scale_and_place():
    rng = np.random.default_rng(0)
    values = np.stack([np.append(rng.normal(-3, 0.3, 200), rng.normal(3, 0.3, 200)), rng.normal(size=400)])
    values = 16 * (values - values.min(1, keepdims=True)) / np.ptp(values, axis=1)[:, None]
    widths = bandwidth(values, "isj")
    for row, width in zip(values, widths[:, 0], strict=True):
        np.testing.assert_allclose(width, improved_sheather_jones(row[:, None]), rtol=1e-6)
    assert widths[0] < 0.2 * bandwidth(values[:1])[0]  # of two modes, the normal reference is far too wide
    for scale in (1e-200, 1e-6, 1e200):
        np.testing.assert_allclose(bandwidth(values * scale, "isj"), widths * scale, rtol=1e-6)


@given(rows(), st.sampled_from(["normal reference", "scott", "silverman", 0.25]))
def test_only_constant_rows_have_no_bandwidth(row, rule):
    width = bandwidth(row[None], rule)
    assert width.shape == (1, 1)
    assert (width[0, 0] > 0) == (row.max() > row.min())
    assert np.isfinite(width).all()


def test_a_row_whose_middle_half_is_one_value_has_the_bandwidth_of_its_deviation():
    row = np.array([[0.0] * 50 + [1.0]])
    np.testing.assert_allclose(bandwidth(row, "silverman"), 0.9 * np.std(row, ddof=1) * 51**-0.2)


def test_rows_know_nothing_of_each_other():
    values = np.random.default_rng(0).normal(size=(5, 60)) * np.array([[1], [1e-300], [1e200], [0], [3]])
    for rule in [*RULES, 2.0]:
        if rule == "isj":
            continue
        alone = np.concatenate([bandwidth(row[None], rule) for row in values])
        np.testing.assert_array_equal(bandwidth(values, rule), alone)


@pytest.mark.parametrize("rule", [0, -1.0, np.nan, np.inf])
def test_numbers_that_are_no_bandwidth_are_refused(rule):
    with pytest.raises(RuleError, match="a bandwidth must be a finite number above 0, got"):
        bandwidth(np.zeros((1, 2)), rule)


@pytest.mark.parametrize("rule", ["normal", "ISJ", None, True, b"scott"])
def test_other_rules_are_refused(rule):
    with pytest.raises(RuleError, match="bandwidth must be a number or one of normal reference, scott, silverman, isj"):
        bandwidths.check(rule)


def test_without_kdepy_its_rule_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "KDEpy.bw_selection", None)
    with pytest.raises(RuleError, match=r"needs KDEpy: pip install 'kenviz\[isj\]'"):
        bandwidths.check("isj")


def test_a_row_for_which_a_rule_finds_nothing_is_named(monkeypatch):
    def fail(data):
        raise ValueError("root finding did not converge")

    monkeypatch.setattr(bandwidths, "_isj_of", lambda: fail)
    with pytest.raises(ValuesError, match="isj found none for row 1: root finding did not converge"):
        bandwidth(np.array([[2.0, 2.0], [0.0, 1.0]]), "isj")
