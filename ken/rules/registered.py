"""A rule with what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken.rules.row_block import Mask, RowBlock, Rule

#: A function of rows to a number for every entry, (rows, n) float64 or uint64, which looks at nothing but the entry's
#: row.
Score: TypeAlias = Callable[[RowBlock], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Registered:
    """A rule, and what its masks depend on besides the rows and k.

    Args:
        decide: The rule: a function of a `RowBlock` and k to a mask, (rows, n) bool.
        seeded: Whether they depend on `RowBlock.seed`, as the rule draws at random.
        fixed: Whether they do not depend on `Settings.on`, as the rule does not look at `RowBlock.values`.
        counts: Whether the rule itself says how many entries of each row are retained: k is None wherever it is asked
            for, and the rule is given the length of a row in its place.
        paired: Whether the rule cannot do without the pretrained values, whatever `Settings.on` is.
        score: For a rule that retains the entries of highest score, and of equal ones those that come first: the
            score. It can be compared across rows and tensors.
        check: Called with the name and the shape of every tensor that is to be pruned, before any value is read: it
            raises `RuleError` for a tensor about which the rule cannot decide.

    Example:
        >>> from ken.rules import get
        >>> get("random").seeded, get("random").fixed
        (True, True)
    """

    decide: Rule
    seeded: bool = False
    fixed: bool = False
    counts: bool = False
    paired: bool = False
    score: Score | None = None
    check: Callable[[str, tuple[int, ...]], None] | None = None


def by_highest(score: Score, **traits: Any) -> Registered:
    """The rule that retains the k entries of highest score in every row; of equal ones those that come first.

    >>> rule = by_highest(lambda block: block.fine_tuned, fixed=True)
    >>> rule.decide(RowBlock(np.array([[1.0, 3.0, 3.0]]), np.zeros((1, 3))), 1).tolist()
    [[False, True, False]]
    """

    def decide(block: RowBlock, k: int) -> Mask:
        scores = score(block)
        mask = np.zeros(scores.shape, dtype=bool)
        ascending = -scores if scores.dtype.kind == "f" else ~scores
        np.put_along_axis(mask, np.argsort(ascending, axis=1, kind="stable")[:, :k], True, axis=1)
        return mask

    return Registered(decide, score=score, **traits)
