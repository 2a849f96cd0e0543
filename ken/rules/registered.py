"""A rule with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from ken.rules.row_block import Rule


@dataclass(frozen=True, slots=True)
class Registered:
    """A rule, and what its masks depend on besides the rows and k.

    Args:
        decide: The rule: a function of a `RowBlock` and k to a mask, (rows, n) bool.
        seeded: Whether they depend on `RowBlock.seed`, as the rule draws at random.
        fixed: Whether they do not depend on `Settings.on`, as the rule does not look at `RowBlock.values`.
        counts: Whether the rule itself says how many entries of each row are retained: k is None wherever it is asked
            for, and the rule is given the length of a row in its place.

    Example:
        >>> from ken.rules import get
        >>> get("random").seeded, get("random").fixed
        (True, True)
    """

    decide: Rule
    seeded: bool = False
    fixed: bool = False
    counts: bool = False
