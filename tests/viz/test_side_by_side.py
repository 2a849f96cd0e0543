"""Several subnetworks of one pair side by side, and another rule that is decided as it is looked at."""

import itertools

import numpy as np
import pytest
import torch
import traitlets

import ken
import kenviz
from kenviz import SideBySideView

QUERY = "layer.1.query.weight"


@pytest.fixture
def other(pair):
    return ken.prune(*pair, 5, "magnitude", progress=False)


def masks(view, at=QUERY):
    """The masks that are shown, exactly."""
    return [numbers.to_numpy() == 100 for _, numbers in view.numbers().groupby(level=0, sort=False)]


def test_each_matrix_is_the_mask_of_its_subnetwork(net, other, pair):
    view = SideBySideView({"mine": net, "theirs": other}, pair, QUERY)
    assert view.names == ["mine", "theirs"]
    for shown, subnetwork in zip(masks(view), (net, other), strict=True):
        assert np.array_equal(shown, subnetwork[QUERY].row_mask())


@pytest.mark.parametrize("rule", [rule for rule in ken.rules.names() if rule != "ken"])
def test_another_rule_is_what_pruning_with_it_gives(net, pair, rule):
    view = SideBySideView([net], pair, QUERY, rule=rule)
    k = None if ken.rules.counts(rule) else net.recipe.k
    pruned = ken.prune(*pair, k, rule, progress=False)[QUERY].row_mask()
    assert np.array_equal(masks(view)[1], pruned)
    counts = view.shared[view.names[1]]
    mine = net[QUERY].row_mask()
    assert (counts.a, counts.b, counts.both) == (mine.sum(), pruned.sum(), (mine & pruned).sum())
    chance = (mine.sum(axis=1) * pruned.sum(axis=1)).sum() / mine.shape[1]
    assert counts.by_chance == pytest.approx(chance)


def test_a_rule_keeps_the_settings_of_the_subnetwork(pair):
    net = ken.prune(*pair, 0.25, "density", on="update", seed=3, exclude=["embed*"], progress=False)
    view = SideBySideView([net], pair, QUERY, rule="ken")
    ruled = view.shown[view.names[1]].net.recipe
    assert (ruled.rule, ruled.k, ruled.on, ruled.seed, ruled.exclude) == ("ken", 0.25, "update", 3, ("embed*",))
    view.rule = "random"  # which looks at no density
    assert view.shown[view.names[1]].net.recipe.on == "weights"


def test_one_draw_twice_is_no_finding(pair):
    nets = [ken.prune(*pair, k, "random", progress=False) for k in (2, 5)]
    assert "the same draw as the first" in SideBySideView(nets, pair, QUERY).caption


def test_a_tensor_that_one_has_not_pruned_is_left_out_and_that_is_said(net, pair):
    fewer = ken.prune(*pair, 5, exclude=["*query*"], progress=False)
    view = SideBySideView({"mine": net, "fewer": fewer}, pair, QUERY)
    assert view.names == ["mine"]
    assert "not shown, in fewer" in view.caption
    view.tensor = "embed.weight"
    assert view.names == ["mine", "fewer"]


def test_the_same_view_is_made_by_its_code_and_by_every_order_of_changes(net, other, pair):
    wanted = {"tensor": QUERY, "rule": "update", "show": "retained", "entry": (5, 7), "rows": (2.0, 9.0)}
    nets = {"a": net, "b": other}
    made = []
    for order in itertools.islice(itertools.permutations(wanted), 0, 120, 30):
        view = SideBySideView(nets, pair)
        for trait in sorted(order, key=lambda trait: trait != "tensor"):  # another tensor begins anew
            setattr(view, trait, wanted[trait])
        made.append(view)
    again = eval(made[0].code(), {"kenviz": kenviz, "nets": nets, "pair": pair})
    for view in [*made, again]:
        assert view.caption == made[0].caption
        assert view.numbers().equals(made[0].numbers())


def test_bad_input_is_refused(net, pair, tmp_path):
    with pytest.raises(ValueError, match="room for 1 to 6 subnetworks, got 0"):
        SideBySideView([], pair)
    with pytest.raises(ValueError, match="room for 1 to 6 subnetworks, got 7"):
        SideBySideView([net] * 7, pair)
    view = SideBySideView([net], pair)
    for trait, value, words in [
        ("rule", "x", "rule must be one of"),
        ("tensor", "x", "tensor must be a pruned one"),
        ("show", "update", "show must be one of mask, retained"),
    ]:
        with pytest.raises(traitlets.TraitError, match=words):
            setattr(view, trait, value)
    with pytest.raises(traitlets.TraitError, match="give the pair of models"):
        SideBySideView([net]).rule = "update"
    other_cut = ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, 2, rows={"w": "whole"})
    first = ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, 2)
    with pytest.raises(ValueError, match="cannot stand side by side"):
        SideBySideView([first, other_cut])
    page = SideBySideView([net], pair, QUERY, rule="update").to_html(tmp_path / "page.html")
    assert "update, k = " in page.read_text()
