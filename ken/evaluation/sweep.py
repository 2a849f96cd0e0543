"""sweep: k × rule × on × scope × seed against an evaluation, beside the two models that bound it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.density import NORMAL_REFERENCE
from ken.evaluation.by_workers import evaluate_by_workers
from ken.evaluation.runner import Evaluate, jobs, trials
from ken.models.pairing.pairs import PairOfModels
from ken.models.pairing.rows import K
from ken.results import COLUMNS as COLUMNS_OF_RESULTS
from ken.results import Key, Record, frame

if TYPE_CHECKING:
    import pandas as pd

#: The columns of the table, before those of further metrics.
COLUMNS = [
    *(name for name in COLUMNS_OF_RESULTS if name != "repeat"),
    *("difference", "difference_error", "paired"),
]


def sweep(
    pair: PairOfModels,
    ks: Iterable[K],
    rules: Sequence[str] | str = ("ken", "random"),
    *,
    evaluate: Evaluate,
    on: Sequence[str] | str = ("weights",),
    scope: Sequence[str] | str = ("row",),
    seeds: Iterable[int] = (0,),
    exclude: Sequence[str] = (),
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    evaluation: str = "",
    results: str | Path | None = None,
    executor: Any = None,
    timeout: float | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Prune the pair with every k, rule, `on`, scope and seed, evaluate; one line for each, and two to compare with.

    If pair.pretrained is a module, evaluate is given one and the same module each time, a new one of the kind that
    `ken.inject` makes, which goes from one subnetwork to the next (`ken.swap`) and ends on the pretrained weights; it
    must leave parameters and buffers as they are. Else it is given a new state dict each time. Neither model of the
    pair is changed.

    Args:
        pair: The fine-tuned and the pretrained model.
        ks: Budgets, each as `ken.prune` takes it.
        rules: Names of rules.
        evaluate: Takes a model and returns a number, or an object that is a number by `float()` and may have more:
            `standard_error`, of that number; `metrics`, a mapping from name to further numbers; `outcomes`, (items,)
            bool, one an evaluated item, such as whether a text was labelled correctly, for the same items in the same
            order whatever the model. `ken.training.Evaluation` is one.
        on: Values of `ken.prune`'s `on`, for the rules that heed it (`ken.rules.register`).
        scope: Values of `ken.prune`'s `scope`, for every rule.
        seeds: For the rules that draw at random.
        exclude: As in `ken.prune`, and so bandwidth and kernel.
        bandwidth: A rule's name, or a number in units of the values.
        kernel: Its name.
        evaluation: Your own name for what is evaluated: it tells files of different evaluations apart.
        results: A file (`ken.results`) that keeps every evaluation at once, and whose evaluations are not made again:
            a sweep that was interrupted, or killed, goes on where it was. It may ask for other ks, rules and seeds
            than before. Of another pair, or other settings, the file is refused; of another evaluation only if
            `evaluation` says so. A user's own rule is known by its name alone.
        executor: Whose workers do it, a model each, as for `ken.prune`. Both models are places then, which the workers
            open themselves, so evaluate is given state dicts; it is sent to them as the executor sends functions, so a
            process pool takes a function of a module. The table is the same; in the file lines come as they are done.
        timeout: Seconds that a worker may take for one model.
        progress: Whether to show a bar.

    Returns:
        Columns:

        - model ("fine-tuned", "pretrained" with all that is carried, or "pruned"), rule, on (empty for rules that do
          not heed it), k, seed (-1 for rules that do not draw), scope; the lines of the two models have no rule, no
          k and no scope
        - retained, entries, share (retained / entries)
        - metric, standard_error (NaN if the evaluation gives none)
        - difference: metric less that of the fine-tuned model, and difference_error, its standard error. Where both
          have outcomes whose mean is the metric, that is the standard deviation of their differences, item by item,
          over √items: the two models are wrong about mostly the same items, so it is smaller than their standard errors
          suggest. Else it is the root of the sum of the squares of both standard errors, NaN if one is unknown.
        - paired: whether difference_error was taken item by item
        - the further metrics

    Raises:
        BudgetError: As in `ken.prune`, and so `RuleError`, `PairingError` and `ValuesError`.
        OutputError: results is something else, or would lie in a model's folder.
        ResultsError: The file cannot be used, or an evaluation gives no number. All but the latter comes before
            anything is evaluated.
        ExecutorError: Workers are gone, or hang; what has been evaluated is in results, if that is given.

    Example:
        >>> import torch
        >>> from ken import Pair
        >>> pair = Pair({"w": torch.ones(2, 8)}, {"w": torch.zeros(2, 8)})
        >>> table = sweep(pair, [0.5], ["ken"], evaluate=lambda state: state["w"].mean())
        >>> table[["model", "metric", "difference"]].values.tolist()
        [['fine-tuned', 1.0, 0.0], ['pretrained', 0.0, -1.0], ['pruned', 0.5, -0.5]]
    """
    keys = [Key("fine-tuned"), Key("pretrained"), *jobs(rules, on, ks, seeds=seeds, scope=scope)]
    with trials(
        pair,
        evaluate,
        keys,
        exclude=exclude,
        bandwidth=bandwidth,
        kernel=kernel,
        evaluation=evaluation,
        results=results,
        progress=progress,
        elsewhere=executor is not None,
    ) as trial:
        if executor is not None:
            settings = {"exclude": list(exclude), "bandwidth": bandwidth, "kernel": kernel}
            words: dict[str, Any] = {"settings": settings, "timeout": timeout, "done": trial.take}
            evaluate_by_workers(executor, pair, trial.missing(keys), evaluate=evaluate, **words)
        records = [trial.record(key) for key in keys]
    return tabled(records)


def tabled(records: Sequence[Record]) -> pd.DataFrame:
    """Records as the table of a sweep; differences are from the first of the fine-tuned model, NaN if there is none."""
    table = frame(records).drop(columns="repeat")
    base = next((record for record in records if record.key.model == "fine-tuned"), None)
    columns: dict[str, list[Any]] = {
        "difference": [record.metric - base.metric if base else math.nan for record in records],
        "difference_error": [difference_error(record, base) if base else math.nan for record in records],
        "paired": [base is not None and item_by_item(record, base) for record in records],
    }
    for name, values in columns.items():
        table.insert(COLUMNS.index(name), name, values)
    return table


def item_by_item(*records: Record) -> bool:
    """Whether evaluations can be compared item by item: the metrics of all are means of their outcomes."""
    return all(record.by_outcomes for record in records)


def difference_error(one: Record, other: Record) -> float:
    """Standard error of the difference of two metrics; see `sweep`."""
    if one is other:
        return 0.0
    if item_by_item(one, other):
        assert one.outcomes is not None
        assert other.outcomes is not None
        differences = one.outcomes.astype(float) - other.outcomes
        return float(differences.std()) / math.sqrt(len(differences))
    return math.hypot(one.standard_error, other.standard_error)
