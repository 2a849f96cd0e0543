"""The results of a sweep, read from a table or a file, checked, completed, and as one series a rule and scope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import ken
from ken.evaluation import tabled
from kenviz.text.labels import apart, label

_NEEDED = ["model", "rule", "on", "k", "seed", "share", "metric"]
#: Columns that are no metrics, though they may be numbers.
_OTHER = {
    *(*_NEEDED, "repeat", "retained", "entries", "standard_error"),
    *("difference", "difference_error", "paired", "outcomes", "scope"),
}
MODELS = ("fine-tuned", "pretrained", "pruned")
QUANTITIES = ("metric", "difference")
#: Over what k is counted, and how that is said behind a rule; tables without a column `scope` are older than any other.
SCOPES = {"row": "per row", "tensor": "per tensor", "model": "per model"}

#: Rule and on of a series; behind them its scope, unless that is "row".
Series = tuple[str, ...]


class Level(NamedTuple):
    """What a model that was not pruned reaches, and the standard error of that; NaN if unknown."""

    value: float
    error: float


class Sweep:
    """A table of `ken.sweep`, or the path of one as CSV or of a results file, checked.

    The standard error of a further metric is in a column of its name with "_error" behind it, if there is one.

    Raises `ValueError` for a table that lacks columns, has no pruned model, or numbers that cannot be; and what
    `read_table` raises.

    Attributes:
        source: The path that was read, None for a table.
        pruned: One line an evaluation of a pruned model, with all columns of the table.
        metrics: "metric" and the further metrics, which are all other columns of numbers.

    >>> table = pd.DataFrame({"model": ["fine-tuned", "pruned"], "rule": ["", "ken"], "on": ["", "weights"],
    ...                       "k": [np.nan, 0.5], "seed": -1, "share": [1.0, 0.5], "metric": [0.7, 0.6]})
    >>> Sweep(table).lines("metric", "difference").round(2)["mean"].tolist()
    [-0.1]
    """

    def __init__(self, table: pd.DataFrame | str | Path) -> None:
        self.source = table if isinstance(table, str | Path) else None
        self._table = _checked(read_table(table))
        self.pruned = self._table[self._table["model"] == "pruned"].reset_index(drop=True)
        # Numbers of Python's own: they are shown as they would be typed.
        for name in ("k", "seed"):
            plain = [value.item() if isinstance(value, np.generic) else value for value in self.pruned[name]]
            self.pruned[name] = pd.Series(plain, self.pruned.index, dtype=object)
        if self.pruned.empty:
            raise ValueError("the table has no pruned model: no line in which model is 'pruned'")
        others = [name for name in self._table if name not in _OTHER]
        numeric = [name for name in others if pd.api.types.is_numeric_dtype(self._table[name])]
        errors = {f"{name}_error" for name in numeric}
        self.metrics = ["metric", *(str(name) for name in numeric if name not in errors)]

    @cached_property
    def series(self) -> list[Series]:
        """The series, in the order of the table."""
        return list(dict.fromkeys(series_of(self.pruned)))

    @cached_property
    def names(self) -> dict[Series, str]:
        """What each series is called, in at most 40 characters; no two are the same."""
        return dict(zip(self.series, apart([series_name(*series) for series in self.series]), strict=True))

    @cached_property
    def groups(self) -> list[tuple[Series, pd.Index]]:
        """Which lines of `pruned` are of one series and k: series by series, by share within each."""
        # repr tells 1 entry from 1.0, all of them, and a mapping from another.
        series = pd.Series(series_of(self.pruned), self.pruned.index, dtype=object)
        by_k: Any = self.pruned.groupby([series, self.pruned["k"].map(repr)], sort=False)
        groups: list[tuple[Any, pd.DataFrame]] = [(key[0], lines) for key, lines in by_k]
        place = {series: at for at, series in enumerate(self.series)}
        groups.sort(key=lambda group: (place[group[0]], group[1]["share"].mean()))
        return [(series, lines.index) for series, lines in groups]

    @cached_property
    def base(self) -> pd.Series | None:
        """The first line of the fine-tuned model, from which differences are taken; None if there is none."""
        lines = self._table[self._table["model"] == "fine-tuned"]
        return None if lines.empty else lines.iloc[0]

    @cached_property
    def paired(self) -> pd.Series:
        """Of each line of `pruned`, whether the error of its difference was measured item by item.

        None if the table does not say.
        """
        if "paired" in self.pruned:
            return truths(self.pruned["paired"])
        answers: list[bool | None] = [None] * len(self.pruned)
        if "outcomes" in self.pruned and self.base is not None:
            answers = [_by_items(line) and _by_items(self.base) for _, line in self.pruned.iterrows()]
        return pd.Series(answers, self.pruned.index, dtype=object)

    @cached_property
    def counted(self) -> bool:
        """Whether the table says of every evaluation how many entries are retained."""
        return "retained" in self.pruned and bool(pd.to_numeric(self.pruned["retained"], errors="coerce").gt(0).all())

    def level(self, model: str, metric: str, quantity: str) -> Level:
        """What the fine-tuned or the pretrained model reaches; NaN where the table does not say."""
        lines = self._table[self._table["model"] == model]
        if lines.empty:
            return Level(math.nan, math.nan)
        values, errors = self._values(lines, metric, quantity)
        return Level(float(values.mean()), float(errors.mean()))

    def evaluations(self, metric: str, quantity: str) -> pd.DataFrame:
        """One line for each of `pruned`: rule, on, scope, k, seed, share, retained, value, error (NaN if unknown)."""
        values, errors = self._values(self.pruned, metric, quantity)
        lines = self.pruned[["rule", "on", "scope", "k", "seed", "share"]]
        retained = self.pruned["retained"].astype(float) if self.counted else np.nan
        return lines.assign(retained=retained, value=values, error=errors)

    def lines(self, metric: str, quantity: str, shown: Sequence[Series] | None = None) -> pd.DataFrame:
        """One line for each of `groups`: rule, on, scope, k, share, retained, seeds, mean, lowest, highest, error.

        seeds is how many evaluations there are, error the mean of their standard errors, NaN if unknown.
        """
        table = self.evaluations(metric, quantity)
        rows = []
        for series, at in self.groups:
            if shown is None or series in shown:
                group = table.loc[at]
                value, k = group["value"], group["k"].iloc[0]
                spread = value.mean(), value.min(), value.max()
                sizes = group["share"].mean(), group["retained"].mean(), len(group)
                rows.append((*whole(series), k, *sizes, *spread, group["error"].mean()))
        names = ["rule", "on", "scope", "k", "share", "retained", "seeds", "mean", "lowest", "highest", "error"]
        lines = pd.DataFrame(rows, columns=names)
        lines["k"] = pd.Series([row[3] for row in rows], lines.index, dtype=object)
        return lines

    def _values(self, lines: pd.DataFrame, metric: str, quantity: str) -> tuple[pd.Series, pd.Series]:
        unknown = pd.Series(np.nan, lines.index)
        if quantity == "difference" and metric == "metric" and "difference" in lines:
            return lines["difference"].astype(float), lines.get("difference_error", unknown).astype(float)
        values = lines[metric].astype(float)
        errors = lines.get("standard_error" if metric == "metric" else f"{metric}_error", unknown).astype(float)
        if quantity == "metric":
            return values, errors
        base = self.level("fine-tuned", metric, "metric")
        errors = (errors**2 + base.error**2) ** 0.5
        if metric == "metric" and "outcomes" in lines and self.base is not None:
            errors = self._by_outcomes(lines, errors, self.base)
        # A model differs from itself by nothing, without an error.
        return values - base.value, errors.mask(lines["model"] == "fine-tuned", 0.0)

    def _by_outcomes(self, lines: pd.DataFrame, errors: pd.Series, base: pd.Series) -> pd.Series:
        """Errors of differences item by item, where the outcomes are known and their mean is the metric."""
        exact = errors.to_numpy(copy=True)
        for at, (_, line) in enumerate(lines.iterrows()):
            if _by_items(base) and _by_items(line):
                differences = line["outcomes"].astype(float) - base["outcomes"]
                exact[at] = float(differences.std()) / math.sqrt(len(differences))
        return pd.Series(exact, lines.index)


def read_table(source: Any) -> pd.DataFrame:
    """A table as it is, or what a file has of it: the CSV of a sweep, or the lines that `ken.results` keeps.

    Raises `TypeError` for anything else, `ValueError` for a CSV that cannot be read, and `ken.results.read`'s errors
    for any other file.
    """
    if isinstance(source, pd.DataFrame):
        return source
    if not isinstance(source, str | Path):
        raise TypeError(f"a table of ken.sweep or the path of a results file is needed, got {type(source).__name__}")
    path = Path(source)
    if path.suffix.lower() != ".csv":
        return tabled(ken.results.records(path))
    try:
        table = pd.read_csv(path, encoding="utf-8", dtype={"k": str})
    except ValueError as error:  # also of a file that is no text, or is empty
        raise ValueError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    for name in {"rule", "on", "k", "scope"} & set(table.columns):
        # A column without any text is one of numbers to pandas.
        table[name] = table[name].astype(object).fillna("").astype(str)
    if "k" in table:
        table["k"] = pd.Series([_k(text) for text in table["k"]], index=table.index, dtype=object)
    return table


def _k(text: str) -> Any:
    """A k as it was written: 3 entries differ from a share of 3.0."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or math.nan


