"""MatrixView: what is shown against the models' own numbers, what is asked of the models, and what is refused."""

import numpy as np
import pytest
import torch
import traitlets
from at_once import at_once
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from kenviz import MatrixView
from kenviz.study.study import Study
from kenviz.tiles import pyramid

QUERY = "layer.1.query.weight"
EMBED = "embed.weight"


def quantity(net, pair, name, show):
    """The whole quantity, from the models."""
    fine_tuned, pretrained = (model[name].double().numpy() for model in pair)
    update = fine_tuned - pretrained
    return {
        "mask": lambda: 100.0 * net[name].mask(),
        "retained": lambda: np.where(net[name].mask(), fine_tuned, np.nan),
        "update": lambda: update,
        "sign": lambda: np.sign(update),
        "pretrained": lambda: pretrained,
        "fine_tuned": lambda: fine_tuned,
    }[show]()


def decoded(view):
    """The image as a browser reads it, in what it stands for."""
    codes = view.pane.column("tiles", "image").astype(float)
    scale = view.figure.select_one({"name": "scale"})
    most = len(scale.palette) - 1
    assert view.figure.select_one({"name": "codes"}).palette == scale.palette
    return np.where(codes > most, np.nan, scale.low + codes * (scale.high - scale.low) / most), scale


def told(box, card):
    """Whether a box shows that card of `ken`."""
    shown = box.card
    return [shown.verdict, shown.reason, shown.python] == [*card.text.splitlines()[:2], card.python]


@pytest.mark.parametrize("show", ["mask", "retained", "update", "sign", "pretrained", "fine_tuned"])
def test_entries_are_those_of_the_models_to_half_a_step(net, pair, show):
    view = MatrixView(net, pair, QUERY, show=show, rows=(3, 20), columns=(0, 24), clip=0.9)
    want = quantity(net, pair, QUERY, show)[3:20]
    np.testing.assert_array_equal(view.numbers().to_numpy(), want)
    got, scale = decoded(view)
    end = np.nanquantile(np.abs(want[want != 0]), 0.9, method="inverted_cdf")
    if show in ("mask", "sign"):
        assert (scale.low, scale.high) == {"mask": (0, 100), "sign": (-1, 1)}[show]
    else:
        assert scale.high == -scale.low == pytest.approx(end, rel=1e-12)
    np.testing.assert_allclose(
        got, want.clip(scale.low, scale.high), rtol=0, atol=(scale.high - scale.low) / 508 * (1 + 1e-9)
    )
    for name, beyond in (("above", want > scale.high * (1 + 1e-12)), ("below", want < scale.low * (1 + 1e-12))):
        rows, columns = np.nonzero(beyond)
        np.testing.assert_array_equal(view.pane.column(name, "x"), columns + 0.5)
        np.testing.assert_array_equal(view.pane.column(name, "y"), rows + 3.5)
        item = view.figure.select_one({"name": f"legend_{name}"})
        assert item.visible == bool(len(rows))
        assert not len(rows) or item.label.value == f"{len(rows)} {name}"
        assert not len(rows) or f"{len(rows)} {'lie above' if name == 'above' else 'below'}" in view.caption
    assert view.figure.select_one({"name": "legend_missing"}).visible == (show == "retained")


def test_a_scale_without_clipping_leaves_nothing_beyond(net, pair):
    view = MatrixView(net, pair, QUERY, show="update", clip=1.0)
    assert view.pane.column("above", "x").size == view.pane.column("below", "x").size == 0
    assert "lie above" not in view.caption
    view.clip = 0.5
    assert view.pane.column("above", "x").size + view.pane.column("below", "x").size == 288


def test_marks_of_many_are_thinned_and_their_number_is_told(net, pair):
    view = MatrixView(net, pair, EMBED, show="update", clip=0.1)
    update = quantity(net, pair, EMBED, "update")
    end = np.quantile(np.abs(update), 0.1, method="inverted_cdf")
    drawn = view.pane.column("above", "x").size
    assert 100 < drawn <= 200
    assert (
        view.figure.select_one({"name": "legend_above"}).label.value
        == f"{(update > end).sum():,} above ({drawn} drawn)"
    )
    assert "at most 200 of each" in view.caption


