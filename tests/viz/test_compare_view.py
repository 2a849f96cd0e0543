import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from at_once import set_at_once
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
import kenviz.study.comparison
from kenviz import CompareView
from kenviz.figures import compare as figures
from kenviz.figures import overlap
from kenviz.tiles.overlap_tiles import shares

QUERY = "layer.1.query.weight"
MATRICES = ["embed.weight", *(f"layer.{i}.{kind}.weight" for i in range(2) for kind in ("query", "out"))]


@pytest.fixture
def other(pair):
    """A quarter of every row of the small pair, at random."""
    return ken.prune(*pair, 0.25, "random", seed=3, progress=False)


@pytest.fixture
def view(net, other, pair):
    return CompareView(net, other, pair)


def by_definition(net, other, pair, name):
    """From the whole arrays of a tensor."""
    a, b = net[name].mask(), other[name].mask()
    energy = (pair.fine_tuned[name].double() - pair.pretrained[name].double()).numpy() ** 2
    n = a.shape[1]
    by_chance = (a.sum(axis=1) * b.sum(axis=1) / n).sum()
    return {
        "jaccard": (a & b).sum() / (a | b).sum(),
        "overlap": (a & b).sum() / min(a.sum(), b.sum()),
        "update_share_a": energy[a].sum() / energy.sum(),
        "update_share_b": energy[b].sum() / energy.sum(),
        "update_share_both": energy[a & b].sum() / energy.sum(),
        "update_share_difference": (energy[a].sum() - energy[b].sum()) / energy.sum(),
    }, {
        "jaccard": by_chance / (a.sum() + b.sum() - by_chance),
        "overlap": by_chance / min(a.sum(), b.sum()),
        "update_share_a": a.mean(),
        "update_share_b": b.mean(),
        "update_share_both": by_chance / a.size,
        "update_share_difference": a.mean() - b.mean(),
    }


class TestDots:
    def test_values_and_chance_are_those_of_the_masks_and_the_models(self, net, other, pair, view):
        wanted = [by_definition(net, other, pair, name) for name in MATRICES]
        assert list(view.numbers().index) == MATRICES
        for measure in wanted[0][0]:
            view.measure = measure
            np.testing.assert_allclose(view.pane.column("dots", "value"), [values[measure] for values, _ in wanted])
            np.testing.assert_allclose(view.pane.column("dots", "chance"), [chance[measure] for _, chance in wanted])
            shown = view.figure.select_one({"name": "values"})
            every = [*view.pane.column("dots", "value"), *view.pane.column("dots", "chance")]
            assert shown.start < min(every) <= max(every) < shown.end
            assert view.figure.select_one({"name": "title"}).text == figures.MEASURES[measure].title
        view.measure = "both_z"
        np.testing.assert_array_equal(view.pane.column("dots", "value"), view.numbers()["both_z"])
        assert (view.pane.column("dots", "chance") == 0).all()

    def test_kinds_are_one_below_the_other_with_their_layers_around_them(self, view):
        places = dict(zip(view.pane.column("dots", "tensor"), view.pane.column("dots", "y"), strict=True))
        assert [places[name] for name in MATRICES] == [0, 1 - 0.32, 2 - 0.32, 1 + 0.32, 2 + 0.32]

    def test_one_pass_over_the_models_serves_all_measures(self, net, other, pair, monkeypatch):
        calls = []
        compare = kenviz.study.comparison.in_common
        counted = lambda *given, **how: calls.append(given) or compare(*given, **how)  # noqa: E731
        monkeypatch.setattr(kenviz.study.comparison, "in_common", counted)
        view = CompareView(net, other, pair)
        view.measure, view.tensor, view.rows = "both_z", QUERY, (2, 5)
        view.numbers()
        assert len(calls) == 1

    def test_a_tap_chooses_the_nearest_tensor_and_marks_it(self, view):
        at = MATRICES.index(QUERY)
        x, y = (view.pane.column("dots", name)[at] for name in ("value", "y"))
        shown = view.figure.select_one({"name": "values"})
        near = {"kind": "tap", "figure": "dots", "x": x + 0.01 * (shown.end - shown.start), "y": y + 0.1}
        view._heard(near)
        assert view.tensor == view._picker.value == QUERY
        assert (view.pane.column("ring", "value"), view.pane.column("ring", "y")) == (x, y)
        view._heard(near | {"y": y + 3, "x": shown.end})
        view._heard(near | {"figure": "states", "y": 0})
        assert view.tensor == QUERY

    def test_vectors_on_request(self, net, other, pair, view):
        assert "Left out: 2 vectors." in view.caption
        assert len(CompareView(net, other, pair, vectors=True).numbers()) == 7


