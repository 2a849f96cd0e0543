"""What was measured of a subnetwork, for its model card: as a model-index, and as a table that people read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ken.errors import ResultsError
from ken.rules import usual_rescale
from ken.subnetwork.subnetwork import Recipe, SubnetworkData

if TYPE_CHECKING:
    import pandas as pd
    from huggingface_hub import EvalResult

_NEEDED = ("model", "rule", "on", "k", "metric", "standard_error")
# What a class of transformers is for, as the hub calls it; the first that its name has.
_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text-generation",
    "ForImageClassification": "image-classification",
}
_UNKNOWN = "other"


def task_of(net: SubnetworkData) -> str:
    """What the model is for, as the hub calls it, by its class; empty if that does not say.

    >>> from ken.subnetwork.subnetwork import Recipe
    >>> task_of(SubnetworkData({}, Recipe("ken", 2)))
    ''
    """
    name = net.architecture.class_name if net.architecture else ""
    return next((task for ending, task in _TASKS.items() if ending in name), "")


def own_results(table: pd.DataFrame, recipe: Recipe) -> pd.DataFrame:
    """The lines of a table of `ken.sweep` or `ken.results.read` that are about a subnetwork.

    Raises `ResultsError` if it is no such table, or has none.
    """
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise ResultsError(f"results must be a table of ken.sweep or ken.results.read, got {type(table).__name__}")
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        raise ResultsError(f"the results have no column {missing[0]!r}, as those of ken.sweep do")
    pruned = table[(table["model"] == "pruned") & (table["rule"] == recipe.rule)]
    pruned = pruned[pruned["on"].isin(["", recipe.on])]
    if "scope" in pruned:
        pruned = pruned[pruned["scope"].isin(["", recipe.scope])]
    elif recipe.scope != "row":
        pruned = pruned.iloc[:0]  # a table that knows of no scopes is about rows
    as_swept = recipe.rescale == usual_rescale(recipe.rule)  # a sweep rescales as the rule's source does
    own = pruned[[as_swept and _same(k, recipe.k) for k in pruned["k"]]]
    if "seed" in own:
        own = own[own["seed"].isin([-1, recipe.seed])]
    if own.empty:
        raise ResultsError(
            f"the results have no line of this subnetwork: rule {recipe.rule!r}, on {recipe.on!r}, k = {recipe.k!r}, "
            f"seed {recipe.seed}, rescale {recipe.rescale!r}, scope {recipe.scope!r}"
        )
    return own


def evaluations(own: pd.DataFrame, *, metric: str, task: str, dataset: str) -> list[EvalResult]:
    """What was measured, as the hub's library writes it into a model-index: with the standard error, if it is known."""
    from huggingface_hub import EvalResult

    results = []
    for _, line in own.iterrows():
        error = float(line["standard_error"])
        known = math.isfinite(error)
        results.append(
            EvalResult(
                task_type=task or _UNKNOWN,
                dataset_type=_identifier(dataset),
                dataset_name=dataset or "not stated",
                metric_type=_identifier(metric),
                metric_value=float(line["metric"]),
                metric_name=f"{metric} ± {error:.2g} (one standard error)" if known else metric,
                metric_args={"standard_error": error} if known else None,
            )
        )
    return results


def table_of(results: pd.DataFrame, own: pd.DataFrame, *, metric: str) -> str:
    """A table in Markdown: the two models and every subnetwork that was measured, this one in bold."""
    from ken.storage.card_text import plain_text

    lines = [f"| model | rule | k | share retained | {plain_text(metric)} |", "|---|---|---|---|---|"]
    for index, line in results.iterrows():
        error = float(line["standard_error"])
        value = f"{float(line['metric']):.4g}" + (f" ± {error:.2g}" if math.isfinite(error) else "")
        share = float(line["share"]) if "share" in line else math.nan
        rule = f"{line['rule']} on {line['on']}" if line["on"] else str(line["rule"])
        rule += f", per {line['scope']}" if line.get("scope", "") not in ("", "row") else ""
        k = "" if line["model"] != "pruned" else budget_text(line["k"])
        cells = [line["model"], rule, k, f"{share:.3f}" if math.isfinite(share) else "", value]
        texts = [plain_text(str(cell)) for cell in cells]
        if index in own.index:
            texts = [f"**{text}**" if text else "" for text in texts]
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines)


def budget_text(k: Any) -> str:
    """A budget in words.

    >>> budget_text(3), budget_text(0.25), budget_text({"*": 2})
    ('3 entries of each row', '25 % of each row', '*: 2 entries of each row')
    """
    if isinstance(k, Mapping):
        return ", ".join(f"{pattern}: {budget_text(part)}" for pattern, part in k.items())
    if isinstance(k, float) and k <= 1:
        return f"{100 * k:.10g} % of each row"
    return f"{int(k):,} entries of each row"


def _same(one: Any, other: Any) -> bool:
    """Whether two budgets are one. A table may have made floats of entries, but 1 entry is not a share of 1.0."""
    if isinstance(one, Mapping) or isinstance(other, Mapping):
        return bool(one == other)
    try:
        equal = float(one) == float(other)
    except (TypeError, ValueError):
        return False
    return equal and (float(one) != 1 or isinstance(one, float) == isinstance(other, float))


def _identifier(text: str) -> str:
    """A name as identifiers of the hub are spelled."""
    return "_".join(text.lower().split()) or _UNKNOWN
