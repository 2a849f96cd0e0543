"""Evaluations of pruned models, one after the other on one model, each made once.

job (rule, on, k, seed) ──► prune ──► swapped into the one model ──► the user's evaluation ──► Record
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken import rules as registry
from ken.api import Subnetwork
from ken.errors import BudgetError, ResultsError, RuleError, SubnetworkError
from ken.injection.inject import inject
from ken.injection.swap import swap
from ken.models.pairing.pairing import open_pair
from ken.models.pairing.pairs import PairOfModels, WholePair, with_base
from ken.models.pairing.rows import K, plain_k
from ken.models.scalars import checked_seed
from ken.pruning.patterns import check_patterns
from ken.pruning.prune import prune
from ken.pruning.selection import Selection
from ken.results import COLUMNS, About, Key, Record, Results, collecting
from ken.storage.file_kinds import RESULTS
from ken.storage.outputs import check_outputs, models_of
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.retained_tensor import RetainedTensor

if TYPE_CHECKING:
    from tqdm import tqdm

#: A function of a model that gives a number, or what `record_of` understands.
Evaluate: TypeAlias = Callable[[Any], Any]


def jobs(
    rules: Sequence[str] | str,
    on: Sequence[str] | str,
    ks: Iterable[K],
    *,
    seeds: Iterable[int],
    scope: Sequence[str] | str = "row",
) -> list[Key]:
    """What there is to evaluate, each once: k by k, rule by rule, value by value, scope by scope, seed by seed.

    A rule that does not draw at random has one seed, -1; one to which `on` makes no difference has it empty. Raises
    `BudgetError` for a k, and `RuleError` for a rule, a value of `on`, a scope or a seed, that `prune` would not take,
    and for a rule without a k.
    """
    rules, on, scope = ([names] if isinstance(names, str) else list(names) for names in (rules, on, scope))
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise RuleError(f"seeds must be a sequence of whole numbers, such as range(5), got {seeds!r}")
    if isinstance(ks, str | Mapping) or not isinstance(ks, Iterable):
        raise BudgetError(f"ks must be a sequence, got {ks!r}; for one k write [{ks!r}]")
    seeds = [checked_seed(seed, least=0) for seed in seeds]
    for option, values in (("rules", rules), ("on", on), ("scope", scope), ("seeds", seeds)):
        if not values:
            raise RuleError(f"{option} must name at least one {option.removesuffix('s')}, got none")
    ks = [plain_k(k) for k in ks]
    for value in on:
        registry.Settings(on=value)
    registered = {rule: registry.get(rule) for rule in rules}
    for rule, traits in registered.items():
        if traits.counts:
            raise RuleError(
                f"rule {rule!r} has no k to try: what it retains gives the fine-tuned model, which is measured anyway"
            )
        for value in scope:
            registry.check_scope(rule, value)
    keys = [
        Key("pruned", rule, value, k=k, seed=seed, scope=range_of_k)
        for k in ks
        for rule, traits in registered.items()
        for value in ([""] if traits.fixed else on)
        for range_of_k in scope
        for seed in (seeds if traits.seeded else [-1])
    ]
    return list({key.text: key for key in keys}.values())


class Trials:
    """Records of one pair under one evaluation: some are looked up, others are evaluated and kept."""

    def __init__(
        self, pair: WholePair, evaluate: Evaluate, whole: Subnetwork, *, results: Results, bar: tqdm[Any]
    ) -> None:
        self._pair, self._evaluate, self._whole, self._results, self._bar = pair, evaluate, whole, results, bar
        self._one_model: _OneModel | None = None
        self._items: int | None = None

    def record(self, key: Key) -> Record:
        """The record of a key, after an evaluation if there is none from this run or one before."""
        self._bar.set_postfix_str(f"{key.rule}, k = {key.k}" if key.rule else key.model)
        record = self._results.get(key)
        if record is not None:
            self._check(record)
            return record
        net = self._subnetwork(key)
        record = record_of(key, net, self._evaluate(self._holding(net)))
        self._check(record)
        self._results.add(record)
        self._bar.update()
        return record

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        """Those that have not been evaluated yet."""
        return [key for key in keys if self._results.get(key) is None]

    def take(self, record: Record) -> None:
        """Keep a record that was made elsewhere."""
        self._check(record)
        self._results.add(record)
        self._bar.update()

    def _subnetwork(self, key: Key) -> Subnetwork:
        if key.model == "fine-tuned":
            return self._whole
        if key.model == "pretrained":
            return nothing_retained(self._whole, self._pair)
        recipe = replace(self._whole.recipe, rule=key.rule, k=key.k, seed=key.seed, on=key.on or "weights")
        return prune(
            self._pair.fine_tuned,
            self._pair.pretrained,
            recipe.k,
            rule=recipe.rule,
            seed=recipe.seed,
            on=recipe.on,
            bandwidth=recipe.bandwidth,
            kernel=recipe.kernel,
            scope=key.scope,
            exclude=recipe.exclude,
            progress=False,
        )

    def _holding(self, net: Subnetwork) -> Any:
        """A model that holds a subnetwork: always the same one or, of state dicts and files, a new state dict."""
        import torch

        if not isinstance(self._pair.pretrained, torch.nn.Module):
            return inject(net, self._pair.pretrained)
        if self._one_model is None:
            self._one_model = _OneModel(self._whole, self._pair)
        return self._one_model.holding(net)

    def _check(self, record: Record) -> None:
        """Outcomes are compared item by item: there must be as many of each model."""
        if record.outcomes is None:
            return
        if self._items is None:
            self._items = len(record.outcomes)
        if len(record.outcomes) != self._items:
            raise ResultsError(
                f"the evaluation must give an outcome for the same items each time, gave {self._items} at first and "
                f"{len(record.outcomes)} for {record.key.model} {record.key.rule}".rstrip()
            )

    def end(self) -> None:
        """Set the one model back to the pretrained weights; it may have been kept by the evaluation."""
        if self._one_model is not None:
            self._one_model.back()


@contextmanager
def trials(
    pair: PairOfModels,
    evaluate: Evaluate,
    keys: Sequence[Key] = (),
    *,
    exclude: Sequence[str],
    bandwidth: str | float,
    kernel: str,
    evaluation: str,
    results: str | Path | None,
    progress: bool,
    elsewhere: bool = False,
) -> Iterator[Trials]:
    """A block in which models are evaluated; the options are those of `ken.sweep`.

    keys are what will be asked for, if that is known before: patterns are checked before anything is evaluated. Where
    other processes evaluate (elsewhere), nothing of the models is in memory here.
    """
    from tqdm.auto import tqdm

    check_outputs([(results, RESULTS)], models_of(pair))
    whole_pair = with_base(pair)
    smoothing: dict[str, Any] = {"bandwidth": bandwidth, "kernel": kernel}
    whole = prune(*whole_pair, 1.0, exclude=exclude, **smoothing, lazy=elsewhere, progress=False)
    for key in keys:
        if key.k is not None:
            check_patterns(Selection(key.k), whole, elsewhere=whole.only_pretrained, tied=whole.tied)
    recipe = whole.recipe
    about = About(
        fine_tuned=whole.fine_tuned.fingerprint,
        pretrained=whole.pretrained.fingerprint,
        exclude=tuple(sorted(set(recipe.exclude))),
        bandwidth=recipe.bandwidth if isinstance(recipe.bandwidth, str) else float(recipe.bandwidth),
        kernel=recipe.kernel,
        evaluation=evaluation,
    )
    shown: dict[str, Any] = {"desc": "evaluate", "unit": "model", "disable": not progress, "leave": False}
    with (
        collecting(results, about) as kept,
        tqdm(total=len(keys) or None, initial=sum(kept.get(key) is not None for key in keys), **shown) as bar,
    ):
        running = Trials(whole_pair, evaluate, whole, results=kept, bar=bar)
        try:
            yield running
        except BaseException:
            # The error is what counts, not that a model which the evaluation has changed cannot be set back.
            with suppress(SubnetworkError):
                running.end()
            raise
        running.end()


def record_of(key: Key, net: Subnetwork, result: Any) -> Record:
    """What an evaluation gave, as a record. Raises `ResultsError` if it is no number, or has no proper outcomes.

    The metric is float(result). result may also have `standard_error`, a number; `metrics`, a mapping from name to
    number; and `outcomes`, (items,) bool.
    """
    try:
        metric = float(result)
        error = getattr(result, "standard_error", None)
        standard_error = math.nan if error is None else float(error)
        further = getattr(result, "metrics", None)
        metrics = {name: float(value) for name, value in further.items()} if isinstance(further, Mapping) else {}
    except (TypeError, ValueError) as problem:
        raise ResultsError(f"an evaluation must give numbers, got {result!r}: {problem}") from problem
    for name in metrics:
        if not isinstance(name, str) or name in {*COLUMNS, "difference", "difference_error", "paired", "outcomes"}:
            raise ResultsError(f"a further metric cannot have the name {name!r}")
    return Record(
        key,
        net.retained,
        net.entries,
        metric=metric,
        standard_error=standard_error,
        metrics=metrics,
        outcomes=_outcomes(result),
    )


def _outcomes(result: Any) -> NDArray[np.bool_] | None:
    outcomes = getattr(result, "outcomes", None)
    if outcomes is None:
        return None
    outcomes = np.asarray(outcomes)
    if outcomes.dtype != np.bool_ or outcomes.ndim != 1 or not outcomes.size:
        raise ResultsError(
            f"outcomes must be bool of one dimension, one an item, got {outcomes.dtype} of shape {outcomes.shape}"
        )
    return outcomes


def nothing_retained(net: Subnetwork, pair: PairOfModels) -> Subnetwork:
    """The same subnetwork with every pruned tensor reset: what is carried, on a pretrained body.

    Rows that the pretrained tensor does not have stay as they are.
    """
    pairing = open_pair(pair.fine_tuned, pair.pretrained, net.recipe.rows)
    tensors = dict(net.items())
    for name in net.pruned():
        fine_tuned, counterpart = pairing.fine_tuned.whole(name), str(pairing.names[name])
        pretrained = pairing.pretrained.whole(counterpart)
        mask = np.zeros(tuple(fine_tuned.shape), bool)
        if pretrained.shape != fine_tuned.shape:
            mask[len(pretrained) :] = True
        tensors[name] = RetainedTensor.of(fine_tuned, mask, pretrained, name=counterpart)
    return replace(net, tensors=tensors)


class _OneModel:
    """One model of our own that holds one subnetwork after the other, all of one pair."""

    def __init__(self, whole: Subnetwork, pair: WholePair) -> None:
        self._whole = whole
        self._reset = self._current = nothing_retained(whole, pair)
        pretrained: Any = pair.pretrained
        self._model: Any = inject(self._reset, pretrained)

    def holding(self, net: Subnetwork) -> Any:
        """The model, after it has been given the subnetwork."""
        # What a budget by patterns carries whole, though others prune it, would take the pretrained values with it:
        # the same values, as distances from the pretrained ones, lead back.
        tensors = {
            name: self._whole[name] if isinstance(tensor, CarriedTensor) else tensor for name, tensor in net.items()
        }
        net = replace(net, tensors=tensors)
        try:
            swap(self._model, self._current, net)
        except SubnetworkError as error:
            error.add_note("an evaluation must leave the model's parameters and buffers as they are")
            raise
        self._current = net
        return self._model

    def back(self) -> None:
        """Reset all that was pruned."""
        self.holding(self._reset)
