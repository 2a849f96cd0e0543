"""A rule with what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken.errors import RuleError, ValuesError
from ken.rules.row_block import Mask, RowBlock, Rule
from ken.rules.sorted_order import first_lowest

#: A function of rows to a number for every entry, (rows, n) float64 or uint64, which looks at nothing but the entry's
#: row.
Score: TypeAlias = Callable[[RowBlock], NDArray[Any]]

#: What may be done to the updates of retained entries: nothing, or each is divided by the share that was retained.
RESCALES = ("none", "share")


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
        words: What the retained entries have most of, such as "largest absolute value".
        probability: For a rule that draws entries with unequal probabilities, how likely each is to be retained: a
            function of a `RowBlock` and k to (rows, n) float64.
        rescale: What `ken.prune` does to the updates of retained entries if it is not told: one of `RESCALES`.
        own: Whether its scores are the user's own, so that by this name there may be others by now.
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
    words: str = ""
    probability: Callable[[RowBlock, int], NDArray[np.float64]] | None = None
    rescale: str = "none"
    own: bool = False
    check: Callable[[str, tuple[int, ...]], None] | None = None


def highest_first(scores: NDArray[Any]) -> NDArray[np.intp]:
    """The entries of each row of scores, (rows, n) float64 or uint64, the highest first; of equal ones the first.

    >>> highest_first(np.array([[1.0, 3.0, 3.0]])).tolist()
    [[1, 2, 0]]
    """
    return np.argsort(_ascending(scores), axis=1, kind="stable")


def _ascending(scores: NDArray[Any]) -> NDArray[Any]:
    return -scores if scores.dtype.kind == "f" else ~scores


def checked_score(name: str, score: Score) -> Score:
    """A score of somebody else's, whose numbers are looked at before they count, whatever the scope is.

    Args:
        name: The name of its rule.
        score: The score.

    Returns:
        The same score. It raises `RuleError` for another dtype than float64 and uint64, and for another shape than
        that of the rows; `ValuesError` for NaN.

    Example:
        >>> checked_score("mine", lambda block: np.sqrt(block.fine_tuned))(RowBlock(np.ones((1, 2)), np.zeros((1, 2))))
        array([[1., 1.]])
    """

    def checked(block: RowBlock) -> NDArray[Any]:
        scores, shape = np.asarray(score(block)), block.fine_tuned.shape
        if scores.shape != shape:
            raise RuleError(f"the score of rule {name!r} must have the shape of the rows, {shape}, got {scores.shape}")
        if scores.dtype not in (np.float64, np.uint64):
            raise RuleError(f"the score of rule {name!r} must be float64 or uint64, got {scores.dtype}")
        if np.isnan(scores).any():
            row, column = divmod(int(np.isnan(scores).argmax()), shape[1])
            raise ValuesError(
                f"the score of rule {name!r} is NaN in row {block.first_row + row}, column {column} of "
                f"{block.tensor!r}: it must be a number (infinity is one); mend the score, or exclude the tensor"
            )
        return scores

    return checked


def by_highest(score: Score, **traits: Any) -> Registered:
    """The rule that retains the k entries of highest score in every row; of equal ones those that come first.

    >>> rule = by_highest(lambda block: block.fine_tuned, fixed=True)
    >>> rule.decide(RowBlock(np.array([[1.0, 3.0, 3.0]]), np.zeros((1, 3))), 1).tolist()
    [[False, True, False]]
    """

    def decide(block: RowBlock, k: int) -> Mask:
        return first_lowest(_ascending(score(block)), k)

    return Registered(decide, score=score, **traits)
