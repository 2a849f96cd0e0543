"""A rule with what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from ken.rules.row_block import RowBlock, Rule

#: A function of rows to a number for every entry, (rows, n) float64 or uint64, which looks at nothing but that entry.
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
