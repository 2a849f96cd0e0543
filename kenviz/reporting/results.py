"""What an evaluation measured: a sweep, one line a rule and k, and what it says about this subnetwork."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import ken
from kenviz.study.sweep_data import Level, Sweep, read_table

#: Columns that a table needs to be read as that of `ken.sweep`; any other table is shown as it is.
NEEDED = ("model", "rule", "on", "k", "seed", "retained", "entries", "share", "metric", "standard_error")
#: At most so many lines of a table are put into a report.
MOST_LINES = 2000


class Line(NamedTuple):
    """A rule at a k: value is the mean of the metric over its seeds.

    error is the standard error of one evaluation, NaN if unknown. loss_error is that of the difference from the
    fine-tuned model; NaN if the table tells none, or no more than the two standard errors do.
    """

    name: str
    rule: str
    on: str
    k: Any
    share: float
    retained: int
    value: float
    error: float
    loss_error: float
    seeds: int


@dataclass(frozen=True, eq=False)
class Results:
    """A table of results.

    lines, by series and share, and the levels of the two models are those of a sweep; empty and None for any other
    table.
    """

    table: pd.DataFrame
    metric: str = "metric"
    lines: tuple[Line, ...] = ()
    fine_tuned: Level | None = None
    pretrained: Level | None = None

    @property
    def shares(self) -> bool:
        """Whether all metrics lie between 0 and 1, so that they read as percentages."""
        values = [shown.value for shown in (*self.lines, self.fine_tuned, self.pretrained) if shown is not None]
        return bool(values) and all(0 <= value <= 1 for value in values if not math.isnan(value))

    @property
    def series(self) -> dict[str, list[Line]]:
        """The lines of each series by its name."""
        return {name: list(lines) for name, lines in groupby(self.lines, lambda line: line.name)}

    def own(self, net: ken.Subnetwork) -> Line | None:
        """The line that was measured of this subnetwork: of its rule and k, retaining as many entries."""
        return self._line(net, net.recipe.rule)

    def drawn(self, net: ken.Subnetwork) -> Line | None:
        """The line of the rule random with as many entries; None if this subnetwork is of that rule itself."""
        return None if net.recipe.rule == "random" else self._line(net, "random")

    def _line(self, net: ken.Subnetwork, rule: str) -> Line | None:
        recipe = net.recipe
        for line in self.lines:
            same = (line.rule, line.retained, line.k) == (rule, net.retained, recipe.k)
            if same and type(line.k) is type(recipe.k) and line.on in ("", recipe.on):
                return line
        return None


def read(results: pd.DataFrame | str | Path, net: ken.Subnetwork, metric: str = "metric") -> Results:
    """Take a table of results, or read a file of them (`read_table`).

    Raises `ValueError` if they are of a model with another number of entries, and what reading and checking raise.
    """
    table = read_table(results)
    if not set(NEEDED) <= set(table.columns):
        return Results(table.head(MOST_LINES), metric)
    others = sorted({int(entries) for entries in table["entries"]} - {net.entries})
    if others:
        raise ValueError(
            f"the results are of another model: of one with {others[0]:,} entries, the subnetwork has {net.entries:,}"
        )
    if not (table["model"] == "pruned").any():
        return Results(table.head(MOST_LINES), metric)
    sweep = Sweep(table)
    levels = (sweep.level(model, "metric", "metric") for model in ("fine-tuned", "pretrained"))
    fine_tuned, pretrained = (None if math.isnan(level.value) else level for level in levels)
    pruned = sweep.pruned.assign(loss_error=_paired_errors(sweep))
    lines = []
    for (rule, on), at in sweep.groups:
        group = pruned.loc[at]
        share, value, error, loss_error = group[["share", "metric", "standard_error", "loss_error"]].mean()
        lines.append(
            Line(
                name=sweep.names[rule, on],
                rule=rule,
                on=on,
                k=group["k"].iloc[0],
                share=float(share),
                retained=int(group["retained"].iloc[0]),
                value=float(value),
                error=float(error),
                loss_error=float(loss_error),
                seeds=int(group["seed"].nunique()),
            )
        )
    return Results(table.head(MOST_LINES), metric, tuple(lines), fine_tuned=fine_tuned, pretrained=pretrained)


def _paired_errors(sweep: Sweep) -> pd.Series:
    """The error of each difference, NaN unless it was measured item by item.

    The table says so itself, unless it is older than its column `paired`: then it was if it is another than that of two
    separate measurements.
    """
    errors = sweep.evaluations("metric", "difference")["error"]
    separate = np.hypot(sweep.pruned["standard_error"], sweep.level("fine-tuned", "metric", "metric").error)
    return errors.where(sweep.paired.eq(True) | (sweep.paired.isna() & ~np.isclose(errors, separate)))
