import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from at_once import set_at_once
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from ken import density
from kenviz import MatrixView, RetentionView, RowView

QUERY = "layer.1.query.weight"


def drawn(view, source):
    """The columns of a source of the pane, as the browser is told them."""
    return view.pane.column(source, "column").astype(int).tolist()


class TestRowView:
    def test_shows_the_row_and_mask_of_the_subnetwork(self, net, pair):
        view = RowView(net, pair, QUERY, row=5)
        mask = net[QUERY].mask()[5]
        assert drawn(view, "retained") == np.flatnonzero(mask).tolist()
        assert drawn(view, "reset") == np.flatnonzero(~mask).tolist()
        np.testing.assert_array_equal(
            view.pane.column("retained", "x"), pair.fine_tuned[QUERY][5].double().numpy()[mask]
        )
        assert view.k == view.own_k() == 12

    def test_curve_is_the_density_of_the_row(self, net, pair):
        view = RowView(net, pair, QUERY, row=5)
        row = pair.fine_tuned[QUERY][5].double().numpy()[None]
        x = view.pane.column("curve", "x")
        want = density.density(row, x[None], density.bandwidth(row))[0]
        np.testing.assert_allclose(view.pane.column("curve", "y"), want, rtol=1e-12)
        np.testing.assert_array_equal(view.pane.column("grid", "x"), density.grid(row, 12)[0])

    def test_histogram_has_the_area_of_one_and_splits_by_the_mask(self, net, pair):
        view = RowView(net, pair, QUERY, row=0)
        width = view.pane.column("bins", "right") - view.pane.column("bins", "left")
        assert (view.pane.column("bins", "all") * width).sum() == pytest.approx(1)
        assert (view.pane.column("bins", "retained") * width).sum() == pytest.approx(0.5)

    def test_bars_are_no_wider_than_the_usual_bandwidth_and_do_not_follow_the_slider(self):
        rng = np.random.default_rng(0)
        plain = torch.from_numpy(rng.normal(0, 0.02, (1, 400)))
        far_out = plain.clone()
        far_out[0, :2] = torch.tensor([-0.5, 0.4])
        for values, bars in ((plain, 20), (far_out, 70)):
            pair = ken.Pair({"w": values}, {"w": torch.zeros_like(values)})
            view = RowView(ken.prune(*pair, 100, progress=False), pair)
            left = view.pane.column("bins", "left")
            assert abs(len(left) - bars) < 10
            view.bandwidth = 0.2
            np.testing.assert_array_equal(view.pane.column("bins", "left"), left)

    def test_sliders_and_traits_are_one_state(self, net, pair):
        view = RowView(net, pair, QUERY)
        before = view.pane.column("curve", "y")
        view._row_slider.value = 7
        assert view.row == 7
        assert not np.array_equal(view.pane.column("curve", "y"), before)
        view._k_slider.value = 3
        assert view.k == 3
        assert len(drawn(view, "retained")) == 3
        view.k = 20
        assert view._k_slider.value == 20
        want = ken.rules.retain(pair.fine_tuned[QUERY][7].numpy(), 20)
        assert drawn(view, "retained") == np.flatnonzero(want).tolist()
        assert "k = 20 of 24" in view.pane.root.select_one({"name": "title"}).text

    def test_another_tensor_brings_its_own_bounds_and_k(self, net, pair):
        view = RowView(net, pair, "embed.weight", row=299)
        view.tensor = "layer.0.out.weight"
        assert (view.row, view.k) == (23, 24)
        assert (view._row_slider.max, view._k_slider.max) == (23, 48)
        view._picker.value = "layer.0.query.bias"
        assert (view.row, view.k, view.tensor) == (0, 12, "layer.0.query.bias")
        view.tensor = "embed.weight"
        view.row = 200
        assert view._row_slider.value == 200

    def test_random_rule_is_drawn_for_the_very_row(self, pair):
        net = ken.prune(*pair, 0.5, "random", seed=3)
        view = RowView(net, pair, QUERY, row=9)
        view.k = 11
        view.k = 12
        assert drawn(view, "retained") == np.flatnonzero(net[QUERY].mask()[9]).tolist()
        view.k = 5
        assert set(drawn(view, "retained")) < set(np.flatnonzero(net[QUERY].mask()[9]))

    def test_a_constant_row_has_no_curve_and_says_so(self, pair):
        pair.fine_tuned["layer.0.query.bias"].fill_(0.25)
        view = RowView(ken.prune(*pair, 5), pair, "layer.0.query.bias")
        assert view.pane.column("curve", "x").size == 0
        assert "constant row, no density" in view.pane.root.select_one({"name": "title"}).text
        assert drawn(view, "retained") == [0, 1, 2, 3, 4]

    def test_a_long_row_says_that_marks_were_left_out(self):
        import torch

        long = ken.Pair({"b": torch.randn(20_000)}, {"b": torch.zeros(20_000)})
        view = RowView(ken.prune(*long, 0.5, progress=False), long)
        assert "5,000 of 20,000 entries drawn as marks" in view.pane.root.select_one({"name": "title"}).text
        assert len(drawn(view, "retained")) + len(drawn(view, "reset")) == 5000

    def test_what_is_not_there_is_refused(self, net, pair):
        view = RowView(net, pair, QUERY)
        with pytest.raises(traitlets.TraitError, match="row must be from 0 to 23 in layer.1.query.weight, got 24"):
            view.row = 24
        with pytest.raises(traitlets.TraitError, match="k must be from 1 to 24 in layer.1.query.weight, got 0"):
            view.k = 0
        with pytest.raises(traitlets.TraitError, match="tensor must be a pruned one, .*; got 'head.weight'"):
            view.tensor = "head.weight"
        with pytest.raises(ValueError, match="tensor must be a pruned one, one of 7, such as 'embed.weight'; got 'x'"):
            RowView(net, pair, "x")
        with pytest.raises(traitlets.TraitError, match="row must be from 0 to 299 in embed.weight, got -1"):
            RowView(net, pair, row=-1)
        assert (view.tensor, view.row, view.k) == (QUERY, 0, 12)

    def test_models_of_another_shape_are_refused(self, net, pair):
        pair.fine_tuned[QUERY] = pair.fine_tuned[QUERY][:, :12]
        pair.pretrained[QUERY] = pair.pretrained[QUERY][:, :12]
        with pytest.raises(ValueError, match=r"the subnetwork has shape \(24, 24\), the fine-tuned model \(24, 12\)"):
            RowView(net, pair)

    def test_numbers_are_those_of_the_models(self, net, pair):
        table = RowView(net, pair, QUERY, row=2).numbers()
        np.testing.assert_array_equal(table["fine_tuned"], pair.fine_tuned[QUERY][2].double())
        np.testing.assert_array_equal(table["update"], table["fine_tuned"] - table["pretrained"])
        assert table["retained"].sum() == 12

    def test_two_threads_leave_a_whole_state(self, net, pair):
        view = RowView(net, pair, QUERY)
        set_at_once(view, ("row", range(24)), ("row", reversed(range(24))))
        view.row = 3
        want = net[QUERY].mask()[3]
        assert drawn(view, "retained") == np.flatnonzero(want).tolist()
        np.testing.assert_array_equal(view.numbers()["fine_tuned"], pair.fine_tuned[QUERY][3].double())


