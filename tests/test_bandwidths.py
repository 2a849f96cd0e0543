import command_line
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from KDEpy.bw_selection import improved_sheather_jones
from safetensors.torch import save_file
from strategies import rows

import ken
from ken import density
from ken.density import BANDWIDTHS, bandwidth, check_bandwidth, widths
from ken.errors import KenWarning, RuleError


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
    for rule in [*BANDWIDTHS, 2.0]:
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
        check_bandwidth(rule)


def test_without_kdepy_its_rule_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "KDEpy.bw_selection", None)
    with pytest.raises(RuleError, match=r"needs KDEpy: pip install 'ken-pruning\[isj\]'"):
        check_bandwidth("isj")


def test_a_row_for_which_a_rule_finds_nothing_has_the_normal_reference():
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=4), rng.normal(size=4) * 1e-200, np.full(4, 3.0), [0.0, 0.0, 0.0, 1.0]])
    estimated = widths(values, "isj")
    assert estimated.stood_in.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(estimated.bandwidths, bandwidth(values))
    long = rng.normal(size=(2, 400))
    long[1] = long[1] > 0
    estimated = widths(long, "isj")
    assert estimated.stood_in.tolist() == [False, True]
    np.testing.assert_array_equal(estimated.bandwidths[1], bandwidth(long)[1])
    assert estimated.bandwidths[0] != bandwidth(long)[0]


@pytest.mark.parametrize("nothing", [np.nan, np.inf, 0.0, -1.0, ValueError("no root"), ZeroDivisionError()])
def test_nothing_is_whatever_is_no_width(monkeypatch, nothing):
    def find(data):
        if isinstance(nothing, Exception):
            raise nothing
        return nothing

    monkeypatch.setattr(density, "_improved_sheather_jones", lambda: find)
    row = np.array([[0.0, 1.0, 5.0]])
    estimated = widths(row, "isj")
    assert estimated.stood_in.all()
    np.testing.assert_array_equal(estimated.bandwidths, bandwidth(row))


def with_short_rows(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a.weight": (3, 40), "a.bias": (5,), "b.weight": (4, 6), "c.bias": (4,), "d.bias": (4,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("rule", ["ken", "density"])
@pytest.mark.parametrize("streamed", [False, True])
def test_short_rows_do_not_stop_a_model_and_are_said_once(tmp_path, rule, streamed):
    pair = ken.Pair(with_short_rows(0), with_short_rows(1))
    out = tmp_path / "net.ken.safetensors" if streamed else None
    with pytest.warns(KenWarning) as warned:
        net = ken.prune(*pair, 0.5, rule, bandwidth="isj", out=out)
    [said] = [str(warning.message) for warning in warned]
    assert net.notes == (said,)
    assert said.startswith("the bandwidth rule isj found none for ")
    assert "a.bias: 1, b.weight: " in said
    if not streamed:
        net = ken.load(net.save(tmp_path / "saved.ken.safetensors"))
    assert net.notes == (said,)
    assert said in capture_info(tmp_path / ("net.ken.safetensors" if streamed else "saved.ken.safetensors"))
    for name in net.pruned():  # explaining finds the same masks
        rows = ken.explain(net, pair, name)
        stood_in = [why.stood_in for why in rows]
        assert any(stood_in) == (name != "a.weight" or rows[0].stood_in)
        for why in rows:
            line = "the bandwidth rule isj found none for this row: it has that of the normal reference"
            assert (line in why.entry(0).text) == why.stood_in


def capture_info(path):
    from ken.storage.info import describe, text

    return text(describe(path))


def test_long_names_have_room_for_what_is_said_of_them(tmp_path):
    fine_tuned, pretrained = (
        {f"\u00e9{i}\u2028{'n' * i}": value for i, value in enumerate(with_short_rows(seed).values())}
        for seed in (0, 1)
    )
    with pytest.warns(KenWarning, match="more tensors"):
        net = ken.prune(fine_tuned, pretrained, 0.5, bandwidth="isj", out=tmp_path / "net.ken.safetensors")
    assert len(net.notes) == 1


def test_arrays_at_hand_are_told_of_too():
    row = np.array([0.1, 0.4, 0.2, 0.9])
    with pytest.warns(KenWarning, match="found none for one row: it has that of the normal reference"):
        mask = ken.rules.retain(row, 2, bandwidth="isj")
    np.testing.assert_array_equal(mask, ken.rules.retain(row, 2))
    ken.rules.retain(row, 2, "grid", bandwidth="isj")  # it has no use for a bandwidth


def test_a_sweep_with_short_rows_goes_on():
    pair = ken.Pair(with_short_rows(0), with_short_rows(1))
    with pytest.warns(KenWarning):
        table = ken.sweep(
            pair, [0.5], ["ken"], bandwidth="isj", evaluate=lambda state: float(state["a.bias"].sum()), progress=False
        )
    assert len(table) == 3


def test_the_command_line_says_it_too(tmp_path):
    for name, seed in (("fine_tuned", 0), ("pretrained", 1)):
        save_file(with_short_rows(seed), tmp_path / f"{name}.safetensors")
    out = tmp_path / "net.ken.safetensors"
    pair = [str(tmp_path / f"{name}.safetensors") for name in ("fine_tuned", "pretrained")]
    done = command_line.ken("prune", *pair, "-k", "0.5", "--bandwidth", "isj", "-o", out)
    assert done.status == 0, done.err
    assert "note: the bandwidth rule isj found none for" in done.out
