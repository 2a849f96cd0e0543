"""Tiles of a part of a matrix, whatever they show, and the sums that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kenviz.tiles.pyramid import Lattice, Levels, Read, Split, read_sums, stretches

#: The code of a tile that has no value.
MISSING = 255


@dataclass(frozen=True, eq=False)
class Tiles:
    """What is drawn of a part of a matrix, tile by tile.

    place: which tiles these are. values: what they show, (rows, columns), NaN where a tile has no value; or one such
    matrix for each of several masks. limits: the ends of the scale. By default, values are whole percents.

    What is sent to the browser are codes: one stands for (code − zero) · step.
    """

    place: Lattice
    values: NDArray[Any]
    limits: tuple[float, float] = (0.0, 100.0)
    step: float = 1.0
    zero: int = 0

    @property
    def exact(self) -> bool:
        """True if every tile is one entry."""
        return self.place.exact

    @property
    def signed(self) -> bool:
        """True if 0 is the middle of the scale."""
        return self.zero > 0

    @property
    def low(self) -> float:
        """What code 0 stands for."""
        return -self.zero * self.step

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        """The values in uint8, to within half a step as far as there are codes for them; MISSING stands for NaN."""
        if self.values.dtype == np.uint8:  # whole percents are their own codes
            return self.values
        with np.errstate(over="ignore"):  # infinite is beyond, too
            steps = np.clip(np.rint(self.values / self.step), -self.zero, MISSING - 1 - self.zero)
        return np.nan_to_num(steps + self.zero, nan=MISSING).astype(np.uint8)

    @cached_property
    def above(self) -> NDArray[np.bool_]:
        """Where the value is beyond the upper end of the scale."""
        return self.values > self.limits[1]

    @cached_property
    def below(self) -> NDArray[np.bool_]:
        """Where the value is beyond the lower end of the scale."""
        return self.values < self.limits[0]

    @property
    def missing(self) -> int:
        """Tiles without a value."""
        return int(np.isnan(self.values).sum())


class Source:
    """What the tiles of any part of a matrix are made of: sums over entries, and how many entries are summed.

    All rows are read once, some at a time, for levels of sums; after that, a view reads a bounded number of entries.
    A small matrix without a tally has no levels: it is not read before it is needed.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        read: Read,
        split: Split,
        *,
        tally: Callable[[slice, NDArray[Any], Any], None] | None = None,
        dtype: DTypeLike | None = None,
        most: int = 1,
    ) -> None:
        """Read all rows once.

        read(slice) gives those rows, (rows, n); split what is summed of them. tally is called with each slice that was
        read at first, and what split gave. For dtype and most see `Levels`.
        """
        self.shape, self._read, self._split, self._tallied = shape, read, split, tally
        self._sums, counts = Levels(shape, dtype, most), Levels(shape)
        partial = self._sum(self._sums, counts)
        self._sums.finish()
        counts.finish()
        self._counts = counts if partial else None

    def _sum(self, sums: Levels, counts: Levels) -> bool:
        """Put all rows into the levels. Returns whether some entries take no part."""
        partial, tally = False, self._tallied
        for rows in stretches(self.shape, slice(0, self.shape[0] if tally or sums.nbytes else 0), sums.multiple):
            values, counted = self._split(self._read(rows))
            sums.put(rows, values)
            if counted is not None:
                counts.put(rows, counted)
                partial = partial or not counted.all()
            if tally is not None:
                tally(rows, values, counted)
        return partial

    @property
    def nbytes(self) -> int:
        """Memory of all levels, in bytes."""
        return self._sums.nbytes + (self._counts.nbytes if self._counts else 0)

    def sums(self, place: Lattice) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The sum of each tile, float64 or int64, and how many entries were summed."""
        if place.level:
            sums, counts = self._sums.sums(place), self._counts.sums(place) if self._counts else None
        else:
            sums, counts = read_sums(self._read, self._split, place)
        return sums, place.entries if counts is None else counts
