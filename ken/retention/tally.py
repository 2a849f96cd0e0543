"""The one pass over a subnetwork and its pair: sums by row and by column, some rows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken import density
from ken.api import Subnetwork
from ken.errors import at_tensor
from ken.models.pairing.pairing import Pairing
from ken.models.pairing.pairs import PairOfModels
from ken.subnetwork.belonging import check_tensor, open_for
from ken.subnetwork.retained_tensor import RetainedTensor
from ken.subnetwork.threads import in_order

#: Rows of a tensor whose modes are counted: at most so many, evenly spaced from the first to the last.
MODE_ROWS = 17
#: Grid points on which they are counted.
MODE_POINTS = 256

# Rows are read a few at a time: at most this many entries, two arrays of which fit into a processor's cache.
_BLOCK = 1 << 17


@dataclass(frozen=True, eq=False)
class Tally:
    """What was counted of one pruned tensor.

    rows maps names to arrays (rows,), columns to arrays (row length,); the names are those of
    `ken.retention.tally_loop`, for rows with bandwidth beside. Rows without any pretrained value come last; what is
    counted of them is 0. modes is the mean number of modes of `MODE_ROWS` rows, NaN if none of them has a density.
    """

    name: str
    shape: tuple[int, ...]
    row_shape: tuple[int, int]
    rows: dict[str, NDArray[Any]]
    columns: dict[str, NDArray[Any]]
    modes: float


class Block(NamedTuple):
    """Some rows of a tensor: its masks in one subnetwork or several, and how to read both models."""

    name: str
    tensors: tuple[RetainedTensor, ...]
    read: Callable[[slice], tuple[NDArray[np.float64], NDArray[np.float64]]]
    rows: slice


def blocks(name: str, *tensors: RetainedTensor, pairing: Pairing, entries: int = _BLOCK) -> Iterator[Block]:
    """All rows of a tensor, no more than so many entries at a time, but never less than a row."""
    read, (rows, n) = pairing.reader(name), tensors[0].row_shape
    step = max(1, entries // n)
    for start in range(0, rows, step):
        yield Block(name, tensors, read, rows=slice(start, min(start + step, rows)))


class _Counted(NamedTuple):
    name: str
    rows: slice
    arrays: tuple[NDArray[Any], ...]
    modes: list[int]


def tallies(
    net: Subnetwork, pair: PairOfModels, *, names: Collection[str] | None = None, block: int = _BLOCK
) -> Iterator[Tally]:
    """Every pruned tensor of a subnetwork, in model order, or those of some names; counted on all processors.

    No more than `block` entries are read at a time (but never less than a row). Row by row the result does not depend
    on that at all; sums of a column are added in another order, so their last bits may differ.

    Raises `SubnetworkError` if a tensor of the pair is missing, or is not the one that was pruned.
    """
    pairing, pruned = open_for(net, pair), net.pruned()

    def parts() -> Iterator[Block]:
        for name in pruned if names is None else names:
            tensor = pruned[name]
            check_tensor(name, tensor, pairing)
            yield from blocks(name, tensor, pairing=pairing, entries=block)

    for name, counted in groupby(in_order(_count, parts()), key=lambda part: part.name):
        yield _put_together(name, pruned[name], counted)


def _count(block: Block) -> _Counted:
    from ken.retention.tally_loop import empty, tally  # numba takes a second to import: only where it is used

    with at_tensor(block.name):
        start, stop = block.rows.start, block.rows.stop
        fine_tuned, pretrained = block.read(block.rows)
        (tensor,) = block.tensors
        mask = tensor.row_mask(slice(max(0, start - 1), stop))
        above, mask = (mask[:1], mask[1:]) if start else (mask[:0], mask)
        arrays = empty(*mask.shape)
        tally(np.ascontiguousarray(fine_tuned), pretrained, mask, above, *arrays)
        looked_at = [row - start for row in mode_rows(tensor.row_shape[0]) if start <= row < stop]
        counts = [modes(fine_tuned[row, : arrays[0][row, 0]]) for row in looked_at]
        return _Counted(block.name, block.rows, arrays, modes=[count for count in counts if count])


def _put_together(name: str, tensor: RetainedTensor, parts: Iterator[_Counted]) -> Tally:
    from ken.retention.tally_loop import COLUMN_COUNTS, COLUMN_SUMS, ROW_COUNTS, ROW_SUMS, empty

    counts, sums, column_counts, column_sums = empty(*tensor.row_shape)
    of_modes: list[int] = []
    for part in parts:
        counts[part.rows], sums[part.rows] = part.arrays[:2]
        column_counts += part.arrays[2]
        column_sums += part.arrays[3]
        of_modes += part.modes
    rows = dict(zip((*ROW_COUNTS, *ROW_SUMS), (*counts.T, *sums.T), strict=True))
    # The formula of `ken.density.bandwidth`, from the standard deviation that there is already.
    rows["bandwidth"] = 1.06 * rows["std"] * np.maximum(rows["paired"], 1) ** -0.2
    columns = dict(zip((*COLUMN_COUNTS, *COLUMN_SUMS), (*column_counts.T, *column_sums.T), strict=True))
    mean = float(np.mean(of_modes)) if of_modes else float("nan")
    return Tally(name, tensor.shape, tensor.row_shape, rows=rows, columns=columns, modes=mean)


def mode_rows(rows: int) -> list[int]:
    """The rows whose modes are counted: `MODE_ROWS` of them, evenly spaced, or all if there are no more.

    >>> mode_rows(3), mode_rows(161)[:4]
    ([0, 1, 2], [0, 10, 20, 30])
    """
    if rows <= MODE_ROWS:
        return list(range(rows))
    return [i * (rows - 1) // (MODE_ROWS - 1) for i in range(MODE_ROWS)]


def modes(row: NDArray[np.float64]) -> int:
    """Local maxima of the density of a row (n,), on `MODE_POINTS` even points from its minimum to its maximum.

    Both ends are included; neighbours of equal density are one. 0 if the row has no density: constant, empty, or
    beyond float64.

    >>> modes(np.array([0.0] * 5 + [1.0] * 5)), modes(np.zeros(4))
    (2, 0)
    """
    if len(row) == 0:
        return 0
    with np.errstate(over="ignore"):
        spread = row.max() - row.min()
    if not 0 < spread < np.inf:
        return 0
    rows = row[None]
    heights = density.density(rows, density.grid(rows, MODE_POINTS), density.bandwidth(rows))[0]
    heights = heights[np.concatenate([[True], heights[1:] != heights[:-1]])]
    padded = np.concatenate([[-np.inf], heights, [-np.inf]])
    return int(((padded[1:-1] > padded[:-2]) & (padded[1:-1] > padded[2:])).sum())
