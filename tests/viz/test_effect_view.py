"""EffectView: what is drawn is the table, what is said is first whether the map is true, and all that a view owes."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from at_once import set_at_once
from effect_tables import attributed, made_up
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from ken.evaluation import members
from kenviz import EffectView
from kenviz.study.effects import MOST_DRAWN, Effects

QUERY = "layer 1 query"
PLACES = ("embedding", "layer 0 query", "layer 1 query", "layer 0 out")


@pytest.fixture
def view():
    return EffectView(made_up())


@pytest.fixture(scope="module")
def mapped():
    """The table of a small pair's places, its attribution, and a subnetwork."""
    pair = small_pair()
    net = ken.prune(*pair, 0.5, progress=False)
    places = members({name: tensor.shape for name, tensor in pair.pretrained.items()}, "place")
    worth = {name: -0.2 * i / len(names) for i, names in enumerate(places.values()) for name in names}
    return made_up(tuple(places)), attributed(pair, worth), net, pair


def column(view, panel, name):
    return view.pane.column(f"marks_{panel}", name)


def drawn(view, panel):
    return list(zip(column(view, panel, "name"), column(view, panel, "value"), strict=True))


class TestWhatIsShown:
    def test_marks_are_the_table_with_its_intervals_sorted_by_what_does_most(self, view):
        table = made_up().set_index(["way", "group"])
        for way in ("without", "only"):
            names = list(column(view, way, "name"))
            assert names == list(reversed(PLACES))
            for shown, wanted in (("value", "loss_difference"), ("low", "loss_low"), ("high", "loss_high")):
                np.testing.assert_allclose(column(view, way, shown), [table.loc[(way, n), wanted] for n in names])
        view.sort = "only"
        assert list(column(view, "only", "name")) == list(reversed(PLACES))
        view.sort = "entries"
        assert view.numbers()["entries"].tolist() == [400, 300, 200, 100]
        view.sort = "model order"
        assert view.numbers().index.tolist() == list(PLACES)

    def test_what_was_judged_to_differ_is_full_and_said_in_words(self, view):
        full = dict(zip(column(view, "without", "name"), column(view, "without", "full"), strict=True))
        assert full == {name: float(name != "embedding") for name in PLACES}
        assert "judged together (Holm), 3 of 4 differ from 0 at 5%" in view.caption
        assert "nats" in view.caption

    def test_controls_are_lines_at_their_mean_and_from_end_to_end(self, view):
        np.testing.assert_allclose(column(view, "without", "other"), 0.02)
        np.testing.assert_allclose(column(view, "without", "other_low"), 0.01)
        np.testing.assert_allclose(column(view, "without", "other_high"), 0.03)
        assert np.isnan(column(view, "only", "other")).all()
        assert "2 times a group" in view.caption
        assert "No control was made." in EffectView(made_up(seeds=())).caption

    def test_there_is_a_line_at_zero_in_every_panel(self, mapped):
        table, attribution, net, _ = mapped
        view = EffectView(table, attribution, net)
        for panel in ("without", "only", "attribution", "retained"):
            assert view.figure.select_one({"name": f"zero_{panel}"}).location == 0
            shown = view.figure.select_one({"name": f"x_{panel}"})
            assert shown.start < 0 < shown.end

    def test_the_metric_has_the_contrary_order(self, view):
        view.quantity = "metric"
        assert view.numbers().index.tolist() == list(reversed(PLACES))
        assert "units of the metric" in view.figure.select_one({"name": "unit_without"}).axis_label
        view.sort = "only"
        assert view.numbers().index.tolist() == list(reversed(PLACES))
        without_losses = EffectView(made_up(losses=False))
        assert without_losses.quantity == "metric"
        with pytest.raises(traitlets.TraitError, match="quantity must be one of metric"):
            without_losses.quantity = "loss"

    def test_top_and_search_say_how_many_are_not_shown(self, view):
        view.top = 3
        assert len(view.numbers()) == len(column(view, "without", "y")) == 3
        assert "Of 4 groups, 1 are not shown: these are the top 3." in view.caption
        view.pattern = "query"
        assert set(view.numbers().index) == {"layer 0 query", "layer 1 query"}
        assert "Of 4 groups, 2 are not shown: 2 do not match the search." in view.caption
        view.pattern = "nothing like it"
        assert view.numbers().empty
        view._all.click()
        assert (view.pattern, view.top) == ("", 0)
        assert len(view.numbers()) == 4
        assert "not shown" not in view.caption

    def test_more_groups_than_a_browser_can_draw_are_left_out_and_counted(self):
        view = EffectView(made_up([f"group {i}" for i in range(450)], seeds=()), top=0)
        assert len(view.numbers()) == MOST_DRAWN == 400
        assert "Of 450 groups, 50 are not shown: at most 400 are drawn." in view.caption

    def test_names_that_are_cut_to_the_same_stay_apart(self):
        view = EffectView(made_up([f"{'y' * 60}{i}{'y' * 60}" for i in range(3)]))
        assert len(set(column(view, "without", "name"))) == 3


