"""TensorSearch: a list of all tensors, searched, filtered and sorted."""

from __future__ import annotations

import fnmatch
import html
import math
import re
from collections.abc import Callable
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from numpy.typing import NDArray

import ken
from kenviz.study.study import Study
from kenviz.text.labels import apart, label, last
from kenviz.text.measures import MEASURES
from kenviz.views.base import Stateful
from kenviz.views.controls import choice
from kenviz.views.find_field import FindField, split_entry
from kenviz.views.tensor_list import TensorList

_ANY = "any"
_OUTSIDE = "outside of layers"
_ORDER = "model order"
# What can be sorted by without reading the models comes first.
_OWN = ["share", "retained", "entries", "rows", "row_length"]
_READ = [name for name in MEASURES if name not in _OWN]


class TensorSearch(Stateful):
    """All tensors of a subnetwork, narrowed down by pattern, kind, layer and status, and sorted by a statistic.

    pattern is words that are all in a name, a glob (`*`, `?`, `[…]`) of the whole name, or with regex=True an
    expression that is found anywhere; upper and lower case are the same. An invalid expression leaves the list as it
    was, and says so. An entry may stand behind it, `query [112, 86]`: it is no part of the name, and `go` goes there.
    chosen is the tensor that is picked, empty before one is; it stays when the list no longer has it. entry is the
    (row, column) that `go` went to last, None for none. In model order a long list folds by layer; the bar of each
    tensor is what is sorted by.

    >>> import torch, ken
    >>> pair = ken.Pair({"a.1.w": torch.eye(4), "b.w": torch.ones(2, 4)}, {"a.1.w": torch.zeros(4, 4)})
    >>> search = TensorSearch(Study(ken.prune(*pair, k=2), pair))
    >>> search.pattern = "*.w"; search.status = "carried"
    >>> search.names
    ['b.w']
    >>> search.status = "any"
    >>> search.go("a w [3, 2]")
    >>> search.chosen, search.entry
    ('a.1.w', (3, 2))
    """

    STATE = ("pattern", "regex", "kind", "layer", "status", "sort", "descending")

    pattern = traitlets.Unicode(help="Words of a name, glob, or regular expression.")
    regex = traitlets.Bool(False, help="Whether the pattern is a regular expression.")
    kind = traitlets.Unicode(_ANY, help="Kind of matrix.")
    layer = traitlets.Unicode(_ANY, help="Layer, as text.")
    status = traitlets.Unicode(_ANY, help="pruned, unchanged, carried, tied, from pretrained, or only in pretrained.")
    sort = traitlets.Unicode(_ORDER, help="Statistic that the list is sorted by.")
    descending = traitlets.Bool(True, help="Largest first.")
    chosen = traitlets.Unicode(help="The tensor that was picked.")
    entry: Any = traitlets.Tuple(
        traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True, help="(row, column) that was gone to."
    )

    def __init__(self, study: Study) -> None:
        super().__init__(study.lock)
        self._study = study
        table = study.net.table()
        places = [ken.retention.place(str(name)) for name in table.index]
        self._all = table.assign(
            layer=[_OUTSIDE if place.layer is None else str(place.layer) for place in places],
            kind=[place.kind for place in places],
        )
        self._names: list[str] = list(self._all.index)
        self._choices = {
            "kind": [_ANY, *dict.fromkeys(self._all["kind"])],
            "layer": [_ANY, *sorted(dict.fromkeys(self._all["layer"]), key=_as_number)],
            "status": [_ANY, *dict.fromkeys(self._all["status"])],
            "sort": [_ORDER, *_OWN, *(_READ if study.pair is not None else ())],
        }
        self._numbers = {name: i for i, name in enumerate(self._names)}
        self._columns = {name: self._all[name].to_numpy() for name in ("kind", "layer", "status")}
        self._controls: dict[str, ipywidgets.Widget] = {
            "pattern": FindField(self.go),
            "kind": choice("kind", _choices(self._choices["kind"])),
            "layer": choice("layer", _choices(self._choices["layer"])),
            "status": choice("status", _choices(self._choices["status"])),
            "sort": choice("sort", [(_sorted_by(name), name) for name in self._choices["sort"]]),
            "regex": ipywidgets.Checkbox(
                description="reg. expression", indent=False, tooltip="The pattern is a regular expression"
            ),
            "descending": ipywidgets.Checkbox(description="largest first", indent=False),
        }
        for name in ("kind", "sort"):
            self._controls[name].add_class("kenviz-wide")
        self._list = TensorList(self._names, self._pick)
        self._bars = ipywidgets.HTML()
        self._words = ipywidgets.HTML()
        grid = ipywidgets.VBox(list(self._controls.values()))
        grid.add_class("kenviz-controls")
        self.add_class("kenviz-side")
        self.children = [grid, self._bars, self._list, self._words]
        for name, control in self._controls.items():
            self._bind(control, name)
        self.observe(self._narrow, list(self.STATE))
        self.observe(self._point, "chosen")
        self._described = ""
        self._narrow(None)

    @property
    def names(self) -> list[str]:
        """The tensors in the list, in its order."""
        return list(self._names)

    @traitlets.validate("kind", "layer", "status", "sort")
    def _valid_choice(self, proposal: dict[str, Any]) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        if value not in self._choices[name]:
            raise traitlets.TraitError(f"{name} must be one of {', '.join(self._choices[name])}; got {value!r}")
        return str(value)

    @traitlets.validate("chosen")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] and proposal["value"] not in self._all.index:
            raise traitlets.TraitError(f"tensor must be one of either model, got {proposal['value']!r}")
        return str(proposal["value"])

    def _narrow(self, _: object) -> None:
        with self._lock:
            names, problem = self._fitting()
            if names is not None:
                self._names = names
                self._describe()
                with self._list.hold_sync():
                    self._list.show([self._numbers[name] for name in names], folding=self.sort == _ORDER)
                    self._list.point(self._numbers[self.chosen] if self.chosen in self._within else -1)
            self._say(problem)

    def _fitting(self) -> tuple[list[str] | None, str]:
        """Names that fit, in order; None and what is wrong if the pattern is no expression."""
        fits = np.ones(len(self._all), dtype=bool)
        for column, values in self._columns.items():
            if getattr(self, column) != _ANY:
                fits &= values == getattr(self, column)
        try:
            matches = matcher(self.pattern if self.regex else split_entry(self.pattern)[0], self.regex)
        except re.error as error:
            return None, f"Not a regular expression: {error}. The list is as before."
        index = self._all.index
        names = [name for name in index[fits] if matches(name)]
        statistic = self._statistic()
        if statistic is not None:
            ordered = statistic.reindex(names).sort_values(
                ascending=not self.descending, kind="stable", na_position="last"
            )
            names = list(ordered.index)
        self._within = set(names)
        return names, ""

    def _statistic(self) -> pd.Series | None:
        """What is sorted by, by name; missing for tensors that were not pruned."""
        if self.sort == _ORDER:
            return None
        if self.sort in self._all.columns:
            return self._all[self.sort].astype(float)
        return self._study.table([self.sort])[self.sort].astype(float)

    def _describe(self) -> None:
        """The bar of each tensor, of what is sorted by or else of the share retained, and its numbers beside it."""
        shown = "share" if self.sort == _ORDER else self.sort
        if self._described == shown:
            return
        self._described, measure = shown, MEASURES[shown]
        statistic = self._statistic()
        given = self._all["share"].astype(float) if statistic is None else statistic.reindex(self._all.index)
        values: NDArray[Any] = given.to_numpy(dtype=float)
        finite = np.abs(values[np.isfinite(values)])
        longest = 1.0 if measure.style == "share" else float(finite.max(initial=0)) or 1.0
        bars = [None if math.isnan(value) else value / longest for value in values.tolist()]
        shares, states = self._all["share"].to_numpy(dtype=float), self._all["status"]
        words = []
        for value, share, status in zip(values.tolist(), shares.tolist(), states, strict=True):
            retained = f"{share:.1%} retained"
            measured = retained if shown == "share" else f"{measure.brief(value) or '–'} · {retained}"
            words.append(measured if status == "pruned" else status)
        self._list.describe(bars, words)
        unit = f" ({measure.unit})" if measure.unit and measure.style != "count" else ""
        self._bars.value = f'<div class="kenviz-caption">{html.escape(f"Bars: {measure.label}{unit}")}</div>'

    def go(self, text: str = "") -> None:
        """Choose the first pruned tensor that fits, and the entry behind the name, as Enter does in the field.

        What is wrong, no such tensor or no such entry of it, is said below the list, and nothing is chosen.

        Args:
            text: The pattern; by default what the field says.
        """
        with self._lock:
            self.pattern = text or self.pattern
            name = next((name for name in self._names if name in self._study.tensors), None)
            entry = None if self.regex else split_entry(self.pattern)[1]
            problem = ""
            if name is None:
                problem = f"No pruned tensor fits {self.pattern!r}."
            elif entry is not None:
                rows, n = self._study.shape(name)
                if not (entry[0] < rows and entry[1] < n):
                    problem = f"{label(name)} has no entry {list(entry)}: it has {rows:,} rows × {n:,} columns."
            if problem or name is None:
                self._say(problem)
                return
            self.chosen = name
            self.entry = None
            self.entry = entry

    def _pick(self, name: str) -> None:
        with self._lock:
            self.chosen = name

    def _point(self, _: object) -> None:
        """Mark the chosen tensor in the list, if it is there."""
        with self._lock:
            with self._list.hold_sync():
                self._list.point(self._numbers[self.chosen] if self.chosen in self._within else -1)
            self._say("")

    def _say(self, problem: str) -> None:
        lines = [problem or f"{len(self._names):,} of {len(self._all):,} tensors."]
        if self.chosen:
            line = self._all.loc[self.chosen]
            why = f": {line['reason']}" if line["reason"] else ""
            shape = " × ".join(f"{side:,}" for side in line["shape"]) or "scalar"
            lines.append(f"{label(self.chosen)} is {line['status']}{why}. {line['dtype']} {shape}.")
        text = "<br>".join(html.escape(label(line, 400)) for line in lines)
        style = "line-height: 1.4; overflow-wrap: anywhere"
        self._words.value = f'<div class="kenviz-caption" role="status" style="{style}">{text}</div>'


