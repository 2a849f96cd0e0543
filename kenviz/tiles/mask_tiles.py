"""Masks → tiles for any zoom, and the share retained of every row and column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenviz.tiles.pyramid import Lattice, Read, lattice
from kenviz.tiles.tiles import Source, Tiles


class Pyramid(Source):
    """Counts of retained entries per block, in levels; and per row and column.

    The mask is of that shape, and read when it is needed: read(slice) gives those rows, bool. The levels take 1/16 of
    its memory, or less; a larger matrix has larger blocks.

    >>> Pyramid.from_mask(np.eye(4, dtype=bool)).tiles((0, 4), (0, 4), height=2, width=2).values.tolist()
    [[50, 0], [0, 50]]
    """

    def __init__(self, shape: tuple[int, int], read: Read) -> None:
        #: Retained entries of each row, (rows,), and of each column, (columns,).
        self.row_counts = np.zeros(shape[0], np.int32)
        self.column_counts = np.zeros(shape[1], np.int32)
        super().__init__(shape, read, split, tally=self._tally)

    @classmethod
    def from_mask(cls, mask: NDArray[np.bool_]) -> Pyramid:
        """The pyramid of a mask in memory, (rows, columns) bool."""
        if mask.ndim != 2 or mask.dtype != np.bool_:
            raise ValueError(f"a mask must be a bool matrix, got {mask.dtype} of shape {mask.shape}")
        return cls((mask.shape[0], mask.shape[1]), lambda rows: mask[rows])

    def _tally(self, rows: slice, retained: NDArray[np.uint8], _: object) -> None:
        self.row_counts[rows] = np.add.reduce(retained, axis=1, dtype=np.int32)
        self.column_counts += np.add.reduce(retained, axis=0, dtype=np.int32)

    @property
    def nbytes(self) -> int:
        """Memory of all counts, in bytes."""
        return super().nbytes + self.row_counts.nbytes + self.column_counts.nbytes

    def tiles(
        self, rows: tuple[float, float], columns: tuple[float, float], height: int = 400, width: int = 400
    ) -> Tiles:
        """The tiles that cover a part of the mask; see `kenviz.tiles.pyramid.lattice`."""
        return self.over(lattice(self.shape, rows, columns, height=height, width=width))

    def over(self, place: Lattice) -> Tiles:
        """Those tiles: uint8, the share of retained entries in percent; 0 and 100 are said only of none and all."""
        counts, entries = self.sums(place)
        percent = np.clip(np.rint(100 * counts / entries), 1, 99)
        percent[counts == 0] = 0
        percent[counts == entries] = 100
        return Tiles(place, percent.astype(np.uint8))

    def shares(self, place: Lattice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Share retained, in percent, of the whole rows that each row of tiles covers, and of the whole columns."""
        rows, n = self.shape
        by_row, by_column = _over(self.row_counts, place.row_edges), _over(self.column_counts, place.column_edges)
        return 100 * by_row / n, 100 * by_column / rows


def split(mask: NDArray[np.bool_]) -> tuple[NDArray[Any], None]:
    """What is summed of a mask: 1 for each retained entry; all take part."""
    return mask.view(np.uint8), None


def _over(counts: NDArray[np.int32], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means of counts from each edge to the next."""
    sums = np.add.reduceat(counts[edges[0] : edges[-1]], edges[:-1] - edges[0], dtype=np.int64)
    return sums / np.diff(edges)
