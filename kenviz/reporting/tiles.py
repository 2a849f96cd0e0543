"""A mask as few tiles, whatever its size: counts of retained entries, and in words what a tile stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import ken
from kenviz.tiles.mask_tiles import split
from kenviz.tiles.pyramid import read_sums, whole
from kenviz.tiles.tiles import Tiles


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskTiles(Tiles):
    """Tiles of a whole mask. values: float64, the share of retained entries, 0 to 1; counts: how many are retained.

    limits are the shares from which to which colours run.
    """

    counts: NDArray[np.int64]

    @property
    def chance(self) -> float:
        """Standard deviation of the share of a full tile if the entries of each row were drawn at random; 0 if exact.

        As if every row retained the mean number k of n: then the count of one row is hypergeometric, and rows do not
        depend on one another.
        """
        (down, across), (rows, n) = self.place.tile, self.place.shape
        if self.exact or n < 2:
            return 0.0
        p = int(self.counts.sum()) / (rows * n)
        one_row = across * p * (1 - p) * (n - across) / (n - 1)
        return math.sqrt(max(0.0, down * one_row)) / (down * across)

    def note(self) -> str:
        """What a tile stands for, in a sentence."""
        (down, across), (rows, n) = self.place.tile, self.place.shape
        matrix = f"The matrix has {rows:,} rows and {n:,} columns"
        if self.exact:
            return f"{matrix}; nothing was downsampled: one tile is one entry."
        low, high = self.limits
        return (
            f"{matrix}. It is downsampled: each tile is the share of retained entries of {down:,} rows × {across:,} "
            f"columns. Colours run from {100 * low:.1f} % to {100 * high:.1f} %; entries drawn at random would make a "
            f"tile vary by ±{100 * self.chance:.1f} points (one standard deviation)."
        )


def pooled(tensor: ken.RetainedTensor, most: int) -> MaskTiles:
    """The mask of a tensor in at most most × most tiles. No more than some rows of it are unpacked at a time.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.arange(16.0).reshape(4, 4)}, {"w": torch.zeros(4, 4)})
    >>> pooled(ken.prune(*pair, k=1, rule="magnitude")["w"], 2).counts.tolist()
    [[0, 2], [0, 2]]
    """
    place = whole(tensor.row_shape, most)
    counts, _ = read_sums(tensor.row_mask, split, place)
    shares = counts / place.entries
    return MaskTiles(place, shares, _limits(shares, place.exact), counts=counts)


def _limits(shares: NDArray[np.float64], exact: bool) -> tuple[float, float]:
    """Of exact tiles 0 to 1, else the smallest share to the largest."""
    if exact or shares.size == 0:
        return 0.0, 1.0
    low, high = float(shares.min()), float(shares.max())
    return (low, high) if high > low else (max(0.0, low - 0.05), min(1.0, high + 0.05))
