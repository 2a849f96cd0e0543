"""Values → tiles for any zoom: the mean of each tile, on a scale around 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kenviz.tiles.pyramid import Lattice, Read
from kenviz.tiles.tiles import Source, Tiles

#: The code of 0, in the middle of codes 0 … 254.
ZERO = 127


class Values(Source):
    """Means over tiles of a matrix of that shape that is read when it is needed: read(slice) gives those rows, float64.

    NaN is no value, and takes no part in a mean. Levels take 4 bytes a block, and 1 more if values are missing.

    >>> import numpy as np
    >>> from kenviz.tiles.pyramid import lattice
    >>> matrix = np.array([[1.0, 2.0], [np.nan, 4.0], [np.nan, np.nan]])
    >>> values = Values(matrix.shape, lambda rows: matrix[rows])
    >>> values.means(lattice(matrix.shape, (0, 3), (0, 2), height=3, width=1)).tolist()
    [[1.5], [4.0], [nan]]
    """

    def __init__(self, shape: tuple[int, int], read: Read) -> None:
        super().__init__(shape, read, _split, dtype=np.float32)

    @property
    def nbytes(self) -> int:
        """Memory of all levels, in bytes; never 0, so that many small ones are not kept for ever."""
        return 1024 + super().nbytes

    def means(self, place: Lattice) -> NDArray[np.float64]:
        """The mean of each tile, NaN where no entry has a value."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # entries may be infinite
            sums, counts = self.sums(place)
            return np.where(counts > 0, sums / counts, np.nan)


def _split(part: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    known = ~np.isnan(part)
    return part if known.all() else np.where(known, part, 0.0), known.view(np.uint8)


def signed(place: Lattice, values: NDArray[np.float64], limit: float) -> Tiles:
    """Tiles on a scale from −limit to limit: codes 0 … 254 are evenly spaced, 0 is in the middle."""
    step = max(limit / ZERO, np.finfo(np.float64).smallest_subnormal)
    return Tiles(place, values, (-limit, limit), step=step, zero=ZERO)


def limit(values: list[NDArray[np.float64]], clip: float) -> float:
    """The end of a colour scale that is symmetric around 0: a quantile of the absolute values that are not 0.

    Of finite ones, and one of them; 1 if there is none.

    >>> limit([np.array([0.0, -1.0, 2.0, np.nan, 100.0])], 0.5)
    2.0
    """
    sizes = np.concatenate([np.abs(part[np.isfinite(part) & (part != 0)]) for part in values])
    return float(np.quantile(sizes, clip, method="inverted_cdf")) if len(sizes) else 1.0