class TestMatrixView:
    @pytest.fixture
    def view(self, net):
        return MatrixView(net, None, "embed.weight")

    def test_tiles_are_the_mask(self, net, view):
        mask = net["embed.weight"].mask()
        assert view.exact
        np.testing.assert_array_equal(view.pane.column("tiles", "image"), 100 * mask)
        np.testing.assert_array_equal(view.numbers().to_numpy(), 100 * mask)

    def test_zoom_that_the_browser_reports_brings_new_tiles(self, net, view):
        view._heard({"kind": "range", "name": "rows", "start": 60.7, "end": 40.2})
        view._heard({"kind": "range", "name": "columns", "start": 3.0, "end": 9.5})
        assert (view.rows, view.columns) == ((40.2, 60.7), (3.0, 9.5))
        np.testing.assert_array_equal(view.pane.column("tiles", "image"), 100 * net["embed.weight"].mask()[40:61, 3:10])
        assert [view.pane.column("tiles", c)[0] for c in ("x", "y", "dw", "dh")] == [3, 40, 7, 21]
        assert "exact" in view.caption
        view._heard({"kind": "tap", "figure": "x", "x": 1, "y": 1})
        assert view.entry is None

    def test_setting_the_part_in_python_moves_the_ranges(self, view):
        view.rows, view.columns = (10, 20), (5, 8)
        rows, columns = (view.figure.select_one({"name": name}) for name in ("rows", "columns"))
        assert (rows.start, rows.end) == (20, 10)
        assert (columns.start, columns.end) == (5, 8)

    def test_a_part_that_is_not_there_is_refused(self, view):
        for part in ((float("nan"), 5.0), (300.0, 400.0), (-5.0, 0.0), (0.0, float("inf"))):
            with pytest.raises(traitlets.TraitError, match="rows must be a part of 0 to 300, got"):
                view.rows = part
        assert view.rows == (0.0, 300.0)

    def test_another_tensor_is_shown_whole(self, net, view):
        view.rows = (10, 20)
        view.tensor = "layer.0.out.weight"
        assert (view.rows, view.columns) == ((0, 24), (0, 48))
        assert view._picker.value == "layer.0.out.weight"
        np.testing.assert_array_equal(view.pane.column("tiles", "image"), 100 * net["layer.0.out.weight"].mask())
        assert view.figure.select_one({"name": "columns"}).bounds == (0, 48)
        assert view.figure.select_one({"name": "name"}).text == "layer.0.out.weight"

    def test_a_large_matrix_is_shown_in_tiles_and_says_so(self):
        import torch

        values = torch.rand(3000, 1000, generator=torch.Generator().manual_seed(0))
        view = MatrixView(ken.prune({"w": values}, {"w": values * 0}, 0.25, progress=False))
        assert view.tiles.place.tile_rows == 8
        assert "each tile is the share of 8 × 3 entries" in view.caption
        assert abs(view.numbers().to_numpy().mean() - 25) < 1

    def test_a_vector_is_a_matrix_of_one_row(self, net):
        assert MatrixView(net, None, "layer.0.query.bias").tiles.values.shape == (1, 24)


