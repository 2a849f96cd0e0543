import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenviz.tiles import pyramid
from kenviz.tiles.pyramid import Levels, blocks, lattice, read_sums


def sums_by_hand(values, place):
    """Sums over the same tiles, one at a time."""
    sums = np.empty((place.rows, place.columns))
    for i in range(place.rows):
        for j in range(place.columns):
            r, c = place.first_row + i * place.tile_rows, place.first_column + j * place.tile_columns
            sums[i, j] = values[r : r + place.tile_rows, c : c + place.tile_columns].sum()
    return sums


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Limits that a matrix of some hundred rows reaches."""
    monkeypatch.setattr(pyramid, "SMALLEST", 24)
    monkeypatch.setattr(pyramid, "MOST_BLOCKS", 3000)
    monkeypatch.setattr(pyramid, "MOST_READ", 2000)
    monkeypatch.setattr(pyramid, "STRETCH", 700)


@st.composite
def places(draw):
    """A shape, and the tiles of a part of it."""
    shape = draw(st.tuples(st.integers(1, 400), st.integers(1, 300)))
    part = [draw(st.tuples(st.floats(-5, side + 5), st.floats(-5, side + 5))) for side in shape]
    return lattice(shape, *part, height=20, width=15), part


@given(places(), st.integers(0, 2**32 - 1))
def test_sums_over_any_tiles_are_those_of_the_entries(place_and_part, seed):
    place, _ = place_and_part
    rng = np.random.default_rng(seed)
    counts, values = rng.integers(0, 2, place.shape).astype(np.uint8), rng.standard_normal(place.shape)
    for matrix, dtype in ((counts, None), (values, np.float32)):
        made = Levels(place.shape, dtype)
        for rows in pyramid.stretches(place.shape, slice(0, place.shape[0]), made.multiple):
            made.put(rows, matrix[rows])
        made.finish()
        wide = np.int64 if dtype is None else np.float64
        got = made.sums(place) if place.level else read_sums(matrix.__getitem__, lambda part: (part, None), place)[0]
        assert got.dtype == wide
        want = sums_by_hand(matrix, place)
        tolerance = 0 if dtype is None else 1e-6 * place.tile_rows * place.tile_columns
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(place.entries, sums_by_hand(np.ones(place.shape), place))


@given(places())
def test_tiles_cover_the_part_asked_for_are_not_too_many_and_take_bounded_work(place_and_part):
    place, (rows, columns) = place_and_part
    for first, tile, count, side, part, most in (
        (place.first_row, place.tile_rows, place.rows, place.shape[0], rows, 20),
        (place.first_column, place.tile_columns, place.columns, place.shape[1], columns, 15),
    ):
        low, high = np.clip(np.floor(min(part)), 0, side - 1), np.clip(np.ceil(max(part)), 1, side)
        assert first <= low
        assert first + count * tile >= high
        assert count <= most + 1
        assert first % tile == 0
    if place.level == 0:
        assert place.rows * place.tile_rows * place.shape[1] <= 2000 or len(blocks(place.shape)) == 1


@given(st.integers(1, 10**6), st.integers(1, 10**5))
def test_levels_are_made_of_one_another_and_the_finest_is_bounded(rows, n):
    levels = blocks((rows, n))
    for (r, c), (down, across) in itertools.pairwise(levels):
        assert down % r == 0
        assert across % c == 0
    if len(levels) > 1:
        assert -(-rows // levels[1][0]) * -(-n // levels[1][1]) <= 3000
    assert max(-(-rows // levels[-1][0]), -(-n // levels[-1][1])) <= 24


def test_the_largest_embedding_takes_some_ninety_megabytes_and_no_more_tiles_than_a_screen_shows(monkeypatch):
    monkeypatch.undo()
    shape = (250_880, 2_048)
    # pages that nothing is written to take no memory
    assert Levels(shape, np.float32).nbytes <= 64 << 20
    assert Levels(shape).nbytes <= 16 << 20
    for rows, columns in (((0, 250_880), (0, 2_048)), ((0, 250_880), (7, 19)), ((9_000, 11_400), (0, 2_048))):
        place = lattice(shape, rows, columns)
        assert place.level > 0
        assert place.rows <= 401
        assert place.columns <= 401
    assert lattice(shape, (5_000, 5_400), (100, 500)).exact