def test_zoomed_out_a_tile_is_the_mean_of_its_entries_of_any_dtype(monkeypatch):
    monkeypatch.setattr(pyramid, "SMALLEST", 64)
    monkeypatch.setattr(pyramid, "MOST_READ", 20_000)
    monkeypatch.setattr(pyramid, "STRETCH", 9_000)
    generator = torch.Generator().manual_seed(0)
    pretrained = torch.randn(1000, 70, generator=generator).to(torch.bfloat16)
    fine_tuned = torch.cat([pretrained + 0.5, torch.ones(7, 70, dtype=torch.bfloat16)])  # seven rows were added
    pair = ken.Pair({"w": fine_tuned}, {"w": pretrained})
    net = ken.prune(*pair, 20, rows={"w": "grown"})
    view = MatrixView(net, pair, "w", show="update")
    assert (view.tiles.place.tile_rows, view.tiles.place.tile_columns) == (4, 4)
    padded = np.full((1007, 70), np.nan)
    padded[:1000] = fine_tuned[:1000].double().numpy() - pretrained.double().numpy()
    want = np.full((252, 18), np.nan)
    for i in range(250):
        for j in range(18):
            want[i, j] = padded[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].mean()
    np.testing.assert_allclose(view.numbers().to_numpy(), want, rtol=1e-6)
    assert view.figure.select_one({"name": "legend_missing"}).label.value == "36 no pretrained value"
    assert "36 of 4,536 tiles have no value (no pretrained value): grey." in view.caption
    assert "each tile is the mean of 4 × 4 entries" in view.caption
    assert "each tile: mean of 4 × 4 entries" in view.figure.select_one({"name": "note"}).text
    view.show = "retained"
    mask = net["w"].mask()
    some = np.where(mask, fine_tuned.double().numpy(), np.nan)[80:84, 8:12]
    assert view.numbers().loc[80, 8] == pytest.approx(np.nanmean(some), rel=1e-6)
    view.rows, view.columns = (990, 1007), (0, 9)
    assert view.exact
    np.testing.assert_array_equal(view.numbers(), np.where(mask, fine_tuned.double().numpy(), np.nan)[990:, :9])


def test_marginals_are_the_shares_of_whole_rows_and_columns_in_the_steps_of_the_tiles(monkeypatch):
    monkeypatch.setattr(pyramid, "SMALLEST", 64)
    monkeypatch.setattr(pyramid, "MOST_READ", 20_000)
    values = torch.randn(1000, 70, generator=torch.Generator().manual_seed(0))
    net = ken.prune({"w": values}, {"w": values * 0}, 0.3, "magnitude")
    view = MatrixView(net)
    mask = net["w"].mask()
    rows = view.pane.column("row_shares", "from")
    np.testing.assert_array_equal(rows, np.arange(0, 1000, 4))
    np.testing.assert_allclose(view.pane.column("row_shares", "percent"), 100 * mask.reshape(250, 280).mean(axis=1))
    view.rows, view.columns = (100, 130), (10, 60)
    np.testing.assert_array_equal(view.pane.column("column_shares", "from"), np.arange(10, 60))
    np.testing.assert_allclose(view.pane.column("column_shares", "percent"), 100 * mask[:, 10:60].mean(axis=0))
    shown = view.figure.select_one({"name": "column_limits"})
    assert shown.start < 100 * mask[:, 10:60].mean(axis=0).min()
    assert view.figure.select_one({"name": "column_whole"}).location == pytest.approx(100 * mask.mean())
    assert "marginals in steps: 1 row, 1 column" in view.figure.select_one({"name": "note"}).text


def test_a_tap_chooses_the_entry_and_tells_why(net, pair):
    view = MatrixView(net, pair, QUERY)
    view._heard({"kind": "tap", "figure": "matrix", "x": 7.99, "y": 5.0})
    assert view.entry == (5, 7)
    assert told(view._card, ken.explain(net, pair, QUERY, 5).entry(7))
    assert (view.pane.column("entry", "x"), view.pane.column("entry", "y")) == ([7.5], [5.5])
    assert "Marked: the entry in row 5, column 7." in view.caption
    assert (view._to.row.value, view._to.column.value) == (5, 7)
    for x, y in ((24.0, 3.0), (-0.5, 3.0), (3.0, 24.5)):
        view._heard({"kind": "tap", "figure": "matrix", "x": x, "y": y})
    view._heard({"kind": "tap", "figure": "row_marginal", "x": 1.0, "y": 1.0})
    assert view.entry == (5, 7)
    view._to.leave.click()
    assert view.entry is None
    assert view.pane.column("entry", "x").size == 0
    assert "Tap an entry" in view._card.value


