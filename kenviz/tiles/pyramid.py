"""Levels of detail: which tiles cover a part of a matrix, and sums over blocks, so that any view costs about the same.

Nothing here holds the matrix. What is zoomed out is pooled from levels of blocks that were summed once; what is zoomed
in is read again, a bounded number of entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
#: Entries of a matrix -> what is summed of them, and which of them take part, uint8; None if all do.
Split = Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[np.uint8] | None]]


class Lattice(NamedTuple):
    """Tiles side by side: (rows, columns) of them, which cover a part of a matrix of that shape.

    Each has tile_rows × tile_columns entries, the last of a side perhaps fewer; the first begins at entry (first_row,
    first_column). level says where their sums come from: 0 is the matrix itself.
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
        return np.minimum(self.first_row + np.arange(self.rows + 1) * self.tile_rows, self.shape[0])

    @property
    def column_edges(self) -> NDArray[np.int64]:
        """First column of each tile, and the column behind the last: (columns + 1,)."""
        return np.minimum(self.first_column + np.arange(self.columns + 1) * self.tile_columns, self.shape[1])

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a tile."""
        return self.tile_rows, self.tile_columns

    @property
    def part(self) -> tuple[slice, slice]:
        """The rows and the columns of the matrix that are covered."""
        return slice(self.first_row, int(self.row_edges[-1])), slice(self.first_column, int(self.column_edges[-1]))

    @property
    def entries(self) -> NDArray[np.int64]:
        """How many entries each tile covers: (rows, columns)."""
        return np.multiply.outer(np.diff(self.row_edges), np.diff(self.column_edges))


def blocks(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows and columns of a block, by level: (1, 1) is the matrix itself, each further level is made of the one before.

    They depend on the shape alone, so that whatever is shown of a matrix is shown in the same tiles.

    >>> blocks((400, 300)), blocks((30_522, 384))
    ([(1, 1)], [(1, 1), (4, 1), (16, 1), (64, 1)])
    >>> blocks((250_880, 2_048))[:3]
    [(1, 1), (4, 8), (16, 8)]
    """
    levels = [(1, 1)]
    while max(_blocks_of(shape, levels[-1])) > SMALLEST:
        sides = _blocks_of(shape, levels[-1])
        # Rows and columns shrink apart: a matrix may be long and narrow.
        down, across = (FACTOR if side > SMALLEST else 1 for side in sides)
        block = (levels[-1][0] * down, levels[-1][1] * across)
        while len(levels) == 1 and np.prod(_blocks_of(shape, block)) > MOST_BLOCKS:
            # Columns first: rows are what is read whole when finer tiles are asked for.
            wide = _blocks_of(shape, block)[1] > SMALLEST // 2 or block[0] >= shape[0]
            block = (block[0], 2 * block[1]) if wide else (2 * block[0], block[1])
        levels.append(block)
    return levels


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
    # Tiles are read whole, with rows beyond either end of the part.
    if len(levels) > 1 and (-(-r1 // down) - r0 // down) * down * shape[1] > MOST_READ:
        down, across = max(down, levels[1][0]), max(across, levels[1][1])
        level = max(
            i for i, (block_rows, block_columns) in enumerate(levels) if block_rows <= down and block_columns <= across
        )
    block_rows, block_columns = levels[level]
    tile_rows, tile_columns = -(-down // block_rows) * block_rows, -(-across // block_columns) * block_columns
    first_row, first_column = r0 // tile_rows, c0 // tile_columns
    return Lattice(
        first_row=first_row * tile_rows,
        first_column=first_column * tile_columns,
        tile_rows=tile_rows,
        tile_columns=tile_columns,
        rows=-(-r1 // tile_rows) - first_row,
        columns=-(-c1 // tile_columns) - first_column,
        shape=shape,
        level=level,
    )


def whole(shape: tuple[int, int], most: int) -> Lattice:
    """The tiles of all of a matrix, at most most × most, that are summed from its entries, however many they are.

    >>> whole((5, 3), 4)[2:6]
    (2, 1, 3, 3)
    """
    down, across = (max(1, -(-side // most)) for side in shape)
    return Lattice(0, 0, down, across, *_blocks_of(shape, (down, across)), shape=shape, level=0)


def pool(values: NDArray[Any], block: tuple[int, int], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Sums of a matrix over blocks of that many rows and columns, the last of a side perhaps smaller.

    They are in that dtype, or in the widest of the kind of the values: float64 or int64.

    >>> pool(np.ones((3, 4), np.uint8), (2, 3)).tolist()
    [[6, 2], [3, 1]]
    """
    (down, across), dtype = block, dtype or (np.float64 if values.dtype.kind == "f" else np.int64)
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

    def put(self, rows: slice, values: NDArray[Any], stands_for: NDArray[np.intp] | None = None) -> None:
        """The values of some rows, (rows, n). stands_for: how many of the rows each line of values stands for."""
        if self._sums:
            block = self._blocks[1]
            dtype = np.float64 if values.dtype.kind == "f" else self._type(block)
            if stands_for is None:
                part = pool(values, block, dtype)
            else:
                part = pool(np.repeat(pool(values, (1, block[1]), dtype), stands_for, axis=0), (block[0], 1), dtype)
            first = rows.start // block[0]
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite: shown as beyond the scale
                self._sums[0][first : first + len(part)] = part

    def finish(self) -> None:
        """Sum the coarser levels, once all rows are in."""
        for below, block in zip(self._blocks[1:], self._blocks[2:], strict=False):
            step = block[0] // below[0], block[1] // below[1]
            self._sums.append(pool(self._sums[-1], step, self._type(block)))

    def sums(self, place: Lattice) -> NDArray[Any]:
        """Sums over tiles whose level is not 0: (rows, columns), float64 or int64."""
        level, (down, across) = self._sums[place.level - 1], self._blocks[place.level]
        rows, columns = place.part
        part = level[rows.start // down : -(-rows.stop // down), columns.start // across : -(-columns.stop // across)]
        return pool(part, (place.tile_rows // down, place.tile_columns // across))

    def _type(self, block: tuple[int, int]) -> Any:
        return self._dtype or np.min_scalar_type(self._most * block[0] * block[1])


def read_sums(read: Read, split: Split, place: Lattice) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Sums over tiles of a matrix, and how many entries of each take part; it is read a stretch at a time.

    Each is (rows, columns), the sums in float64 or int64; the second is None if all entries do.
    """
    rows, columns = place.part
    sums, counts = [], []
    for some in stretches(place.shape, rows, place.tile_rows):
        values, counted = split(read(some)[:, columns])
        sums.append(pool(values, place.tile))
        if counted is not None:
            counts.append(pool(counted, place.tile))
    return np.concatenate(sums), np.concatenate(counts) if counts else None


def _blocks_of(shape: tuple[int, int], block: tuple[int, int]) -> tuple[int, int]:
    return -(-shape[0] // block[0]), -(-shape[1] // block[1])


def _within(bounds: tuple[float, float], size: int) -> tuple[int, int]:
    low = int(np.clip(np.floor(min(bounds)), 0, size - 1))
    return low, int(np.clip(np.ceil(max(bounds)), low + 1, size))
