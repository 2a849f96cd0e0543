"""register: a rule of one's own, which must pass a trial before it is known by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from ken.errors import RuleError
from ken.rules.registered import Registered, Score, by_highest
from ken.rules.registry import enter, forget, get, mask_block
from ken.rules.row_block import VALUES, Mask, RowBlock, Rule, Settings

F = TypeVar("F", bound=Callable[..., Any])


def register(
    name: str, *, seeded: bool = False, fixed: bool = False, paired: bool = False, score: bool = False
) -> Callable[[F], F]:
    """Decorator: make a rule known by name, if it passes a trial.

    In the trial the rule decides about a few rows, twice, and once more cut into two blocks: it must retain exactly k
    entries of each, and always the same. Nor may the seed change anything, or `on`, if the rule does not say so.

    Args:
        name: The name, as `ken.prune` and the others then take it.
        seeded: The rule draws at random, by the block's seed: a sweep asks it once for each seed.
        fixed: The rule looks at the same values whatever `on` is: a sweep over `on` asks it once.
        paired: The rule cannot do without the pretrained values: `retain` and `ken.explain_row` ask for them.
        score: What is decorated is no rule but a score, a function of a block to a number for every entry, (rows, n)
            float64: of every row the k highest are retained, of equal ones those that come first.

    Returns:
        What takes the rule, a function (block, k) -> mask, or the score, and gives it back.

    Raises:
        RuleError: The name is taken, or the rule does not pass.

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
        known = (
            by_highest(cast(Score, rule), words=f"highest score by {name}") if score else Registered(cast(Rule, rule))
        )
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

    def masks(*cuts: slice, seed: int = 0, on: str = "weights") -> Mask:
        def decided(cut: slice) -> Mask:
            rows = fine_tuned[cut].copy(), pretrained[cut].copy()
            block = RowBlock(*rows, tensor="trial", first_row=cut.start, seed=seed, settings=Settings(on))
            return mask_block(name, block, 5)

        return np.concatenate([decided(cut) for cut in cuts])

    every = slice(0, 7)
    whole = masks(every)
    for again in (masks(every), masks(slice(0, 3), slice(3, 7))):
        if (again != whole).any():
            row = int(np.flatnonzero((again != whole).any(axis=1))[0])
            raise RuleError(
                f"rule {name!r} must be deterministic and decide about each row by itself; asked again, it retained "
                f"other entries of row {row}"
            )
    if not get(name).seeded and (masks(every, seed=1) != whole).any():
        raise RuleError(f"rule {name!r} draws at random, by the seed: it must be registered with seeded=True")
    for on in VALUES if get(name).fixed else ():
        if (masks(every, on=on) != whole).any():
            raise RuleError(f"rule {name!r} retains other entries on {on}: it must be registered without fixed=True")
