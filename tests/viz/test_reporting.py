"""The parts of a report: tiles, pictures, drawings, choices of rows."""

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import ken
from kenviz.reporting.results import read
from kenviz.reporting.sampling import brushed, rows_of
from kenviz.reporting.static_figures import picture
from kenviz.reporting.svg import Plot, ticks
from kenviz.reporting.tiles import pooled
from kenviz.text.numbers import in_digits, in_percent
from kenviz.theme import SEQUENTIAL
from kenviz.tiles import pyramid


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(1, 500))
def test_tiles_count_every_retained_entry_once_whatever_the_blocks(rows, n, most, seed, block):
    mask = np.random.default_rng(seed).random((rows, n)) < 0.4
    tensor = SimpleNamespace(row_shape=mask.shape, row_mask=lambda wanted: mask[wanted].copy())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pyramid, "STRETCH", block)
        found = pooled(tensor, most)
    assert max(found.counts.shape) <= most
    assert found.counts.sum() == mask.sum()
    assert found.place.entries.sum() == mask.size
    for i, j in np.ndindex(*found.counts.shape):
        down, across = found.place.tile
        part = mask[i * down : (i + 1) * down, j * across : (j + 1) * across]
        assert (found.counts[i, j], found.place.entries[i, j]) == (part.sum(), part.size)
    assert found.exact == (max(rows, n) <= most)


def test_what_is_said_of_chance_is_what_chance_does():
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(400, 400)))
    tensor = ken.prune({"w": values}, {"w": torch.zeros(400, 400)}, 0.3, "random")["w"]
    found = pooled(tensor, 100)
    assert found.values.std() == pytest.approx(found.chance, rel=0.03)
    assert f"±{100 * found.chance:.1f} points" in found.note()
    assert "each tile is the share of retained entries of 4 rows × 4 columns" in found.note()


def test_a_picture_has_a_pixel_a_tile_in_the_colours_of_the_theme():
    shares = np.linspace(0.2, 0.8, 12).reshape(3, 4)
    data = base64.b64decode(picture(shares, 0.2, 0.8).removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (4, 3)
        got = np.asarray(image)
        colours = np.reshape(image.getpalette(), (-1, 3))
    assert got.tolist() == np.rint(255 * (shares - 0.2) / 0.6).astype(int).tolist()
    assert [f"#{bytes(of.tolist()).hex()}" for of in colours] == [of[:7].lower() for of in SEQUENTIAL]


@given(st.floats(-1e30, 1e30), st.floats(1e-12, 1e30), st.integers(1, 9))
def test_ticks_are_round_few_and_inside(low, size, about):
    found = ticks(low, low + size, about)
    assert len(found) <= about + 2
    assert sorted(set(found)) == list(found)
    room = 1e-6 * max(size, abs(low))
    assert all(low - room <= value <= low + size + room for value in found)


def test_text_in_a_drawing_is_escaped_and_all_marks_lie_in_the_frame():
    plot = Plot(100, 80, x=(0, 1), y=(0, 1), left=10, bottom=10)
    plot.text(0, 0, "<b>&")
    plot.mark(1, 1, "c0")
    drawn = plot.markup('"><script>')
    assert "<b>" not in drawn
    assert "<script>" not in drawn
    assert drawn.count('"') % 2 == 0
    assert re.search(r"translate\(92.0 8.0\)", drawn)


def test_rows_are_quantiles_of_what_is_stated_each_once():
    rows = pd.DataFrame({"energy": [4.0, 1.0, 0.0, 9.0, 7.0], "paired": [1, 1, 1, 1, 0]})
    assert rows_of(rows, (0, 0.5, 1)) == [(2, 0.0, 0.0), (0, 0.5, 2.0), (3, 1.0, 3.0)]
    assert rows_of(rows, (0, 0.01, 0.02)) == [(2, 0.0, 0.0)]
    ((row, quantile, rms),) = rows_of(rows.assign(paired=0))
    assert (row, np.isnan(quantile), np.isnan(rms)) == (0, True, True)


def test_the_budget_of_tiles_is_shared():
    def table(count):
        data = {"rows": 2, "energy": np.arange(float(count)), "entries": 10}
        return pd.DataFrame(data, index=[f"t{i}" for i in range(count)])

    assert brushed(table(3)) == (["t0", "t1", "t2"], 128)
    assert brushed(table(100))[1] == 100
    names, side = brushed(table(1000), ["t5", "gone"])
    assert (len(names), side) == (400, 50)
    assert names == ["t5", *(f"t{i}" for i in range(601, 1000))]


def test_shares_that_are_not_quite_all_or_nothing_do_not_read_as_that():
    assert in_percent(0.99999) == ">99.9\N{NO-BREAK SPACE}%"
    assert in_percent(0.00001) == "<0.1\N{NO-BREAK SPACE}%"
    assert (in_percent(1), in_percent(0)) == ("100.0\N{NO-BREAK SPACE}%", "0.0\N{NO-BREAK SPACE}%")
    assert in_digits(-0.5) == "−0.5"


def test_a_k_of_entries_is_told_from_a_share_in_a_file(tmp_path):
    pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    net = ken.prune(*pair, k=1)
    told = {"evaluate": lambda _: 2.5, "progress": False}
    ken.sweep(pair, [1, 1.0], ["ken"], **told).to_csv(tmp_path / "t.csv", index=False)
    found = read(tmp_path / "t.csv", net)
    assert [repr(line.k) for line in found.lines] == ["1", "1.0"]
    own = found.own(net)
    assert (own.k, own.retained, found.shares) == (1, 2, False)
