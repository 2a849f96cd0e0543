"""Levels of detail: which tiles cover a part of a matrix, and sums over blocks, so that any view costs about the same.

Nothing here holds the matrix. What is zoomed out is pooled from levels of blocks that were summed once; what is zoomed
in is read again, a bounded number of entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Levels shrink by this factor a side, until that side is no longer than what a screen shows.
FACTOR = 4
SMALLEST = 512
#: The finest level has no more blocks than this: 64 MiB at 4 bytes each.
MOST_BLOCKS = 1 << 24
#: A view reads no more entries than this from the matrix itself; with more rows in it, it is pooled from levels.
MOST_READ = 1 << 22
#: Entries that are read at a time.
STRETCH = 1 << 20

#: rows of a matrix, some at a time: slice -> (rows, n)
Read = Callable[[slice], NDArray[Any]]


class Lattice(NamedTuple):
    """Tiles side by side: (rows, columns) of them, each of tile_rows × tile_columns entries, the last of a side perhaps
    fewer, beginning at entry (first_row, first_column) of a matrix of that shape.

    level says where their sums come from: 0 is the matrix itself.
    """

    first_row: int
    first_column: int
    tile_rows: int
    tile_columns: int
    rows: int
    columns: int
    shape: tuple[int, int]
    level: int

    @property
    def exact(self) -> bool:
        """True if every tile is one entry."""
        return self.tile_rows == self.tile_columns == 1

    @property
    def row_edges(self) -> NDArray[np.int64]:
        """First row of each tile, and the row behind the last: (rows + 1,)."""
        return _edges(self.first_row, self.rows, self.tile_rows, self.shape[0])

    @property
    def column_edges(self) -> NDArray[np.int64]:
        """First column of each tile, and the column behind the last: (columns + 1,)."""
        return _edges(self.first_column, self.columns, self.tile_columns, self.shape[1])

    @property
    def entries(self) -> NDArray[np.int64]:
        """How many entries each tile covers: (rows, columns)."""
        return np.multiply.outer(np.diff(self.row_edges), np.diff(self.column_edges))


@dataclass(frozen=True, eq=False)
class Placed:
    """What is drawn of a part of a matrix, tile by tile: these lie at `place`."""

    place: Lattice

    @property
    def exact(self) -> bool:
        """True if every tile is one entry."""
        return self.place.exact

    @property
    def first_row(self) -> int:
        """The row at which the tiles begin."""
        return self.place.first_row

    @property
    def first_column(self) -> int:
        """The column at which the tiles begin."""
        return self.place.first_column

    @property
    def tile_rows(self) -> int:
        """Rows of a tile."""
        return self.place.tile_rows

    @property
    def tile_columns(self) -> int:
        """Columns of a tile."""
        return self.place.tile_columns


def blocks(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of a block, by level: (1, 1) is the matrix itself, each further level is made of the one before.

    They depend on the shape alone, so that whatever is shown of a matrix is shown in the same tiles.

    >>> blocks((400, 300)), blocks((30_522, 384))
    ([(1, 1)], [(1, 1), (4, 1), (16, 1), (64, 1)])
    >>> blocks((250_880, 2_048))[:3]
    [(1, 1), (4, 8), (16, 8)]
    """
    found = [(1, 1)]
    while max(_blocks_of(shape, found[-1])) > SMALLEST:
        sides = _blocks_of(shape, found[-1])
        # Rows and columns shrink apart: a matrix may be long and narrow.
        down, across = (FACTOR if side > SMALLEST else 1 for side in sides)
        block = (found[-1][0] * down, found[-1][1] * across)
        while len(found) == 1 and np.prod(_blocks_of(shape, block)) > MOST_BLOCKS:
            # Columns first: rows are what is read whole when finer tiles are asked for.
            wide = _blocks_of(shape, block)[1] > SMALLEST // 2 or block[0] >= shape[0]
            block = (block[0], 2 * block[1]) if wide else (2 * block[0], block[1])
        found.append(block)
    return found


