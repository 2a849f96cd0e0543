"""The statistics behind docs/evidence.md, on outcomes whose truth is known; and the page against its table."""

import doctest
import re
from pathlib import Path

import evidence
import evidence_page
import evidence_statistics
import numpy as np
import pandas as pd
import pytest
from evidence_statistics import (
    COMPARISONS,
    KEN,
    MARGIN,
    PRETRAINED,
    RANDOM,
    RULES,
    UNPRUNED,
    UPDATE,
    estimate,
    from_csv,
    holm,
    smallest_match,
    table,
    to_csv,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import ken
from ken.training import Evaluation

DOCS = Path(__file__).parent.parent / "docs"
KS = (0.5, 0.1)


# --- one interval ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_of_one_sample_the_interval_is_students(axis):
    values = np.random.default_rng(0).normal(0.3, 1.0, 7)
    found = estimate(np.expand_dims(values, [other for other in range(3) if other != axis]))
    expected = stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(0.95)
    assert (found.mean, found.df) == (pytest.approx(values.mean()), pytest.approx(6))
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.errors[axis] == pytest.approx(stats.sem(values))
    assert np.isnan(found.errors).sum() == 2


def test_levels_that_only_repeat_each_other_add_nothing():
    texts = np.random.default_rng(0).integers(0, 2, 50)
    once, often = (estimate(np.broadcast_to(texts, (f, s, 50))) for f, s in ((1, 1), (3, 5)))
    assert (often.mean, often.low, often.high) == pytest.approx((once.mean, once.low, once.high))
    assert often.errors == pytest.approx((0, 0, once.errors[2]))


def test_degrees_of_freedom_follow_the_factor_that_varies_most():
    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(3, 1, 1)), rng.normal(size=(1, 1, 1000))
    assert estimate(small * 1e-4 + large).df == pytest.approx(999, rel=0.01)
    assert estimate(small + large * 1e-4).df == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_where_all_texts_fare_alike_some_may_still_differ(value):
    found = estimate(np.full((3, 5, 100), value))
    most = stats.binomtest(0, 100).proportion_ci(0.95, method="exact").high
    assert (found.mean, found.low, found.high) == pytest.approx((value, value - most, value + most))
    assert found.p == 1 - value


@pytest.mark.parametrize(
    ("spreads", "least"),
    [
        ((0, 0, 1, 0), 0.95),  # texts alone
        ((0, 0, 0, 1), 0.95),  # nothing in common between any two
        ((0.1, 0, 1, 1), 0.95),
        ((0, 1, 1, 1), 0.95),  # seeds decide
        ((0.1, 0.1, 1, 1), 0.95),
        ((0.3, 0, 1, 0), 0.92),  # the worst: fine-tunings differ by two or three times what texts do
        ((1, 0, 1, 1), 0.92),  # fine-tunings decide
        ((1, 1, 0, 0), 0.92),
    ],
)
def test_the_interval_holds_the_truth_as_often_as_the_page_says(spreads, least):
    """Effects of 3 fine-tunings, 5 seeds, 200 texts, and of each combination by itself, all normal."""
    rng = np.random.default_rng(0)
    cases, covered, shape = 1000, 0, (3, 5, 200)
    for _ in range(cases):
        values = rng.normal(0.25, spreads[3], shape)
        for axis, spread in enumerate(spreads[:3]):
            values += rng.normal(scale=spread, size=[n if i == axis else 1 for i, n in enumerate(shape)])
        found = estimate(values)
        covered += found.low <= 0.25 <= found.high
    assert covered / cases > within(least, cases)
    if spreads == (0, 0, 1, 0):
        assert covered / cases < 1 - within(0.05, cases)


def within(share, cases):
    """Three standard errors below a share of simulated cases."""
    return share - 3 * np.sqrt(share * (1 - share) / cases)


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5])
def test_it_does_so_for_right_and_wrong_answers(spread):
    """Two models of equal accuracy on texts of any difficulty, which fine-tuning makes better or worse."""
    rng, cases, covered = np.random.default_rng(1), 1000, 0
    for _ in range(cases):
        easiness = rng.normal(0.8, 2.0, 200) + rng.normal(scale=spread, size=(2, 3, 1, 1))
        a, b = rng.random((2, 3, 1, 200)) < 1 / (1 + np.exp(-easiness))
        found = estimate(a.astype(float) - b)
        covered += found.low <= 0 <= found.high
    assert covered / cases > within(0.92, cases)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_rejects_what_his_steps_reject(ps, alpha):
    rejected = set()
    for step, i in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        if ps[i] * (len(ps) - step) > alpha:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(holm(ps)) if p <= alpha} == rejected


