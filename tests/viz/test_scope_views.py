"""What views, cards and the report say of rows that share their budget."""

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets

import ken
import kenviz
from kenviz.reporting.provenance import command, python
from kenviz.reporting.results import read
from kenviz.reporting.sentences import the_rule
from kenviz.study.comparison import net_in_words
from kenviz.study.row_decision import decide_as_stored
from kenviz.study.study import Study
from kenviz.study.sweep_data import Sweep
from kenviz.views.cards import entry_card


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(1)
    pretrained = {name: torch.randn(12, 20, generator=generator) for name in ("a", "b")}
    sizes = torch.arange(12.0)[:, None] / 4
    fine_tuned = {
        name: base + sizes * torch.randn(12, 20, generator=generator).abs() for name, base in pretrained.items()
    }
    return ken.Pair(fine_tuned, pretrained)


@pytest.fixture(scope="module")
def net(pair):
    return ken.prune(*pair, 4, "update", scope="model")


def test_the_row_view_shows_the_own_mask_of_every_row_and_says_whose_budget_it_is(net, pair):
    view = kenviz.RowView(net, pair)
    for row in range(12):
        view.row = row
        mask = net["a"].mask()[row]
        np.testing.assert_array_equal(view.numbers()["retained"], mask)
        assert view.k == mask.sum()
        assert "the subnetwork's own mask, of which k is counted over all pruned tensors" in view.caption
        assert view.explanation.shared.scope == "model"
    assert net["a"].mask()[0].sum() == 0  # nothing of this row was changed
    view.k = 5
    assert "not the subnetwork's own mask, but decided anew, for this row by itself" in view.caption
    assert view.numbers()["retained"].sum() == 5
    view.row = 3
    assert view.k == 5
    view.k = int(net["a"].mask()[3].sum())
    view.entry = 7
    assert "the threshold of the model" in view._card.value


def test_a_rule_without_a_score_shows_no_density_and_no_grid_of_a_row_that_it_never_saw(pair):
    net = ken.prune(*pair, 4, "ken", scope="tensor")
    view = kenviz.RowView(net, pair, row=2)
    np.testing.assert_array_equal(view.numbers()["retained"], net["a"].mask()[2])
    assert view.explanation is None
    shown = view._picture
    assert len(shown.columns["grid"]["x"]) == len(shown.columns["curve"]["x"]) == 0
    assert "k =" not in shown.lines()[0]
    assert "the row has no budget of its own" in view.caption
    with pytest.raises(traitlets.TraitError, match="to rule ken all rows were one"):
        view.step = 1
    card = entry_card(Study(net, pair), "a", (2, 3)).text
    assert "Why is not known: to rule ken all rows of the tensor were one row; ken.explain(net, pair, 'a', 0)" in card
    assert decide_as_stored(Study(net, pair), "a", 2).stability is None
    study = Study(ken.prune(*pair, 4, "ken", scope="model"), pair)
    assert "rows of all pruned tensors were one row" in entry_card(study, "a", (2, 3)).text


def test_every_card_agrees_with_the_mask(net, pair):
    study = Study(net, pair)
    for name in ("a", "b"):
        for row, column in ((0, 0), (5, 3), (11, 19)):
            kept = bool(net[name].mask()[row, column])
            text = entry_card(study, name, (row, column)).text
            count = f"{net[name].mask()[row].sum()} of 20 retained, k counted over all pruned tensors"
            assert f"rule update, {count}, on weights" in text
            assert f"is {'retained' if kept else 'reset'}." in text
            assert ("is above" if kept else "is below") in text
    assert "k = 4 of every row, shared over all pruned tensors" in entry_card(Study(net), "a", (1, 1)).text


def test_an_explanation_is_shown_with_its_scope(net, pair):
    assert "rule update over all pruned tensors retains" in kenviz.show(ken.explain(net, pair, "a", 11)).text
    whole = ken.prune(*pair, 4, "ken", scope="tensor")
    assert "rule ken over all rows of a tensor retains 48 of 240" in kenviz.show(ken.explain(whole, pair, "a", 0)).text


