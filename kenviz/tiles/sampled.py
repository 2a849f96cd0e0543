"""Masks of which only evenly spaced rows have been decided → tiles for any zoom."""

from __future__ import annotations

import math

import numpy as np

from kenviz.tiles.mask_tiles import Pyramid
from kenviz.tiles.pyramid import Levels, Read, stretches


class SampledPyramid(Pyramid):
    """Counts as a `Pyramid` has them, in which a row stands for itself and for those up to the next that was decided.

    What is zoomed in so far that the matrix itself is read is exact. read must take slices with a step.

    >>> mask = np.repeat(np.eye(4, dtype=bool)[:2], 2, axis=0)
    >>> sampled = SampledPyramid(mask.shape, mask.__getitem__, 2)
    >>> sampled.every, sampled.row_counts.tolist(), sampled.column_counts.tolist()
    (2, [1, 1, 1, 1], [2, 2, 0, 0])
    """

    def __init__(self, shape: tuple[int, int], read: Read, every: int) -> None:
        self.every = every
        super().__init__(shape, read)

    def _sum(self, sums: Levels, counts: Levels) -> bool:
        for rows in stretches(self.shape, slice(0, self.shape[0]), math.lcm(self.every, sums.multiple)):
            decided = self._read(slice(rows.start, rows.stop, self.every)).view(np.uint8)
            stands_for = np.minimum(self.every, rows.stop - np.arange(rows.start, rows.stop, self.every))
            sums.put(rows, decided, stands_for)
            self.row_counts[rows] = np.repeat(np.add.reduce(decided, axis=1, dtype=np.int32), stands_for)
            self.column_counts += np.add.reduce(decided * stands_for[:, None].astype(np.int32), axis=0, dtype=np.int32)
        return False