# --- the table ---------------------------------------------------------------------------------------------------


def outcomes(losses, texts=2000):
    """Models that are wrong about the last texts: `losses` of them, by rule and k, beyond the unpruned one's 500."""

    def right(wrong, seeds=1):
        of = (
            np.arange(texts)
            < np.array([[texts - 500 - wrong + f + s for s in range(seeds)] for f in range(3)])[..., None]
        )
        return of

    found = {(rule, k): right(losses.get((rule, k), 100), 5 if rule.name in {"random", "della"} else 1)
             for rule in RULES for k in KS}  # fmt: skip
    return {**found, (UNPRUNED, 1.0): right(0), (PRETRAINED, 0.0): right(1100)}


def test_the_table_has_every_number_once():
    found = table(outcomes({(KEN, 0.5): 2, (UPDATE, 0.1): 0}), KS)
    assert found["quantity"].value_counts().to_dict() == {
        "accuracy": 22,
        "loss": 20,
        "comparison": 2 * len(COMPARISONS),
    }
    assert not found.duplicated(["quantity", "rule", "on", "against", "against_on", "k"]).any()
    accuracy = found[found["quantity"] == "accuracy"].set_index(["rule", "on", "k"])
    # of the three fine-tunings one has no text more, one has one, one has two
    assert accuracy.loc[("unpruned", "", 1.0), "estimate"] == pytest.approx((1500 + 1) / 2000)
    assert accuracy.loc[("ken", "weights", 0.5), "estimate"] == pytest.approx((1498 + 1) / 2000)
    assert accuracy.loc[("random", "", 0.5), "estimate"] == pytest.approx((1400 + 1 + 2) / 2000)
    assert accuracy.loc[("random", "", 0.5), ["fine_tunings", "seeds", "texts"]].tolist() == [3, 5, 2000]
    assert accuracy.loc[("unpruned", "", 1.0), "error_fine_tunings"] == pytest.approx(1 / 2000 / np.sqrt(3))
    loss = found[(found["quantity"] == "loss") & (found["k"] == 0.5)].set_index(["rule", "on"])
    assert loss.loc[("ken", "weights"), "estimate"] == pytest.approx(-2 / 2000)
    assert loss.loc[("ken", "weights"), "error_fine_tunings"] == pytest.approx(0, abs=1e-12)  # paired: they cancel
    compared = found[found["quantity"] == "comparison"]
    line = compared[(compared["against"] == "random") & (compared["rule"] == "ken") & (compared["k"] == 0.5)].iloc[0]
    assert line["estimate"] == pytest.approx((98 - 2) / 2000)
    assert line["seeds"] == 5
    assert compared["p_holm"].tolist() == pytest.approx(holm(compared["p"]))
    assert (compared["p_holm"] >= compared["p"]).all()
    assert found.loc[found["quantity"] != "comparison", "p_holm"].isna().all()


@pytest.mark.parametrize(
    ("losses", "smallest"),
    [
        ({0.5: 0, 0.1: 0}, 0.1),
        ({0.5: 2, 0.1: 100}, 0.5),
        ({0.5: 100, 0.1: 0}, None),  # a smaller share that happens to do well after a larger one that does not
        ({0.5: 19, 0.1: 100}, None),  # 0.95 points, which may as well be more than one
    ],
)
def test_the_smallest_match_is_reached_from_above(losses, smallest):
    found = table(outcomes({(KEN, k): loss for k, loss in losses.items()}), KS)
    assert smallest_match(found, KEN) == smallest
    assert smallest_match(found, RANDOM) is None


def test_the_table_survives_its_file():
    found = table(outcomes({(KEN, 0.5): 2}), KS)
    again = from_csv(to_csv(found))
    pd.testing.assert_frame_equal(again, found, rtol=1e-5, check_dtype=False)
    assert to_csv(again) == to_csv(found)
    assert evidence_page.markdown(again) == evidence_page.markdown(from_csv(to_csv(again)))


