"""What the SweepView says: in its caption, and of the evaluation that is chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kenviz.figures.budget_axis import BUDGETS
from kenviz.figures.sweep import axis_label
from kenviz.study.sweep_data import QUANTITIES, SCOPES, Level, Series, Sweep, in_words, series_of
from kenviz.text.labels import label, visible

_MOST_NAMED = 8
# Of the error of a difference.
_HOW = {True: ", measured item by item", False: ", as of two separate measurements", None: ""}

_BY = {"share": "share of entries retained", "entries": "number of entries retained"}
_COUNTED = {
    "row": "Per row: k of every row.",
    "tensor": "Per tensor: as many entries, anywhere in the tensor.",
    "model": "Per model: as many entries, anywhere in the model.",
}

#: (rule, on, k, seed) of an evaluation, and behind these its scope, unless that is "row"; () for none.
Point = tuple[Any, ...]


def axis(metric: str, quantity: str) -> str:
    """What the values are, as the axis says it."""
    return axis_label(label(metric, 40), quantity)


def caption(
    sweep: Sweep,
    values: str,
    lines: pd.DataFrame,
    *,
    levels: Sequence[Level],
    shown: Sequence[Series],
    budget: str,
) -> str:
    """What is shown: values is what they are (`axis`), lines those of all series, levels unpruned and pretrained."""
    at = series_of(lines)
    parts = [_ends(sweep.names[series], lines[[one == series for one in at]], budget) for series in shown]
    more = len(parts) - _MOST_NAMED
    ends = "; ".join(parts[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
    bounds = [
        f"{words} {level.value:.4g}" + ("" if math.isnan(level.error) else f" ± {level.error:.2g}")
        for words, level in zip(("unpruned", "pretrained"), levels, strict=True)
        if math.isfinite(level.value)
    ]
    hidden = len(sweep.series) - len(shown)
    scopes = [scope for scope in SCOPES if (sweep.pruned["scope"] == scope).any()]
    said = [
        f"Sweep: {values} by the {_BY[budget]}, from the smallest to the largest.",
        f"{ends}." if ends else "No rule is shown.",
        f"{'; '.join(bounds)}." if bounds else "",
        f"{hidden} of {len(sweep.series)} series are hidden." if hidden else "",
        " ".join(_COUNTED[scope] for scope in scopes) if scopes != ["row"] else "",
    ]
    return " ".join(filter(None, said))


def _ends(name: str, lines: pd.DataFrame, budget: str) -> str:
    """A series where it retains least and where it retains most."""
    low, high = lines.iloc[0], lines.iloc[-1]
    column, written = BUDGETS[budget].column, "{:.1%}" if budget == "share" else "{:,.0f} entries"
    ends = f"{name} {low['mean']:.4g} at {written.format(low[column])}"
    ends += f" to {high['mean']:.4g} at {written.format(high[column])}" if len(lines) > 1 else ""
    most = int(lines["seeds"].max())
    return ends + (f" (mean of up to {most} seeds)" if most > 1 else "")


def evaluation(sweep: Sweep, metric: str, point: Point, at: int) -> str:
    """An evaluation, which is the line `at` of those of pruned models, and how to make that subnetwork."""
    full = sweep.pruned.iloc[at]
    k, seed = point[2:4]
    drawn = f", seed {seed}" if seed != -1 else ""
    count = ""
    if {"retained", "entries"} <= set(full.index):
        count = f" ({full['retained']:,} of {full['entries']:,} entries)"
    name = visible(sweep.names[series_of_point(point)])
    lines = [f"Rule {name}, k = {in_words(k)}{drawn}: retains {full['share']:.2%}{count}"]
    for quantity in QUANTITIES if sweep.base is not None else QUANTITIES[:1]:
        line = sweep.evaluations(metric, quantity).iloc[at]
        error = "" if math.isnan(line["error"]) else f" ± {line['error']:.2g}"
        how = _HOW[sweep.paired.iloc[at]] if error and quantity == "difference" and metric == "metric" else ""
        lines.append(f"{axis(metric, quantity)}: {line['value']:.6g}{error}{how}")
    lines.append("This makes the subnetwork, with the sweep's own exclude, bandwidth and kernel, if it had any:")
    return "\n".join([*lines, python(point)])


def series_of_point(point: Point) -> Series:
    """The series that an evaluation is of."""
    return (*point[:2], *point[4:])


def python(point: Point) -> str:
    """The line that makes the subnetwork of a point; empty if there is none.

    >>> python(("random", "", 0.5, 3))
    "ken.prune(pair.fine_tuned, pair.pretrained, 0.5, 'random', seed=3)"
    >>> python(("update", "", 0.5, -1, "model"))
    "ken.prune(pair.fine_tuned, pair.pretrained, 0.5, 'update', scope='model')"
    """
    if not point:
        return ""
    rule, on, k, seed, *scope = point
    more = f", on={on!r}" * (on not in ("", "weights")) + f", seed={seed!r}" * (seed != -1)
    more += "".join(f", scope={one!r}" for one in scope)
    return f"ken.prune(pair.fine_tuned, pair.pretrained, {k!r}, {rule!r}{more})"
