"""Masks → how many neighbours of each retained entry are retained: exact counts, their means in tiles of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: What `Neighbours.tiles` gives for a tile in which nothing is retained; in `counts`, for a reset entry.
RESET = 255
#: Steps of a neighbour that a mean is rounded to.
STEPS = 50

# Levels shrink by this factor a side, until neither side is longer than what a screen shows.
_FACTOR = 4
_SMALLEST = 512
# Entries of a mask that are looked at together: some arrays of so many bytes are made of them.
_BLOCK = 1 << 22

Read = Callable[[slice], NDArray[np.bool_]]


class MeanTiles(NamedTuple):
    """What is drawn of a part of a matrix.

    steps: (rows, columns) uint8, the mean number of retained neighbours of the retained entries of each tile, in steps
    of 1/50, or RESET. A tile covers tile_rows × tile_columns entries, the last of a side perhaps fewer. The tiles
    begin at entry (first_row, first_column).
    """

    steps: NDArray[np.uint8]
    first_row: int
    first_column: int
    tile_rows: int
    tile_columns: int

    @property
    def exact(self) -> bool:
        """True if every tile is one entry."""
        return self.tile_rows == self.tile_columns == 1

    @property
    def means(self) -> NDArray[np.float64]:
        """(rows, columns), the means that the steps say; NaN where nothing is retained."""
        return np.where(self.steps == RESET, np.nan, self.steps / STEPS)


class _Level(NamedTuple):
    """By block of entries: the sum of the retained entries' neighbours, and how many entries that are."""

    sums: NDArray[np.unsignedinteger]
    retained: NDArray[np.unsignedinteger]


