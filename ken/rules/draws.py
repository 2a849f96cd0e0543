"""Rules that draw at random, each from a stream of its own, seeded by (seed, tensor name, row index)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ken.rules.row_block import Mask, RowBlock

# How far DELLA's probabilities are from the share on either side.
_EPSILON = 0.15


def uniform(block: RowBlock, k: int) -> Mask:
    """k uniformly random entries: the baseline of "Less is KEN" (arXiv 2402.03142)."""
    return _smallest(_draws(block), block, k)


def uniform_scores(block: RowBlock) -> NDArray[np.uint64]:
    """The smallest draw has the highest score."""
    return ~np.array(list(_draws(block)), dtype=np.uint64).reshape(block.fine_tuned.shape)


def dare(block: RowBlock, k: int) -> Mask:
    """The drop of DARE: k uniformly random entries, from a stream apart from that of `random`; rescaled by k/n.

    Yu et al., "Language Models are Super Mario", arXiv 2311.03099 (ICML 2024), sec. 3.2, "Drop And REscale": each entry
    of the update is dropped with probability p by itself, and what is left is divided by 1 - p. Here n - k entries of
    each row are dropped, p = 1 - k/n: the expectation is the same, and no row has more or fewer by chance.
    """
    return _smallest(_draws(block, "dare"), block, k)


def dare_scores(block: RowBlock) -> NDArray[np.uint64]:
    """The smallest draw has the highest score."""
    return ~np.array(list(_draws(block, "dare")), dtype=np.uint64).reshape(block.fine_tuned.shape)


def _smallest(draws: Iterator[NDArray[np.uint64]], block: RowBlock, k: int) -> Mask:
    mask = np.zeros(block.fine_tuned.shape, dtype=bool)
    for row, numbers in enumerate(draws):
        mask[row, np.argpartition(numbers, k - 1)[:k]] = True
    return mask


def della(block: RowBlock, k: int) -> Mask:
    """Random, but the more an entry was changed the likelier, from k/n - 0.15 to k/n + 0.15 by rank; exactly k.

    After DELLA (Deep, Bhardwaj & Poria 2024, arXiv 2406.11617, sec. 3.1: MAGPRUNE, ranked by row), which drops each
    entry independently; here a row is drawn systematically (Madow 1949) in a random order, which keeps the
    probabilities and makes the number exact. Where k/n is nearer to 0 or 1 than 0.15, the spread is that much; mergekit
    (`sparsify.della_magprune`) refuses that.
    """
    rows, n = block.fine_tuned.shape
    mask = np.zeros((rows, n), dtype=bool)
    order, likely = _by_rank(block), _likely(n, k)
    for row, draws in enumerate(_draws(block, "della", 1)):
        shuffled = np.argsort(draws[:n], kind="stable")
        up_to = np.minimum(np.cumsum(likely[shuffled]), k)
        up_to[-1] = k
        ticks = np.floor(up_to + (draws[n] >> np.uint64(11)) * 2.0**-53)
        mask[row, order[row, shuffled[np.diff(ticks, prepend=0.0) > 0]]] = True
    return mask


def della_probability(block: RowBlock, k: int) -> NDArray[np.float64]:
    """How likely `della` retains each entry: what it is to be divided by, as DELLA does (sec. 3.1, 1 / (1 - p))."""
    rows, n = block.fine_tuned.shape
    likely = np.empty((rows, n))
    np.put_along_axis(likely, _by_rank(block), _likely(n, k)[None], axis=1)
    return likely


def _by_rank(block: RowBlock) -> NDArray[np.intp]:
    """The entries of each row, the smallest update first."""
    return np.argsort(np.abs(block.fine_tuned - block.pretrained), axis=1, kind="stable")


def _likely(n: int, k: int) -> NDArray[np.float64]:
    """The probability of each rank. None may exceed 1, not by a rounding error either: an entry is drawn once."""
    spread = min(_EPSILON, k / n, 1 - k / n)
    likely: NDArray[np.float64] = k / n + spread * (1 - 1e-9) * np.linspace(-1, 1, n)
    return likely


def _draws(block: RowBlock, purpose: str = "", more: int = 0) -> Iterator[NDArray[np.uint64]]:
    """Random numbers for each row, one an entry and some more, which depend on seed, tensor and row alone."""
    digest = hashlib.blake2b(f"{block.seed}\0{block.tensor}{purpose and chr(0)}{purpose}".encode(), digest_size=16)
    key = np.frombuffer(digest.digest(), dtype="<u8")
    rows, n = block.fine_tuned.shape
    for row in range(rows):
        # The raw stream of Philox is fixed for good, that of numpy's Generator is not (NEP 19).
        yield np.random.Philox(key=key, counter=[0, 0, block.first_row + row, 0]).random_raw(n + more)
