"""ablate: every group reset with the rest fine-tuned, and retained with the rest pretrained. The ground truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ken.api import Subnetwork
from ken.errors import BudgetError, ResultsError
from ken.evaluation.effects.ablation_table import tabled
from ken.evaluation.effects.control import drawn_elsewhere
from ken.evaluation.effects.groups import By, Group, Part, groups
from ken.evaluation.effects.live_model import LiveModel
from ken.evaluation.effects.outcomes import About, Intervention, Kept, Outcome, keeping
from ken.evaluation.effects.reuse import Reuse
from ken.evaluation.runner import Evaluate, record_of
from ken.models.pairing.pairs import PairOfModels
from ken.models.scalars import checked_seed
from ken.models.tensors.tensor_bytes import digest
from ken.results import Key
from ken.storage.file_kinds import EFFECTS
from ken.storage.outputs import check_outputs, models_of

if TYPE_CHECKING:
    import pandas as pd

WAYS = ("without", "only")
_Change: TypeAlias = Callable[[Iterable[Part]], None]


def ablate(
    pair: PairOfModels,
    *,
    evaluate: Evaluate,
    net: Subnetwork | None = None,
    by: By = "place",
    ways: Sequence[str] | str = WAYS,
    seeds: Iterable[int] = (),
    exclude: Sequence[str] = (),
    confidence: float = 0.95,
    evaluation: str = "",
    results: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Reset one group of entries after the other, retain each alone, and evaluate: what does the update's work where.

    Both ways are looked at because they disagree: what the model cannot do without need not be enough, and what is
    enough may be made up for. One live model is changed in place, a copy of the fine-tuned one; neither model of the
    pair is changed. What has no pretrained counterpart (a new head) and what is excluded stays fine-tuned throughout.
    Layers below the first that a group has a part of are not run again where they would give the same bits.
    The same groups are mapped, without an evaluation of each, by `ken.attribute`.

    Args:
        pair: The fine-tuned model, a module or a checkpoint that transformers opens, and the pretrained one.
        evaluate: Takes a model and gives a number, or an object as `ken.sweep` describes it. It may also have `losses`,
            (items,) float: then differences of the loss are taken item by item. `ken.Task.evaluate` is one. It must
            leave the model's parameters and buffers as they are.
        net: A subnetwork of the pair, to be taken apart in place of the whole update.
        by: The groups: "tensor", "place" (weight and bias of one role in one layer), "layer", "kind" (a role in all
            layers), "head", or a mapping from a name of your own to patterns of tensor names.
        ways: "without", the group is reset, the rest fine-tuned; "only", the group is fine-tuned, the rest reset.
        seeds: For each, a control: as many entries, drawn at random from all others, are reset.
        exclude: Name patterns of tensors that are carried, as in `ken.prune`.
        confidence: That the intervals of all groups of one way hold at once, at least (Bonferroni).
        evaluation: Your own name for what is evaluated: it tells files of different evaluations apart.
        results: A file that keeps every evaluation at once; what is in it is not evaluated again.
        progress: Whether to show a bar.

    Returns:
        Lines: the two models, "fine-tuned" and "pretrained" (all that is pruned reset), then the groups of each way,
        then their controls. Columns:

        - way, group, seed (-1 but for controls), entries (of the group), share (of all that is pruned)
        - metric, standard_error, and metric_difference with metric_error, metric_low, metric_high, metric_p (the exact
          sign test of outcomes that changed) and metric_p_holm
        - loss, and loss_difference with loss_error, loss_low, loss_high, loss_p (Student's t, item by item) and
          loss_p_holm, which is judged together with all groups of the same way (Holm 1979)

        Differences are from the fine-tuned model for "without" and "control", and from the pretrained one for "only".
        They are NaN where the evaluation gives nothing to compare item by item; a metric's own then has an error if
        both have one.

    Raises:
        BudgetError: The groups cannot be made, or a way is unknown.
        SubnetworkError: There is no live model, net is of another pair, or an evaluation has changed the model.
        OutputError: results is something else, or would lie in a model's folder.
        ResultsError: The file cannot be used, or an evaluation gives no number.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> rows = torch.eye(2)
        >>> task = ken.Task([rows], lambda model, batch: model(batch).square().mean(dim=1))
        >>> table = ablate(pair, evaluate=task.evaluate, by="tensor", progress=False)
        >>> table[["way", "group"]].values.tolist()[:3]
        [['fine-tuned', ''], ['pretrained', ''], ['without', 'weight']]
    """
    from tqdm.auto import tqdm

    ways = [ways] if isinstance(ways, str) else list(ways)
    for way in ways:
        if way not in WAYS:
            raise BudgetError(f"ways must be of {', '.join(WAYS)}, got {way!r}")
    if not 0 < confidence < 1:
        raise BudgetError(f"confidence must be between 0 and 1, got {confidence}")
    seeds = [checked_seed(seed, least=0) for seed in seeds]
    check_outputs([(results, EFFECTS)], models_of(pair))
    live = LiveModel(pair, net=net, exclude=exclude)
    parts = groups(live.shapes, by, live.config)
    steps = _steps(parts, ways, seeds)
    with (
        keeping(results, _about(live, net, exclude=exclude, evaluation=evaluation)) as kept,
        tqdm(
            total=len(steps),
            initial=sum(kept.get(key) is not None for key, _ in steps),
            desc="ablate",
            unit="model",
            disable=not progress,
            leave=False,
        ) as bar,
    ):
        running = _Ablation(live, evaluate, kept)
        outcomes = []
        for key, group in steps:
            bar.set_postfix_str(f"{key.way} {key.group}")
            known = kept.get(key)
            outcomes.append((known if known is not None else running.outcome(key, group), group))
            bar.update(known is None)
        running.end()
    return tabled(outcomes, live.entries, confidence)


