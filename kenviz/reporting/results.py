"""What an evaluation measured: a sweep's table, one line a rule and k, and what it says about this subnetwork."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ken
from ken.evaluation.sweep import tabled
from kenviz.study.sweep_data import truths

if TYPE_CHECKING:
    import pandas as pd

#: Columns that a table needs to be read as that of `ken.sweep`; any other table is shown as it is.
NEEDED = ("model", "rule", "on", "k", "seed", "retained", "entries", "share", "metric", "standard_error")
#: At most so many lines of a table are put into a report.
MOST_LINES = 2000


class Line(NamedTuple):
    """A rule at a k: the mean over its seeds. error is the standard error of one evaluation, NaN if unknown.

    loss_error is that of the difference from the fine-tuned model; NaN if the table tells none, or no more than the two
    standard errors do.
    """

    rule: str
    on: str
    k: Any
    share: float
    retained: int
    metric: float
    error: float
    loss_error: float
    seeds: int

    @property
    def name(self) -> str:
        """The rule, and on what, if that is not usual."""
        return f"{self.rule} on update" if self.on == "update" else self.rule


class Bound(NamedTuple):
    """One of the two models that bound a sweep: its metric and the standard error of that."""

    metric: float
    error: float


@dataclass(frozen=True, eq=False)
class Results:
    """A table of results. lines and the two bounds are those of a sweep; empty and None for any other table."""

    table: pd.DataFrame
    lines: tuple[Line, ...] = ()
    fine_tuned: Bound | None = None
    pretrained: Bound | None = None
    metric: str = "metric"

    @property
    def shares(self) -> bool:
        """Whether all metrics lie between 0 and 1, so that they read as percentages."""
        of = [line.metric for line in self.lines] + [of.metric for of in (self.fine_tuned, self.pretrained) if of]
        return bool(of) and all(0 <= value <= 1 for value in of if not math.isnan(value))

    def own(self, net: ken.Subnetwork) -> Line | None:
        """The line that was measured of this subnetwork: of its rule and k, retaining as many entries."""
        return self._line(net, net.recipe.rule)

    def drawn(self, net: ken.Subnetwork) -> Line | None:
        """The line of the rule random with as many entries; None if this subnetwork is of that rule itself."""
        return None if net.recipe.rule == "random" else self._line(net, "random")

    def _line(self, net: ken.Subnetwork, rule: str) -> Line | None:
        recipe = net.recipe
        for line in self.lines:
            of = (line.rule, line.retained, line.k) == (rule, net.retained, recipe.k)
            if of and type(line.k) is type(recipe.k) and line.on in ("", recipe.on):
                return line
        return None


def read(results: pd.DataFrame | str | Path, net: ken.Subnetwork, metric: str = "metric") -> Results:
    """Take a table of results, or read a file of them: the CSV of a sweep, or the lines that `ken.results` keeps.

    Raises `ValueError` if they are of a model with another number of entries, and what reading the file raises.
    """
    table = _table(results)
    if not set(NEEDED) <= set(table.columns):
        return Results(table.head(MOST_LINES), metric=metric)
    others = sorted({int(entries) for entries in table["entries"]} - {net.entries})
    if others:
        raise ValueError(
            f"the results are of another model: of one with {others[0]:,} entries, the subnetwork has {net.entries:,}"
        )
    fine_tuned, pretrained = (_bound(table[table["model"] == model]) for model in ("fine-tuned", "pretrained"))
    pruned = table[table["model"] == "pruned"].reindex(columns=[*NEEDED, "difference_error", "paired"])
    pruned["difference_error"] = pruned["difference_error"].where(_paired(pruned, fine_tuned))
    lines = []
    for (rule, on, _), of in pruned.groupby([pruned["rule"], pruned["on"], pruned["k"].map(repr)], sort=False):
        first = of.iloc[0]
        share, value, error, loss_error = of[["share", "metric", "standard_error", "difference_error"]].mean()
        told = (str(rule), str(on), _plain(first["k"]), float(share), int(first["retained"]))
        lines.append(Line(*told, float(value), float(error), float(loss_error), int(of["seed"].nunique())))
    return Results(table.head(MOST_LINES), tuple(lines), fine_tuned, pretrained, metric)


def _paired(pruned: pd.DataFrame, fine_tuned: Bound | None) -> pd.Series:
    """Whether the error of each difference was measured item by item.

    The table says so itself, unless it is older than its column `paired`: then it was if it is another than that of two
    separate measurements.
    """
    told = truths(pruned["paired"])
    if fine_tuned is None:
        return told.eq(True) | told.isna()
    separate = np.isclose(pruned["difference_error"], np.hypot(pruned["standard_error"], fine_tuned.error))
    return told.eq(True) | (told.isna() & ~separate)


def _plain(k: Any) -> Any:
    """As `ken.prune` was told it: what a table holds as a number of numpy is one of Python."""
    return k.item() if isinstance(k, np.generic) else k


def _bound(lines: pd.DataFrame) -> Bound | None:
    if lines.empty:
        return None
    return Bound(float(lines["metric"].mean()), float(lines["standard_error"].mean()))


def _table(results: pd.DataFrame | str | Path) -> pd.DataFrame:
    import pandas as pd

    if isinstance(results, pd.DataFrame):
        return results
    path = Path(results)
    if path.suffix.lower() != ".csv":
        return tabled(ken.results.records(path))
    try:
        table = pd.read_csv(path, encoding="utf-8", dtype={"k": str})
    except ValueError as error:  # also of a file that is no text, or is empty
        raise ValueError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    for name in {"rule", "on", "k"} & set(table.columns):
        table[name] = table[name].fillna("").astype(str)
    if "k" in table:
        table["k"] = pd.Series([_k(text) for text in table["k"]], index=table.index, dtype=object)
    return table


def _k(text: str) -> Any:
    """What was written as k: 3 entries are told from a share of 3.0."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or math.nan


class Difference(NamedTuple):
    """How much higher one metric is than another, and the standard error of that.

    paired: the table tells an error that was measured item by item. Else both measurements count as separate, which is
    usually too much: two models that were evaluated on the same items agree on many of them.
    """

    value: float
    error: float
    paired: bool


def difference(one: Line, other: Line | Bound) -> Difference:
    """Of two metrics of one table, which has the errors of the differences from the fine-tuned model."""
    beyond, paired = one.metric - other.metric, isinstance(other, Bound) and not math.isnan(one.loss_error)
    return Difference(beyond, one.loss_error if paired else math.hypot(one.error, other.error), paired)


def series(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines of each rule by the share they retain, in rising order."""
    found: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda line: line.share):
        found.setdefault(line.name, []).append(line)
    return {name: found[name] for name in dict.fromkeys(line.name for line in lines)}