class TestAttribution:
    def test_it_and_what_of_it_is_retained_are_those_of_ken(self, mapped):
        table, attribution, net, _ = mapped
        view = EffectView(table, attribution, net, sort="model order")
        wanted = attribution.table("place", net)
        np.testing.assert_allclose(column(view, "attribution", "value"), wanted["attribution"])
        np.testing.assert_allclose(column(view, "retained", "value"), wanted["retained_absolute"])
        np.testing.assert_allclose(column(view, "retained", "other"), wanted["chance"])
        assert "attribution" not in EffectView(table)._effects.sorts
        assert "retained_absolute" not in EffectView(table, attribution)._effects.sorts

    def test_agreement_is_told_first(self, mapped):
        table, attribution, net, _ = mapped
        view = EffectView(table, attribution, net)
        one = ken.agreement(attribution, table)
        assert view.caption.startswith(str(one)[0].upper() + str(one)[1:])

    def test_a_poor_map_is_told_before_anything_else(self, mapped):
        table, _, _, pair = mapped
        places = members({name: tensor.shape for name, tensor in pair.pretrained.items()}, "place")
        scrambled = [0.3, -0.1, 0.2, -0.4, 0.1]
        worth = {name: scrambled[i] for i, names in enumerate(places.values()) for name in names[:1]}
        attribution = attributed(pair, {**dict.fromkeys(pair.pretrained, 0.0), **worth})
        assert ken.agreement(attribution, table).poor
        view = EffectView(table, attribution)
        assert view.caption.startswith("Attribution is a poor map here")

    def test_other_groups_and_other_pairs_are_refused(self, mapped):
        table, attribution, _, _ = mapped
        with pytest.raises(ValueError, match=r"the attribution by 'tensor' has 7, and 0 are in both: give by="):
            EffectView(table, attribution, by="tensor")
        other = ken.prune({"w": torch.ones(1, 2)}, {"w": torch.zeros(1, 2)}, 1)
        with pytest.raises(ken.KenError, match="it is of another pair"):
            EffectView(table, attribution, other)

    def test_too_few_groups_for_a_correlation_are_said(self):
        pair = ken.Pair({"a": torch.ones(2, 2)}, {"a": torch.zeros(2, 2)})
        view = EffectView(made_up(["a"]), attributed(pair, {"a": -1.0}), by="tensor")
        assert view.caption.startswith("Whether attribution is true without a group cannot be told")


class TestGroup:
    def test_a_tap_chooses_the_group_of_its_line_and_the_card_tells_of_it(self, mapped):
        table, attribution, net, _ = mapped
        view = EffectView(table, attribution, net)
        at = view.numbers().index.tolist().index(QUERY)
        view._heard({"kind": "tap", "figure": "panel_only", "x": 0.0, "y": at + 0.3})
        assert view.group == view._groups.value == QUERY
        band = view.figure.select_one({"name": "chosen_attribution"})
        assert (band.bottom, band.top, band.visible) == (at - 0.5, at + 0.5, True)
        for words in ("judged together", "nats", "by chance", "layer.1.query.weight, layer.1.query.bias", "control"):
            assert words in view._card.value
        view._heard({"kind": "tap", "figure": "panel_only", "x": 0.0, "y": 99.0})
        assert view.group == QUERY
        view.pattern = "out"
        assert view.group == QUERY
        assert not view.figure.select_one({"name": "chosen_attribution"}).visible
        view.group = ""
        assert "Tap a group" in view._card.value

    def test_it_opens_its_largest_tensor_in_the_explorer(self, mapped):
        table, attribution, net, pair = mapped
        explorer = kenviz.explore(net, pair)
        view = EffectView(table, explorer=explorer)
        assert view.lock is explorer.lock
        view.group = QUERY
        assert explorer.tensor == "layer.1.query.weight"
        assert view.tensors == ["layer.1.query.weight", "layer.1.query.bias"]
        assert EffectView(table, group=QUERY).tensors == []
        assert EffectView(table, attribution, group=QUERY).tensors == view.tensors

    def test_anything_else_may_follow(self, view):
        heard = []
        view.observe(lambda change: heard.append(change["new"]), "group")
        view._groups.value = "layer 0 out"
        assert heard == ["layer 0 out"]


