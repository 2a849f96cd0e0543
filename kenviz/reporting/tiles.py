"""A mask as few tiles, whatever its size: counts of retained entries, and in words what a tile stands for."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import ken
from kenviz.tiles.pyramid import pool, stretches


class Tiles(NamedTuple):
    """How many entries are retained in each tile of a mask.

    counts: (tiles down, tiles across) uint32; a tile covers down × across entries, the last of a side perhaps fewer.
    """

    counts: NDArray[np.uint32]
    shape: tuple[int, int]
    down: int
    across: int

    @property
    def exact(self) -> bool:
        """Whether every tile is one entry."""
        return self.down == self.across == 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Entries of each tile, in the shape of counts."""
        height, width = (
            np.diff(np.minimum(np.arange(tiles + 1) * side, whole))
            for tiles, side, whole in zip(self.counts.shape, (self.down, self.across), self.shape, strict=True)
        )
        return height[:, None] * width

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of retained entries of each tile, in the shape of counts."""
        return self.counts / self.sizes

    @property
    def limits(self) -> tuple[float, float]:
        """The shares from which to which colours run: of exact tiles 0 to 1, else the smallest to the largest."""
        if self.exact or self.counts.size == 0:
            return 0.0, 1.0
        low, high = float(self.shares.min()), float(self.shares.max())
        return (low, high) if high > low else (max(0.0, low - 0.05), min(1.0, high + 0.05))

    @property
    def chance(self) -> float:
        """Standard deviation of the share of a full tile if the entries of each row were drawn at random; 0 if exact.

        As if every row retained the mean number k of n: then the count of one row is hypergeometric, and rows do not
        depend on one another.
        """
        n = self.shape[1]
        if self.exact or n < 2:
            return 0.0
        p = int(self.counts.sum()) / math.prod(self.shape)
        one_row = self.across * p * (1 - p) * (n - self.across) / (n - 1)
        return math.sqrt(max(0.0, self.down * one_row)) / (self.down * self.across)

    def note(self) -> str:
        """What a tile stands for, in a sentence."""
        whole = f"The matrix has {self.shape[0]:,} rows and {self.shape[1]:,} columns"
        if self.exact:
            return f"{whole}; nothing was downsampled: one tile is one entry."
        low, high = self.limits
        return (
            f"{whole}. It is downsampled: each tile is the share of retained entries of {self.down:,} rows × "
            f"{self.across:,} columns. Colours run from {100 * low:.1f} % to {100 * high:.1f} %; entries drawn at "
            f"random would make a tile vary by ±{100 * self.chance:.1f} points (one standard deviation)."
        )


def pooled(tensor: ken.RetainedTensor, most: int) -> Tiles:
    """The mask of a tensor in at most most × most tiles. No more than some rows of it are unpacked at a time.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.arange(16.0).reshape(4, 4)}, {"w": torch.zeros(4, 4)})
    >>> pooled(ken.prune(*pair, k=1, rule="magnitude")["w"], 2).counts.tolist()
    [[0, 2], [0, 2]]
    """
    rows, n = tensor.row_shape
    down, across = max(1, -(-rows // most)), max(1, -(-n // most))
    parts = [
        pool(tensor.row_mask(some).view(np.uint8), down, across, np.uint32)
        for some in stretches((rows, n), slice(0, rows), down)
    ]
    return Tiles(np.concatenate(parts), (rows, n), down, across)
