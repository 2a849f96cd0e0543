"""LayersView: every layer against the models' own numbers, one scale, sheets, and what is left out."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from kenviz_models import HOSTILE

import ken
import kenviz
from kenviz import LayersView, MatrixView

QUERY = "layer.*.query.weight"


@pytest.fixture
def many():
    """Fourteen layers, one of another shape, and a matrix that is in no layer."""
    generator = torch.Generator().manual_seed(0)
    shapes = {f"h.{i}.w": (20, 9) if i == 3 else (20, 30) for i in range(14)} | {"top.w": (5, 5)}
    pretrained = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    updated = {
        name: tensor + torch.randn(tensor.shape, generator=generator) * (1 + len(name))
        for name, tensor in pretrained.items()
    }
    pair = ken.Pair(updated, pretrained)
    return ken.prune(*pair, 0.5), pair


def update(pair, name):
    return pair.fine_tuned[name].double().numpy() - pair.pretrained[name].double().numpy()


def test_every_layer_is_shown_on_one_scale(net, pair):
    view = LayersView(net, pair, QUERY, show="update", clip=0.9)
    wanted = {str(i): update(pair, f"layer.{i}.query.weight") for i in range(2)}
    everything = np.concatenate(list(wanted.values()))
    end = np.quantile(np.abs(everything), 0.9, method="inverted_cdf")
    scale = view.figure.select_one({"name": "scale"})
    assert scale.high == -scale.low == pytest.approx(end, rel=1e-12)
    for layer, want in wanted.items():
        codes = view.pane.column(f"tiles_{layer}", "image").astype(float)
        np.testing.assert_allclose(scale.low + codes * end / 127, want.clip(-end, end), rtol=0, atol=end / 254 * 1.001)
        np.testing.assert_array_equal(view.numbers().loc[layer], want)
        assert f"layer {layer}: 50.0%" in view.figure.select_one({"name": f"title_{layer}"}).text
    above = (everything > end).sum()
    drawn = sum(view.pane.column(f"above_{layer}", "x").size for layer in wanted)
    assert view.figure.select_one({"name": "legend_above"}).label.value.startswith(f"{above} above")
    assert drawn == sum(min(40, (want > end).sum()) for want in wanted.values())
    assert f"{above} lie above" in view.caption


@pytest.mark.parametrize("show", ["mask", "retained", "sign", "pretrained", "fine_tuned"])
def test_any_quantity_is_that_of_the_matrix_view(net, pair, show):
    view = LayersView(net, pair, QUERY, show=show, rows=(2, 12), columns=(0, 24))
    for layer, tensor in view.layers.items():
        one = MatrixView(net, pair, tensor, show=show, rows=(2, 12), columns=(0, 24))
        np.testing.assert_array_equal(view.numbers().loc[layer].to_numpy(), one.numbers().to_numpy())


def test_layers_are_on_sheets_and_those_of_another_shape_are_left_out_and_said_so(many):
    net, pair = many
    view = LayersView(net, pair, show="update")
    assert list(view.layers) == ["0", "1", "2", *map(str, range(4, 13))]
    assert view._now.sheets == 2
    assert "sheet 1 of 2" in view.caption
    assert "1 of another shape are left out" in view.caption
    assert "sheet 1 of 2; 1 of another shape left out" in view.figure.select_one({"name": "note"}).text
    view._pager.value = 2
    assert view.sheet == 2
    assert list(view.layers) == ["13"]
    np.testing.assert_array_equal(view.numbers().loc["13"], update(pair, "h.13.w"))
    shown = [view.figure.select_one({"name": f"layer_{i}"}).visible for i in range(12)]
    assert shown == [True] + [False] * 11
    assert view.figure.select_one({"name": "title_1"}).text == ""
    scale = view.figure.select_one({"name": "scale"})
    end = np.quantile(np.abs(update(pair, "h.13.w")), 0.99, method="inverted_cdf")
    assert scale.high == pytest.approx(end, rel=1e-12)
    view.sheet = 1
    assert all(view.figure.select_one({"name": f"layer_{i}"}).visible for i in range(12))


def test_a_zoom_into_one_is_a_zoom_into_all(net, pair):
    view = LayersView(net, pair, QUERY)
    ranges = {id(view.figure.select_one({"name": f"layer_{i}"}).x_range) for i in range(2)}
    assert len(ranges) == 1
    view._heard({"kind": "range", "name": "rows", "start": 9.5, "end": 3.0})
    assert view.rows == (3.0, 9.5)
    for i in range(2):
        mask = net[f"layer.{i}.query.weight"].mask()
        np.testing.assert_array_equal(view.pane.column(f"tiles_{i}", "image"), 100 * mask[3:10])
    view._to.whole.click()
    assert view.rows == (0, 24)


def test_a_tap_chooses_the_layer_and_the_entry(net, pair):
    view = LayersView(net, pair, QUERY)
    seen = []
    view.observe(lambda change: seen.append(change["name"]), ["tensor", "entry"])
    view._heard({"kind": "tap", "figure": "layer_1", "x": 7.5, "y": 5.5})
    assert (view.tensor, view.entry) == ("layer.1.query.weight", (5, 7))
    assert seen == ["tensor", "entry"]
    card = ken.explain(net, pair, view.tensor, 5).entry(7)
    assert (view._card.card.text.splitlines()[:2], view._card.card.python) == (card.text.splitlines()[:2], card.python)
    assert view.pane.column("entry", "x") == [7.5]
    assert view.figure.select_one({"name": "title_1"}).text.startswith("▸ layer 1")
    for event in ({"figure": "layer_1", "x": 24.5, "y": 1}, {"figure": "layers", "x": 0, "y": 0}, {"figure": None}):
        view._heard({"kind": "tap", "x": 1.0, "y": 1.0, **event})
    assert (view.tensor, view.entry) == ("layer.1.query.weight", (5, 7))


def test_another_kind_begins_anew(net, pair):
    view = LayersView(net, pair, QUERY, tensor="layer.0.query.weight", entry=(3, 4), rows=(2, 9))
    view._picker.value = "layer.*.out.weight"
    assert (view.tensor, view.entry, view.rows, view.columns) == ("", None, (0, 24), (0, 48))
    assert view.figure.select_one({"name": "columns"}).bounds == (0, 48)
    assert "Tap an entry" in view._card.value


def test_code_makes_the_same_view_again(many):
    net, pair = many
    view = LayersView(net, pair, show="sign", sheet=2, clip=0.5, entry=(3, 4), tensor="h.2.w", rows=(2, 9))
    again = eval(view.code(), {"kenviz": kenviz, "net": net, "pair": pair})
    assert again.state == view.state
    assert repr(again) == repr(view)
    pd.testing.assert_frame_equal(again.numbers(), view.numbers())


def test_what_is_not_there_is_refused(net, pair):
    view = LayersView(net, None, QUERY)
    before = view.state
    for name, value, words in [
        ("kind", "embed.weight", "kind must be that of a pruned tensor in layers, one of 3, such as 'layer"),
        ("sheet", 2, "sheet must be from 1 to 1, got 2"),
        ("tensor", "layer.0.out.weight", "tensor must be one of kind 'layer.*.query.weight', or empty"),
        ("show", "update", "needs the pair of models"),
        ("entry", (24, 0), "entry must be"),
    ]:
        with pytest.raises(traitlets.TraitError, match=re.escape(words)):
            setattr(view, name, value)
    assert view.state == before
    with pytest.raises(ValueError, match="no pruned tensor that is in a layer"):
        LayersView(ken.prune({"a": torch.rand(3, 3)}, {"a": torch.zeros(3, 3)}, 1))


def test_page_asks_for_nothing_and_names_of_strangers_are_text(tmp_path):
    names = [f"{HOSTILE}.{i}.w" for i in range(2)]
    pair = ken.Pair({name: torch.rand(4, 4) for name in names}, {name: torch.zeros(4, 4) for name in names})
    view = LayersView(ken.prune(*pair, 2), pair, show="update", tensor=names[1], entry=(1, 2), theme="dark")
    page = view.to_html(tmp_path / "layers.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page) == []
    assert "<script>alert" not in page
    assert "<script" not in view._card.value
    assert "\n" not in repr(view)