def test_outcomes_are_collected_from_files_of_results(pair, tmp_path):
    hard, name = np.random.default_rng(0).random((3, 40)), "embed.weight"

    def evaluate(tuning):
        def of(state):
            kept = float((state[name] == pair.fine_tuned[name]).double().mean())
            signs = state[name].double().mul(1e6).long().sum().item() % 7  # so that seeds differ
            return Evaluation.of(np.zeros(40, int), (hard[tuning] > 0.2 + 0.5 * kept + 0.02 * signs).astype(int), 2)

        return of

    files, tables = [tmp_path / f"{tuning}.jsonl" for tuning in range(3)], []
    names = list(dict.fromkeys(rule.name for rule in RULES))
    for tuning, path in enumerate(files):
        told = {"on": ("weights", "update"), "seeds": (0, 1), "results": path, "progress": False}
        tables.append(ken.sweep(pair, KS, names, evaluate=evaluate(tuning), **told))
    found = evidence.collected(files, KS, (0, 1))
    assert len(found) == 2 + len(RULES) * len(KS)
    for (rule, k), values in found.items():
        model = {UNPRUNED: "fine-tuned", PRETRAINED: "pretrained"}.get(rule, "pruned")
        for tuning, of in enumerate(tables):
            lines = of[of["model"] == model]
            if model == "pruned":
                lines = lines[(lines["rule"] == rule.name) & (lines["on"] == rule.on) & (lines["k"] == k)]
            assert values[tuning].mean(axis=1).tolist() == pytest.approx(lines["metric"].tolist())
    assert found[RANDOM, 0.5].shape == (3, 2, 40)
    assert found[KEN, 0.5].shape == (3, 1, 40)
    with pytest.raises(ValueError, match=r"1\.jsonl has no result of \('pruned', 'random', '', 0\.5, 2\)"):
        evidence.collected(files[1:], KS, (0, 1, 2))


# --- the page and the figure -------------------------------------------------------------------------------------


def test_the_page_says_what_its_table_says():
    part = evidence_page.generated((DOCS / "evidence.md").read_text(encoding="utf-8"))
    path = DOCS / "evidence-table.csv"
    if path.exists():
        assert part == evidence_page.markdown(from_csv(path.read_text(encoding="utf-8")))
        assert (DOCS / "evidence.png").exists()
    else:
        assert part == evidence_page.NOT_YET + "\n"


def test_the_tables_of_the_page_are_percent_and_points():
    found = from_csv(to_csv(table(outcomes({(KEN, 0.5): 2, (KEN, 0.1): 100, (UPDATE, 0.1): 0}), KS)))
    text = evidence_page.markdown(found)
    (ken_line, *_) = re.findall(r"^\| `ken` \| (.*) \|$", text, re.M)
    assert re.fullmatch(r"75\.0 ± 1\.9 \| 70\.0 ± 2\.0", ken_line)
    (compared,) = re.findall(r"^\| `ken` − `random`: .*?\? \| (.*) \|$", text, re.M)
    assert re.fullmatch(r"\*\*\+4\.8 ± \d\.\d\*\* \| −0\.1 ± \d\.\d", compared)
    assert re.search(r"^\| `update` \| none \|  \| 0\.50 \| −5\.0 \(−\d\.\d to −\d\.\d\) \|$", text, re.M)
    assert re.search(r"^\| `ken` \| 0\.50 \| −0\.1 \(.*\) \| 0\.10 \| −5\.0 \(", text, re.M)
    assert f"all {2 * len(COMPARISONS)} of them" in text
    assert f"less than {100 * MARGIN:g} point" in text
    page = f"before\n{evidence_page.BEGIN}\nold\n{evidence_page.END}\nafter\n"
    assert evidence_page.generated(evidence_page.with_generated(page, text)) == text
    with pytest.raises(ValueError, match="must have the lines"):
        evidence_page.generated("a page without marks")


def test_the_figure_has_every_rule_with_its_band():
    from bokeh.models import Legend, Line, VArea

    found = from_csv(to_csv(table(outcomes({}), KS)))
    layout = evidence_page.figure(found)
    labels = {item.label.value for legend in layout.select({"type": Legend}) for item in legend.items}
    assert labels == {rule.label for rule in RULES}
    drawn = sum(map(len, evidence_page.PANELS.values()))
    assert len(list(layout.select({"type": Line}))) >= drawn
    assert len(list(layout.select({"type": VArea}))) >= drawn


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(evidence_statistics).failed == 0
