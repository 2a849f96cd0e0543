"""Masks → how many neighbours of each retained entry are retained: exact counts, their means in tiles of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kenviz.tiles.pyramid import Levels, Placed, lattice, read_sums, stretches

#: The code of a tile in which nothing is retained; in `counts`, of a reset entry.
RESET = 255
#: Codes of one neighbour more: a mean is rounded to a fiftieth.
STEPS = 50


@dataclass(frozen=True, eq=False)
class MeanTiles(Placed):
    """What is drawn of a part of a matrix.

    codes: (rows, columns) uint8, the mean number of retained neighbours of the retained entries of each tile, in steps
    of 1/50, or RESET.
    """

    codes: NDArray[np.uint8]

    @property
    def values(self) -> NDArray[np.float64]:
        """(rows, columns), the means that the codes say; NaN where nothing is retained."""
        return np.where(self.codes == RESET, np.nan, self.codes / STEPS)


class Neighbours:
    """The neighbour counts of one mask: their distribution, and tiles of them for any zoom.

    read gives the mask of some consecutive rows, (rows, n) bool; shape is that of the whole. It is read once, some
    rows at a time, and again where tiles are small: the mask itself is not kept. Sums over larger blocks are, in the
    smallest unsigned integers that hold them. They take a tenth of a byte an entry in large matrices, two thirds in
    narrow ones, which shrink along one side.

    >>> mask = np.array([[True, True, False], [True, False, False]])
    >>> found = Neighbours(lambda rows: mask[rows], mask.shape)
    >>> found.distribution.tolist(), found.retained.tolist()
    ([0, 2, 1, 0, 0], [2, 1])
    >>> found.tiles((0, 2), (0, 3)).codes.tolist()
    [[100, 50, 255], [50, 255, 255]]
    """

    def __init__(self, read: Callable[[slice], NDArray[np.bool_]], shape: tuple[int, int]) -> None:
        self.shape, self._read = shape, read
        #: Retained entries with 0, 1, 2, 3 and 4 retained neighbours, (5,) int64.
        self.distribution: NDArray[np.int64] = np.zeros(5, np.int64)
        #: Retained entries of each row, (rows,) int64.
        self.retained: NDArray[np.int64] = np.zeros(shape[0], np.int64)
        self._sums, self._kept = Levels(shape, most=4), Levels(shape)
        for rows in stretches(shape, slice(0, shape[0]), self._kept.multiple):
            counts = self.counts(rows)
            kept = _kept(counts)
            self.retained[rows] = np.count_nonzero(kept, axis=1)
            # Value by value: numpy.bincount would make a copy in int64.
            self.distribution += [np.count_nonzero(counts == value) for value in range(5)]
            self._sums.put(rows, _sums(counts))
            self._kept.put(rows, kept)
        self._sums.finish()
        self._kept.finish()

    @property
    def nbytes(self) -> int:
        """Memory of what is kept, in bytes."""
        return self.retained.nbytes + self._sums.nbytes + self._kept.nbytes

    @property
    def pairs(self) -> int:
        """Pairs of neighbours that are both retained: each is a neighbour of the other."""
        return int(self.distribution @ np.arange(5)) // 2

    def tiles(
        self, rows: tuple[float, float], columns: tuple[float, float], height: int = 400, width: int = 400
    ) -> MeanTiles:
        """The tiles that cover a part of the matrix; see `kenviz.tiles.pyramid.lattice`."""
        place = lattice(self.shape, rows, columns, height, width)
        if place.level:
            sums, kept = self._sums.sums(place), self._kept.sums(place)
        else:
            sums, kept = (read_sums(self.counts, place, of, np.int64) for of in (_sums, _kept))
        codes = np.full(sums.shape, RESET, np.uint8)
        some = kept > 0
        codes[some] = np.rint(sums[some] * (STEPS / kept[some]))
        return MeanTiles(place, codes)

    def counts(self, rows: slice) -> NDArray[np.uint8]:
        """How many neighbours are retained, 0 to 4, of the entries of some rows, (rows, n); RESET for reset ones."""
        above, below = rows.start > 0, rows.stop < self.shape[0]
        mask = self._read(slice(rows.start - above, rows.stop + below)).view(np.uint8)
        # With a frame of nothing around it, no edge is special.
        framed = np.zeros((rows.stop - rows.start + 2, self.shape[1] + 2), np.uint8)
        top = 0 if above else 1
        framed[top : top + len(mask), 1:-1] = mask
        counts = framed[:-2, 1:-1] + framed[2:, 1:-1]
        counts += framed[1:-1, :-2]
        counts += framed[1:-1, 2:]
        counts |= (framed[1:-1, 1:-1] == 0).view(np.uint8) * np.uint8(RESET)
        return counts


def _kept(counts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (counts != RESET).view(np.uint8)


def _sums(counts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return counts * _kept(counts)