def _steps(parts: list[Group], ways: list[str], seeds: list[int]) -> list[tuple[Intervention, Group | None]]:
    """What is to be done, in an order in which the model seldom changes sides."""
    steps: list[tuple[Intervention, Group | None]] = [(Intervention("fine-tuned"), None)]
    only = [(Intervention("only", group.name, group.fingerprint), group) for group in parts if "only" in ways]
    if "without" in ways:
        steps += [(Intervention("without", group.name, group.fingerprint), group) for group in parts]
    steps += [
        (Intervention("control", group.name, group.fingerprint, seed=seed), group) for seed in seeds for group in parts
    ]
    return [*steps, (Intervention("pretrained"), None), *only]


def _about(live: LiveModel, net: Subnetwork | None, *, exclude: Sequence[str], evaluation: str) -> About:
    held = "" if net is None else digest("\n".join(str(getattr(net[name], "result", "")) for name in net).encode())
    return About(
        fine_tuned=live.sparse.fine_tuned.fingerprint,
        pretrained=live.sparse.pretrained.fingerprint,
        held=held,
        exclude=tuple(sorted(set(exclude))),
        evaluation=evaluation,
    )


class _Ablation:
    """A live model, and which side it is on."""

    def __init__(self, live: LiveModel, evaluate: Evaluate, kept: Kept) -> None:
        self._live, self._evaluate, self._kept = live, evaluate, kept
        self._reuse = Reuse(live.module)
        self._tuned = True
        self._items: int | None = None

    def outcome(self, key: Intervention, group: Group | None) -> Outcome:
        """Evaluate the model after what the key says was done to it, and set it back."""
        live, all_tuned = self._live, key.way in {"fine-tuned", "without", "control"}
        if all_tuned != self._tuned:
            self.end()
            (live.hold_tuned if all_tuned else live.hold_pretrained)()
            self._tuned = all_tuned
        if group is None:
            return self._evaluated(key)
        if key.way == "control":
            return self._control(key, group)
        change, undo = (live.reset, live.retain) if key.way == "without" else (live.retain, live.reset)
        return self._between(key, group.parts, change, undo=undo)

    def _control(self, key: Intervention, group: Group) -> Outcome:
        drawn = drawn_elsewhere(self._live.shapes, group, key.seed)
        if drawn is None:  # there are not so many elsewhere
            outcome = Outcome(key, math.nan)
            self._kept.add(outcome)
            return outcome
        return self._between(key, drawn, self._live.reset, undo=self._live.retain)

    def _between(self, key: Intervention, parts: Sequence[Part], change: _Change, *, undo: _Change) -> Outcome:
        change(parts)
        try:
            return self._evaluated(key, parts)
        finally:
            undo(parts)

    def _evaluated(self, key: Intervention, changed: Sequence[Part] = ()) -> Outcome:
        versions = self._live.versions()
        with self._reuse.changing(self._live.slots[part.tensor] for part in changed):
            result = self._evaluate(self._live.module)
        self._live.check_unchanged(versions)
        record = record_of(Key("pruned"), self._live.sparse, result)
        outcome = Outcome(
            key,
            record.metric,
            standard_error=record.standard_error,
            metrics=record.metrics,
            outcomes=record.outcomes,
            losses=_losses(result),
        )
        self._check(outcome)
        self._kept.add(outcome)
        return outcome

    def _check(self, outcome: Outcome) -> None:
        """Items are compared one by one: there must be as many each time."""
        if self._items is None:
            self._items = outcome.items
        if outcome.items != self._items:
            raise ResultsError(
                f"the evaluation must tell of the same items each time, told of {self._items} at first and of "
                f"{outcome.items} {outcome.of_what.way} {outcome.of_what.group}".rstrip()
            )

    def end(self) -> None:
        """See that the model is what it was made. Raises `SubnetworkError` if an evaluation has changed it."""
        self._reuse.forget()
        self._live.check(tuned=self._tuned)


def _losses(result: Any) -> np.ndarray | None:
    losses = getattr(result, "losses", None)
    if losses is None:
        return None
    losses = np.asarray(losses, np.float64)
    if losses.ndim != 1 or not losses.size or not np.isfinite(losses).all():
        raise ResultsError(f"losses must be finite numbers of one dimension, one an item, got shape {losses.shape}")
    return losses