def test_the_box_goes_to_an_entry_and_shows_what_is_around_it(net, pair):
    view = MatrixView(net, pair, EMBED)
    view._to.row.value, view._to.column.value = 250, 3
    view._to.go.click()
    assert view.entry == (250, 3)
    assert view.rows == (220.5, 280.5)
    assert view.columns == (0, 24)
    np.testing.assert_array_equal(view.pane.column("tiles", "image"), 100 * net[EMBED].mask()[220:281])
    view.go_to(299, 23)
    assert view.rows == (240, 300)
    view.go_to(255, 1)
    assert view.rows == (240, 300)
    assert (view._to.row.max, view._to.column.max) == (299, 23)
    with pytest.raises(traitlets.TraitError, match=r"entry must be .* from \(0, 0\) to \(299, 23\), got \(300, 0\)"):
        view.go_to(300, 0)
    assert (view.entry, view.rows) == ((255, 1), (240, 300))


def test_without_a_pair_there_is_the_mask_and_what_the_subnetwork_knows(net):
    view = MatrixView(net, None, QUERY)
    assert [value for _, value in view._shows.options] == ["mask"]
    for show in ("retained", "update"):
        with pytest.raises(
            traitlets.TraitError, match=f"show='{show}' needs the pair of models: a subnetwork alone knows"
        ):
            view.show = show
    view.entry = (5, 7)
    mask = net[QUERY].mask()
    became = "retained" if mask[5, 7] else "reset"
    assert f"Entry 7 in row 5 of {QUERY} is {became}." in view._card.value
    assert ("retained in its row", "12 of 24 entries") in view._card.card.numbers
    assert ("retained in its column", f"{mask[:, 7].sum()} of 24 entries") in view._card.card.numbers


def test_what_is_not_there_is_refused_and_nothing_changes(net, pair):
    view = MatrixView(net, pair, QUERY, show="update")
    before = view.state
    for name, value, words in [
        ("clip", 0.0, "clip is a quantile above 0, up to 1, got 0.0"),
        ("clip", float("nan"), "clip is a quantile"),
        ("entry", (24, 0), r"entry must be \(row, column\) from \(0, 0\) to \(23, 23\), got \(24, 0\)"),
        ("entry", (0, -1), "entry must be"),
        ("entry", (0.5, 1), "int"),
        ("show", "neighbours", "show"),
        ("columns", (24.0, 30.0), "columns must be a part of 0 to 24"),
    ]:
        with pytest.raises(traitlets.TraitError, match=words):
            setattr(view, name, value)
        with pytest.raises(traitlets.TraitError, match=words):
            MatrixView(net, pair, QUERY, **{name: value})
    assert view.state == before


def test_controls_and_traits_are_one_state(net, pair):
    view = MatrixView(net, pair, QUERY)
    assert view._clips.disabled
    view._shows.value = "update"
    assert view.show == "update"
    assert not view._clips.disabled
    view._clips.value = 0.5
    assert view.clip == 0.5
    view.show, view.clip, view.tensor = "sign", 0.75, EMBED
    assert (view._shows.value, view._clips.value, view._picker.value) == ("sign", 0.75, EMBED)


def test_code_makes_the_same_view_again(net, pair):
    view = MatrixView(net, pair, QUERY, show="retained", clip=0.5, entry=(3, 4), rows=(2, 9), columns=(1, 23))
    again = eval(view.code(), {"kenviz": kenviz, "net": net, "pair": pair})
    assert again.state == view.state
    assert repr(again) == repr(view)