def test_words_about_a_recipe(net, pair):
    assert net_in_words(net) == "rule update over all pruned tensors, k = 4"
    assert the_rule(net).startswith(
        "In all pruned tensors together, with k the sum of what all their rows would retain"
    )
    assert "every row of every" not in the_rule(ken.prune(*pair, 4, "ken", scope="tensor"))
    assert "4, 'update', scope='model')" in python(net, {})
    assert "--scope model" in command(net, {})
    assert "scope" not in python(ken.prune(*pair, 4), {}) + command(ken.prune(*pair, 4), {})
    assert "scope='model'" in repr(net)


@pytest.fixture(scope="module")
def table(pair):
    evaluate = lambda state: -float((state["a"] - pair.fine_tuned["a"]).abs().sum())  # noqa: E731
    return ken.sweep(pair, [2, 4], ["update", "random"], scope=("row", "model"), seeds=range(2), evaluate=evaluate)


def test_a_sweep_keeps_scopes_apart(table, tmp_path):
    table.to_csv(tmp_path / "t.csv", index=False)
    for source in (table, tmp_path / "t.csv"):
        sweep = Sweep(source)
        assert list(sweep.names.values()) == ["update", "update, per model", "random", "random, per model"]
        assert sweep.metrics == ["metric"]
        lines = sweep.lines("metric", "metric")
        assert len(lines) == 8
        assert lines["seeds"].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
        view = kenviz.SweepView(source)
        assert len(view._data["curves"]["xs"]) == 4
        assert view._data["means"]["name"][2] == "update, per model"
        view.shown = [("update", "", "model")]
        assert "update, per model" in view.caption
        assert view.numbers()["scope"].tolist() == ["model", "model"]
        view.point = ("update", "", 4, -1, "model")
        assert len(view._ring()["x"]) == 1
        assert view.python == "ken.prune(pair.fine_tuned, pair.pretrained, 4, 'update', scope='model')"


def test_a_report_takes_the_line_of_its_own_scope(table, net, pair):
    results = read(table, net)
    own, drawn = results.own(net), results.drawn(net)
    assert (own.scope, drawn.scope) == ("model", "model")
    wanted = table[(table["rule"] == "update") & (table["scope"] == "model") & (table["k"] == 4)]
    assert own.metric == wanted["metric"].item()
    assert read(table, net).own(ken.prune(*pair, 4, "update")).scope == "row"
    assert read(table.drop(columns="scope").iloc[:4], net).own(net) is None


def test_a_report_says_it_all(table, net, pair, tmp_path):
    data = kenviz.report_data(net, pair, results=table, compare=ken.prune(*pair, 4, "magnitude", scope="model"))
    text = data.text()
    assert '"scope": "model"' in text or '"scope":"model"' in text
    page = kenviz.report(net, pair, tmp_path / "r.html", results=table, progress=False).read_text()
    assert "k is counted over" in page
    assert "all pruned tensors" in page


def test_a_table_without_scopes_is_read_as_before():
    lines = {"model": "pruned", "rule": "ken", "on": "weights", "k": [0.5, 0.25], "seed": -1, "share": [0.5, 0.25]}
    sweep = Sweep(pd.DataFrame({**lines, "metric": [0.7, 0.6]}))
    assert sweep.series == [("ken", "weights")]


def test_a_comparison_says_what_chance_keeps_to(net, pair):
    other = ken.prune(*pair, 4, "magnitude", scope="model")
    assert "as many entries in each tensor) would give" in kenviz.CompareView(net, other, pair).caption
    by_row = ken.prune(*pair, 4, "magnitude")
    assert "as many entries in each row) would give" in kenviz.CompareView(net, by_row, pair).caption
