"""register: a rule of one's own, which must pass a trial before it is known by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ken.errors import RuleError
from ken.rules.registered import Registered, Score, by_highest, checked_score
from ken.rules.registry import enter, forget, get, mask_block
from ken.rules.row_block import VALUES, Mask, RowBlock, Rule, Settings

F = TypeVar("F", bound=Callable[..., Any])


def register(
    name: str, *, seeded: bool = False, fixed: bool = False, paired: bool = False, score: bool = False
) -> Callable[[F], F]:
    """Decorator: make a rule known by name, if it passes a trial.

    In the trial the rule decides about a few rows, twice, and once more cut into two blocks: it must retain exactly k
    entries of each, and always the same. Nor may the seed change anything, or `on`, if the rule does not say so. The
    same goes for every number of a score, as they are compared across rows and tensors.

    Args:
        name: The name, as `ken.prune` and the others then take it.
        seeded: The rule draws at random, by the block's seed: a sweep asks it once for each seed.
        fixed: The rule looks at the same values whatever `on` is: a sweep over `on` asks it once.
        paired: The rule cannot do without the pretrained values: `retain` and `ken.explain_row` ask for them.
        score: What is decorated is no rule but a score, a function of a block to a number for every entry, (rows, n)
            float64 or uint64 without NaN: of every row the k highest are retained, of equal ones those that come first.

    Returns:
        What takes the rule, a function (block, k) -> mask, or the score, and gives it back.

    Raises:
        RuleError: The name is taken, or the rule does not pass.
        ValuesError: A score is NaN in the trial.

    Example:
        >>> @register("first", fixed=True)
        ... def first(block, k):
        ...     mask = np.zeros(block.fine_tuned.shape, dtype=bool)
        ...     mask[:, :k] = True
        ...     return mask
        >>> from ken.rules import retain
        >>> retain(np.array([[3.0, 1.0, 2.0]]), k=2, rule="first").tolist()
        [[True, True, False]]
        >>> @register("middle", score=True)
        ... def middle(block):
        ...     return -np.abs(block.values - block.values.mean(axis=1, keepdims=True))
        >>> retain(np.array([[3.0, 1.0, 2.0]]), k=1, rule="middle").tolist()
        [[False, False, True]]
        >>> forget("first"), forget("middle")
        (None, None)
    """

    def add(rule: F) -> F:
        known = Registered(cast(Rule, rule))
        if score:
            known = by_highest(checked_score(name, cast(Score, rule)), words=f"highest score by {name}", own=True)
        enter(name, replace(known, seeded=seeded, fixed=fixed, paired=paired))
        try:
            _try_out(name)
        except BaseException:
            forget(name)
            raise
        return rule

    return add


def _try_out(name: str) -> None:
    draws = np.random.Philox(key=1).random_raw(2 * 7 * 16).astype(np.float64).reshape(2, 7, 16) / 2**64 - 0.5
    fine_tuned, pretrained = draws

    def answers(*cuts: slice, seed: int = 0, on: str = "weights") -> _Answers:
        masks, scores = [], []
        for cut in cuts:
            rows = fine_tuned[cut].copy(), pretrained[cut].copy()
            block = RowBlock(*rows, tensor="trial", first_row=cut.start, seed=seed, settings=Settings(on))
            masks.append(mask_block(name, block, 5))
            if (score := get(name).score) is not None:
                scores.append(score(block))
        return _Answers(np.concatenate(masks), np.concatenate(scores) if scores else None)

    every = slice(0, 7)
    whole = answers(every)
    for again in (answers(every), answers(slice(0, 3), slice(3, 7))):
        if (row := whole.first_row_other_than(again)) is not None:
            alike = (whole.mask[row] == again.mask[row]).all()
            what = "gave other scores to the" if alike else "retained other"
            raise RuleError(
                f"rule {name!r} must be deterministic and decide about each row by itself; asked again, it {what} "
                f"entries of row {row}"
            )
    if not get(name).seeded and whole.first_row_other_than(answers(every, seed=1)) is not None:
        raise RuleError(f"rule {name!r} draws at random, by the seed: it must be registered with seeded=True")
    for on in VALUES if get(name).fixed else ():
        if whole.first_row_other_than(answers(every, on=on)) is not None:
            raise RuleError(f"rule {name!r} retains other entries on {on}: it must be registered without fixed=True")


class _Answers(NamedTuple):
    """What a rule says of the rows of the trial."""

    mask: Mask
    scores: NDArray[Any] | None

    def first_row_other_than(self, again: _Answers) -> int | None:
        """The first row about which another answer says something else, by so much as a bit of a score."""
        other = (self.mask != again.mask).any(axis=1)
        if self.scores is not None and again.scores is not None:
            other |= (self.scores != again.scores).any(axis=1)
        return int(np.flatnonzero(other)[0]) if other.any() else None
