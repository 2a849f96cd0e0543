"""What an evaluation measured: a sweep, one line a rule and k, and what it says about this subnetwork."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

import ken
from kenviz.reporting.table_lines import EvaluationLine
from kenviz.study.sweep_data import Level, Sweep, read_table, whole

#: Columns that a table needs to be read as that of `ken.sweep`; any other table is shown as it is.
NEEDED = ("model", "rule", "on", "k", "seed", "retained", "entries", "share", "metric", "standard_error")
#: At most so many lines of a table are put into a report.
MOST_LINES = 2000


@dataclass(frozen=True, eq=False)
class Results:
    """A table of results.

    lines, by series and share (each the mean over its seeds), and the levels of the two models are those of a sweep;
    empty and None for any other table. cut: lines at the end that the table has no room for.
    """

    table: pd.DataFrame
    metric: str = "metric"
    lines: tuple[EvaluationLine, ...] = ()
    fine_tuned: Level | None = None
    pretrained: Level | None = None
    cut: int = 0

    @property
    def shares(self) -> bool:
        """Whether all metrics lie between 0 and 1, so that they read as percentages."""
        levels = [level.value for level in (self.fine_tuned, self.pretrained) if level is not None]
        values = [line.metric for line in self.lines] + levels
        return bool(values) and all(0 <= value <= 1 for value in values if not math.isnan(value))

    @property
    def series(self) -> dict[str, list[EvaluationLine]]:
        """The lines of each series by its name."""
        return {name: list(lines) for name, lines in groupby(self.lines, lambda line: line.name)}

    def own(self, net: ken.Subnetwork) -> EvaluationLine | None:
        """The line that was measured of this subnetwork: of its rule, k and scope, retaining as many entries."""
        return self._line(net, net.recipe.rule)

    def drawn(self, net: ken.Subnetwork) -> EvaluationLine | None:
        """The line of the rule random with as many entries; None if this subnetwork is of that rule itself."""
        return None if net.recipe.rule == "random" else self._line(net, "random")

    def _line(self, net: ken.Subnetwork, rule: str) -> EvaluationLine | None:
        recipe = net.recipe
        if rule == recipe.rule and recipe.rescale != ken.rules.usual_rescale(rule):
            return None  # a sweep rescales as the rule's source does
        for line in self.lines:
            same = (line.rule, line.scope, line.retained, line.k) == (rule, recipe.scope, net.retained, recipe.k)
            if same and type(line.k) is type(recipe.k) and line.on in ("", recipe.on):
                return line
        return None


def read(results: pd.DataFrame | str | Path, net: ken.Subnetwork, metric: str = "metric") -> Results:
    """Take a table of results, or read a file of them (`read_table`).

    Raises `ValueError` if they are of a model with another number of entries, and what reading and checking raise.
    """
    table = read_table(results)
    shown, cut = table.head(MOST_LINES), max(0, len(table) - MOST_LINES)
    if not set(NEEDED) <= set(table.columns):
        return Results(shown, metric, cut=cut)
    others = sorted({int(entries) for entries in table["entries"]} - {net.entries})
    if others:
        raise ValueError(
            f"the results are of another model: of one with {others[0]:,} entries, the subnetwork has {net.entries:,}"
        )
    if not (table["model"] == "pruned").any():
        return Results(shown, metric, cut=cut)
    sweep = Sweep(table)
    levels = (sweep.level(model, "metric", "metric") for model in ("fine-tuned", "pretrained"))
    fine_tuned, pretrained = (None if math.isnan(level.value) else level for level in levels)
    pruned = sweep.pruned.assign(loss_error=_paired_errors(sweep))
    lines: list[EvaluationLine] = []
    further = sweep.metrics[1:]
    for series, at in sweep.groups:
        rule, on, scope = whole(series)
        group = pruned.loc[at]
        share, value, error, loss_error = group[["share", "metric", "standard_error", "loss_error"]].mean()
        lines.append(
            EvaluationLine(
                name=sweep.names[series],
                rule=rule,
                on=on,
                scope=scope,
                k=group["k"].iloc[0],
                share=float(share),
                retained=int(group["retained"].iloc[0]),
                metric=float(value),
                standard_error=float(error),
                difference_error=float(loss_error),
                further_metrics={
                    str(name): float(value) for name, value in group[further].astype(float).mean().items()
                },
                seeds=int(group["seed"].nunique()),
            )
        )
    return Results(shown, metric, tuple(lines), fine_tuned=fine_tuned, pretrained=pretrained, cut=cut)


def _paired_errors(sweep: Sweep) -> pd.Series:
    """The error of each difference, NaN unless it was measured item by item.

    The table says so itself, unless it is older than its column `paired`: then it was if it is another than that of two
    separate measurements.
    """
    errors = sweep.evaluations("metric", "difference")["error"]
    separate = np.hypot(sweep.pruned["standard_error"], sweep.level("fine-tuned", "metric", "metric").error)
    return errors.where(sweep.paired.eq(True) | (sweep.paired.isna() & ~np.isclose(errors, separate)))
