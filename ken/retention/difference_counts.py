"""How two tensors differ, in numbers: a first look at their bytes alone, and sums only where that finds something."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken.models.pairing.rows import row_shape
from ken.models.tensors.tensor_bytes import bytes_of
from ken.models.tensors.tensor_reader import STRETCH, Entries
from ken.retention.attention_heads import Heads
from ken.subnetwork.extract import whole_rows
from ken.subnetwork.threads import in_order

if TYPE_CHECKING:
    import torch


class HeadCounts(NamedTuple):
    """What was counted of every group of rows or columns: changed, (groups,) int64, and squares, (groups,) float64."""

    changed: NDArray[np.int64]
    squares: NDArray[np.float64]


class Counts(NamedTuple):
    """What was counted of two tensors.

    Attributes:
        compared: Entries that both have.
        changed: How many of these differ, by bits or, of two dtypes, by value.
        not_finite: How many of these have NaN or infinity on either side; they are in no sum.
        squares: The sum of the squares of the update.
        base_squares: That of the pretrained values, NaN if nothing changed: then it was not computed.
        largest: The largest absolute update, NaN if there is none.
        at: The number of its entry, in C order; -1 if there is none.
        heads: The same by attention head, None if there are none or nothing changed.
    """

    compared: int
    changed: int = 0
    not_finite: int = 0
    squares: float = 0.0
    base_squares: float = math.nan
    largest: float = math.nan
    at: int = -1
    heads: HeadCounts | None = None


class _Part(NamedTuple):
    start: int
    where: NDArray[np.intp]
    update: NDArray[np.float64]
    base_squares: float


def count(
    fine_tuned: Entries,
    pretrained: Entries,
    heads: Heads | None = None,
    done: Callable[[int], object] = lambda _: None,
) -> Counts:
    """Compare two tensors entry by entry, some rows at a time; of two lengths what the shorter one has.

    Args:
        fine_tuned: One of them.
        pretrained: The other, of the same dtype or another.
        heads: Which rows or columns belong to which attention head.
        done: Is called with the number of entries that have been compared.

    Returns:
        The counts.

    Example:
        >>> import torch
        >>> one, other = torch.tensor([1.0, -0.0, 5.0]), torch.tensor([1.0, 0.0, 1.0])
        >>> counted = count(Entries.from_tensor(one), Entries.from_tensor(other))
        >>> counted.changed, counted.squares, counted.largest, counted.at
        (2, 16.0, 4.0, 2)
    """
    compared = min(fine_tuned.count, pretrained.count)
    alike = fine_tuned.dtype == pretrained.dtype
    if alike and _equal(fine_tuned, pretrained, compared):
        done(compared)
        return Counts(compared)
    rows, n = row_shape(fine_tuned.shape)
    stop_at = [(start, min(stop, compared)) for start, stop in whole_rows(rows, n) if start < compared]

    def work(span: tuple[int, int]) -> _Part:
        return _part(span[0], fine_tuned.read(*span), pretrained.read(*span))

    changed = not_finite = 0
    squares, base, largest, at = [0.0], [0.0], math.nan, -1
    by_head = None if heads is None else HeadCounts(np.zeros(len(heads.groups), np.int64), np.zeros(len(heads.groups)))
    for (start, stop), part in zip(stop_at, in_order(work, stop_at), strict=True):
        changed += len(part.where)
        finite = np.isfinite(part.update)
        not_finite += int(np.count_nonzero(~finite))
        size = np.where(finite, part.update, 0.0)
        with np.errstate(over="ignore"):
            energy = size**2
        squares.append(float(energy.sum()))
        base.append(part.base_squares)
        if finite.any():
            best = int(np.argmax(np.where(finite, part.update, -1.0)))
            if not part.update[best] <= largest:
                largest, at = float(part.update[best]), start + int(part.where[best])
        if heads is not None and by_head is not None:
            place = part.where + start
            group = heads.group[place // n if heads.axis == "rows" else place % n]
            np.add.at(by_head.changed, group, 1)
            np.add.at(by_head.squares, group, energy)
        done(stop - start)
    return Counts(
        compared,
        changed=changed,
        not_finite=not_finite,
        squares=_sum(squares),
        base_squares=_sum(base) if changed else math.nan,
        largest=largest,
        at=at,
        heads=by_head if changed else None,
    )


def _equal(one: Entries, other: Entries, count: int) -> bool:
    """Whether the first so many entries of both are the same bytes; the first stretch that differs ends the search."""
    for start in range(0, count, STRETCH):
        stop = min(start + STRETCH, count)
        mine, theirs = (np.frombuffer(bytes_of(entries.read(start, stop)), np.uint8) for entries in (one, other))
        if not np.array_equal(mine, theirs):
            return False
    return True


def _part(start: int, fine_tuned: torch.Tensor, pretrained: torch.Tensor) -> _Part:
    """Which entries of a stretch differ, by how much each, and the sum of squares of the pretrained ones."""
    base = _numbers(pretrained)
    if fine_tuned.dtype == pretrained.dtype:
        width = fine_tuned.element_size()
        one, other = (np.frombuffer(bytes_of(side), np.uint8).reshape(-1, width) for side in (fine_tuned, pretrained))
        where = np.flatnonzero((one != other).any(axis=1) if width > 1 else one[:, 0] != other[:, 0])
    else:
        tuned = _numbers(fine_tuned)
        same = (tuned == base) & (np.signbit(tuned.real) == np.signbit(base.real))
        where = np.flatnonzero(~(same | (np.isnan(tuned) & np.isnan(base))))
    with np.errstate(all="ignore"):
        update = np.abs(_numbers(fine_tuned)[where] - base[where])
        finite = np.abs(base[np.isfinite(base)])
        return _Part(start, where, update, base_squares=float(np.einsum("i,i", finite, finite)))


def _numbers(entries: torch.Tensor) -> NDArray[Any]:
    """The values as float64 (of complex numbers, complex128), which has those of every narrower dtype."""
    import torch

    return entries.to(torch.complex128 if entries.is_complex() else torch.float64).numpy()


def _sum(values: list[float]) -> float:
    """Rounded once, whatever the order; infinite if it is beyond float64."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.inf
