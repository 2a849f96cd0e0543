"""The one pass over a subnetwork and its pair: sums by row and by column, some rows in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken import density
from ken.api import Subnetwork
from ken.errors import at_tensor
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


class _Block(NamedTuple):
    """Some rows of a tensor, and how to read them."""

    name: str
    tensor: RetainedTensor
    read: Callable[[slice], tuple[NDArray[np.float64], NDArray[np.float64]]]
    wanted: slice


class _Counted(NamedTuple):
    block: _Block
    arrays: tuple[NDArray[Any], ...]
    modes: list[int]


def tallies(net: Subnetwork, pair: PairOfModels, *, block: int = _BLOCK) -> Iterator[Tally]:
    """Every pruned tensor of a subnetwork, in model order, counted on all processors.

    No more than `block` entries are read at a time (but never less than a row). Row by row the result does not depend
    on that at all; sums of a column are added in another order, so their last bits may differ.

    Raises `SubnetworkError` if a tensor of the pair is missing, or is not the one that was pruned.
    """
    pairing = open_for(net, pair)

    def blocks() -> Iterator[_Block]:
        for name, tensor in net.pruned().items():
            check_tensor(name, tensor, pairing)
            read, (rows, n) = pairing.reader(name), tensor.row_shape
            step = max(1, block // n)
            for start in range(0, rows, step):
                yield _Block(name, tensor, read, slice(start, min(start + step, rows)))

    def work(part: _Block) -> _Counted:
        with at_tensor(part.name):
            return _count(part)

    for name, parts in groupby(in_order(work, blocks()), key=lambda counted: counted.block.name):
        yield _put_together(name, parts)


def _count(part: _Block) -> _Counted:
    from ken.retention.tally_loop import empty, tally  # numba takes a second to import: only where it is used

    start, stop = part.wanted.start, part.wanted.stop
    ours, theirs = part.read(part.wanted)
    mask = part.tensor.row_mask(slice(max(0, start - 1), stop))
    above, mask = (mask[:1], mask[1:]) if start else (mask[:0], mask)
    arrays = empty(*mask.shape)
    tally(np.ascontiguousarray(ours), theirs, mask, above, *arrays)
    rows, _ = part.tensor.row_shape
    found = []
    for row in mode_rows(rows):
        if start <= row < stop:
            count = modes(ours[row - start, : arrays[0][row - start, 0]])
            found += [count] if count else []
    return _Counted(part, arrays, found)


def _put_together(name: str, parts: Iterator[_Counted]) -> Tally:
    from ken.retention.tally_loop import COLUMN_COUNTS, COLUMN_SUMS, ROW_COUNTS, ROW_SUMS

    first = next(parts)
    column_counts, column_sums = first.arrays[2:]
    counts, sums, found = [first.arrays[0]], [first.arrays[1]], list(first.modes)
    for part in parts:  # of columns there are as many in every block: nothing is kept but their sums
        column_counts += part.arrays[2]
        column_sums += part.arrays[3]
        counts.append(part.arrays[0])
        sums.append(part.arrays[1])
        found += part.modes
    rows = dict(zip(ROW_COUNTS, np.concatenate(counts).T, strict=True))
    rows |= dict(zip(ROW_SUMS, np.concatenate(sums).T, strict=True))
    # The formula of `ken.density.bandwidth`, from the standard deviation that there is already.
    rows["bandwidth"] = 1.06 * rows["std"] * np.maximum(rows["paired"], 1) ** -0.2
    columns = dict(zip(COLUMN_COUNTS, column_counts.T, strict=True))
    columns |= dict(zip(COLUMN_SUMS, column_sums.T, strict=True))
    tensor = first.block.tensor
    return Tally(name, tensor.shape, tensor.row_shape, rows, columns, float(np.mean(found)) if found else float("nan"))


def mode_rows(rows: int) -> list[int]:
    """The rows whose modes are counted: `MODE_ROWS` of them, evenly spaced, or all if there are no more.

    >>> mode_rows(3), mode_rows(161)[:4]
    ([0, 1, 2], [0, 10, 20, 30])
    """
    if rows <= MODE_ROWS:
        return list(range(rows))
    return [i * (rows - 1) // (MODE_ROWS - 1) for i in range(MODE_ROWS)]


def modes(row: NDArray[np.float64]) -> int:
    """Local maxima of a row's density, (n,), on `MODE_POINTS` even points from its minimum to its maximum, both ends
    included; neighbours of equal density are one. 0 if the row has no density: constant, empty, or beyond float64.

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
    found = density.density(rows, density.grid(rows, MODE_POINTS), density.bandwidth(rows))[0]
    heights = found[np.concatenate([[True], found[1:] != found[:-1]])]
    padded = np.concatenate([[-np.inf], heights, [-np.inf]])
    return int(((padded[1:-1] > padded[:-2]) & (padded[1:-1] > padded[2:])).sum())
