import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kenviz.tiles.mask_tiles import Pyramid
from kenviz.tiles.overlap_tiles import STATES, Overlap

masks = st.tuples(st.integers(1, 700), st.integers(1, 300), st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))


@settings(max_examples=40)
@given(masks, st.data())
def test_each_tile_has_the_shares_of_its_entries(drawn, data):
    rows, columns, seed, p, q = drawn
    rng = np.random.default_rng(seed)
    a, b = rng.random((rows, columns)) < p, rng.random((rows, columns)) < q
    part = [sorted(data.draw(st.tuples(*[st.integers(0, size)] * 2).filter(lambda s: s[0] != s[1])))
            for size in (rows, columns)]  # fmt: skip
    tiles = Overlap(Pyramid(a), Pyramid(b), a & b).tiles(*part)
    state = np.select([a & b, a, b], [3, 2, 1], 0)
    down, across = tiles.a.tile_rows, tiles.a.tile_columns
    for i, j in [(0, 0), tuple(np.array(tiles.a.percent.shape) - 1)]:
        top, left = tiles.a.first_row + i * down, tiles.a.first_column + j * across
        entries = state[top : top + down, left : left + across]
        want = [(entries == at).mean() for at in range(len(STATES))]
        # Of whole percents, where all and nothing are said only of tiles that are: 1 % a mask, 3 of them.
        np.testing.assert_allclose(tiles.shares[:, i, j], want, atol=1e-12 if tiles.exact else 0.03)
    np.testing.assert_allclose(tiles.shares.sum(axis=0), 1)
    if tiles.exact:
        shown = state[tiles.a.first_row :, tiles.a.first_column :][: len(tiles.a.percent), : tiles.a.percent.shape[1]]
        np.testing.assert_array_equal(tiles.shares.argmax(axis=0), shown)
        assert set(np.unique(tiles.shares)) <= {0, 1}


def test_masks_of_two_shapes_have_no_overlap():
    one, other = np.zeros((2, 3), bool), np.zeros((3, 2), bool)
    with pytest.raises(ValueError, match=r"masks must be of one shape, got \(2, 3\) and \(3, 2\)"):
        Overlap(Pyramid(one), Pyramid(other), one)


def test_masks_that_share_nothing_cost_the_counts_of_nothing():
    mask = np.eye(600, dtype=bool)
    found = Overlap(Pyramid(mask), Pyramid(~mask), mask & ~mask)
    assert found.nbytes == Pyramid(mask).nbytes
    assert (found.tiles((0, 600), (0, 600)).both.percent == 0).all()
