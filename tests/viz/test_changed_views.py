"""What views and the report say of a subnetwork whose rule has no k."""

import re

import pandas as pd
import pytest
import torch

import ken
import kenviz
from kenviz.reporting import provenance
from kenviz.study.comparison import net_in_words
from kenviz.study.study import Study
from kenviz.views.cards import entry_card

NAME = "layer.0.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def pair():
    generator = torch.Generator().manual_seed(3)
    names = [f"layer.{i}.self_attn.{part}_proj.weight" for i in range(2) for part in "qk"]
    base = {name: torch.randn(10, 24, generator=generator) for name in [*names, "left.weight"]}
    tuned = {name: base[name] + (torch.rand(10, 24, generator=generator) < 0.05) * 0.1 for name in names}
    tuned[NAME][0] = base[NAME][0]  # a row of which nothing is retained
    return ken.Pair({**tuned, "left.weight": base["left.weight"].clone()}, base)


@pytest.fixture(scope="module")
def net(pair):
    return ken.prune(*pair, rule="changed")


def test_every_view_can_be_had_and_none_speaks_of_a_k(net, pair):
    other = ken.prune(*pair, 5)
    views = [view(net, pair) for view in (kenviz.MatrixView, kenviz.NeighbourView, kenviz.LayersView)]
    views += [kenviz.RetentionView(net, pair), kenviz.RowView(net, pair), kenviz.explore(net, pair)]
    for view in views:
        assert "None" not in f"{getattr(view, 'caption', '')} {view!r}"
    both = kenviz.CompareView(net, other, pair)
    assert "a is rule changed, k by row as it comes; b is rule ken, k = 5" in both.caption
    assert net_in_words(net) == "rule changed, k by row as it comes"
    assert "rule changed, k by row as it comes, on weights" in entry_card(Study(net), NAME, (0, 0)).text
    assert "rule changed, 0 of 24 retained" in entry_card(Study(net, pair), NAME, (0, 0)).text


def test_a_row_of_which_nothing_changed(net, pair):
    view = kenviz.RowView(net, pair, NAME)
    assert view.k == view.own_k() == 0
    assert not view.numbers()["retained"].any()
    assert "rule changed retains 0 of 24 entries" in view.caption
    assert "the subnetwork's own mask" in view.caption
    assert view._title().startswith("0 of 24 (0.0%)")
    for row in range(10):
        view.row = row
        assert view.k == view.own_k() == int((pair.fine_tuned[NAME][row] != pair.pretrained[NAME][row]).sum())
    view.row, view.rule = 0, "ken"
    assert view.k == 1
    assert "rule ken retains 1 of 24" in view.caption
    assert view._title().startswith("k = 1 of 24")
    view.rule = "changed"
    assert "retains 0 of 24" in view.caption
    assert "the subnetwork's own mask" in view.caption


def test_it_is_a_rule_to_choose_in_the_view_of_another_subnetwork(pair):
    view = kenviz.RowView(ken.prune(*pair, 5), pair, NAME, row=1)
    view.rule = "changed"
    changed = int((pair.fine_tuned[NAME][1] != pair.pretrained[NAME][1]).sum())
    assert f"rule changed retains {changed} of 24" in view.caption
    assert "decided anew" in view.caption
    view.rule = "ken"
    assert view.k == 5
    assert "the subnetwork's own mask" in view.caption


def test_the_report_says_how_it_is(net, pair, tmp_path):
    text = kenviz.report(net, pair, tmp_path / "report.html", progress=False).read_text(encoding="utf-8")
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))
    assert "by row as it comes: the rule itself says how many entries" in said
    assert "injection gives the fine-tuned model itself" in said
    assert not re.search(r"k = \d+ of 24 entries are retained", said)
    assert "ken prune FINE_TUNED PRETRAINED --rule changed -o net.ken.safetensors" in said
    line = provenance.python(net, {}).splitlines()[0]
    assert (
        eval(line.partition("= ")[2], {"ken": ken, "fine_tuned": pair.fine_tuned, "pretrained": pair.pretrained}) == net
    )
    assert isinstance(ken.retention.table(net, pair), pd.DataFrame)
