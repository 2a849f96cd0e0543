"""NeighbourView, its counts and their chance, against counts made entry by entry and against all masks there are."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from at_once import set_at_once
from hypothesis import given
from hypothesis import strategies as st
from kenviz_models import HOSTILE, small_pair
from scipy.ndimage import convolve

import ken
import kenviz
from ken.retention.statistics import expected_neighbours
from kenviz import NeighbourView
from kenviz.figures.neighbours import MOST_WRITTEN
from kenviz.tiles import pyramid
from kenviz.tiles.neighbour_tiles import RESET, Neighbours

EMBED, QUERY, OUT = "embed.weight", "layer.1.query.weight", "layer.0.out.weight"


def looked_at(mask):
    """The definition: for every retained entry, look left, right, up and down."""
    rows, n = mask.shape
    counts = np.full(mask.shape, RESET, np.uint8)
    for i, j in np.argwhere(mask):
        around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        counts[i, j] = sum(bool(mask[r, c]) for r, c in around if 0 <= r < rows and 0 <= c < n)
    return counts


def counted(mask):
    """The same with another library's convolution, for masks of which that would take long."""
    cross = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    return np.where(mask, convolve(mask.astype(np.uint8), cross, mode="constant"), RESET).astype(np.uint8)


def means(mask, tile_rows, tile_columns):
    """Tiles of that size over the whole of a mask, from sums up to each corner."""
    counts, sums = counted(mask), []
    for values in (np.where(mask, counts, 0), mask):
        upto = np.pad(values.astype(float).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
        rows, columns = (
            np.append(np.arange(0, s, t), s) for s, t in zip(mask.shape, (tile_rows, tile_columns), strict=True)
        )
        sums.append(np.diff(np.diff(upto[np.ix_(rows, columns)], axis=0), axis=1))
    return np.divide(*sums, out=np.full_like(sums[0], np.nan), where=sums[1] > 0)


def distribution(counts):
    return [int((counts == value).sum()) for value in range(5)]


def neighbours(mask):
    return Neighbours(mask.shape, lambda rows: mask[rows])


class TestCounts:
    @given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 0.8, 1.0]))
    def test_are_those_of_the_definition(self, rows, n, seed, share):
        mask = np.random.default_rng(seed).random((rows, n)) < share
        observed, want = neighbours(mask), looked_at(mask)
        np.testing.assert_array_equal(counted(mask), want)
        np.testing.assert_array_equal(observed.counts(slice(0, rows)), want)
        first = seed % rows
        np.testing.assert_array_equal(observed.counts(slice(first, rows)), want[first:])
        assert observed.distribution.tolist() == distribution(want)
        assert observed.retained.tolist() == mask.sum(axis=1).tolist()
        assert observed.pairs == (mask[1:] & mask[:-1]).sum() + (mask[:, 1:] & mask[:, :-1]).sum()

    @pytest.mark.parametrize("shape", [(1100, 30), (30, 1100), (1030, 2055), (2500, 1)])
    def test_tiles_of_any_level_are_the_means_and_blocks_of_rows_do_not_show(self, shape, monkeypatch):
        monkeypatch.setattr(pyramid, "STRETCH", 1 << 12)
        monkeypatch.setattr(pyramid, "MOST_READ", 1 << 14)
        mask = np.random.default_rng(0).random(shape) < np.linspace(0, 0.7, shape[1])
        observed = neighbours(mask)
        assert observed.distribution.tolist() == distribution(counted(mask))
        for side in (20, 90, 400):
            tiles = observed.tiles((0, shape[0]), (0, shape[1]), side, side)
            want = means(mask, *tiles.place.tile)
            assert max(want.shape) <= side
            np.testing.assert_array_equal(np.isnan(tiles.values), np.isnan(want))
            np.testing.assert_allclose(tiles.values, want, atol=0.01 + 1e-9)
        assert observed.nbytes <= 0.7 * mask.size + 8 * shape[0]

    def test_a_part_lies_on_the_lattice_of_the_whole(self):
        mask = np.random.default_rng(1).random((1500, 900)) < 0.4
        tiles = neighbours(mask).tiles((701, 1403), (77.2, 80.9))
        assert tiles.place[:4] == (700, 77, 2, 1)
        whole = means(mask, 2, 1)
        np.testing.assert_allclose(tiles.values, whole[350:702, 77:81], atol=0.01 + 1e-9)


