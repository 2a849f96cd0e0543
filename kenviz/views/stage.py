"""The stage of the Explorer: one view at a time, made when its tab is first opened, at the place that is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ipywidgets
from bokeh.models import Plot

import ken
from kenviz.study.study import Study
from kenviz.views.base import View
from kenviz.views.layers import LayersView
from kenviz.views.neighbours import NeighbourView
from kenviz.views.side_by_side import SideBySideView
from kenviz.views.tabs import Tabs

#: Heights on the stage, in pixels, by the name of the figure: what belongs to one question is seen without scrolling.
_HEIGHTS = {"matrix": 225, "row_marginal": 225, "column_marginal": 150, "row": 200, "strip": 120, "close": 150}
_HEIGHTS |= {"layers": 140}  # the words above plots side by side
#: Views whose decision card stands in the column beside them.
_CARD_BESIDE = ("matrix", "row", "layers", "comparison")


class Panel(NamedTuple):
    """What a tab says, and what makes its view when it is first opened."""

    title: str
    make: Callable[[], View]


class Stage(ipywidgets.VBox):
    """Tabs, and the view of the one that is chosen; panels are by the name of the tab.

    >>> stage = Stage({"row": Panel("one row", lambda: print("made"))})
    >>> stage.made, stage.tabs.options
    ({}, [('row', 'one row')])
    """

    def __init__(self, panels: Mapping[str, Panel]) -> None:
        self.panels: dict[str, Panel] = {}
        #: The views that there are, by tab.
        self.made: dict[str, View] = {}
        self.tabs = Tabs()
        self._panel = ipywidgets.VBox()
        self._panel.add_class("kenviz-panel")
        super().__init__([self.tabs, self._panel])
        self.add_class("kenviz-stage")
        for name, panel in panels.items():
            self.add(name, panel)

    def add(self, name: str, panel: Panel) -> None:
        """Add a tab, behind the others; or give the one of that name another view, at once if it is open."""
        self.panels[name] = panel
        self.tabs.options = [(name, panel.title) for name, panel in self.panels.items()]
        if self.made.pop(name, None) is not None and name == self.tabs.value:
            self.turn_to(name)

    def turn_to(self, name: str) -> View:
        """Show the view of that tab, and give it."""
        if name not in self.made:
            self.made[name] = _lowered(self.panels[name].make())
        self.tabs.value = name
        (self._panel.add_class if name in _CARD_BESIDE else self._panel.remove_class)("kenviz-carded")
        self._panel.children = [self.made[name]]
        return self.made[name]

    def follow(self, tensor: str, row: int, column: int) -> None:
        """Bring the view that is shown to a tensor and an entry, as far as it has them; matrix and row are there."""
        view = self.made.get(self.tabs.value)
        if isinstance(view, NeighbourView):
            view.tensor = tensor
        elif isinstance(view, SideBySideView):
            view.tensor = tensor
            view.entry = None if column < 0 else (row, column)
        elif isinstance(view, LayersView) and view.shows(tensor):
            view.go_to_tensor(tensor, None if column < 0 else (row, column))


def panels(
    study: Study,
    matrix: View,
    make_row: Callable[[], View] | None,
    *,
    tensor: Callable[[], str],
    beside: Mapping[str, ken.Subnetwork],
) -> dict[str, Panel]:
    """What the stage can show of a subnetwork, and of others beside it; tensor gives the name of what is looked at."""
    made = {"matrix": Panel("matrix", lambda: matrix)}
    if make_row is not None:
        made["row"] = Panel("row", make_row)
    if study.shares["layer"].notna().any():
        made["layers"] = Panel("all layers", lambda: LayersView(study.net, study))
    made["neighbours"] = Panel("neighbours", lambda: NeighbourView(study.net, study, tensor()))
    if beside or study.pair is not None:
        nets = {"this one": study.net, **beside}
        made["comparison"] = Panel("comparison", lambda: SideBySideView(nets, study, tensor()))
    return made


def _lowered(view: View) -> View:
    """A view with figures as low as the stage needs them; what is exported has those it has elsewhere."""
    document = view.figure.document
    for model in () if document is None else list(document.models):
        if isinstance(model, Plot) and model.name in _HEIGHTS:
            model.height = _HEIGHTS[model.name]
            for axis in model.yaxis:
                axis.axis_label_text_font_size = "10px"  # or it would be longer than the axis
    return view


def subjects(map_there: bool, made: Mapping[str, Any], card_there: bool) -> list[str]:
    """What can be pinned, the likeliest first."""
    return [*(["decision"] if card_there else []), *reversed(list(made)), *(["map"] if map_there else [])]


def described(study: Study, tensor: str, row: int, *, column: int) -> str:
    """What is looked at, in words."""
    rows, n = study.shape(tensor)
    place = ken.retention.place(tensor)
    words = [f"{rows:,} rows × {n:,} columns", f"row {row:,}"]
    if place.layer is not None:
        words.insert(0, f"layer {place.layer}")
    if study.stack(tensor) is not None:
        words.append(study.place_in_stack(tensor, row))
    words.append(f"column {column:,}" if column >= 0 else "no entry chosen")
    return ", ".join(words)