class TestRetentionView:
    def test_cells_are_the_retention_table(self, net, pair):
        view = RetentionView(net, pair)
        table = ken.retention.table(net, pair)
        table = table[table["rows"] > 1]
        assert view.pane.column("cells", "tensor").tolist() == list(table.index)
        for measure in ("update_share", "share", "update_rms", "retained"):
            view.measure = measure
            np.testing.assert_array_equal(view.pane.column("cells", "value"), table[measure].astype(float))
            mapper = view.figure.select_one({"name": "colours"})
            assert mapper.low <= table[measure].min() <= table[measure].max() <= mapper.high
        assert view.pane.column("cells", "layer").tolist() == ["–", "0", "0", "1", "1"]
        assert view.pane.column("cells", "kind").tolist() == ["embed", "query", "out", "query", "out"]

    def test_vectors_on_request(self, net, pair):
        assert "2 vectors are left out" in RetentionView(net, pair).caption
        assert len(RetentionView(net, pair, vectors=True).numbers()) == 7

    def test_a_tap_chooses_the_tensor(self, net, pair):
        view = RetentionView(net, pair)
        view._heard({"kind": "select", "name": "cells", "indices": [3]})
        assert view.tensor == "layer.1.query.weight"
        assert "Chosen: layer.1.query.weight." in view.caption
        view._heard({"kind": "select", "name": "cells", "indices": []})
        assert view.tensor == "layer.1.query.weight"

    def test_measures_and_dropdown_are_one_state(self, net, pair):
        view = RetentionView(net, pair)
        view._picker.value = "update_rms"
        assert view.measure == "update_rms"
        assert view.figure.select_one({"name": "title"}).text == "root mean square of the update"

    def test_an_unchanged_model_has_no_update_to_retain(self, pair):
        same = ken.Pair(pair.pretrained, pair.pretrained)
        view = RetentionView(ken.prune(*same, 2), same)
        assert "not defined" in view.caption
        assert np.isnan(view.pane.column("cells", "value")).all()

    def test_nothing_to_show_is_refused(self, pair):
        with pytest.raises(ValueError, match="no pruned matrix to show"):
            RetentionView(ken.prune(*pair, 1, exclude=["*"]), pair)