class TestChance:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 4), (2, 1), (3, 1), (2, 3), (3, 2), (3, 3)])
    def test_is_the_mean_over_all_masks(self, shape):
        rows, n = shape
        for counts in itertools.product(range(n + 1), repeat=rows):
            places = [list(itertools.combinations(range(n), a)) for a in counts]
            total, masks = np.zeros(5), 0
            for chosen in itertools.product(*places):
                mask = np.zeros(shape, bool)
                for row, columns in enumerate(chosen):
                    mask[row, list(columns)] = True
                total += distribution(looked_at(mask))
                masks += 1
            np.testing.assert_allclose(expected_neighbours(counts, n), total / masks, atol=1e-12, err_msg=str(counts))

    def test_is_what_many_random_masks_have_on_average(self):
        generator, n, masks = np.random.default_rng(5), 30, 400
        counts = generator.integers(0, n + 1, 25)
        ranks = generator.random((masks, 25, n)).argsort(axis=2)
        distributions = np.array([neighbours(ranks[i] < counts[:, None]).distribution for i in range(masks)])
        error = distributions.std(axis=0) / np.sqrt(masks)
        assert (abs(distributions.mean(axis=0) - expected_neighbours(counts, n)) < 4 * error).all()

    @given(st.integers(1, 400), st.data())
    def test_adds_up_to_the_retained_entries_and_twice_the_pairs(self, n, data):
        counts = data.draw(st.lists(st.integers(0, n), min_size=1, max_size=20))
        mean_counts = expected_neighbours(counts, n)
        a = np.array(counts, float)
        pairs = ((a * (a - 1)).sum() + (a[1:] * a[:-1]).sum()) / n
        assert mean_counts.min() >= -1e-9
        assert mean_counts.sum() == pytest.approx(a.sum())
        assert mean_counts @ np.arange(5) == pytest.approx(2 * pairs)

    def test_of_nothing_is_nothing(self):
        assert expected_neighbours([], 5).tolist() == expected_neighbours([0, 0], 0).tolist() == [0] * 5


