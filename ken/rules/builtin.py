"""The rules that come with ken. Each is a function of a block of rows and k; the table at the end names them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ken.density import KERNEL_CODES, NORMAL_REFERENCE, widths
from ken.rules.registered import Registered, Score
from ken.rules.registry import enter
from ken.rules.row_block import Mask, RowBlock
from ken.rules.sorted_order import first_lowest, sorted_order


def _ken(block: RowBlock, k: int) -> Mask:
    """The published rule: grid points, visited by density level, claim the nearest unclaimed entry."""
    return _claims(block, k, KERNEL_CODES[block.settings.kernel])


def _grid(block: RowBlock, k: int) -> Mask:
    """The same grid visited from left to right, without any KDE: the control that shows what the KDE adds."""
    return _claims(block, k, -1)


def _claims(block: RowBlock, k: int, kernel: int) -> Mask:
    from ken.rules.nearest_unclaimed import claim_rows  # numba takes a second to import: only where it is used

    return _compiled(claim_rows, block, k, kernel=kernel)


def _density(block: RowBlock, k: int) -> Mask:
    """The k entries where the density is highest: how the paper's prose reads. Equal ones: those that come first."""
    from ken.rules.top_density import densest_rows

    return _compiled(densest_rows, block, k, kernel=KERNEL_CODES[block.settings.kernel])


def _compiled(loop: Callable[..., None], block: RowBlock, k: int, kernel: int) -> Mask:
    rows = np.ascontiguousarray(block.values)
    mask = np.zeros(rows.shape, dtype=bool)
    # Without a KDE the values are checked, and their bandwidths not used.
    bandwidths, stood_in = widths(rows, block.settings.bandwidth if kernel >= 0 else NORMAL_REFERENCE)
    block.stood_in.extend(block.first_row + int(row) for row in np.flatnonzero(stood_in))
    loop(rows, sorted_order(rows), bandwidths[:, 0], k, kernel, mask)
    return mask


def _random(block: RowBlock, k: int) -> Mask:
    """k uniformly random entries, seeded by (seed, tensor name, row index): the baseline of the paper."""
    mask = np.zeros(block.fine_tuned.shape, dtype=bool)
    for row, draws in enumerate(_draws(block)):
        mask[row, np.argpartition(draws, k - 1)[:k]] = True
    return mask


def _draw_scores(block: RowBlock) -> NDArray[np.uint64]:
    """For `random`: the smallest draw has the highest score."""
    return ~np.array(list(_draws(block)), dtype=np.uint64).reshape(block.fine_tuned.shape)


def _magnitude_scores(block: RowBlock) -> NDArray[np.float64]:
    """For `magnitude`: the absolute fine-tuned value."""
    return np.abs(block.fine_tuned)


def _update_scores(block: RowBlock) -> NDArray[np.float64]:
    """For `update`: how much fine-tuning changed an entry (the "trim" of TIES)."""
    return np.abs(block.fine_tuned - block.pretrained)


def by_highest(score: Score, **traits: bool) -> Registered:
    """The rule that retains the k entries of highest score in every row; of equal ones those that come first."""

    def decide(block: RowBlock, k: int) -> Mask:
        scores = score(block)
        return first_lowest(-scores if scores.dtype.kind == "f" else ~scores, k)

    return Registered(decide, score=score, **traits)


_EPSILON = 0.15


def _della(block: RowBlock, k: int) -> Mask:
    """Random, but the more an entry was changed the likelier, from k/n - 0.15 to k/n + 0.15 by rank; exactly k.

    After DELLA (Deep, Bhardwaj & Poria 2024, sec. 3.1), which drops each entry independently; here a row is drawn
    systematically (Madow 1949) in a random order, which keeps the probabilities and makes the number exact. Where k/n
    is nearer to 0 or 1 than 0.15, the spread is that much.
    """
    rows, n = block.fine_tuned.shape
    mask = np.zeros((rows, n), dtype=bool)
    spread = min(_EPSILON, k / n, 1 - k / n)
    order = np.argsort(np.abs(block.fine_tuned - block.pretrained), axis=1, kind="stable")
    # No probability may exceed 1, not by a rounding error either: an entry is drawn once.
    likely = k / n + spread * (1 - 1e-9) * np.linspace(-1, 1, n)
    for row, draws in enumerate(_draws(block, "della", 1)):
        shuffled = np.argsort(draws[:n], kind="stable")
        up_to = np.minimum(np.cumsum(likely[shuffled]), k)
        up_to[-1] = k
        ticks = np.floor(up_to + (draws[n] >> np.uint64(11)) * 2.0**-53)
        mask[row, order[row, shuffled[np.diff(ticks, prepend=0.0) > 0]]] = True
    return mask


def _changed(block: RowBlock, k: int) -> Mask:
    """The entries that differ from their pretrained ones by so much as a bit, -0.0 from 0.0 as well; k is not heeded.

    Values of both models come here as float64, which holds those of every dtype apart.
    """
    bits = (np.ascontiguousarray(values).view(np.uint64) for values in (block.fine_tuned, block.pretrained))
    return np.not_equal(*bits)


def _draws(block: RowBlock, purpose: str = "", more: int = 0) -> Iterator[NDArray[np.uint64]]:
    """Random numbers for each row, one an entry and some more, which depend on seed, tensor and row alone."""
    digest = hashlib.blake2b(f"{block.seed}\0{block.tensor}{purpose and chr(0)}{purpose}".encode(), digest_size=16)
    key = np.frombuffer(digest.digest(), dtype="<u8")
    rows, n = block.fine_tuned.shape
    for row in range(rows):
        # The raw stream of Philox is fixed for good, that of numpy's Generator is not (NEP 19).
        yield np.random.Philox(key=key, counter=[0, 0, block.first_row + row, 0]).random_raw(n + more)


for _name, _rule in {
    "ken": Registered(_ken),
    "grid": Registered(_grid),
    "density": Registered(_density),
    "random": Registered(_random, seeded=True, fixed=True, score=_draw_scores),
    "magnitude": by_highest(_magnitude_scores, fixed=True),
    "update": by_highest(_update_scores, fixed=True),
    "della": Registered(_della, seeded=True, fixed=True),
    "changed": Registered(_changed, fixed=True, counts=True),
}.items():
    enter(_name, _rule)
