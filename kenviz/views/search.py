"""TensorSearch: a list of all tensors, searched, filtered and sorted."""

from __future__ import annotations

import fnmatch
import html
import re
from collections.abc import Callable
from typing import Any

import ipywidgets
import pandas as pd
import traitlets

import ken
from kenviz.study.study import Study
from kenviz.text.labels import apart, label
from kenviz.text.measures import MEASURES
from kenviz.views.base import Stateful

_ANY = "any"
_OUTSIDE = "outside of layers"
_ORDER = "model order"
# What can be sorted by without reading the models comes first.
_OWN = ["share", "retained", "entries", "rows", "row_length"]
_READ = [name for name in MEASURES if name not in _OWN]


class TensorSearch(Stateful):
    """All tensors of a subnetwork, narrowed down by pattern, kind, layer and status, and sorted by a statistic.

    pattern is a part of a name, a glob (`*`, `?`, `[…]`) of the whole name, or with regex=True an expression that is
    found anywhere; upper and lower case are the same. An invalid expression leaves the list as it was, and says so.
    chosen is the tensor that is picked, empty before one is; it stays when the list no longer has it.

    >>> import torch, ken
    >>> pair = ken.Pair({"a.1.w": torch.eye(4), "b.w": torch.ones(2, 4)}, {"a.1.w": torch.zeros(4, 4)})
    >>> search = TensorSearch(Study(ken.prune(*pair, k=2), pair))
    >>> search.pattern = "*.w"; search.status = "carried"
    >>> search.names
    ['b.w']
    """

    STATE = ("pattern", "regex", "kind", "layer", "status", "sort", "descending")

    pattern = traitlets.Unicode(help="Part of a name, glob, or regular expression.")
    regex = traitlets.Bool(False, help="Whether the pattern is a regular expression.")
    kind = traitlets.Unicode(_ANY, help="Kind of matrix.")
    layer = traitlets.Unicode(_ANY, help="Layer, as text.")
    status = traitlets.Unicode(_ANY, help="pruned, unchanged, carried, tied, from pretrained, or only in pretrained.")
    sort = traitlets.Unicode(_ORDER, help="Statistic that the list is sorted by.")
    descending = traitlets.Bool(True, help="Largest first.")
    chosen = traitlets.Unicode(help="The tensor that was picked.")

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
        wide = {"width": "auto"}
        self._controls: dict[str, ipywidgets.Widget] = {
            "pattern": ipywidgets.Text(
                description="find", placeholder="part of a name, or *.query.*", continuous_update=True, layout=wide
            ),
            "regex": ipywidgets.Checkbox(description="regular expression", indent=False, layout=wide),
            **{
                name: ipywidgets.Dropdown(
                    options=[(label(choice, 60), choice) for choice in choices], description=name, layout=wide
                )
                for name, choices in self._choices.items()
            },
            "descending": ipywidgets.Checkbox(description="largest first", indent=False, layout=wide),
        }
        self._list = ipywidgets.Select(options=[], rows=12, layout=wide)
        self._words = ipywidgets.HTML()
        self.children = [*self._controls.values(), self._list, self._words]
        for name, control in self._controls.items():
            self._bind(control, name)
        self._list.observe(self._picked, "value")
        self.observe(self._narrow, list(self.STATE))
        self.observe(self._point, "chosen")
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
                with self._syncing:  # the list is emptied and filled: nobody has picked anything
                    self._list.value = None
                    self._list.options = _options(names, self._statistic())
                self._point(None)
            self._say(problem)

    def _fitting(self) -> tuple[list[str] | None, str]:
        """Names that fit, in order; None and what is wrong if the pattern is no expression."""
        table = self._all
        for column in ("kind", "layer", "status"):
            if getattr(self, column) != _ANY:
                table = table[table[column] == getattr(self, column)]
        try:
            fits = matcher(self.pattern, self.regex)
        except re.error as error:
            return None, f"Not a regular expression: {error}. The list is as before."
        names = [name for name in table.index if fits(name)]
        values = self._statistic()
        if values is not None:
            ordered = values.reindex(names).sort_values(
                ascending=not self.descending, kind="stable", na_position="last"
            )
            names = list(ordered.index)
        return names, ""

    def _statistic(self) -> pd.Series | None:
        """What is sorted by, by name; missing for tensors that were not pruned."""
        if self.sort == _ORDER:
            return None
        if self.sort in self._all.columns:
            return self._all[self.sort].astype(float)
        return self._study.table([self.sort])[self.sort].astype(float)

    def _picked(self, change: dict[str, Any]) -> None:
        with self._lock:
            if change["new"] and not self._syncing:
                self.chosen = change["new"]

    def _point(self, _: object) -> None:
        """Mark the chosen tensor in the list, if it is there."""
        with self._lock:
            self._list.value = self.chosen if self.chosen in self._names else None
            self._say("")

    def _say(self, problem: str) -> None:
        lines = [problem or f"{len(self._names):,} of {len(self._all):,} tensors."]
        if self.chosen:
            line = self._all.loc[self.chosen]
            why = f": {line['reason']}" if line["reason"] else ""
            shape = " × ".join(f"{side:,}" for side in line["shape"]) or "scalar"
            lines.append(f"{label(self.chosen)} is {line['status']}{why}. {line['dtype']} {shape}.")
        text = "<br>".join(html.escape(label(line, 400)) for line in lines)
        self._words.value = f'<div role="status" style="line-height: 1.4; overflow-wrap: anywhere">{text}</div>'


def matcher(pattern: str, regex: bool = False) -> Callable[[str], bool]:
    """A function that says whether a name fits; raises `re.error` if the pattern is no expression.

    >>> [matcher(p)("layer.0.Query.weight") for p in ("query", "*.query.*", "*.query", "")]
    [True, True, False, True]
    """
    if regex or any(sign in pattern for sign in "*?["):
        wanted = re.compile(pattern if regex else rf"\A{fnmatch.translate(pattern)}", re.IGNORECASE)
        return lambda name: wanted.search(name) is not None
    return lambda name: pattern.lower() in name.lower()


def _as_number(layer: str) -> tuple[bool, float]:
    return (True, float(layer)) if layer.isdigit() else (False, 0.0)


def _options(names: list[str], values: pd.Series | None) -> list[tuple[str, str]]:
    """Names as they can be read, and apart, each with what the list is sorted by."""
    if values is None:
        texts = [label(name, 80) for name in names]
    else:
        texts = [
            f"{'–' if pd.isna(value) else f'{value:.4g}'}   {label(str(name), 80)}"
            for name, value in values.reindex(names).items()
        ]
    return list(zip(apart(texts), names, strict=True))