def lattice(
    shape: tuple[int, int],
    rows: tuple[float, float],
    columns: tuple[float, float],
    height: int = 400,
    width: int = 400,
) -> Lattice:
    """The tiles that cover a part of a matrix of that shape, at most about height × width of them.

    rows, columns: (from, to) in entries, in either order, cut to the matrix; at least one entry is covered. Tiles lie
    on multiples of their size, counted from the first entry, so that they stay put when panning.
    """
    r0, r1 = _within(rows, shape[0])
    c0, c1 = _within(columns, shape[1])
    down, across = -(-(r1 - r0) // height), -(-(c1 - c0) // width)
    levels, level = blocks(shape), 0
    if len(levels) > 1 and _whole(r0, r1, down) * shape[1] > MOST_READ:
        down, across = max(down, levels[1][0]), max(across, levels[1][1])
        level = max(
            i for i, (block_rows, block_columns) in enumerate(levels) if block_rows <= down and block_columns <= across
        )
    block_rows, block_columns = levels[level]
    tile_rows, tile_columns = -(-down // block_rows) * block_rows, -(-across // block_columns) * block_columns
    first_row, first_column = r0 // tile_rows, c0 // tile_columns
    return Lattice(
        first_row * tile_rows,
        first_column * tile_columns,
        tile_rows,
        tile_columns,
        -(-r1 // tile_rows) - first_row,
        -(-c1 // tile_columns) - first_column,
        shape,
        level,
    )


def pool(values: NDArray[Any], down: int, across: int, dtype: DTypeLike) -> NDArray[Any]:
    """Sums of a matrix over blocks of down × across, the last of a side perhaps smaller, in that dtype.

    >>> pool(np.ones((3, 4), np.uint8), 2, 3, np.int64).tolist()
    [[6, 2], [3, 1]]
    """
    # One line of each block at a time: several times as fast as numpy.add.reduceat, and no copy is widened.
    if down > 1:
        sums = np.zeros((-(-values.shape[0] // down), values.shape[1]), dtype)
        for part in (values[i::down] for i in range(min(down, values.shape[0]))):
            np.add(sums[: len(part)], part, out=sums[: len(part)], casting="unsafe")
        values = sums
    if across > 1:
        sums = np.zeros((values.shape[0], -(-values.shape[1] // across)), dtype)
        for part in (values[:, i::across] for i in range(min(across, values.shape[1]))):
            np.add(sums[:, : part.shape[1]], part, out=sums[:, : part.shape[1]], casting="unsafe")
        values = sums
    return values.astype(dtype, copy=False)


def stretches(shape: tuple[int, int], rows: slice, multiple: int) -> Iterator[slice]:
    """Those rows of a matrix, some at a time: a multiple of so many, and about STRETCH entries."""
    step = max(1, STRETCH // max(1, shape[1]) // multiple) * multiple
    for start in range(rows.start, rows.stop, step):
        yield slice(start, min(start + step, rows.stop))


class Levels:
    """Sums over blocks of a matrix of that shape, by level. They are `put` in, some rows at a time, then `finish`ed.

    dtype: of the finest level and all others; None takes the smallest unsigned type that holds the sum of a block of
    entries that are `most` at most.

    >>> ones = np.ones((2000, 600), np.uint8)
    >>> levels = Levels(ones.shape)
    >>> levels.put(slice(0, 2000), ones); levels.finish()
    >>> levels.sums(lattice(ones.shape, (0, 2000), (0, 600), height=2, width=1)._replace(level=1)).tolist()
    [[600000], [600000]]
    """

    def __init__(self, shape: tuple[int, int], dtype: DTypeLike | None = None, most: int = 1) -> None:
        self._dtype, self._most = dtype, most
        self._blocks = blocks(shape)
        self._sums = [np.zeros(_blocks_of(shape, block), self._type(block)) for block in self._blocks[1:2]]

    @property
    def nbytes(self) -> int:
        """Memory of all levels, in bytes."""
        return sum(level.nbytes for level in self._sums)

    @property
    def multiple(self) -> int:
        """The rows that are put in must begin at a multiple of this."""
        return self._blocks[1][0] if self._sums else 1

    def put(self, rows: slice, values: NDArray[Any]) -> None:
        """The values of some rows, (rows, n)."""
        if self._sums:
            down, across = self._blocks[1]
            exact = np.float64 if values.dtype.kind == "f" else self._type((down, across))
            part = pool(values, down, across, exact)
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite: shown as beyond the scale
                self._sums[0][rows.start // down : rows.start // down + len(part)] = part

    def finish(self) -> None:
        """Sum the coarser levels, once all rows are in."""
        for below, block in zip(self._blocks[1:], self._blocks[2:], strict=False):
            down, across = block[0] // below[0], block[1] // below[1]
            self._sums.append(pool(self._sums[-1], down, across, self._type(block)))

    def sums(self, tiles: Lattice) -> NDArray[Any]:
        """Sums over tiles whose level is not 0: (rows, columns), float64 or int64."""
        level, (down, across) = self._sums[tiles.level - 1], self._blocks[tiles.level]
        rows = slice(tiles.first_row // down, -(-int(tiles.row_edges[-1]) // down))
        columns = slice(tiles.first_column // across, -(-int(tiles.column_edges[-1]) // across))
        wide = np.float64 if level.dtype.kind == "f" else np.int64
        return pool(level[rows, columns], tiles.tile_rows // down, tiles.tile_columns // across, wide)

    def _type(self, block: tuple[int, int]) -> Any:
        return self._dtype or np.min_scalar_type(self._most * block[0] * block[1])


def read_sums(read: Read, tiles: Lattice, of: Callable[[NDArray[Any]], NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    """Sums over tiles of what `of` makes of the matrix, which is read a stretch at a time: (rows, columns) of dtype."""
    rows = slice(tiles.first_row, int(tiles.row_edges[-1]))
    columns = slice(tiles.first_column, int(tiles.column_edges[-1]))
    parts = [
        pool(of(read(some)[:, columns]), tiles.tile_rows, tiles.tile_columns, dtype)
        for some in stretches(tiles.shape, rows, tiles.tile_rows)
    ]
    return np.concatenate(parts)


def _whole(first: int, last: int, tile: int) -> int:
    """Rows of all tiles that rows first to last are in."""
    return (-(-last // tile) - first // tile) * tile


def _blocks_of(shape: tuple[int, int], block: tuple[int, int]) -> tuple[int, int]:
    return -(-shape[0] // block[0]), -(-shape[1] // block[1])


def _within(bounds: tuple[float, float], size: int) -> tuple[int, int]:
    low = int(np.clip(np.floor(min(bounds)), 0, size - 1))
    return low, int(np.clip(np.ceil(max(bounds)), low + 1, size))


def _edges(first: int, count: int, tile: int, size: int) -> NDArray[np.int64]:
    return np.minimum(first + np.arange(count + 1) * tile, size)
