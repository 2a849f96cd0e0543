"""Tables of a report: cells as text for people, each number with its exact value beside; and as data for files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ken.models import index_as_column
from kenviz.reporting.effect_lines import COLUMNS
from kenviz.study.effect_words import unit
from kenviz.text.labels import visible
from kenviz.text.numbers import in_digits, in_percent

if TYPE_CHECKING:
    import pandas as pd


class Cell(NamedTuple):
    """What is written in a cell, and the exact value if it is a number: a missing number has an empty one."""

    text: str
    value: str | None = None


class Table(NamedTuple):
    """A table: titles of columns, whether each holds numbers, and rows of cells."""

    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]


#: Columns of the table of all tensors, and how their numbers are written.
_ALL = {
    "tensor": "",
    "status": "",
    "reason": "",
    "shape": "",
    "dtype": "",
    "entries": "count",
    "retained": "count",
    "share": "percent",
    "update_rms": "digits",
    "update_share": "percent",
}
_OVERLAP = {
    "role": "",
    "both": "count",
    "jaccard": "percent",
    "jaccard_expected": "percent",
    "update_share_a": "percent",
    "update_share_b": "percent",
}
_METRICS = ("metric", "standard_error", "difference", "difference_error")
_TITLES = {
    "update_rms": "RMS of the update",
    "update_share": "share of the update’s energy",
    "share": "share retained",
    "jaccard": "both / either",
    "jaccard_expected": "both / either, by chance",
    "update_share_a": "share of the update, first",
    "update_share_b": "share of the update, second",
}


def all_tensors(tensors: pd.DataFrame) -> Table:
    """One row for every tensor of either model."""
    return _table(index_as_column(tensors), _ALL, _TITLES)


def overlap(by_role: pd.DataFrame) -> Table:
    """One row for every role: what two subnetworks have in common."""
    return _table(index_as_column(by_role), _OVERLAP, _TITLES)


def effects(table: pd.DataFrame, measured: str) -> Table:
    """Groups, and what they do: a row for each. measured: "loss" or "metric"."""
    shown = {name: column for name, column in COLUMNS.items() if column.title and (name in table or name == "group")}
    words = {"measured": measured, "unit": unit(measured)}
    titles = {name: column.title.format(**words) for name, column in shown.items()}
    return _table(index_as_column(table, "group"), {name: column.form for name, column in shown.items()}, titles)


def results(table: pd.DataFrame, metric: str, percentages: bool) -> Table:
    """A table of results; metrics are percentages if that is said. A seed of -1 is none."""
    forms = {}
    if "seed" in table.columns and table["seed"].dtype.kind in "if":
        table = table.assign(seed=table["seed"].astype(float).where(table["seed"] != -1))
    for name in table.columns:
        numeric = table[name].dtype.kind in "iuf"
        share = name == "share" or (percentages and name in _METRICS)
        forms[str(name)] = "percent" if numeric and share else "number" if numeric else ""
    return _table(table, forms, {"metric": metric})


def data(table: pd.DataFrame) -> dict[str, Any]:
    """A table as the page makes a CSV file of it, cell by cell; what JSON has no word for is null.

    >>> import pandas as pd
    >>> data(pd.DataFrame({"a": [1, 2], "b": [0.5, float("nan")]}))
    {'columns': ['a', 'b'], 'rows': [[1, 0.5], [2, None]]}
    """
    columns = [table[name].tolist() for name in table.columns]
    rows = [[_plain(value) for value in line] for line in zip(*columns, strict=True)]
    return {"columns": [str(name) for name in table.columns], "rows": rows}


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    try:
        return float(value) if value is not None and np.isfinite(value) else None
    except (TypeError, ValueError):  # a shape, a mapping of k, what pandas has for missing
        return None if type(value).__name__ == "NAType" else str(value)


def _table(table: pd.DataFrame, forms: Mapping[str, str], titles: Mapping[str, str]) -> Table:
    columns = [(visible(titles.get(name, name.replace("_", " "))), bool(form)) for name, form in forms.items()]
    lines = zip(*(table[name].tolist() for name in forms), strict=True)
    rows = [[_cell(value, form) for value, form in zip(line, forms.values(), strict=True)] for line in lines]
    return Table(columns, rows)


def _cell(value: Any, form: str) -> Cell:
    if not form:
        if isinstance(value, tuple):
            return Cell(" × ".join(f"{side:,}" for side in value) or "scalar")
        missing = value is None or (isinstance(value, float) and np.isnan(value))
        return Cell("" if missing else visible(str(value)))
    if value != value:
        return Cell("–", "")
    if form == "percent":
        return Cell(in_percent(value), repr(float(value)))
    if form == "count" or (form == "number" and float(value).is_integer()):
        return Cell(f"{int(value):,}", str(int(value)))
    return Cell(in_digits(float(value), 4 if form == "number" else 3), repr(float(value)))