class TestBudget:
    """How the entries that are retained are spread over the tensors."""

    @pytest.fixture
    def spread(self, pair):
        """As if chosen over the model: tensors have shares of their own."""
        net = ken.prune(*pair, {"embed*": 0.1, "*query*": 0.75, "*": 0.25}, "update", progress=False)
        return dataclasses.replace(net, recipe=dataclasses.replace(net.recipe, k=0.25, scope="model"))

    def test_shares_of_both_stand_side_by_side(self, net, spread, pair):
        view = CompareView(spread, net, pair, measure="budget")
        masks = [(spread[name].mask(), net[name].mask()) for name in MATRICES]
        np.testing.assert_allclose(view.pane.column("dots", "value"), [a.mean() for a, _ in masks])
        np.testing.assert_allclose(view.pane.column("dots", "second"), [b.mean() for _, b in masks])
        evenly = sum(a.sum() for a, _ in masks) / sum(a.size for a, _ in masks)
        np.testing.assert_allclose(view.pane.column("dots", "chance"), evenly)
        np.testing.assert_allclose(view.pane.column("dots", "second_chance"), 0.5)
        np.testing.assert_array_equal(view.pane.column("dots", "tie"), view.pane.column("dots", "second"))
        np.testing.assert_array_equal(view.numbers()["share_a"], view.pane.column("dots", "value"))
        assert "a is rule update over all pruned tensors, k = 0.25; b is rule ken, k = 0.5." in view.caption
        least, most = (f"{bound([a.mean() for a, _ in masks]):.1%}" for bound in (min, max))
        assert f"a retains {evenly:.1%} in all, {least} to {most} of a tensor; b retains 50.0% of each." in view.caption
        items = {name: view.figure.select_one({"name": name}).visible for name in figures.legend_shown("budget")}
        assert items == {"found": False, "a": True, "b": True, "chance": False, "even": True}
        shown = view.figure.select_one({"name": "values"})
        assert shown.start < least_of(masks) <= 0.75 < shown.end
        view._heard({"kind": "tap", "figure": "dots", "x": 0.5, "y": view.pane.column("dots", "y")[2]})
        assert view.tensor == MATRICES[2]
        view.measure = "jaccard"
        assert np.isnan(view.pane.column("dots", "second")).all()
        assert not view.figure.select_one({"name": "even"}).visible

    def test_where_both_are_even_words_say_so_and_nothing_is_drawn(self, view, net, pair):
        said = "spread evenly over the tensors, up to whole entries: a retains 50.0% of each; b retains 25.0% of each."
        assert said in view.caption
        assert "budget" not in [name for _, name in view._measures.options]
        with pytest.raises(traitlets.TraitError, match="two straight lines: The budgets are spread evenly"):
            view.measure = "budget"
        assert view.measure == "jaccard"
        # 7 of every row is another share of a row of 24 than of one of 48
        assert not CompareView(net, ken.prune(*pair, 7, progress=False), pair)._comparison.flat


def least_of(masks):
    return min(a.mean() for a, _ in masks)


