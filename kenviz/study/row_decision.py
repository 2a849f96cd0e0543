"""What a view of a row shows: the mask at some settings, whose it is, and how it came about, if that can be said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import ken
from ken.explanation import CLAIMING, TensorExplanation, stability_of
from ken.rules import Settings
from kenviz.study.study import Study

if TYPE_CHECKING:
    from ken.explanation import RowExplanation

Array = NDArray[np.float64]
T = TypeVar("T")

_LIMITS = np.finfo(np.float64)


def own_k(study: Study, tensor: str, row: int) -> int:
    """How many entries of a row the subnetwork's rule retained; in a row that was added, of the first one."""
    mask = study.mask(tensor, slice(row, row + 1))[0]
    common = _common(study.rows(tensor, slice(row, row + 1))[1][0])
    return int(mask[:common].sum()) if common or row == 0 else own_k(study, tensor, 0)


@dataclass(frozen=True, eq=False)
class Decision:
    """A row (n,) at some settings. mask is what is shown: (n,) bool.

    own: the settings are the subnetwork's, and the mask is its stored one. problem: why the rule can say nothing at
    these settings, or empty; the mask is the stored one then, too. settings is None if no bandwidth can be found.
    k means nothing to a rule that counts for itself.
    scope: the subnetwork's: over what k is counted. Where that is not the row, no other mask than its own heeds it.
    The last `added` entries have no pretrained value: no rule decides about them, and they are retained whole.
    stored: what injection gives, (n,), if that is another value than the fine-tuned one: the subnetwork is rescaled.
    answer: what the rule decides now about the others, or in words why it cannot; computed once, when first asked for.
    """

    tensor: str
    row: int
    k: int
    rule: str
    seed: int
    settings: Settings | None
    fine_tuned: Array
    pretrained: Array
    mask: NDArray[np.bool_]
    own: bool
    added: int
    answer: Callable[[], tuple[RowExplanation | None, str]]
    problem: str = ""
    stored: Array | None = None
    scope: str = "row"

    @property
    def shared(self) -> bool:
        """Whether the mask is one of rows that share their budget: not what a rule makes of this row by itself."""
        return self.own and self.scope != "row"

    @property
    def n(self) -> int:
        """Entries of the row."""
        return len(self.mask)

    @cached_property
    def _explained(self) -> tuple[RowExplanation | None, str]:
        """How the mask came about, or in words why that cannot be said."""
        if self.added == self.n:
            return None, "the row was added in fine-tuning: there is nothing to reset it to, and no rule decides"
        if self.problem or (self.settings is None and not self.shared):
            return None, self.problem
        why, words = self.answer()
        if why is None:
            return None, words
        other = int((why.mask[: self.n - self.added] != self.mask[: self.n - self.added]).sum())
        if other:
            return None, f"of other models: here the rule decides otherwise about {other:,} entries"
        if self.shared:
            return why, ""
        if self.own:
            python = f"ken.explain(net, pair, {self.tensor!r}, {self.row})"
            why = replace(why, python=python, stored=self.stored)
        if self.added:
            why = replace(
                why,
                fine_tuned=self.fine_tuned,
                pretrained=self.pretrained,
                mask=self.mask,
                values=np.append(why.values, np.full(self.added, np.nan)),
                added=self.added,
            )
        return why, ""

    @property
    def explanation(self) -> RowExplanation | None:
        """The decision as `ken.explain_row` tells it; None if it cannot, and `unexplained` says why."""
        return self._explained[0]

    @property
    def unexplained(self) -> str:
        """Why there is no explanation; empty if there is one."""
        return self._explained[1]

    @property
    def unclaimed(self) -> str:
        """Why there are no claims to play, in a clause; empty if there are."""
        if self.shared and self.rule in CLAIMING:
            return f"to rule {self.rule} all rows were one ({ken.rules.SCOPES[self.scope]}), and its grid was theirs"
        if self.rule not in CLAIMING:
            return f"rule {self.rule} has no grid points that claim entries"
        if self.explanation is None:
            return self.unexplained
        if self.k >= self.n - self.added:
            return f"k = {self.k:,} retains the whole row"
        return "" if len(self.explanation.order) else "all values of the row are equal: there is no density and no grid"

    @property
    def steps(self) -> int:
        """How many claims can be played."""
        return 0 if self.unclaimed or self.explanation is None else len(self.explanation.order)

    @cached_property
    def stability(self) -> Any:
        """`ken.stability` of the row; None if that cannot be said."""
        why = self.answer()[0] if self.explanation is not None else None
        return None if why is None else attempt(lambda: stability_of(why))[0]


