import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kenviz.tiles import pyramid
from kenviz.tiles.pyramid import lattice
from kenviz.tiles.tiles import MISSING
from kenviz.tiles.value_tiles import Values, limit, signed


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(pyramid, "SMALLEST", 24)
    monkeypatch.setattr(pyramid, "MOST_READ", 2000)
    monkeypatch.setattr(pyramid, "STRETCH", 700)


def means_by_hand(matrix, place):
    means = np.full((place.rows, place.columns), np.nan)
    for i in range(place.rows):
        for j in range(place.columns):
            r, c = place.first_row + i * place.tile_rows, place.first_column + j * place.tile_columns
            part = matrix[r : r + place.tile_rows, c : c + place.tile_columns]
            if not np.isnan(part).all():
                means[i, j] = part[~np.isnan(part)].mean()
    return means


@given(st.integers(1, 300), st.integers(1, 200), st.integers(0, 2**32 - 1), st.sampled_from([0, 0.5, 1]), st.data())
def test_means_over_any_window_are_those_of_the_entries_that_have_a_value(rows, n, seed, missing, data):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((rows, n)).astype(np.float32).astype(float)
    matrix[rng.random((rows, n)) < missing * rng.random()] = np.nan
    matrix[rows - int(missing * rows) :] = np.nan
    matrix.flags.writeable = False
    part = [data.draw(st.tuples(st.floats(0, side), st.floats(0, side))) for side in (rows, n)]
    values = Values((rows, n), lambda wanted: matrix[wanted])
    place = lattice((rows, n), *part, height=20, width=15)
    np.testing.assert_allclose(values.means(place), means_by_hand(matrix, place), rtol=0, atol=2e-6)
    if place.exact:
        np.testing.assert_array_equal(
            values.means(place),
            matrix[place.row_edges[0] : place.row_edges[-1], place.column_edges[0] : place.column_edges[-1]],
        )


floats = st.floats(-1e300, 1e300) | st.sampled_from([np.nan, np.inf, -np.inf])


@given(st.lists(floats, min_size=1, max_size=60), st.floats(0.01, 1))
def test_codes_are_within_half_a_step_and_what_is_beyond_is_counted(entries, clip):
    values = np.array(entries)[None]
    end = limit([values], clip)
    tiles = signed(lattice(values.shape, (0, 1), (0, len(entries))), values, end)
    finite = [abs(value) for value in entries if np.isfinite(value) and value != 0]
    if finite:
        assert end in finite
        assert sum(size <= end for size in finite) >= clip * len(finite) * (1 - 1e-12)
    for value, code, above, below in zip(entries, tiles.codes[0], tiles.above[0], tiles.below[0], strict=True):
        assert above == (value > end)
        assert below == (value < -end)
        assert (code == MISSING) == np.isnan(value)
        if above or below:
            assert code == (254 if above else 0)
        elif value == value:
            decoded = tiles.low + float(code) * tiles.step
            assert abs(decoded - value) <= tiles.step / 2 * (1 + 1e-9) + 1e-13 * end
    assert tiles.missing == sum(value != value for value in entries)


def test_zero_has_the_code_in_the_middle_and_nothing_else_is_asked_of_an_empty_scale():
    values = np.zeros((2, 3))
    tiles = signed(lattice((2, 3), (0, 2), (0, 3)), values, limit([values], 0.5))
    assert tiles.limits[1] == 1.0
    assert (tiles.codes == 127).all()
    assert not tiles.above.any()


def test_what_is_infinite_stays_infinite_and_a_mean_of_both_infinities_is_none():
    matrix = np.array([[np.inf, -np.inf], [1.0, np.nan]])
    values = Values(matrix.shape, lambda rows: matrix[rows])
    np.testing.assert_array_equal(values.means(lattice((2, 2), (0, 2), (0, 2))), matrix)
    np.testing.assert_array_equal(values.means(lattice((2, 2), (0, 2), (0, 2), height=1)), [[np.inf, -np.inf]])
    assert np.isnan(values.means(lattice((2, 2), (0, 1), (0, 2), height=1, width=1))).all()
