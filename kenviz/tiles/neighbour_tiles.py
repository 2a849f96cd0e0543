"""Masks → how many neighbours of each retained entry are retained: exact counts, their means in tiles of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenviz.tiles.pyramid import Read, lattice
from kenviz.tiles.tiles import Source, Tiles

#: What `Neighbours.counts` says of a reset entry.
RESET = 255
#: Codes of one neighbour more: a mean is rounded to a fiftieth.
STEPS = 50


class Neighbours(Source):
    """The neighbour counts of one mask: their distribution, and tiles of them for any zoom.

    read gives the mask of some consecutive rows, (rows, n) bool; shape is that of the whole. The mask itself is not
    kept, but sums over larger blocks are, in the smallest unsigned integers that hold them. They take a tenth of a
    byte an entry in large matrices, two thirds in narrow ones, which shrink along one side.

    >>> mask = np.array([[True, True, False], [True, False, False]])
    >>> neighbours = Neighbours(mask.shape, lambda rows: mask[rows])
    >>> neighbours.distribution.tolist(), neighbours.retained.tolist()
    ([0, 2, 1, 0, 0], [2, 1])
    >>> neighbours.tiles((0, 2), (0, 3)).codes.tolist()
    [[100, 50, 255], [50, 255, 255]]
    """

    def __init__(self, shape: tuple[int, int], read: Read) -> None:
        #: Retained entries with 0, 1, 2, 3 and 4 retained neighbours, (5,) int64.
        self.distribution: NDArray[np.int64] = np.zeros(5, np.int64)
        #: Retained entries of each row, (rows,) int64.
        self.retained: NDArray[np.int64] = np.zeros(shape[0], np.int64)
        self._mask = read
        super().__init__(shape, self.counts, _split, tally=self._tally, most=4)

    def _tally(self, rows: slice, neighbours: NDArray[np.uint8], kept: NDArray[np.uint8]) -> None:
        self.retained[rows] = np.count_nonzero(kept, axis=1)
        # Value by value: numpy.bincount would make a copy in int64.
        some = [int(np.count_nonzero(neighbours == value)) for value in range(1, 5)]
        self.distribution += [int(self.retained[rows].sum()) - sum(some), *some]

    @property
    def nbytes(self) -> int:
        """Memory of what is kept, in bytes."""
        return super().nbytes + self.retained.nbytes

    @property
    def pairs(self) -> int:
        """Pairs of neighbours that are both retained: each is a neighbour of the other."""
        return int(self.distribution @ np.arange(5)) // 2

    def tiles(
        self, rows: tuple[float, float], columns: tuple[float, float], height: int = 400, width: int = 400
    ) -> Tiles:
        """The tiles that cover a part of the matrix: mean number of retained neighbours of their retained entries.

        In steps of 1/50; see `kenviz.tiles.pyramid.lattice`.
        """
        place = lattice(self.shape, rows, columns, height=height, width=width)
        sums, kept = self.sums(place)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(kept > 0, np.rint(sums * (STEPS / kept)) / STEPS, np.nan)
        return Tiles(place, means, (0.0, 4.0), step=1 / STEPS)

    def counts(self, rows: slice) -> NDArray[np.uint8]:
        """How many neighbours are retained, 0 to 4, of the entries of some rows, (rows, n); RESET for reset ones."""
        above, below = rows.start > 0, rows.stop < self.shape[0]
        mask = self._mask(slice(rows.start - above, rows.stop + below)).view(np.uint8)
        # With a frame of nothing around it, no edge is special.
        framed = np.zeros((rows.stop - rows.start + 2, self.shape[1] + 2), np.uint8)
        top = 0 if above else 1
        framed[top : top + len(mask), 1:-1] = mask
        counts = framed[:-2, 1:-1] + framed[2:, 1:-1]
        counts += framed[1:-1, :-2]
        counts += framed[1:-1, 2:]
        counts |= (framed[1:-1, 1:-1] == 0).view(np.uint8) * np.uint8(RESET)
        return counts


def _split(counts: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    kept = (counts != RESET).view(np.uint8)
    return counts * kept, kept