def decide(
    study: Study,
    tensor: str,
    row: int,
    k: int,
    rule: str,
    on: str,
    kernel: str,
    factor: float = 1.0,
    alone: bool = False,
) -> Decision:
    """The decision about a row: the stored one at the subnetwork's own settings, at any other made anew.

    factor is on the bandwidth that the subnetwork's own setting finds for this row; 1 leaves that setting as it is.
    alone: the row has a budget of its own, whatever the subnetwork's is counted over.
    """
    recipe = study.net.recipe
    fine_tuned, pretrained = (values[0] for values in study.rows(tensor, slice(row, row + 1)))
    stored = study.mask(tensor, slice(row, row + 1))[0]
    common = _common(pretrained)
    same = (rule, on, kernel, factor) == (recipe.rule, recipe.on, recipe.kernel, 1)
    same = same and not (alone and recipe.scope != "row")
    counts = ken.rules.counts(rule)
    own = common == 0 or (same and (counts or k == int(stored[:common].sum())))
    paired = fine_tuned[:common], pretrained[:common]
    values = ken.rules.values_on(on, *paired) if common else fine_tuned
    usual = Settings(on, recipe.bandwidth, kernel)
    settings, problem = attempt(lambda: _settings(values, usual, factor))

    shared = own and recipe.scope != "row"
    if shared and study.tensor(tensor).threshold is None:
        settings = None  # no density of this row has had a say

    @cache
    def answer() -> tuple[RowExplanation | None, str]:
        if shared:
            return attempt(lambda: _shared(study, tensor, row))
        asked = settings or usual
        return attempt(
            lambda: ken.explain_row(
                fine_tuned[:common],
                None if counts else k,
                pretrained[:common],
                rule=rule,
                on=asked.on,
                bandwidth=asked.bandwidth,
                kernel=asked.kernel,
                tensor=tensor,
                row=row,
                seed=recipe.seed,
                dtype=study.net.outlines[tensor].dtype,
            )
        )

    values_stored = study.stored(tensor, slice(row, row + 1))
    decision = Decision(
        tensor=tensor,
        row=row,
        k=k,
        rule=rule,
        seed=recipe.seed,
        settings=settings,
        fine_tuned=fine_tuned,
        pretrained=pretrained,
        mask=stored,
        own=own,
        added=len(stored) - common,
        answer=answer,
        problem=problem,
        scope=recipe.scope,
        stored=values_stored[0] if own and values_stored is not None else None,
    )
    if own or problem:
        return decision
    why, problem = answer()
    if why is None:
        return replace(decision, problem=problem)
    return replace(decision, mask=np.append(why.mask, stored[common:]))


def decide_as_stored(study: Study, tensor: str, row: int) -> Decision:
    """The decision about a row at the subnetwork's own settings."""
    recipe = study.net.recipe
    k = own_k(study, tensor, row)
    return decide(study, tensor, row, k=k, rule=recipe.rule, on=recipe.on, kernel=recipe.kernel)


def _shared(study: Study, tensor: str, row: int) -> RowExplanation:
    """The explanation of a row that shares its budget; raises `RuleError` where only the range as a whole has one."""
    stored = study.tensor(tensor)
    if stored.threshold is None:
        scope = study.net.recipe.scope
        rows = "all rows of the tensor were" if scope == "tensor" else "the rows of all pruned tensors were"
        whole = f"; ken.explain(net, pair, {tensor!r}, 0) explains it" if scope == "tensor" else ""
        raise ken.errors.RuleError(f"to rule {study.net.recipe.rule} {rows} one row{whole}")
    why: RowExplanation = TensorExplanation(study.net.recipe, study.models, tensor, stored=stored)[row]
    return why


def _common(pretrained: Array) -> int:
    """How many entries have a pretrained value: those that were added are the last, or all."""
    return len(pretrained) - int(np.isnan(pretrained).sum())


def _settings(values: Array, settings: Settings, factor: float) -> Settings:
    h = float(ken.density.bandwidth(values[None], settings.bandwidth)[0, 0])  # a rule may find none
    if factor == 1 or h == 0:
        return settings
    return replace(settings, bandwidth=float(np.clip(factor * h, _LIMITS.smallest_subnormal, _LIMITS.max)))


def attempt(make: Callable[[], T]) -> tuple[T | None, str]:
    """What that makes, or in words why it cannot: a rule of the user's may raise anything."""
    try:
        return make(), ""
    except ken.KenError as error:
        return None, str(error)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
