"""What the SweepView says: in its caption, and of the evaluation that is chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kenviz.figures.sweep import axis_label
from kenviz.study.sweep_data import QUANTITIES, Level, Series, Sweep, in_words
from kenviz.text.labels import label, visible

_MOST_NAMED = 8
# Of the error of a difference.
_HOW = {True: ", measured item by item", False: ", as of two separate measurements", None: ""}

#: (rule, on, k, seed) of an evaluation, and its scope if that is not the row; () for none.
Point = tuple[Any, ...]


def axis(metric: str, quantity: str) -> str:
    """What the values are, as the axis says it."""
    return axis_label(label(metric, 40), quantity)


def caption(sweep: Sweep, values: str, lines: pd.DataFrame, levels: Sequence[Level], shown: Sequence[Series]) -> str:
    """What is shown: values is what they are (`axis`), lines those of all series, levels unpruned and pretrained."""
    groups = dict(list(lines.groupby(["rule", "on", "scope"])))
    parts = [_ends(sweep.names[one], groups[one if len(one) > 2 else (*one, "row")]) for one in shown]
    more = len(parts) - _MOST_NAMED
    ends = "; ".join(parts[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
    bounds = [
        f"{words} {level.value:.4g}" + ("" if math.isnan(level.error) else f" ± {level.error:.2g}")
        for words, level in zip(("unpruned", "pretrained"), levels, strict=True)
        if math.isfinite(level.value)
    ]
    hidden = len(sweep.series) - len(shown)
    said = [
        f"Sweep: {values} by the share of entries retained, from the smallest to the largest share.",
        f"{ends}." if ends else "No rule is shown.",
        f"{'; '.join(bounds)}." if bounds else "",
        f"{hidden} of {len(sweep.series)} series are hidden." if hidden else "",
    ]
    return " ".join(filter(None, said))


def _ends(name: str, lines: pd.DataFrame) -> str:
    """A series at its smallest and its largest share."""
    low, high = lines.iloc[0], lines.iloc[-1]
    ends = f"{name} {low['mean']:.4g} at {low['share']:.1%}"
    ends += f" to {high['mean']:.4g} at {high['share']:.1%}" if len(lines) > 1 else ""
    most = int(lines["seeds"].max())
    return ends + (f" (mean of up to {most} seeds)" if most > 1 else "")


def evaluation(sweep: Sweep, metric: str, point: Point, at: int) -> str:
    """An evaluation, which is the line `at` of those of pruned models, and how to make that subnetwork."""
    full = sweep.pruned.iloc[at]
    rule, on, k, seed, *scope = point
    drawn = f", seed {seed}" if seed != -1 else ""
    count = ""
    if {"retained", "entries"} <= set(full.index):
        count = f" ({full['retained']:,} of {full['entries']:,} entries)"
    lines = [
        f"Rule {visible(sweep.names[rule, on, *scope])}, k = {in_words(k)}{drawn}: retains {full['share']:.2%}{count}"
    ]
    for quantity in QUANTITIES if sweep.base is not None else QUANTITIES[:1]:
        line = sweep.evaluations(metric, quantity).iloc[at]
        error = "" if math.isnan(line["error"]) else f" ± {line['error']:.2g}"
        how = _HOW[sweep.paired.iloc[at]] if error and quantity == "difference" and metric == "metric" else ""
        lines.append(f"{axis(metric, quantity)}: {line['value']:.6g}{error}{how}")
    lines.append("This makes the subnetwork, with the sweep's own exclude, bandwidth and kernel, if it had any:")
    return "\n".join([*lines, python(point)])


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
    more = f", on={on!r}" * (on == "update") + f", seed={seed!r}" * (seed != -1)
    more += f", scope={scope[0]!r}" if scope else ""
    return f"ken.prune(pair.fine_tuned, pair.pretrained, {k!r}, {rule!r}{more})"
