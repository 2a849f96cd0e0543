import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenviz.tiles.mask_tiles import Pyramid
from kenviz.tiles.pyramid import lattice


def by_hand(mask, tiles):
    """The shares of the same tiles, one at a time."""
    place = tiles.place
    rows, columns = tiles.values.shape
    shares = np.empty((rows, columns))
    for i in range(rows):
        for j in range(columns):
            r, c = place.first_row + i * place.tile_rows, place.first_column + j * place.tile_columns
            shares[i, j] = 100 * mask[r : r + place.tile_rows, c : c + place.tile_columns].mean()
    return shares


@given(st.integers(1, 1400), st.integers(1, 700), st.integers(0, 2**32 - 1), st.data())
def test_tiles_hold_the_shares_of_the_entries_they_cover(rows, columns, seed, data):
    mask = np.random.default_rng(seed).random((rows, columns)) < data.draw(st.sampled_from([0.0, 0.01, 0.5, 1.0]))
    a, b = sorted(data.draw(st.tuples(st.floats(-5, rows + 5), st.floats(-5, rows + 5))))
    c, d = sorted(data.draw(st.tuples(st.floats(-5, columns + 5), st.floats(-5, columns + 5))))
    tiles = Pyramid.from_mask(mask).tiles((a, b), (c, d), height=30, width=20)
    assert tiles.values.shape[0] <= 33
    assert tiles.values.shape[1] <= 23
    # all of the part that was asked for is covered
    assert tiles.place.first_row <= max(0, a) or tiles.place.first_row <= rows - 1 <= a
    assert tiles.place.first_row + tiles.values.shape[0] * tiles.place.tile_rows >= min(b, rows)
    want = by_hand(mask, tiles)
    assert np.abs(tiles.values - want).max() <= 1.0
    np.testing.assert_array_equal(tiles.values == 0, want == 0)
    np.testing.assert_array_equal(tiles.values == 100, want == 100)


def test_zoomed_in_tiles_are_the_entries_themselves():
    mask = np.random.default_rng(0).random((5000, 800)) < 0.4
    tiles = Pyramid.from_mask(mask).tiles((1000.2, 1099.5), (7.9, 60))
    assert tiles.exact
    assert (tiles.place.first_row, tiles.place.first_column) == (1000, 7)
    np.testing.assert_array_equal(tiles.values, 100 * mask[1000:1100, 7:60])


def test_tiles_stay_put_when_panning():
    mask = np.random.default_rng(0).random((4000, 2000)) < 0.5
    pyramid = Pyramid.from_mask(mask)
    one, two = pyramid.tiles((100, 2100), (0, 2000)), pyramid.tiles((101, 2101), (0, 2000))
    assert (one.place.first_row - two.place.first_row) % one.place.tile_rows == 0
    np.testing.assert_array_equal(one.values[1:-1], two.values[1 : len(one.values) - 1])


def test_the_largest_embedding_of_the_bloom_family_takes_little_memory_beside_its_mask():
    mask = np.zeros((250_880, 256), dtype=bool)
    mask[::2] = True
    pyramid = Pyramid.from_mask(mask)
    assert pyramid.nbytes <= 0.4 * mask.nbytes
    tiles = pyramid.tiles((0, 250_880), (0, 256))
    assert (tiles.values == 50).all()
    assert tiles.values.shape[0] <= 400


@given(st.integers(1, 1400), st.integers(1, 700), st.integers(0, 2**32 - 1), st.data())
def test_marginals_are_the_shares_of_whole_rows_and_columns(rows, columns, seed, data):
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.3
    part = [data.draw(st.tuples(st.floats(0, side), st.floats(0, side))) for side in mask.shape]
    place = lattice(mask.shape, *part, height=30, width=20)
    for axis, got, edges in zip(
        (0, 1), Pyramid.from_mask(mask).shares(place), (place.row_edges, place.column_edges), strict=True
    ):
        want = [100 * mask.take(range(a, b), axis).mean() for a, b in itertools.pairwise(edges)]
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_a_mask_that_is_read_when_it_is_needed_gives_the_same():
    mask = np.random.default_rng(0).random((5000, 1000)) < 0.3
    asked = []
    pyramid = Pyramid(mask.shape, lambda rows: asked.append(rows) or mask[rows])
    del asked[:]
    for rows, columns in (((0, 5000), (0, 1000)), ((100, 400), (3, 90)), ((4000, 4500), (500, 1000))):
        one, two = pyramid.tiles(rows, columns), Pyramid.from_mask(mask).tiles(rows, columns)
        np.testing.assert_array_equal(one.values, two.values)
    # all of it was not read again
    assert [(rows.start, rows.stop) for rows in asked] == [(100, 400), (4000, 4500)]


def test_what_is_no_mask_is_refused():
    with pytest.raises(ValueError, match=r"a bool matrix, got float64 of shape \(3,\)"):
        Pyramid.from_mask(np.zeros(3))