class TestNeighbourView:
    @pytest.fixture
    def view(self, net):
        return NeighbourView(net, None, EMBED)

    def test_shows_the_counts_and_their_distribution(self, net, view):
        mask = net[EMBED].mask()
        want = counted(mask)
        assert view.exact
        np.testing.assert_array_equal(view.pane.column("tiles", "image"), np.where(want == RESET, RESET, 50 * want))
        np.testing.assert_array_equal(view.means().to_numpy(), np.where(want == RESET, np.nan, want))
        assert view.numbers()["entries"].tolist() == distribution(want)
        shares = 100 * np.array(distribution(want)) / mask.sum()
        np.testing.assert_allclose(view.pane.column("bars", "found"), shares)
        np.testing.assert_allclose(view.pane.column("bars", "expected"), 100 * view.numbers()["expected_share"])
        assert f"retained neighbours: {want[mask].mean():.3f} on average" in view.caption

    def test_score_is_that_of_the_retention_table(self, net, pair):
        table = ken.retention.table(net, pair)
        for tensor in (EMBED, QUERY, "layer.0.query.bias"):
            view = NeighbourView(net, None, tensor)
            assert view.z == pytest.approx(table["neighbours_z"][tensor])
            by_chance = view.numbers()["expected"] @ np.arange(5) / view.numbers()["entries"].sum()
            assert by_chance == pytest.approx(table["neighbours_expected"][tensor])
            assert f"z = {view.z:+.1f}: " in view.figure.select_one({"name": "reading"}).text

    @pytest.mark.parametrize(
        ("mask", "words"),
        [
            (np.tile(np.arange(40) < 20, (6, 1)), "more side by side than by chance"),
            (np.add.outer(np.arange(6), np.arange(40)) % 2 == 0, "less side by side than by chance"),
            (np.ones((6, 40), bool), "only one mask is possible"),
        ],
    )
    def test_says_in_words_what_the_score_means(self, mask, words):
        values = torch.tensor(mask + 0.001)
        net = ken.prune({"w": values}, {"w": values * 0}, int(mask[0].sum()), rule="magnitude")
        assert words in NeighbourView(net).caption

    def test_random_masks_show_no_pattern(self, pair):
        assert (
            "side by side as often as by chance" in NeighbourView(ken.prune(*pair, 0.5, "random"), tensor=EMBED).caption
        )

    def test_counts_are_written_where_there_is_room(self, net, view):
        assert view.pane.column("digits", "text").size == 0
        view.rows, view.columns = (50, 50 + MOST_WRITTEN), (0, 10)
        mask = net[EMBED].mask()
        rows, columns = np.nonzero(mask[50 : 50 + MOST_WRITTEN, :10])
        assert view.pane.column("digits", "text").tolist() == counted(mask)[rows + 50, columns].astype(str).tolist()
        np.testing.assert_array_equal(view.pane.column("digits", "y"), rows + 50.5)
        np.testing.assert_array_equal(view.pane.column("digits", "x"), columns + 0.5)

    def test_zoom_that_the_browser_reports_brings_new_tiles(self, net, view):
        view._heard({"kind": "range", "name": "rows", "start": 60.7, "end": 40.2})
        view._heard({"kind": "range", "name": "columns", "start": 3.0, "end": 9.5})
        assert (view.rows, view.columns) == ((40.2, 60.7), (3.0, 9.5))
        want = counted(net[EMBED].mask())[40:61, 3:10]
        np.testing.assert_array_equal(view.pane.column("tiles", "image"), np.where(want == RESET, RESET, 50 * want))
        assert [view.pane.column("tiles", c)[0] for c in ("x", "y", "dw", "dh")] == [3, 40, 7, 21]
        view._heard({"kind": "range", "name": "shares", "start": 0.0, "end": 9.5})
        assert view.pane.column("bars", "entries").sum() == net[EMBED].retained

    def test_another_tensor_is_shown_whole(self, net, view):
        view.rows = (10, 20)
        ranges = [view.figure.select_one({"name": name}) for name in ("rows", "columns")]
        assert (ranges[0].start, ranges[0].end) == (20, 10)
        view._picker.value = OUT
        assert (view.tensor, view.rows, view.columns) == (OUT, (0, 24), (0, 48))
        assert [(one.start, one.end, one.bounds) for one in ranges] == [(24, 0, (0, 24)), (0, 48, (0, 48))]
        assert view.figure.select_one({"name": "name"}).text == OUT
        want = counted(net[OUT].mask())
        np.testing.assert_array_equal(view.pane.column("tiles", "image"), np.where(want == RESET, RESET, 50 * want))
        assert view.pane.column("bars", "entries").tolist() == distribution(want)

    def test_a_large_matrix_is_shown_in_tiles_and_says_so(self):
        values = torch.rand(3000, 1000, generator=torch.Generator().manual_seed(0))
        net = ken.prune({"w": values}, {"w": values * 0}, 0.25, progress=False)
        view = NeighbourView(net)
        assert (view.tiles.place.tile_rows, view.exact) == (8, False)
        assert "3,000 rows × 1,000 columns in tiles of 8 × 3 entries" in view.caption
        np.testing.assert_allclose(view.means(), means(net["w"].mask(), 8, 3), atol=0.01 + 1e-9)

    def test_rows_added_in_fine_tuning_are_told(self, pair):
        pair.pretrained[EMBED] = pair.pretrained[EMBED][:290]
        net = ken.prune(*pair, 3, rows={EMBED: "grown"})
        assert ", 240 of them because fine-tuning added them" in NeighbourView(net, tensor=EMBED).caption

    def test_what_is_not_there_is_refused_and_nothing_moves(self, net, view):
        before = view.state
        with pytest.raises(traitlets.TraitError, match="rows must be a part of 0 to 300, got 300.0 to 400.0"):
            view.rows = (300.0, 400.0)
        with pytest.raises(traitlets.TraitError, match="columns must be a part of 0 to 24, got nan to 5.0"):
            view.columns = (float("nan"), 5.0)
        with pytest.raises(traitlets.TraitError, match="tensor must be a pruned one"):
            view.tensor = "head.weight"
        with pytest.raises(ValueError, match="tensor must be a pruned one"):
            NeighbourView(net, tensor="x")
        assert view.state == before

    def test_two_threads_leave_a_whole_state(self, net, view):
        set_at_once(view, ("tensor", (QUERY, EMBED) * 10), ("rows", [(float(i), i + 5.0) for i in range(15)]))
        view.rows = (3, 9)
        want = counted(net[EMBED].mask())
        first, last = (int(side) for side in view.columns)
        np.testing.assert_array_equal(
            view.pane.column("tiles", "image"), np.where(want == RESET, RESET, 50 * want)[3:9, first:last]
        )
        assert view.pane.column("bars", "entries").tolist() == distribution(want)

    def test_code_makes_the_same_view_again_and_its_page_is_whole(self, net, pair, view, tmp_path):
        view.tensor, view.rows, view.columns = QUERY, (2.0, 9.0), (0.0, 5.0)
        again = eval(view.code(), {"kenviz": kenviz, "net": net, "pair": pair})
        assert (again.state, repr(again)) == (view.state, repr(view))
        pd.testing.assert_frame_equal(again.means(), view.means())
        assert "retained neighbours: " in view.to_html(tmp_path / "n.html").read_text(encoding="utf-8")

    def test_names_of_strangers_are_text(self, tmp_path):
        view = NeighbourView(ken.prune(*small_pair(extra=[HOSTILE]), 3), tensor=HOSTILE)
        assert "\u202e" not in view.caption
        assert "<script" not in view._note.value
        assert "<script>alert" not in view.to_html(tmp_path / "n.html").read_text(encoding="utf-8")