def test_a_real_ablation_opens_and_as_csv_the_same(tmp_path):
    torch.manual_seed(0)
    layers = [torch.nn.Sequential(*[torch.nn.Linear(3, 3) for _ in range(4)]) for _ in range(2)]
    pair = ken.Pair(*layers)
    task = ken.Task([torch.eye(3)], lambda model, batch: model(batch).square().mean(dim=1))
    table = ken.ablate(pair, evaluate=task.evaluate, by="tensor", seeds=[0], progress=False)
    attribution = ken.attribute(pair, task, progress=False)
    view = EffectView(table, attribution, by="tensor")
    assert len(view.numbers()) == 8
    path = tmp_path / "effects.csv"
    table.to_csv(path, index=False)
    again = EffectView(path, attribution, by="tensor")
    pd.testing.assert_frame_equal(again.numbers(), view.numbers())
    with pytest.raises(ken.KenError):
        again.to_html(path, overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["loss", "way"]), "no column 'way', 'loss': it is no table of ken.ablate"),
        (lambda t: t[:2], "the table has no group"),
        (lambda t: t.assign(loss_difference=np.nan, metric_difference=np.nan), "no difference to show"),
        (lambda t: t.assign(loss="low"), "column 'loss' must be of numbers"),
        (lambda t: pd.concat([t, t[2:3]]), "group 'embedding' is there twice without"),
    ],
)
def test_a_table_that_is_none_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Effects(change(made_up()))


def test_what_is_not_there_is_refused_and_changes_nothing(view):
    before = view.state
    for name, value, message in (
        ("sort", "attribution", "sort must be one of without, only, entries, model order"),
        ("group", "x", "group must be one of the table's 4, such as 'embedding'"),
        ("top", -1, "top"),
    ):
        with pytest.raises(traitlets.TraitError, match=message):
            setattr(view, name, value)
    assert view.state == before
    with pytest.raises(TypeError, match=r"a table of ken.ablate or the path of its CSV is needed, got list"):
        EffectView([1])


def test_code_makes_the_same_view_again(mapped):
    table, attribution, net, _ = mapped
    view = EffectView(table, attribution, net)
    view.sort, view.pattern, view.top, view.group = "retained_absolute", "layer", 3, QUERY
    names = {"kenviz": kenviz, "ablation": table, "attribution": attribution, "net": net}
    again = eval(view.code(), names)
    assert again.state == view.state
    assert repr(again) == repr(view)
    assert "\n" not in repr(view)
    pd.testing.assert_frame_equal(again.numbers(), view.numbers())


def test_the_table_that_was_given_stays_as_it_is():
    table = made_up()
    before = table.copy()
    view = EffectView(table)
    numbers = view.numbers()
    numbers["without"] = 0.0
    pd.testing.assert_frame_equal(table, before)
    assert (view.numbers()["without"] != 0).any()


def test_names_of_strangers_are_text_and_the_page_asks_for_nothing(tmp_path):
    view = EffectView(made_up([HOSTILE, "other", "third"]), group=HOSTILE, theme="dark")
    assert "<script" not in view._note.value + view._card.value
    assert "\u202e" not in view.caption + view._card.value + "".join(column(view, "without", "name"))
    page = view.to_html(tmp_path / "view.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page) == []
    assert "#181a1b" in page


def test_two_threads_leave_a_whole_state(view):
    set_at_once(view, ("sort", ["only", "entries", "without"] * 4), ("top", [1, 2, 0] * 4))
    np.testing.assert_array_equal(column(view, "without", "value"), view.numbers()["without"])
    assert (view.sort, view.top) == ("without", 0)
    assert len(column(view, "without", "y")) == 4
