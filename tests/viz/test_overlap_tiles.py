import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenviz.tiles.mask_tiles import Pyramid
from kenviz.tiles.overlap_tiles import STATES, Overlap, shares

masks = st.tuples(st.integers(1, 700), st.integers(1, 300), st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))


@settings(max_examples=40)
@given(masks, st.data())
def test_each_tile_has_the_shares_of_its_entries(drawn, data):
    rows, columns, seed, p, q = drawn
    rng = np.random.default_rng(seed)
    a, b = rng.random((rows, columns)) < p, rng.random((rows, columns)) < q
    part = [sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2).filter(lambda s: s[0] != s[1])))
            for size in (rows, columns)]  # fmt: skip
    tiles = Overlap(Pyramid.from_mask(a), Pyramid.from_mask(b), a & b).tiles(*part)
    parts = shares(tiles)
    state = np.select([a & b, a, b], [3, 2, 1], 0)
    down, across = tiles.place.tile
    for i, j in [(0, 0), (tiles.place.rows - 1, tiles.place.columns - 1)]:
        top, left = tiles.place.first_row + i * down, tiles.place.first_column + j * across
        entries = state[top : top + down, left : left + across]
        want = [(entries == at).mean() for at in range(len(STATES))]
        # Of whole percents, where all and nothing are said only of tiles that are: 1 % a mask, 3 of them.
        np.testing.assert_allclose(parts[:, i, j], want, atol=1e-12 if tiles.exact else 0.03)
    np.testing.assert_allclose(parts.sum(axis=0), 1)
    if tiles.exact:
        np.testing.assert_array_equal(parts.argmax(axis=0), state[tiles.place.part])
        assert set(np.unique(parts)) <= {0, 1}


def test_masks_of_two_shapes_have_no_overlap():
    one, other = np.zeros((2, 3), bool), np.zeros((3, 2), bool)
    with pytest.raises(ValueError, match=r"masks must be of one shape, got \(2, 3\) and \(3, 2\)"):
        Overlap(Pyramid.from_mask(one), Pyramid.from_mask(other), one)


def test_masks_that_share_nothing_cost_the_counts_of_nothing():
    mask = np.eye(600, dtype=bool)
    overlap = Overlap(Pyramid.from_mask(mask), Pyramid.from_mask(~mask), mask & ~mask)
    assert overlap.nbytes == Pyramid.from_mask(mask).nbytes
    assert (overlap.tiles((0, 600), (0, 600)).values[2] == 0).all()
