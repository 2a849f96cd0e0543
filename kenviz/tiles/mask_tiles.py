"""Masks → tiles for any zoom, and the share retained of every row and column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenviz.tiles.pyramid import Lattice, Levels, Placed, Read, lattice, read_sums, stretches


@dataclass(frozen=True, eq=False)
class Tiles(Placed):
    """What is drawn of a part of a mask.

    percent: (rows, columns) uint8, the share of retained entries of each tile in whole percent; 0 and 100 are said
    only of tiles that retain nothing and everything.
    """

    percent: NDArray[np.uint8]

    @property
    def codes(self) -> NDArray[np.uint8]:
        """What is sent: percent itself."""
        return self.percent

    @property
    def values(self) -> NDArray[Any]:
        """What the codes stand for: percent itself."""
        return self.percent


class Pyramid:
    """Counts of retained entries per block, in levels; and per row and column.

    mask: (rows, columns) bool. The levels take 1/16 of its memory, or less; a larger matrix has larger blocks. Where
    the mask need not be in memory, `reading` makes the same of what reads some rows of it.

    >>> Pyramid(np.eye(4, dtype=bool)).tiles((0, 4), (0, 4), height=2, width=2).percent.tolist()
    [[50, 0], [0, 50]]
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        if mask.ndim != 2 or mask.dtype != np.bool_:
            raise ValueError(f"a mask must be a bool matrix, got {mask.dtype} of shape {mask.shape}")
        self._count((mask.shape[0], mask.shape[1]), lambda rows: mask[rows])

    @classmethod
    def reading(cls, shape: tuple[int, int], read: Read) -> Pyramid:
        """A pyramid of a mask of that shape that is read when it is needed: read(slice) gives those rows, bool."""
        made = cls.__new__(cls)
        made._count(shape, read)
        return made

    def _count(self, shape: tuple[int, int], read: Read) -> None:
        self.shape, self._read = shape, read
        self._levels = Levels(shape)
        #: Retained entries of each row, (rows,), and of each column, (columns,).
        self.row_counts = np.zeros(shape[0], np.int32)
        self.column_counts = np.zeros(shape[1], np.int32)
        for rows in stretches(shape, slice(0, shape[0]), self._levels.multiple):
            part = read(rows).view(np.uint8)
            self._levels.put(rows, part)
            self.row_counts[rows] = np.add.reduce(part, axis=1, dtype=np.int32)
            self.column_counts += np.add.reduce(part, axis=0, dtype=np.int32)
        self._levels.finish()

    @property
    def nbytes(self) -> int:
        """Memory of all counts, in bytes."""
        return self._levels.nbytes + self.row_counts.nbytes + self.column_counts.nbytes

    def tiles(
        self, rows: tuple[float, float], columns: tuple[float, float], height: int = 400, width: int = 400
    ) -> Tiles:
        """The tiles that cover a part of the mask; see `kenviz.tiles.pyramid.lattice`."""
        return self.over(lattice(self.shape, rows, columns, height, width))

    def over(self, place: Lattice) -> Tiles:
        """Those tiles."""
        counts, entries = self.counts(place), place.entries
        percent = np.clip(np.rint(100 * counts / entries), 1, 99)
        percent[counts == 0] = 0
        percent[counts == entries] = 100
        return Tiles(place, percent.astype(np.uint8))

    def counts(self, place: Lattice) -> NDArray[np.int64]:
        """Retained entries of each tile."""
        if place.level:
            return self._levels.sums(place)
        return read_sums(self._read, place, lambda part: part.view(np.uint8), np.int64)

    def shares(self, place: Lattice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Share retained, in percent, of the whole rows that each row of tiles covers, and of the whole columns."""
        rows, n = self.shape
        by_row, by_column = _over(self.row_counts, place.row_edges), _over(self.column_counts, place.column_edges)
        return 100 * by_row / n, 100 * by_column / rows


def _over(counts: NDArray[np.int32], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means of counts from each edge to the next."""
    sums = np.add.reduceat(counts[edges[0] : edges[-1]], edges[:-1] - edges[0], dtype=np.int64)
    return sums / np.diff(edges)
