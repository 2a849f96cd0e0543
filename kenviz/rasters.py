"""Masks → tiles for any zoom: a pyramid of counts, so that a view costs the same however large the matrix is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Levels shrink by this factor a side, until neither side is longer than what a screen shows.
_FACTOR = 4
_SMALLEST = 512


class Tiles(NamedTuple):
    """What is drawn of a part of a mask.

    percent: (rows, columns) uint8, the share of retained entries of each tile in whole percent; 0 and 100 are said
    only of tiles that retain nothing and everything. A tile covers tile_rows × tile_columns entries, the last of a
    side perhaps fewer. The tiles begin at entry (first_row, first_column).
    """

    percent: NDArray[np.uint8]
    first_row: int
    first_column: int
    tile_rows: int
    tile_columns: int

    @property
    def exact(self) -> bool:
        """True if every tile is one entry."""
        return self.tile_rows == self.tile_columns == 1


class Pyramid:
    """Counts of retained entries per block, in levels of four.

    mask: (rows, columns) bool, kept as it is. The levels above it take about a twelfth of its memory at 4 bytes a
    count, or less.

    >>> Pyramid(np.eye(4, dtype=bool)).tiles((0, 4), (0, 4), height=2, width=2).percent.tolist()
    [[50, 0], [0, 50]]
    """

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        if mask.ndim != 2 or mask.dtype != np.bool_:
            raise ValueError(f"a mask must be a bool matrix, got {mask.dtype} of shape {mask.shape}")
        self.shape: tuple[int, int] = (mask.shape[0], mask.shape[1])
        self._levels: list[NDArray[np.unsignedinteger]] = [mask.view(np.uint8)]
        self._blocks: list[tuple[int, int]] = [(1, 1)]
        while max(self._levels[-1].shape) > _SMALLEST:
            # Rows and columns shrink apart: a matrix may be long and narrow.
            down, across = (_FACTOR if side > _SMALLEST else 1 for side in self._levels[-1].shape)
            self._levels.append(_pool(self._levels[-1], down, across))
            rows, columns = self._blocks[-1]
            self._blocks.append((rows * down, columns * across))

    @property
    def nbytes(self) -> int:
        """Memory of the mask and all levels above it, in bytes."""
        return sum(level.nbytes for level in self._levels)

    def tiles(
        self, rows: tuple[float, float], columns: tuple[float, float], height: int = 400, width: int = 400
    ) -> Tiles:
        """The tiles that cover a part of the mask, at most about height × width of them.

        rows, columns: (from, to) in entries, in either order, cut to the matrix; at least one entry is covered.
        """
        r0, r1 = _within(rows, self.shape[0])
        c0, c1 = _within(columns, self.shape[1])
        down, across = -(-(r1 - r0) // height), -(-(c1 - c0) // width)
        level = max(
            i
            for i, (block_rows, block_columns) in enumerate(self._blocks)
            if block_rows <= down and block_columns <= across
        )
        counts, (block_rows, block_columns) = self._levels[level], self._blocks[level]
        down, across = -(-down // block_rows), -(-across // block_columns)
        # Tiles lie on a lattice that begins at the first entry of the matrix, so that they stay put when panning.
        tile_rows, tile_columns = down * block_rows, across * block_columns
        first_row, first_column = r0 // tile_rows, c0 // tile_columns
        part = counts[
            first_row * down : -(-r1 // tile_rows) * down, first_column * across : -(-c1 // tile_columns) * across
        ]
        pooled = _pool(part, down, across)
        height_of = _sizes(first_row, pooled.shape[0], tile_rows, self.shape[0])
        width_of = _sizes(first_column, pooled.shape[1], tile_columns, self.shape[1])
        entries = height_of[:, None] * width_of
        percent = np.clip(np.rint(100 * pooled / entries), 1, 99)
        percent[pooled == 0] = 0
        percent[pooled == entries] = 100
        return Tiles(
            percent.astype(np.uint8), first_row * tile_rows, first_column * tile_columns, tile_rows, tile_columns
        )


def _pool(counts: NDArray[np.unsignedinteger], down: int, across: int) -> NDArray[np.unsignedinteger]:
    if down == across == 1:
        return counts
    columns = np.add.reduceat(counts, np.arange(0, counts.shape[1], across), axis=1, dtype=np.uint32)
    return np.add.reduceat(columns, np.arange(0, counts.shape[0], down), axis=0, dtype=np.uint32)


def _within(bounds: tuple[float, float], size: int) -> tuple[int, int]:
    low = int(np.clip(np.floor(min(bounds)), 0, size - 1))
    return low, int(np.clip(np.ceil(max(bounds)), low + 1, size))


def _sizes(first: int, count: int, tile: int, size: int) -> NDArray[np.int64]:
    edges = np.minimum(np.arange(first, first + count + 1) * tile, size)
    return np.diff(edges)
