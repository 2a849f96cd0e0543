"""Values → tiles for any zoom: the mean of each tile, and codes of one byte for the colours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenviz.tiles.pyramid import Lattice, Levels, Placed, Read, read_sums, stretches

#: Codes 0 … 254 are values, evenly spaced from −limit to limit; this one says that there is none.
MISSING = 255
#: The code of 0.
ZERO = 127


@dataclass(frozen=True, eq=False)
class ValueTiles(Placed):
    """What is drawn of a part of a matrix of values.

    values: (rows, columns) float64, the mean of the entries of each tile that have a value, NaN where none has.
    codes: the same in uint8: low + codes · step is within half a step of the value, as far as that is not beyond
    ±limit; 255 stands for NaN. above, below: (rows, columns) bool, where values are beyond.
    """

    values: NDArray[np.float64]
    limit: float

    @property
    def step(self) -> float:
        """How far the values of two neighbouring codes are apart."""
        return max(self.limit / ZERO, np.finfo(np.float64).smallest_subnormal)

    @property
    def low(self) -> float:
        """What code 0 stands for."""
        return -ZERO * self.step

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        """The values in one byte each."""
        known = ~np.isnan(self.values)
        codes = np.full(self.values.shape, MISSING, np.uint8)
        with np.errstate(over="ignore"):  # infinite is beyond, too
            steps = np.rint(self.values[known] / self.step)
        codes[known] = np.clip(steps, -ZERO, ZERO) + ZERO
        return codes

    @cached_property
    def above(self) -> NDArray[np.bool_]:
        """Where the value is beyond the upper end of the scale."""
        return self.values > self.limit

    @cached_property
    def below(self) -> NDArray[np.bool_]:
        """Where the value is beyond the lower end of the scale."""
        return self.values < -self.limit

    @property
    def missing(self) -> int:
        """Tiles without a value."""
        return int(np.isnan(self.values).sum())


class Values:
    """Means over tiles of a matrix that is read when it is needed: read(slice) gives those rows, (rows, n) float64.

    NaN is no value, and takes no part in a mean. All rows are read once, some at a time, for levels of float32; after
    that, a view reads a bounded number of entries. Levels take 4 bytes a block, and 1 more if values are missing.

    >>> import numpy as np
    >>> from kenviz.tiles.pyramid import lattice
    >>> matrix = np.array([[1.0, 2.0], [np.nan, 4.0], [np.nan, np.nan]])
    >>> values = Values(matrix.shape, lambda rows: matrix[rows])
    >>> values.means(lattice(matrix.shape, (0, 3), (0, 2), height=3, width=1)).tolist()
    [[1.5], [4.0], [nan]]
    """

    def __init__(self, shape: tuple[int, int], read: Read) -> None:
        self.shape, self._read = shape, read
        self._sums, counts = Levels(shape, np.float32), Levels(shape)
        missing = False
        for rows in stretches(shape, slice(0, shape[0] if self._sums.nbytes else 0), self._sums.multiple):
            part = read(rows)
            known = ~np.isnan(part)
            counts.put(rows, known.view(np.uint8))
            if not known.all():
                missing = True
                part = np.where(known, part, 0.0)
            self._sums.put(rows, part)
        self._sums.finish()
        counts.finish()
        self._counts = counts if missing else None

    @property
    def nbytes(self) -> int:
        """Memory of all levels, in bytes; never 0, so that many small ones are not kept for ever."""
        return 1024 + self._sums.nbytes + (self._counts.nbytes if self._counts else 0)

    def means(self, place: Lattice) -> NDArray[np.float64]:
        """The mean of each tile, NaN where no entry has a value."""
        if place.level:
            sums = self._sums.sums(place)
            counts = place.entries if self._counts is None else self._counts.sums(place)
        else:
            sums = read_sums(self._read, place, np.nan_to_num, np.float64)
            counts = read_sums(self._read, place, _known, np.int64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counts > 0, sums / counts, np.nan)


def limit(values: list[NDArray[np.float64]], clip: float) -> float:
    """The end of a colour scale that is symmetric around 0: a quantile of the absolute values that are not 0.

    Of finite ones, and one of them; 1 if there is none.

    >>> limit([np.array([0.0, -1.0, 2.0, np.nan, 100.0])], 0.5)
    2.0
    """
    sizes = np.concatenate([np.abs(part[np.isfinite(part) & (part != 0)]) for part in values])
    return float(np.quantile(sizes, clip, method="inverted_cdf")) if len(sizes) else 1.0


def _known(part: NDArray[Any]) -> NDArray[np.uint8]:
    return (~np.isnan(part)).view(np.uint8)