class TestMasks:
    def test_exact_tiles_are_the_masks_and_their_four_states(self, net, other, view):
        view.tensor = QUERY
        a, b = net[QUERY].mask(), other[QUERY].mask()
        np.testing.assert_array_equal(view.pane.column("tiles", "a"), 100 * a)
        np.testing.assert_array_equal(view.pane.column("tiles", "b"), 100 * b)
        np.testing.assert_array_equal(view.pane.column("tiles", "both"), 100 * (a & b))
        rgb = {True: {True: "#000000", False: "#0072b2"}, False: {True: "#e69f00", False: "#f2f2f2"}}
        want = [[rgb[bool(i)][bool(j)] for i, j in zip(*rows, strict=True)] for rows in zip(a, b, strict=True)]
        bytes_of = view.pane.column("tiles", "states").view(np.uint8).reshape(*a.shape, 4)
        got = [["#" + "".join(f"{part:02x}" for part in entry[:3]) for entry in row] for row in bytes_of]
        assert got == want
        assert (bytes_of[..., 3] == 255).all()

    def test_lightness_is_the_second_cue(self):
        # Relative luminance falls from state to state, by a margin that grey shows.
        light = [np.dot([0.2126, 0.7152, 0.0722], (rgb / 255) ** 2.2) for rgb in overlap._RGB]
        assert (np.diff(light) < -0.1).all()

    def test_a_large_matrix_is_mixed_and_says_so(self):
        values = torch.rand(2000, 600, generator=torch.Generator().manual_seed(0))
        pair = ken.Pair({"w": values}, {"w": values * 0})
        a, b = (ken.prune(*pair, k, "random", progress=False) for k in (0.5, 0.25))
        view = CompareView(a, b, pair)
        assert "a tile mixes 8 × 3 entries" in view.caption
        assert view.figure.select_one({"name": "note"}).text.startswith("2,000 rows × 600 columns\na tile mixes")
        for name, net in (("a", a), ("b", b)):
            means = net["w"].mask().reshape(250, 8, 200, 3).mean(axis=(1, 3))
            np.testing.assert_allclose(view.pane.column("tiles", name), 100 * means, atol=0.51)
        view.rows, view.columns = (100, 150), (0, 80)
        assert view.tiles.exact
        assert "exact" in view.figure.select_one({"name": "note"}).text
        np.testing.assert_array_equal(view.pane.column("tiles", "a"), 100 * a["w"].mask()[100:150, :80])

    def test_browser_python_and_sliders_move_one_part(self, view):
        view._heard({"kind": "range", "name": "rows", "start": 60.7, "end": 40.2})
        view._heard({"kind": "range", "name": "columns", "start": 3.0, "end": 9.5})
        assert (view.rows, view.columns) == ((40.2, 60.7), (3.0, 9.5))
        assert (view._parts["rows"].value, view._parts["columns"].value) == ((40, 61), (3, 10))
        assert [view.pane.column("tiles", c)[0] for c in ("x", "y", "dw", "dh")] == [3, 40, 7, 21]
        view._parts["rows"].value = (100, 140)
        assert view.rows == (100, 140)
        shown = view.figure.select_one({"name": "rows"})
        assert (shown.start, shown.end) == (140, 100)
        view.columns = (5, 8)
        assert view._parts["columns"].value == (5, 8)
        view.tensor = QUERY
        assert (view.rows, view.columns) == ((0, 24), (0, 24))
        assert (view._parts["rows"].value, view._parts["rows"].max) == ((0, 24), 24)
        assert (shown.start, shown.end, shown.bounds) == (24, 0, (0, 24))


class TestTwoTasks:
    @pytest.fixture
    def tasks(self, pair):
        """Another fine-tuning of the same pretrained tensors, and subnetworks of both."""
        generator = torch.Generator().manual_seed(5)
        moved = {name: value + torch.randn(value.shape, generator=generator) for name, value in pair.pretrained.items()}
        second = ken.Pair(moved, pair.pretrained)
        return second, ken.prune(*pair, 0.5, "update"), ken.prune(*second, 0.5, "update")

    def test_masks_compare_and_each_update_needs_its_own_models(self, pair, tasks):
        second, a, b = tasks
        view = CompareView(a, b, pair)
        assert "only known with its models, pair_b" in view.caption
        table = view.numbers()
        assert table[["update_share_b", "update_share_both", "update_share_difference"]].isna().all(axis=None)
        np.testing.assert_allclose(
            table["jaccard"], [by_definition(a, b, pair, name)[0]["jaccard"] for name in MATRICES]
        )
        view.measure = "update_share_b"
        assert "not known" in view.caption
        assert np.isnan(view.pane.column("dots", "value")).all()

        both = CompareView(a, b, pair, pair_b=second, measure="update_share_b")
        assert "of each one's own" in both.caption
        own = [by_definition(a, b, second, name)[0]["update_share_b"] for name in MATRICES]
        np.testing.assert_allclose(both.pane.column("dots", "value"), own)
        again = eval(both.code(), {"kenviz": kenviz, "a": a, "b": b, "pair": pair, "pair_b": second})
        pd.testing.assert_frame_equal(again.numbers(), both.numbers())

    def test_another_pretrained_model_is_refused(self, pair, net):
        pretrained = pair.pretrained | {QUERY: pair.pretrained[QUERY] + 1}
        with pytest.raises(ValueError, match=f"{QUERY}: the pretrained tensor of a is another than that of b"):
            CompareView(net, ken.prune(pair.fine_tuned, pretrained, 0.5), pair)