def matcher(pattern: str, regex: bool = False) -> Callable[[str], bool]:
    """A function that says whether a name fits; raises `re.error` if the pattern is no expression.

    >>> [matcher(p)("layer.0.Query.weight") for p in ("query", "layer.0 query", "*.query.*", "*.query", "")]
    [True, True, True, False, True]
    """
    if regex or any(sign in pattern for sign in "*?["):
        wanted = re.compile(pattern if regex else rf"\A{fnmatch.translate(pattern)}", re.IGNORECASE)
        return lambda name: wanted.search(name) is not None
    words = pattern.lower().split()
    return lambda name: pattern.lower() in (lower := name.lower()) or all(word in lower for word in words)


def _as_number(layer: str) -> tuple[bool, float]:
    return (True, float(layer)) if layer.isdigit() else (False, 0.0)


def _choices(values: list[str]) -> list[tuple[str, str]]:
    """Values as they can be read, and apart: the end of a long name says more than its beginning."""
    return list(zip(apart([last(value, 36) for value in values]), values, strict=True))


def _sorted_by(name: str) -> str:
    """What can be sorted by, in words, with its unit."""
    if name == _ORDER:
        return name
    measure = MEASURES[name]
    return (
        f"{measure.label}, {measure.unit}"
        if measure.unit and measure.style not in ("share", "count")
        else measure.label
    )
