"""What methods of merging models retain of an update, as rules that retain exactly k of a row."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ken.errors import RuleError
from ken.rules.magnitudes import update
from ken.rules.registered import Score
from ken.rules.row_block import Mask, RowBlock, Rule

Array = NDArray[np.float64]

#: The share of each row that `breadcrumbs` drops at the top: mergekit's, and the most that the authors search.
TOP = 0.01
#: Entries of a group of `cabs`: the m of the authors' 3:32 for models of BERT's size.
GROUP = 32
# What arcee_fusion adds to probabilities, and a divergence below any that float64 can tell from none: a summand that is
# not 0 is at least 1e-8 times 2^-53, so that sums are multiples of 2^-133. Times the least update of float32, 2^-149,
# it is a number still.
_EPS, _LEAST = 1e-8, 2.0**-140
# log(2), the first part with so few bits that small multiples of it are exact.
_LOG2, _LOG2_REST = 6.93147180369123816490e-01, 1.90821492927058770002e-10


def breadcrumbs(top: float = TOP) -> Score:
    """The score of Model Breadcrumbs: the update, but the largest ones of each row come last of all.

    Both tails of a row are dropped: the int(top · n) largest absolute updates as outliers, and of the others all but
    the k largest. Where fewer than k others are left, fewer outliers are dropped, the smallest of them retained first.

    Source:
        Davari & Belilovsky, "Model Breadcrumbs", arXiv 2312.06795 (ECCV 2024), sec. 3; by row and in this order as the
        authors' code has it (rezazzr/breadcrumbs, `TaskVectorMiddleKeep` with remove_first). mergekit
        (`sparsify.magnitude_outliers`) ranks over a whole tensor, and retains nothing where int(top · n) is 0.

    Args:
        top: The share of a row that is dropped at the top, from 0 to below 1: the paper's gamma, as the code counts it.

    Returns:
        The score; `register` it by a name of its own, with score=True, if top is another.

    Raises:
        RuleError: top is out of range.

    Example:
        >>> block = RowBlock(np.array([[4.0, -3.0, 2.0, 1.0]]), np.zeros((1, 4)))
        >>> breadcrumbs(0.25)(block).tolist(), breadcrumbs(0)(block).tolist()
        ([[-4.0, 3.0, 2.0, 1.0]], [[4.0, 3.0, 2.0, 1.0]])
    """
    if not 0 <= top < 1:
        raise RuleError(f"top must be a share of a row from 0 to below 1, got {top!r}")

    def score(block: RowBlock) -> Array:
        sizes = update(block)
        outliers = np.argsort(-sizes, axis=1, kind="stable")[:, : int(top * sizes.shape[1])]
        np.put_along_axis(sizes, outliers, -np.take_along_axis(sizes, outliers, axis=1), axis=1)
        return sizes

    return score


def cabs(group: int = GROUP) -> Rule:
    """The rule of CABS's balanced sparsification: n of every m neighbours in a row, those with the largest update.

    A row of n entries is cut into groups of m, the last of which may be shorter, and up to the end e of each group
    floor(k e / n) entries are retained. Where k m / n is whole and m divides n, those are k m / n of each group, as in
    the source; else the numbers of two groups of m differ by one at most. Of equal updates the first are retained.

    Source:
        Yang et al., "CABS: Conflict-Aware and Balanced Sparsification", arXiv 2503.01874 (ICML 2025), algorithm 1, its
        n:m pruning; the authors' code (zongzhenyang/CABS, `n_m_block_pruning`, `nm_pruning`) groups a flattened
        tensor, so that a group may go on in the next row, and drops an incomplete group whole or fails. The other half
        of CABS, that a second task's update avoids the entries of the first, is of merging, and is not here.

    Args:
        group: The m, at least 1.

    Returns:
        The rule; `register` it by a name of its own if group is another.

    Raises:
        RuleError: group is no whole number of at least 1.

    Example:
        >>> block = RowBlock(np.array([[9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 3.0, 4.0]]), np.zeros((1, 8)))
        >>> cabs(4)(block, 4).astype(int).tolist()
        [[1, 1, 0, 0, 0, 0, 1, 1]]
    """
    if isinstance(group, bool) or not isinstance(group, int) or group < 1:
        raise RuleError(f"group must be a whole number of at least 1, got {group!r}")

    def rule(block: RowBlock, k: int) -> Mask:
        sizes, mask = update(block), np.zeros(block.fine_tuned.shape, dtype=bool)
        n = sizes.shape[1]
        for start in range(0, n, group):
            stop = min(start + group, n)
            most = k * stop // n - k * start // n
            best = np.argsort(-sizes[:, start:stop], axis=1, kind="stable")[:, :most]
            np.put_along_axis(mask[:, start:stop], best, True, axis=1)
        return mask

    return rule


def arcee_fusion(block: RowBlock) -> Array:
    """Arcee Fusion's importance: the absolute update times the divergence of the row's softmax from that before.

    KL(p || q) = sum of p log(p / q), p and q the softmax of the fine-tuned and the pretrained row, plus 1e-8 each. The
    divergence is one number for a row, so that by row this ranks as `update` does, and differs over wider scopes alone.

    A divergence is a small difference of large sums, in which the last bits of exp and log count, and these are another
    for every library and processor. Here both are made of additions, multiplications and divisions alone, which are
    the same to the last bit everywhere (IEEE 754).

    Source:
        mergekit, `merge_methods/arcee_fusion.py`, `_compute_importance`; there is no paper. It retains what is at least
        the median plus 1.5 interquartile ranges of a tensor, however many that are; here the number is given. It takes
        the softmax along the last axis in the models' dtype; here along the row, in float64, and a divergence that
        rounding makes zero or negative counts as the least there is, as it says nothing of the order in its row.
    """
    p, q = (_softmax(values) + _EPS for values in (block.fine_tuned, block.pretrained))
    divergence = np.sum(p * _log(p / q), axis=1, keepdims=True)
    return update(block) * np.maximum(divergence, _LEAST)


def _softmax(rows: Array) -> Array:
    powers = _exp(rows - rows.max(axis=1, keepdims=True, initial=-math.inf))
    total: Array = powers / powers.sum(axis=1, keepdims=True)
    return total


def _exp(values: Array) -> Array:
    """exp of values of at most 0, to within two ulps; 0 below -700.

    exp(n log 2 + r) = 2^n exp(r), and of exp(r), |r| <= log(2) / 2, the Taylor series to the 14th power.
    """
    values = np.maximum(values, -1e6)
    powers = np.rint(values / (_LOG2 + _LOG2_REST))
    rest = (values - powers * _LOG2) - powers * _LOG2_REST
    total = np.ones_like(rest)
    for i in range(14, 0, -1):
        total *= rest
        total /= i
        total += 1.0
    return np.where(values < -700.0, 0.0, np.ldexp(total, np.maximum(powers, -1020.0).astype(np.int32)))


def _log(values: Array) -> Array:
    """log of normal numbers above 0, to within a few ulps.

    log(2^e m) = e log 2 + 2 artanh(s), s = (m - 1) / (m + 1), and with m from sqrt(1/2) to sqrt(2) the 12 first terms.
    """
    m, e = np.frexp(values)
    below = m < math.sqrt(0.5)
    m, e = np.where(below, 2.0 * m, m), e - below
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    series = np.zeros_like(s)
    for i in range(23, 1, -2):
        series += 1.0 / i
        series *= square
    return e * _LOG2 + (2.0 * s + (2.0 * s * series + e * _LOG2_REST))