def test_what_cannot_be_compared_is_refused(net, pair):
    smaller = ken.Pair(*({QUERY: model[QUERY][:12]} for model in pair))
    with pytest.raises(ValueError, match=rf"{QUERY}: shape \(24, 24\) in a, \(12, 24\) in b; only masks of one shape"):
        CompareView(net, ken.prune(*smaller, 3), pair)
    with pytest.raises(ValueError, match=rf"{QUERY}: cut into rows as '' in a, as 'whole' in b"):
        CompareView(net, ken.prune(*pair, 3, rows={QUERY: "whole"}), pair)
    with pytest.raises(ValueError, match="no pruned tensor in common"):
        CompareView(net, ken.prune(*pair, 3, exclude=["*"]), pair)
    with pytest.raises(ValueError, match=r"the subnetwork has shape \(24, 24\), the fine-tuned model \(12, 24\)"):
        CompareView(net, net, ken.Pair(*(model | {QUERY: model[QUERY][:12]} for model in pair)))
    part = CompareView(net, ken.prune(*pair, 3, exclude=["layer.0.*"]), pair)
    assert "Left out: 1 vector and 3 tensors that only one of the two has pruned." in part.caption


def test_what_is_not_there_is_refused_and_changes_nothing(view, net, other, pair):
    before = view.state
    with pytest.raises(traitlets.TraitError, match="tensor must be one that is compared, one of 5.*got 'head.weight'"):
        view.tensor = "head.weight"
    with pytest.raises(traitlets.TraitError, match="rows must be a part of 0 to 300, got 300.0 to 400.0"):
        view.rows = (300.0, 400.0)
    with pytest.raises(traitlets.TraitError, match="measure"):
        view.measure = "size"
    with pytest.raises(ValueError, match="tensor must be one that is compared, .*; got 'x'"):
        CompareView(net, other, pair, tensor="x")
    assert view.state == before
    assert view._picker.value == view.tensor


def test_itself_has_everything_in_common(net, pair):
    view = CompareView(net, net, pair)
    assert (view.numbers()["jaccard"] == 1).all()
    assert set(np.unique(shares(view.tiles).argmax(axis=0))) <= {0, 3}


def test_code_makes_the_same_view_again(net, other, pair, view):
    view.measure, view.tensor, view.rows = "overlap", QUERY, (2.0, 9.0)
    again = eval(view.code(), {"kenviz": kenviz, "a": net, "b": other, "pair": pair})
    assert again.state == view.state
    assert repr(again) == repr(view)
    assert "\n" not in repr(view)
    pd.testing.assert_frame_equal(again.numbers(), view.numbers())
    np.testing.assert_array_equal(again.pane.column("tiles", "a"), view.pane.column("tiles", "a"))


def test_names_of_strangers_are_text_and_the_page_asks_for_nothing(tmp_path):
    pair = small_pair(extra=[HOSTILE])
    view = CompareView(ken.prune(*pair, 3), ken.prune(*pair, {f"{HOSTILE}": 2, "*": 5}), pair, tensor=HOSTILE)
    assert "<script" not in view._note.value
    assert "\u202e" not in view.caption
    view.theme = "dark"
    page = view.to_html(tmp_path / "view.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page) == []
    assert "#181a1b" in page


def test_two_threads_leave_a_whole_state(net, other, view):
    set_at_once(
        view, ("tensor", MATRICES * 3), ("measure", [name for name in figures.MEASURES if name != "budget"] * 3)
    )
    name = MATRICES[-1]
    assert view.tensor == name
    np.testing.assert_array_equal(view.pane.column("tiles", "a"), 100 * net[name].mask())
    assert (view.pane.column("ring", "value") == view.pane.column("dots", "value")[-1]).all()


def test_tensors_of_one_pretrained_tensor_are_compared_under_either_name():
    """One fine-tuning with a prefix and a head, another without: a body is a body."""
    torch.manual_seed(0)
    base = {name: torch.randn(6, 8) for name in ("l.0.w", "l.1.w")}
    bare = {name: tensor + torch.randn(6, 8) for name, tensor in base.items()}
    named = {f"bert.{name}": tensor + torch.randn(6, 8) for name, tensor in base.items()} | {"head": torch.ones(2, 8)}
    a, b = ken.prune(bare, base, 4), ken.prune(named, base, 4)
    view = kenviz.CompareView(a, b, ken.Pair(bare, base), ken.Pair(named, base), tensor="l.1.w")
    both = (a["l.1.w"].mask() & b["bert.l.1.w"].mask()).sum()
    assert view.numbers().loc["l.1.w", "both"] == both
    assert view.tiles.exact
    assert view.numbers().index.tolist() == ["l.0.w", "l.1.w"]
    turned = kenviz.CompareView(b, a, ken.Pair(named, base), ken.Pair(bare, base))
    assert turned.numbers()["both"].tolist() == view.numbers()["both"].tolist()