def test_a_zoom_of_both_ranges_is_one_step_and_only_what_is_new_is_computed(net, pair, monkeypatch):
    view = MatrixView(net, pair, EMBED, show="update")
    asked = []
    rows = Study.rows
    monkeypatch.setattr(Study, "rows", lambda self, *which: asked.append(which) or rows(self, *which))
    drawn = []
    patch = view.pane.patch
    monkeypatch.setattr(view.pane, "patch", lambda name, **columns: drawn.append(name) or patch(name, **columns))
    rows_, columns = (view.figure.select_one({"name": name}) for name in ("rows", "columns"))
    events = [{"id": rows_.id, "start": 200, "end": 100}, {"id": columns.id, "start": 4, "end": 12}]
    view.pane._handle_custom_msg({"events": events, "view": "v1", "seen": 9}, [])
    assert (view.rows, view.columns) == ((100, 200), (4, 12))
    assert drawn.count("tiles") == 1
    read = {(which[1].start, which[1].stop) for which in asked}
    assert min(start for start, _ in read) == 100
    assert max(stop for _, stop in read) == 200
    np.testing.assert_array_equal(view.numbers(), quantity(net, pair, EMBED, "update")[100:200, 4:12])
    del drawn[:]
    view.entry = (150, 5)
    assert drawn == ["entry"]


def test_the_mask_asks_nothing_of_the_models(net, pair, monkeypatch):
    monkeypatch.setattr(Study, "rows", lambda *_: pytest.fail("the models were read"))
    view = MatrixView(net, pair, QUERY)
    view.rows, view.tensor = (3, 9), EMBED
    assert len(view.numbers()) == 300


def test_a_vector_in_values(net, pair):
    view = MatrixView(net, pair, "layer.0.query.bias", show="update", entry=(0, 3))
    np.testing.assert_array_equal(view.numbers(), quantity(net, pair, "layer.0.query.bias", "update")[None])
    assert told(view._card, ken.explain(net, pair, "layer.0.query.bias", 0).entry(3))


def test_hostile_names_and_a_card_are_text(tmp_path):
    pair = small_pair(extra=[HOSTILE])
    net = ken.prune(*pair, 3)
    for view in (
        MatrixView(net, pair, HOSTILE, show="update", entry=(1, 2)),
        MatrixView(net, None, HOSTILE, entry=(1, 2)),
    ):
        assert "<script" not in view._card.value
        assert "<script>alert" not in view.to_html(tmp_path / "view.html").read_text(encoding="utf-8")


def test_threads_leave_what_is_shown_in_step_with_the_state(net, pair):
    view = MatrixView(net, pair, EMBED, show="update")
    jobs = [
        lambda i: setattr(view, "show", ["mask", "update", "retained"][i % 3]),
        lambda i: view._heard({"kind": "range", "name": "rows", "start": 40.0 + i, "end": 3.0 * i}),
        lambda i: setattr(view, "entry", (i, 2)),
        lambda i: setattr(view, "clip", 0.5 + i / 100),
    ]
    at_once(*(lambda job=job: [job(i) for i in range(15)] for job in jobs))
    again = MatrixView(net, pair, **view.state)
    np.testing.assert_array_equal(view.pane.column("tiles", "image"), again.pane.column("tiles", "image"))
    assert view.caption == again.caption
    assert view.figure.select_one({"name": "note"}).text == again.figure.select_one({"name": "note"}).text


def test_a_stack_of_experts_is_walked_along():
    pair = ken.Pair({"w": torch.randn(4, 20, 16), "v": torch.randn(8, 16)}, {})
    pair = ken.Pair(pair.fine_tuned, {name: torch.zeros_like(tensor) for name, tensor in pair.fine_tuned.items()})
    view = MatrixView(ken.prune(*pair, 3, progress=False), pair, "w")
    assert view._walk.layout.display != "none"
    assert "The rows are those of 4 experts, 20 each." in view.caption
    view._walk.forth.click()
    assert view.rows == (20.0, 40.0)
    assert view._walk.number.value == 1
    view._walk.number.value = 3
    assert view.rows == (60.0, 80.0)
    assert view._walk.forth.disabled
    view._walk.back.click()
    assert view.rows == (40.0, 60.0)
    np.testing.assert_array_equal(view.numbers().to_numpy() / 100, view._study.mask("w")[40:60])
    with pytest.raises(ValueError, match="expert must be from 0 to 3 in w, got 4"):
        view.show_expert(4)
    view.tensor = "v"
    assert view._walk.layout.display == "none"
    with pytest.raises(ValueError, match="v is no stack"):
        view.show_expert(0)