class Neighbours:
    """The neighbour counts of one mask: their distribution, and tiles of them for any zoom.

    read gives the mask of some consecutive rows, (rows, n) bool; shape is that of the whole. It is read once, some
    rows at a time, and again where tiles are smaller than 4 × 4 entries: the mask itself is not kept. Counts of larger
    blocks are, in the smallest unsigned integers that hold them. They take a fifth of a byte an entry in large
    matrices, two thirds in narrow ones, which shrink along one side.

    >>> mask = np.array([[True, True, False], [True, False, False]])
    >>> found = Neighbours(lambda rows: mask[rows], mask.shape)
    >>> found.distribution.tolist(), found.retained.tolist()
    ([0, 2, 1, 0, 0], [2, 1])
    >>> found.tiles((0, 2), (0, 3)).steps.tolist()
    [[100, 50, 255], [50, 255, 255]]
    """

    def __init__(self, read: Read, shape: tuple[int, int]) -> None:
        rows, n = self.shape = shape
        self._read = read
        #: Retained entries with 0, 1, 2, 3 and 4 retained neighbours, (5,) int64.
        self.distribution: NDArray[np.int64] = np.zeros(5, np.int64)
        #: Retained entries of each row, (rows,) int64.
        self.retained: NDArray[np.int64] = np.zeros(rows, np.int64)
        self._blocks: list[tuple[int, int]] = [(1, 1)]
        self._levels: list[_Level] = []  # from the second on: those of the first are made when they are needed
        down, across = (_FACTOR if side > _SMALLEST else 1 for side in shape)
        parts = []
        for start, counts in self._counts(slice(0, rows), slice(0, n), down):
            kept = counts != RESET
            self.retained[start : start + len(counts)] = np.count_nonzero(kept, axis=1)
            # Value by value: numpy.bincount would make a copy in int64.
            self.distribution += [np.count_nonzero(counts == value) for value in range(5)]
            if down * across > 1:
                parts.append(_pooled(_first(counts), down, across, down * across))
        if parts:
            self._blocks.append((down, across))
            self._levels.append(_Level(*map(np.concatenate, zip(*parts, strict=True))))
        while self._levels and max(self._levels[-1].sums.shape) > _SMALLEST:
            down, across = (_FACTOR if side > _SMALLEST else 1 for side in self._levels[-1].sums.shape)
            block_rows, block_columns = self._blocks[-1]
            self._blocks.append((block_rows * down, block_columns * across))
            entries = block_rows * down * block_columns * across
            self._levels.append(_pooled(self._levels[-1], down, across, entries))

    @property
    def nbytes(self) -> int:
        """Memory of what is kept, in bytes."""
        return self.retained.nbytes + sum(level.sums.nbytes + level.retained.nbytes for level in self._levels)

    @property
    def pairs(self) -> int:
        """Pairs of neighbours that are both retained: each is a neighbour of the other."""
        return int(self.distribution @ np.arange(5)) // 2

    def counts(self, rows: slice, columns: slice) -> NDArray[np.uint8]:
        """How many neighbours are retained, 0 to 4, of the entries of a part; RESET where an entry is reset itself."""
        parts = [part for _, part in self._counts(rows, columns, 1)]
        return np.concatenate(parts) if parts else np.zeros((0, columns.stop - columns.start), np.uint8)

    def tiles(
        self, rows: tuple[float, float], columns: tuple[float, float], height: int = 400, width: int = 400
    ) -> MeanTiles:
        """The tiles that cover a part of the matrix, at most about height × width of them.

        rows, columns: (from, to) in entries, in either order, cut to the matrix; at least one entry is covered.
        """
        r0, r1 = _within(rows, self.shape[0])
        c0, c1 = _within(columns, self.shape[1])
        down, across = -(-(r1 - r0) // height), -(-(c1 - c0) // width)
        level = max(i for i, (high, wide) in enumerate(self._blocks) if high <= down and wide <= across)
        high, wide = self._blocks[level]
        down, across = -(-down // high), -(-across // wide)
        # Tiles lie on a lattice that begins at the first entry of the matrix, so that they stay put when panning.
        tile_rows, tile_columns = down * high, across * wide
        first_row, first_column = r0 // tile_rows * tile_rows, c0 // tile_columns * tile_columns
        last_row, last_column = -(-r1 // tile_rows) * tile_rows, -(-c1 // tile_columns) * tile_columns
        if level:
            part = slice(first_row // high, last_row // high), slice(first_column // wide, last_column // wide)
            found = _Level(*(of[part] for of in self._levels[level - 1]))
            found = _pooled(found, down, across, tile_rows * tile_columns)
        else:
            inside = (
                slice(first_row, min(last_row, self.shape[0])),
                slice(first_column, min(last_column, self.shape[1])),
            )
            parts = [
                _pooled(_first(counts), down, across, tile_rows * tile_columns)
                for _, counts in self._counts(*inside, down)
            ]
            found = _Level(*map(np.concatenate, zip(*parts, strict=True)))
        steps = np.full(found.sums.shape, RESET, np.uint8)
        some = found.retained > 0
        steps[some] = np.rint(found.sums[some] * (STEPS / found.retained[some]))
        return MeanTiles(steps, first_row, first_column, tile_rows, tile_columns)

    def _counts(self, rows: slice, columns: slice, multiple: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(first row, `counts`) of the part, some rows at a time: a multiple of so many, but for the last ones."""
        size, n = self.shape
        step = max(1, _BLOCK // (n * multiple)) * multiple
        left, right = max(0, columns.start - 1), min(n, columns.stop + 1)
        for start in range(rows.start, rows.stop, step):
            stop = min(start + step, rows.stop)
            above, below = start > 0, stop < size
            mask = self._read(slice(start - above, stop + below))[:, left:right].view(np.uint8)
            # With a frame of nothing around it, no edge is special.
            framed = np.zeros((stop - start + 2, columns.stop - columns.start + 2), np.uint8)
            top, beside = 0 if above else 1, left - columns.start + 1
            framed[top : top + mask.shape[0], beside : beside + mask.shape[1]] = mask
            counts = framed[:-2, 1:-1] + framed[2:, 1:-1]
            counts += framed[1:-1, :-2]
            counts += framed[1:-1, 2:]
            counts |= (framed[1:-1, 1:-1] == 0).view(np.uint8) * np.uint8(RESET)
            yield start, counts


def _first(counts: NDArray[np.uint8]) -> _Level:
    kept = (counts != RESET).view(np.uint8)
    return _Level(counts * kept, kept)


def _pooled(level: _Level, down: int, across: int, entries: int) -> _Level:
    """Blocks of down × across together; entries is how many of the matrix each then stands for."""
    sums, retained = (np.dtype(np.min_scalar_type(most)) for most in (4 * entries, entries))
    return _Level(_pool(level.sums, down, across, sums), _pool(level.retained, down, across, retained))


def _pool(values: NDArray[np.unsignedinteger], down: int, across: int, dtype: np.dtype) -> NDArray[np.unsignedinteger]:
    """Sums of down × across values; the last ones of a side may be of fewer. Slices are added: no copy is widened."""
    for axis, factor in enumerate((down, across)):
        size = values.shape[axis]
        shape = (-(-size // factor), values.shape[1]) if axis == 0 else (values.shape[0], -(-size // factor))
        pooled = np.zeros(shape, dtype)
        for offset in range(min(factor, size)):
            part = values[offset::factor] if axis == 0 else values[:, offset::factor]
            into = pooled[: part.shape[0], : part.shape[1]]
            np.add(into, part, out=into, casting="unsafe")
        values = pooled
    return values


def _within(bounds: tuple[float, float], size: int) -> tuple[int, int]:
    low = int(np.clip(np.floor(min(bounds)), 0, size - 1))
    return low, int(np.clip(np.ceil(max(bounds)), low + 1, size))
