"""RetentionView, its measures and its strips, against the tables of ken and sums made from masks."""

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from at_once import set_at_once
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from kenviz import RetentionView, theme
from kenviz.figures import retention as figures
from kenviz.figures.strips import MOST_MARKS, picture
from kenviz.study import tensor_parts
from kenviz.study.study import Study
from kenviz.text.measures import MEASURES
from kenviz.tiles import pyramid

EMBED, QUERY, OUT = "embed.weight", "layer.1.query.weight", "layer.0.out.weight"


@pytest.fixture(scope="module")
def attention():
    """A model with a configuration, so that its heads are known."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=20,
    )
    pretrained, fine_tuned = BertModel(config), BertModel(config)
    return ken.prune(fine_tuned, pretrained, 0.4, progress=False), ken.Pair(fine_tuned, pretrained)


def named(view, name):
    return view.figure.select_one({"name": name})


class TestMeasures:
    def test_every_numeric_column_of_the_table_is_one(self, net, pair):
        table = ken.retention.table(net, pair)
        assert set(MEASURES) == set(table.select_dtypes("number").columns) - {"layer"}

    def test_middles_are_those_of_the_columns_that_have_both_signs(self):
        assert [name for name, measure in MEASURES.items() if measure.middle] == ["neighbours_z", "kurtosis"]

    @pytest.mark.parametrize("name", MEASURES)
    def test_a_cell_has_room_for_any_value(self, name):
        for value in (0.0, 1e-12, 0.00012, 0.5, 1.0, 12.34, 999.96, 9999.6, 1e6, 999_960, 5_860_224.0, 7e11, 1e14):
            value = value if MEASURES[name].style != "share" else min(value, 1.0)
            assert 0 < len(MEASURES[name].brief(value)) <= 6, value
            assert MEASURES[name].written(value)
        assert MEASURES[name].brief(float("nan")) == ""


def inks_of(values, measure):
    table = pd.DataFrame({"layer": range(len(values)), "kind": "w", "rows": 2, "row_length": 2, "retained": 1})
    whole = figures.Size(kinds=1, layers=len(values), pixels=24, bar="above")
    table = table.rename(str).assign(entries=4).assign(**{measure: values})
    return figures.columns(table, measure, size=whole)["ink"]


class TestScale:
    @pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
    def test_of_a_single_share_is_from_none_to_all(self, value):
        assert figures.limits(np.array([value, np.nan, value]), "share") == (0, 1)

    def test_of_any_other_single_value_is_a_unit_around_it(self):
        assert figures.limits(np.array([7.0]), "rows") == (6.5, 7.5)

    def test_of_a_measure_with_a_middle_has_zero_there(self):
        assert figures.limits(np.array([-1.0, 3.0]), "kurtosis") == (-3, 3)
        assert figures.limits(np.array([0.0]), "kurtosis") == (-0.5, 0.5)


class TestMap:
    def test_shows_any_column_with_its_unit_and_around_its_middle(self, net, pair):
        view, table = RetentionView(net, pair), ken.retention.table(net, pair)
        table = table[table["rows"] > 1]
        for name, measure in MEASURES.items():
            view.measure = name
            values = table[name].to_numpy(float)
            np.testing.assert_array_equal(view.pane.column("cells", "value"), values)
            mapper = named(view, "colours")
            assert len(mapper.palette) > 200
            if np.isfinite(values).any():
                assert mapper.low <= np.nanmin(values) <= np.nanmax(values) <= mapper.high
            assert (mapper.low == -mapper.high) is measure.middle
            assert tuple(mapper.palette) == (theme.DIVERGING if measure.middle else theme.SEQUENTIAL)
            assert measure.unit in named(view, "bar").title
            assert measure.label in view.caption
            places = [view.pane.column("cells", side).tolist() for side in ("layer", "kind")]
            missing = [place for place, value in zip(zip(*places, strict=True), values, strict=True) if np.isnan(value)]
            hatched = [view.pane.column("blanks", side).tolist() for side in ("layer", "kind")]
            assert list(zip(*hatched, strict=True)) == missing
            assert ("hatched: not defined" in named(view, "bar").title) is bool(missing)

    def test_ink_can_be_read_on_every_cell(self):
        inks = inks_of(np.linspace(-1, 1, 255), "neighbours_z")
        assert (inks[0], inks[127], inks[-1]) == ("#ffffff", "#000000", "#ffffff")
        inks = inks_of(np.linspace(0, 1, 256), "share")
        assert (inks[0], inks[-1]) == ("#ffffff", "#000000")

    def test_a_value_that_is_the_same_everywhere_is_told_once(self, net, pair):
        view = RetentionView(net, pair, "rows", QUERY, "columns")
        assert "rows in 5 matrices, from 24 to 300 rows." in view.caption
        view.measure = "share"
        assert "the share of entries retained in 5 matrices, 50.0% in each." in view.caption
        view = RetentionView(ken.prune(*pair, 2, include=["layer.*.query.weight"]), pair, "row_length")
        assert "the entries of a row in 2 matrices, 24 entries in each." in view.caption

    def test_the_chosen_cell_is_the_selected_one_however_it_was_chosen(self, net, pair):
        view = RetentionView(net, pair, tensor=OUT)
        source = named(view, "cells")
        assert source.selected.indices == [2]
        view.tensor = QUERY
        assert source.selected.indices == [3]
        view._heard({"kind": "select", "name": "cells", "indices": [0]})
        assert (view.tensor, source.selected.indices) == (EMBED, [0])
        source.selected.indices = []  # a tap beside all cells
        view._heard({"kind": "select", "name": "cells", "indices": []})
        assert (view.tensor, source.selected.indices) == (EMBED, [0])
        view.tensor = ""
        assert source.selected.indices == []
        view._heard({"kind": "tap", "figure": "map", "x": 1, "y": 1})

    def test_many_layers_and_kinds_are_on_sheets_which_are_told(self):
        names = [f"h.{layer}.mlp.e{kind}.weight" for layer in range(80) for kind in range(60)]
        fine_tuned = {name: torch.arange(6.0).reshape(2, 3) + i for i, name in enumerate(names)}
        view = RetentionView(
            ken.prune(fine_tuned, {n: torch.zeros(2, 3) for n in names}, 1, progress=False), None, "rows"
        )
        assert "Shown is sheet 1 of 6: kinds 1 to 20 of 60; layers 0 to 63, 64 of 80." in view.caption
        seen = []
        for sheet in range(1, 7):
            view.sheet = sheet
            seen += view.pane.column("cells", "tensor").tolist()
            assert f"sheet {sheet} of 6" in named(view, "title").text
            factors = named(view, "across").factors, named(view, "down").factors
            assert set(view.pane.column("cells", "layer")) == set(factors[0])
            assert set(view.pane.column("cells", "kind")) == set(factors[1])
            assert set(view.pane.column("cells", "text")) == {""}
        assert sorted(seen) == sorted(names)
        with pytest.raises(traitlets.TraitError, match="sheet must be from 1 to 6, got 7"):
            view.sheet = 7

    def test_the_sheet_of_the_chosen_tensor_is_shown_and_a_tap_means_what_is_there(self):
        names = [f"h.{layer}.e{kind}.weight" for layer in range(3) for kind in range(45)]
        fine_tuned = {name: torch.arange(6.0).reshape(2, 3) + i for i, name in enumerate(names)}
        net = ken.prune(fine_tuned, {n: torch.zeros(2, 3) for n in names}, 1, progress=False)
        view = RetentionView(net, None, "share")
        view.tensor = "h.2.e44.weight"
        assert view.sheet == 3
        shown = view.pane.column("cells", "tensor").tolist()
        assert shown[named(view, "cells").selected.indices[0]] == view.tensor
        view._heard({"kind": "select", "name": "cells", "indices": [0]})
        assert view.tensor == shown[0] == "h.0.e40.weight"
        view.sheet = 1
        assert (view.tensor, named(view, "cells").selected.indices) == ("h.0.e40.weight", [])
        again = eval(view.code(), {"kenviz": kenviz, "net": net, "pair": None})
        assert again.state == view.state

    def test_reads_nothing_of_the_models_until_a_measure_needs_them(self, net, pair):
        study = Study(net, pair)
        view = RetentionView(net, study, measure="share")
        view.tensor, view.strip = QUERY, "rows"
        for measure in ("retained", "entries", "rows", "row_length", "share"):
            for parts in tensor_parts.PARTS:
                view.measure, view.strip = measure, parts
        assert view.numbers()["retained"].tolist() == [net[name].retained for name in view.numbers().index]
        assert "retention" not in vars(study)
        view.strip = "none"
        view.measure = "update_rms"
        assert "retention" in vars(study)

    def test_without_a_pair_there_is_what_the_subnetwork_tells(self, net):
        view = RetentionView(net, None, "share", QUERY, "columns")
        assert {value for _, value in view._picker.options} == {"share", "retained", "entries", "rows", "row_length"}
        with pytest.raises(traitlets.TraitError, match="measure must be one of share, .* without a pair, got 'energy'"):
            view.measure = "energy"
        assert (view.measure, view._picker.value) == ("share", "share")
        np.testing.assert_allclose(view.strip_numbers()["share"], net[QUERY].mask().mean(axis=0))

    def test_what_is_not_there_is_refused_and_nothing_moves(self, net, pair):
        view = RetentionView(net, pair)
        before = view.state
        for name, value in [("tensor", "head.weight"), ("strip", "layers"), ("measure", "layer")]:
            with pytest.raises(traitlets.TraitError):
                setattr(view, name, value)
        assert view.state == before


class TestStrips:
    @pytest.mark.parametrize("parts", ["columns", "rows"])
    def test_of_columns_and_rows_are_those_of_the_tables(self, net, pair, parts):
        table = getattr(ken.retention, parts)(net, pair, QUERY)
        view = RetentionView(net, pair, tensor=QUERY, strip=parts)
        for measure in MEASURES:
            view.measure = measure
            shown = tensor_parts.nearest(measure, parts)
            assert (shown == measure) is (measure in table)
            np.testing.assert_allclose(view.strip_numbers()[shown], table[shown].astype(float))
            drawn = table[shown].dropna().astype(float)
            np.testing.assert_allclose(view.pane.column("strip", "mean"), drawn)
            np.testing.assert_array_equal(view.pane.column("strip", "low"), view.pane.column("strip", "high"))
            assert MEASURES[shown].label in named(view, "strip_title").text

    @pytest.mark.parametrize("name", ["attention.self.query.weight", "attention.output.dense.weight"])
    def test_of_heads_are_those_of_the_tables(self, attention, name):
        net, pair = attention
        tensor = f"encoder.layer.1.{name}"
        table = ken.retention.heads(net, pair)
        table = table[table["tensor"] == tensor]
        view = RetentionView(net, pair, tensor=tensor, strip="heads")
        for measure in MEASURES:
            view.measure = measure
            shown = tensor_parts.nearest(measure, "heads")
            np.testing.assert_allclose(view.strip_numbers()[shown], table[shown].astype(float))
        assert len(table) == 4
        assert view.strip_numbers().index[2] == f"{table['role'].iloc[0]} 2"
        view.tensor = "embeddings.word_embeddings.weight"
        assert view.strip_numbers().empty
        assert "no attention heads are known of this tensor" in view.caption
        assert named(view, "strip_title").text == "no attention heads are known of this tensor"
        assert view.pane.column("strip", "mean").size == 0

    def test_is_seen_when_it_is_asked_for_and_tells_what_is_missing(self, net, pair):
        view = RetentionView(net, pair)
        assert not named(view, "strip_figure").visible
        view._strips.value = "rows"
        assert named(view, "strip_figure").visible
        assert named(view, "strip_title").text == "tap a cell to choose a tensor"
        assert "No tensor is chosen" in view.caption
        view.tensor = EMBED
        assert "In its 300 rows, the share of the update's energy retained is from" in view.caption
        view.strip = "none"
        assert not named(view, "strip_figure").visible
        assert view.strip_numbers().empty

    def test_long_strips_are_drawn_as_means_and_ranges(self, net, pair):
        view = RetentionView(net, pair, "share", EMBED, "rows")
        shares = net[EMBED].mask().mean(axis=1)
        assert len(shares) > MOST_MARKS
        assert "each mark: mean and range of 2" in named(view, "strip_title").text
        pairs = shares.reshape(-1, 2)
        for column, want in (("mean", pairs.mean(axis=1)), ("low", pairs.min(axis=1)), ("high", pairs.max(axis=1))):
            np.testing.assert_allclose(view.pane.column("strip", column), want)

    def test_parts_without_a_value_are_marked(self):
        shown = picture("rows", np.array([0.5, np.nan, np.nan, 0.7]), "update_share")
        assert shown.columns["strip_missing"]["x"].tolist() == [1, 2]
        assert shown.columns["strip"]["left"].tolist() == [-0.5, 2.5]
        assert "×: not defined" in shown.title
        values = np.where(np.arange(1000) < 500, np.nan, np.arange(1000.0))
        shown = picture("rows", values, "energy")
        assert len(shown.columns["strip_missing"]["x"]) == 125
        np.testing.assert_allclose(shown.columns["strip"]["mean"], values[500:].reshape(-1, 4).mean(axis=1))
        assert shown.columns["strip"]["part"][0] == "rows 500 to 503"

    def test_masks_are_read_some_rows_at_a_time(self, net, monkeypatch):
        monkeypatch.setattr(pyramid, "STRETCH", 100)
        strip = tensor_parts.strip(Study(net), EMBED, "columns", measure="retained")
        np.testing.assert_array_equal(strip.values, net[EMBED].mask().sum(axis=0))


def test_two_threads_leave_a_whole_state(net, pair):
    view = RetentionView(net, pair, "share", QUERY)
    set_at_once(
        view,
        ("measure", ("share", "energy") * 8),
        ("tensor", (OUT, EMBED) * 8),
        ("strip", ("rows", "columns") * 8),
    )
    table = ken.retention.table(net, pair)
    np.testing.assert_array_equal(view.pane.column("cells", "value"), table.loc[view.numbers().index, view.measure])
    assert named(view, "cells").selected.indices == [view.numbers().index.get_loc(view.tensor)]
    assert len(view.strip_numbers()) == view._study.shape(view.tensor)[view.strip == "columns"]


def test_code_makes_a_view_with_vectors_again(net, pair):
    for vectors in (False, True):
        view = RetentionView(net, pair, vectors=vectors)
        again = eval(view.code(), {"kenviz": kenviz, "net": net, "pair": pair})
        assert again.numbers().equals(view.numbers())
        assert (len(view.numbers()) == len(net.pruned())) == vectors


def test_code_makes_the_same_view_again_and_its_sheet_is_whole(net, pair, tmp_path):
    view = RetentionView(net, pair, theme="dark")
    view.measure, view.tensor, view.strip = "kurtosis", QUERY, "rows"
    again = eval(view.code(), {"kenviz": kenviz, "net": net, "pair": pair})
    assert (again.state, repr(again)) == (view.state, repr(view))
    pd.testing.assert_frame_equal(again.strip_numbers(), view.strip_numbers())
    sheet = view.to_html(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "excess kurtosis, mean over rows by row" in sheet


def test_names_of_strangers_are_text(tmp_path):
    pair = small_pair(extra=[HOSTILE])
    view = RetentionView(ken.prune(*pair, 3), pair, "share", HOSTILE, "rows")
    assert "\u202e" not in view.caption
    assert all("\n" not in name and "\u202e" not in name for name in view.pane.column("cells", "name"))
    assert "<script>alert" not in view.to_html(tmp_path / "r.html").read_text(encoding="utf-8")