def truths(column: pd.Series) -> pd.Series:
    """A column of yes and no as True, False, and None where it says neither; texts are as programs write them.

    >>> truths(pd.Series([True, "FALSE", "", None, 1.0])).tolist()
    [True, False, None, None, True]
    """
    words = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    return pd.Series([words.get(str(value).lower()) for value in column], column.index, dtype=object)


def _by_items(line: pd.Series) -> bool:
    outcomes = line["outcomes"]
    return outcomes is not None and math.isclose(line["metric"], outcomes.mean(), abs_tol=1e-9)


def series_of(table: pd.DataFrame) -> list[Series]:
    """The series of each line, of its columns rule, on and scope."""
    columns: Any = zip(table["rule"], table["on"], table["scope"], strict=True)
    return [(rule, on) if scope == "row" else (rule, on, scope) for rule, on, scope in columns]


def whole(series: Series) -> tuple[str, str, str]:
    """Rule, on and scope of a series.

    >>> whole(("ken", "weights")), whole(("ken", "weights", "model"))
    (('ken', 'weights', 'row'), ('ken', 'weights', 'model'))
    """
    rule, on, *scope = series
    return rule, on, scope[0] if scope else "row"


def series_name(rule: str, on: str, scope: str = "row") -> str:
    """What a series is called: the rule, and of its settings what is not the usual.

    >>> series_name("ken", "update"), series_name("random", ""), series_name("magnitude", "", "model")
    ('ken on update', 'random', 'magnitude, per model')
    """
    words = f"{rule} on {on}" if on not in ("", "weights") else rule
    return label(words if scope == "row" else f"{words}, {SCOPES[scope]}", 40)


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        columns = f"column {missing[0]!r}" if len(missing) == 1 else f"columns {', '.join(map(repr, missing))}"
        raise ValueError(f"the table has no {columns}: it is no table of ken.sweep")
    doubled = table.columns[table.columns.duplicated()]
    if len(doubled):
        raise ValueError(f"the table has more than one column {doubled[0]!r}")
    table = table.reset_index(drop=True)
    for i, model in enumerate(table["model"]):
        if model not in MODELS:
            raise ValueError(f"model must be {', '.join(MODELS[:2])} or {MODELS[2]}, got {model!r} in line {i}")
    for name in ("share", "metric"):
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise ValueError(f"column {name!r} must be of numbers, got {table[name].dtype}")
    pruned = table["model"] == "pruned"
    for at in table.index[pruned & ~table["share"].between(0, 1, inclusive="right")]:
        raise ValueError(f"share must be above 0 and at most 1, got {table['share'][at]} in line {at}")
    for name in ("rule", "on"):
        if table[name].isna().any():  # empty text, as pandas reads it from a CSV
            table[name] = table[name].astype(object).where(table[name].notna(), "")
        for i, value in enumerate(table[name]):
            if not isinstance(value, str):
                raise ValueError(f"{name} must be text, got {value!r} in line {i}")
    return table.assign(scope=_scopes(table, pruned))


def _scopes(table: pd.DataFrame, pruned: pd.Series) -> pd.Series:
    """The scope of each line; of lines that say nothing, as all did before there was a choice, "row"."""
    scopes = table["scope"] if "scope" in table else pd.Series("", table.index)
    scopes = scopes.astype(object).where(scopes.notna() & (scopes != ""), "row")
    for i in table.index[pruned & ~scopes.isin(list(SCOPES))]:
        raise ValueError(f"scope must be {', '.join(SCOPES)} or empty, got {scopes[i]!r} in line {i}")
    return scopes.where(pruned, "")


def in_words(k: Any) -> str:
    """A k as it is written in a sentence, which tells 1 entry from 1.0, all of them.

    >>> in_words(1), in_words(1.0), in_words(0.25), in_words({"*": 0.5})
    ('1', '1.0', '0.25', "{'*': 0.5}")
    """
    if isinstance(k, float):
        written = f"{k:.4g}"
        return f"{written}.0" if written.isdigit() else written
    return label(str(k), 60)
