"""Two masks of one shape → tiles for any zoom: how much each tile holds of the four states an entry can be in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kenviz.tiles.mask_tiles import Pyramid
from kenviz.tiles.pyramid import lattice
from kenviz.tiles.tiles import Tiles

#: What an entry can be, in the order of `shares`; each is darker than the one before.
STATES = ("neither", "b only", "a only", "both")
# Fewer than one picture takes: here are three beside each other.
_MOST = 256


class Overlap:
    """Two masks, each (rows, columns) bool, with counts of a, of b and of what they share.

    Raises `ValueError` if their shapes differ.

    >>> a = np.array([[True, True, False, False]])
    >>> tiles = Overlap(Pyramid.from_mask(a), Pyramid.from_mask(~a), ~a & a).tiles((0, 1), (1, 3))
    >>> [STATES[i] for i in shares(tiles).argmax(axis=0)[0]]
    ['a only', 'b only']
    """

    def __init__(self, a: Pyramid, b: Pyramid, both: NDArray[np.bool_]) -> None:
        self._pyramids = (a, b, Pyramid.from_mask(both))
        shapes = {pyramid.shape for pyramid in self._pyramids}
        if len(shapes) > 1:
            raise ValueError(f"masks must be of one shape, got {' and '.join(map(str, sorted(shapes)))}")
        (self.shape,) = shapes

    @property
    def nbytes(self) -> int:
        """Memory that the counts of what both retain take, in bytes; those of a and b are others'."""
        return self._pyramids[2].nbytes

    def tiles(self, rows: tuple[float, float], columns: tuple[float, float]) -> Tiles:
        """The tiles that cover a part of the masks; see `Pyramid.over`.

        Values are (3, rows, columns): the percent that a retains, that b does, and that both do.
        """
        place = lattice(self.shape, rows, columns, height=_MOST, width=_MOST)
        return Tiles(place, np.stack([pyramid.over(place).values for pyramid in self._pyramids]))


def shares(tiles: Tiles) -> NDArray[np.float64]:
    """The share of each state: (4, rows, columns) in the order of `STATES`, 0 to 1, adding up to 1 in each tile.

    Of whole percents, so that an entry is in exactly one state, and the share of a larger tile is off by up to three
    percent of it.
    """
    a, b, both = tiles.values.astype(float)
    parts = np.stack([100 - a - b + both, b - both, a - both, both]).clip(0)
    return parts / parts.sum(axis=0)