def views(net, pair, **options):
    yield RowView(net, pair, **options)
    yield MatrixView(net, **options)
    yield RetentionView(net, pair, **options)


def test_text_form_is_one_line_without_anything_that_changes_from_run_to_run(net, pair):
    for one, two in zip(views(net, pair), views(net, pair), strict=True):
        assert repr(one) == repr(two)
        assert "\n" not in repr(one)
        assert one.pane.text == one.caption


def test_theme_switches_the_figure_and_keeps_the_state(net, pair):
    for view in views(net, pair):
        assert view.figure.references()
        view.theme = "dark"
        papers = {m.background_fill_color for m in view.figure.references() if hasattr(m, "min_border_left")}
        assert papers == {"#181a1b"}
        assert view.pane in view.children
        assert view.pane.theme == "dark"
        view.theme = "auto"
        papers = {m.background_fill_color for m in view.figure.references() if hasattr(m, "min_border_left")}
        assert papers == {"#ffffff"}
    row, matrix, _ = views(net, pair, theme="dark")
    row.row, matrix.rows = 4, (3, 9)
    row.theme = matrix.theme = "light"
    assert "row 4 of" in row.figure.select_one({"name": "name"}).text
    shown = matrix.figure.select_one({"name": "rows"})
    assert (shown.start, shown.end) == (9, 3)
    matrix._heard({"kind": "range", "name": "rows", "start": 5.0, "end": 2.0})
    assert matrix.rows == (2.0, 5.0)


def test_names_of_strangers_are_text(tmp_path):
    pair = small_pair(extra=[HOSTILE])
    net = ken.prune(*pair, 3)
    for view in views(net, pair):
        if hasattr(view, "tensor"):
            view.tensor = HOSTILE
            name = view.figure.select_one({"name": "name"})
            assert name is None or ("\n" not in name.text and len(name.text) <= 130)
        assert "<script" not in view._note.value
        assert "\u202e" not in view.caption
        page = view.to_html(tmp_path / "view.html").read_text(encoding="utf-8")
        assert "<script>alert" not in page
        assert len(list(tmp_path.iterdir())) == 1


def test_names_that_differ_only_where_labels_are_cut_stay_apart():
    pair = small_pair(extra=[f"{'y' * 60}{i}{'y' * 60}" for i in range(3)])
    view = RetentionView(ken.prune(*pair, 3), pair)
    kinds = view.pane.column("cells", "kind").tolist()
    assert len(set(zip(kinds, view.pane.column("cells", "layer").tolist(), strict=True))) == len(kinds)


def test_html_is_one_file_that_asks_for_nothing(net, pair, tmp_path):
    for view in views(net, pair):
        path = view.to_html(tmp_path / "v.html")
        assert isinstance(path, Path)
        page = path.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page) == []
        assert f"<p>{html.escape(view.caption).replace('&#x27;', '&#39;')}</p>" in page


def test_code_makes_the_same_view_again(net, pair):
    row, matrix, retention = views(net, pair)
    row.tensor, row.row, row.k = QUERY, 3, 7
    matrix.tensor, matrix.rows, matrix.columns = QUERY, (2.0, 9.0), (0.0, 5.0)
    retention.measure = "share"
    for view in (row, matrix, retention):
        again = eval(view.code(), {"kenviz": kenviz, "net": net, "pair": pair})
        assert again.state == view.state
        assert repr(again) == repr(view)
        pd.testing.assert_frame_equal(again.numbers(), view.numbers())
