"""sweep: k × rule × on × seed against an evaluation, beside the two models that bound it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.density import NORMAL_REFERENCE
from ken.evaluation.runner import Evaluate, jobs, trials
from ken.models.pairing.pairs import PairOfModels
from ken.models.pairing.rows import K
from ken.rules import Settings

if TYPE_CHECKING:
    import pandas as pd

    from ken.results import Record

COLUMNS = [
    *("model", "rule", "on", "k", "seed", "retained", "entries", "share"),
    *("metric", "standard_error", "difference", "difference_error", "paired"),
]


def sweep(
    pair: PairOfModels,
    ks: Iterable[K],
    rules: Sequence[str] | str = ("ken", "random"),
    *,
    evaluate: Evaluate,
    on: Sequence[str] | str = ("weights",),
    seeds: Iterable[int] = (0,),
    exclude: Sequence[str] = (),
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    evaluation: str = "",
    results: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Prune the pair with every k, rule, `on` and seed, evaluate; one line for each, and two to compare with.

    evaluate takes a model and returns a number, or an object that is a number by `float()` and may have more:
    `standard_error`, of that number; `metrics`, a mapping from name to further numbers; `outcomes`, (items,) bool, one
    an evaluated item, such as whether a text was labelled correctly, for the same items in the same order whatever
    the model. `ken.training.Evaluation` is one. If pair.pretrained is a module, evaluate is given one and the same
    module each time, a new one of the kind that `ken.inject` makes, which goes from one subnetwork to the next
    (`ken.swap`) and ends on the pretrained weights; it must leave parameters and buffers as they are. Else it is given
    a new state dict each time. Neither model of the pair is changed.

    Only rules that draw at random are repeated for every seed, and only those that heed `on` for each of its values
    (`ken.rules.register`). exclude, bandwidth and kernel are those of `ken.prune`.

    With results, the path of a file (`ken.results`), every evaluation is kept there at once, and those it has are not
    made again: a sweep that was interrupted, or killed, goes on where it was. It may ask for other ks, rules and seeds
    than before. Of another pair, or other settings, the file is refused; of another evaluation only if that is told
    apart by its name, `evaluation`. A user's own rule is known by its name alone.

    Columns:

    - model ("fine-tuned", "pretrained" with all that is carried, or "pruned"), rule, on (empty for rules that do not
      heed it), k, seed (-1 for rules that do not draw); the lines of the two models have no rule, and no k
    - retained, entries, share (retained / entries)
    - metric, standard_error (NaN if the evaluation gives none)
    - difference: metric less that of the fine-tuned model, and difference_error, its standard error. Where both have
      outcomes whose mean is the metric, that is the standard deviation of their differences, item by item, over
      √items: the two models are wrong about mostly the same items, so it is smaller than their standard errors
      suggest. Else it is the root of the sum of the squares of both standard errors, NaN if one is unknown.
    - paired: whether difference_error was taken item by item
    - the further metrics

    Raises `BudgetError`, `RuleError`, `PairingError` and `ValuesError` as `ken.prune` does, `OutputError` for results
    that are something else or would lie in a model's folder, and `ResultsError` for a file it cannot use, all before
    anything is evaluated; and `ResultsError` for evaluations that give no number.

    >>> import torch
    >>> from ken import Pair
    >>> pair = Pair({"w": torch.ones(2, 8)}, {"w": torch.zeros(2, 8)})
    >>> table = sweep(pair, [0.5], ["ken"], evaluate=lambda state: state["w"].mean())
    >>> table[["model", "metric", "difference"]].values.tolist()
    [['fine-tuned', 1.0, 0.0], ['pretrained', 0.0, -1.0], ['pruned', 0.5, -0.5]]
    """
    from tqdm.auto import tqdm

    from ken.results import Key

    settings = Settings(bandwidth=bandwidth, kernel=kernel)
    keys = [Key("fine-tuned"), Key("pretrained"), *jobs(rules, on, ks, seeds, settings)]
    asked: dict[str, Any] = {
        "ks": [key.k for key in keys if key.k is not None],
        "exclude": exclude,
        "settings": settings,
    }
    with trials(pair, evaluate, **asked, results=results, evaluation=evaluation) as trial:
        done = sum(trial.known(key) is not None for key in keys)
        with tqdm(
            total=len(keys), initial=done, desc="evaluate", unit="model", disable=not progress, leave=False
        ) as bar:
            records = []
            for key in keys:
                new = trial.known(key) is None
                bar.set_postfix_str(" ".join([key.rule or key.model, *([f"k = {key.k}"] if key.rule else [])]))
                records.append(trial.record(key))
                bar.update(new)
    return tabled(records)


def tabled(records: Sequence[Record]) -> pd.DataFrame:
    """Records as the table of a sweep; differences are from the first of the fine-tuned model, NaN if there is none."""
    from ken.results import frame

    table = frame(records).drop(columns="repeat")
    base = next((record for record in records if record.key.model == "fine-tuned"), None)
    place = COLUMNS.index("difference")
    table.insert(place, "difference", [of.metric - base.metric if base else math.nan for of in records])
    table.insert(place + 1, "difference_error", [difference_error(of, base) if base else math.nan for of in records])
    table.insert(place + 2, "paired", [base is not None and item_by_item(of, base) for of in records])
    return table


def item_by_item(one: Record, other: Record) -> bool:
    """Whether two evaluations can be compared item by item: the metrics of both are means of their outcomes."""
    return one.by_outcomes and other.by_outcomes


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
