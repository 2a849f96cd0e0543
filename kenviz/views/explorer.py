"""Explorer: search, map, matrix, row and decision card of one subnetwork, linked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets
import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from kenviz.study.study import Study
from kenviz.text.labels import label
from kenviz.views.base import Exported, Phase, Stateful, View, refusal
from kenviz.views.history import History
from kenviz.views.matrix import MatrixView
from kenviz.views.retention import RetentionView
from kenviz.views.row import RowView
from kenviz.views.search import TensorSearch

# Traits that a slider, a wheel or typing moves in many small steps: together they are one step back.
# A zoom moves rows and columns.
_DRAGGED = {name: name for name in ("row", "k", "bandwidth", "step", "pattern", "clip")}
_DRAGGED |= {"rows": "zoom", "columns": "zoom"}


class Explorer(Exported):
    """All of a subnetwork: find a tensor, see where it stands, what was retained of it, of one row, and why.

    tensor, row and column are what is looked at: choosing a tensor in the list or on the map shows its matrix and its
    row; tapping an entry of the matrix shows its row and its decision card; choosing a row or an entry marks it in the
    matrix. The parts are `search`, `map`, `matrix` and `row_view`, with the traits they have elsewhere; a subnetwork
    without matrices has no map. Nothing is computed before it is shown: the map is coloured by the share retained until
    another measure is chosen.

    Args:
        net: The subnetwork.
        pair: The models it is of. Without them only the map by share and the mask are there.
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: Nothing was pruned, or the models are not those of the subnetwork.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> explorer = Explorer(ken.prune(*pair, k=2), pair)
        >>> explorer.row = 1; explorer.row_view.k = 3
        >>> print(explorer.code())
        explorer = kenviz.explore(net, pair)
        explorer.row = 1
        explorer.row_view.k = 3
        >>> explorer.undo()
        >>> explorer.row_view.k
        2
        >>> explorer.redo()
        >>> list(explorer.numbers())
        ['map', 'matrix', 'row_view']
    """

    tensor = traitlets.Unicode(help="Name of the pruned tensor that is looked at.")
    row = traitlets.Int(0, help="Row of the tensor, from 0.")
    column = traitlets.Int(-1, help="Column of the entry that is looked at; -1 if none is.")

    #: The view of effects whose groups open here; None if there is none.
    effects: View | None = None

    def __init__(self, net: ken.Subnetwork, pair: PairOfModels | Study | None = None, *, theme: str = "auto") -> None:
        self._study = Study.open(net, pair)
        super().__init__(self._study.lock, theme=theme)
        self._moving = Phase(self._lock)  # parts follow one another, and are not followed in turn
        first = _largest(self._study)
        self.search = TensorSearch(self._study)
        matrices = bool((self._study.shares["rows"] > 1).any())
        self.map = RetentionView(net, self._study, measure="share", theme=theme) if matrices else None
        self.matrix = MatrixView(net, self._study, tensor=first, theme=theme)
        self.row_view = None if self._study.pair is None else RowView(net, self._study, tensor=first, theme=theme)
        parts = {"search": self.search, "map": self.map, "matrix": self.matrix, "row_view": self.row_view}
        self._parts: dict[str, Stateful] = {name: part for name, part in parts.items() if part is not None}
        self._undo = ipywidgets.Button(description="undo", icon="undo", tooltip="Back to what was shown before")
        self._redo = ipywidgets.Button(description="redo", icon="repeat", tooltip="Forward again")
        self._toggle = ipywidgets.ToggleButton(description="Python", tooltip="The Python that leads here")
        self._python = ipywidgets.Textarea(layout={"width": "auto", "height": "10em"}, disabled=True)
        self.set_trait("tensor", first)
        self.search.chosen = first
        self._usual = self.state
        self._history = History(self._usual)
        self._arrange()
        self._link()
        self._say()

    # ---- what is shown

    def _arrange(self) -> None:
        top = ipywidgets.HBox([self._undo, self._redo, self._toggle], layout={"flex_flow": "row wrap"})
        side = ipywidgets.VBox([self.search], layout={"flex": "1 1 300px", "min_width": "min(300px, 100%)"})
        parts = [] if self.map is None else [self.map]
        main = ipywidgets.VBox(parts, layout={"flex": "3 1 480px", "min_width": "min(480px, 100%)"})
        beside = ipywidgets.HBox([side, main], layout={"flex_flow": "row wrap"})
        self.children = [top, self._python, beside, *(view for view in self.views if view is not self.map)]

    @property
    def net(self) -> ken.Subnetwork:
        """The subnetwork that is looked at."""
        return self._study.net

    @property
    def views(self) -> list[View]:
        """The views that there are: map, matrix, row, effects."""
        views = [part for part in self._parts.values() if isinstance(part, View)]
        return views if self.effects is None else [*views, self.effects]

    def attach(self, effects: View) -> None:
        """Show a view of effects below, which was made with this explorer: its groups open here.

        Args:
            effects: The view. What it shows is no step to undo, the tensor that it opens is.

        Example:
            ```python
            explorer.attach(kenviz.EffectView(ablation, net=net, explorer=explorer))
            ```
        """
        self.effects = effects
        self.children = [*self.children, effects]

    # ---- links

    def _link(self) -> None:
        self.observe(self._moved, ["tensor", "row", "column"])
        self.observe(self._rethemed, "theme")
        self.search.observe(self._picked, "chosen")
        for view in self.views:
            view.observe(self._picked, "tensor")
        self.matrix.observe(lambda change: self._enter(change["new"]), "entry")
        if self.row_view is not None:
            self.row_view.observe(lambda _: self._follow(), ["row", "entry"])
        for part in self._parts.values():
            part.observe(self._note, list(part.STATE))
        self._undo.on_click(lambda _: self.undo())
        self._redo.on_click(lambda _: self.redo())
        self._toggle.observe(lambda _: self._say(), "value")

    def _picked(self, change: dict[str, Any]) -> None:
        """Another tensor; one that was not pruned is only described in the list."""
        with self._lock:
            if not self._moving and change["new"] in self._study.tensors:
                self.tensor = change["new"]

    def _enter(self, entry: tuple[int, int] | None) -> None:
        with self._lock:
            if not self._moving and entry is not None:
                self._go(self.tensor, *entry)

    def _follow(self) -> None:
        with self._lock:
            view = self.row_view
            # A view that changes its tensor changes its row on the way; its tensor comes first here.
            if not self._moving and view is not None and view.tensor == self.tensor:
                self._go(self.tensor, view.row, view.entry)

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        with refusal():
            return self._study.check(proposal["value"])

    @traitlets.validate("row", "column")
    def _valid_place(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        sides = self._study.shape(self.tensor) if self.tensor else (1, 1)
        low, high = (0, sides[0]) if name == "row" else (-1, sides[1])
        if not low <= value < high:
            raise traitlets.TraitError(f"{name} must be from {low} to {high - 1} in {self.tensor}, got {value}")
        return int(value)

    def _moved(self, _: object) -> None:
        with self._lock:
            if not self._moving:
                rows, columns = self._study.shape(self.tensor)
                self._go(self.tensor, min(self.row, rows - 1), self.column if self.column < columns else -1)

    def _go(self, tensor: str, row: int, column: int) -> None:
        """Bring all parts to one tensor, row and entry: one step in the history."""
        with self._moving:
            self.set_trait("tensor", tensor)
            self.set_trait("row", row)
            self.set_trait("column", column)
            self.search.chosen = tensor
            if self.map is not None and tensor in self.map.numbers().index:
                self.map.tensor = tensor
            self.matrix.tensor = tensor
            self.matrix.entry = None if column < 0 else (row, column)
            if self.row_view is not None:
                self.row_view.tensor = tensor
                self.row_view.row = row
                self.row_view.entry = column
        self._note(None)

    # ---- history

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        """The states of all parts, as plain values."""
        return {name: part.state for name, part in self._parts.items()}

    def _note(self, change: dict[str, Any] | None) -> None:
        with self._lock:
            if self._moving or self.matrix.tensor != self.tensor:  # all others follow a tensor chosen in one view
                return
            cause = None if change is None else _DRAGGED.get(change["name"])
            self._history.push(self.state, cause)
            self._say()

    def undo(self) -> None:
        """Back to what was shown before; nothing happens if nothing was."""
        with self._lock:
            self._restore(self._history.undo())

    def redo(self) -> None:
        """Forward again to what `undo` came back from."""
        with self._lock:
            self._restore(self._history.redo())

    def _restore(self, state: dict[str, dict[str, Any]] | None) -> None:
        if state is None:
            return
        with self._moving:
            for name, part in self._parts.items():
                for trait, value in state[name].items():
                    setattr(part, trait, value)
            self.search.chosen = self.matrix.tensor
            entry = self.matrix.entry
            row = self.row_view.row if self.row_view is not None else entry[0] if entry else 0
            # A tensor before its row: the other way round a row could be out of range.
            self.set_trait("row", 0)
            self.set_trait("column", -1)
            self.set_trait("tensor", self.matrix.tensor)
            self.set_trait("row", row)
            self.set_trait("column", -1 if entry is None else entry[1])
        self._say()

    # ---- ways out

    def code(self) -> str:
        """Write the Python that leads to what is shown.

        Returns:
            A few lines, from a subnetwork `net` and a pair `pair`.
        """
        more = "" if self._study.effects is None else self._study.effects.arguments
        lines = [f"explorer = kenviz.explore(net, pair{more})"]
        for name, usual in (("tensor", self._usual["matrix"]["tensor"]), ("row", 0), ("column", -1)):
            if getattr(self, name) != usual:
                lines.append(f"explorer.{name} = {getattr(self, name)!r}")
        rows, columns = self._study.shape(self.tensor)
        whole: dict[tuple[str, str], Any] = {
            ("matrix", "rows"): (0.0, float(rows)),
            ("matrix", "columns"): (0.0, float(columns)),
            ("row_view", "k"): None if self.row_view is None else self.row_view.own_k(),
        }
        for name, state in self.state.items():
            for trait, value in state.items():
                usual = whole.get((name, trait), self._usual[name][trait])
                if trait not in ("tensor", "row", "entry") and value != usual:
                    lines.append(f"explorer.{name}.{trait} = {value!r}")
        return "\n".join(lines)

    def numbers(self) -> dict[str, pd.DataFrame]:
        """Give the numbers that the views show.

        Returns:
            A table a view: "map", "matrix", "row_view" and "effects", as far as they are there.
        """
        numbers = {name: part.numbers() for name, part in self._parts.items() if isinstance(part, View)}
        return numbers if self.effects is None else {**numbers, "effects": self.effects.numbers()}

    def _reads(self) -> Mapping[str, Any]:
        return self._study.reads()

    def _pages(self) -> tuple[str, list[tuple[LayoutDOM, str]]]:
        return f"Explorer: {label(self.tensor)}", [view.page() for view in self.views]

    def _say(self) -> None:
        """Keep the buttons and the code true."""
        self._undo.disabled = not self._history.can_undo
        self._redo.disabled = not self._history.can_redo
        self._python.value = self.code() if self._toggle.value else ""
        self._python.layout.display = "" if self._toggle.value else "none"

    def _rethemed(self, _: object) -> None:
        for view in self.views:
            view.theme = self.theme

    def __repr__(self) -> str:
        return f"Explorer({label(self.tensor)!r}: {len(self._study.tensors)} pruned tensors)"


def _largest(study: Study) -> str:
    """The matrix with the most entries, or the vector: what is looked at first."""
    if not study.tensors:
        study.check("")
    table = study.shares
    matrices = table[table["rows"] > 1]
    return str((table if matrices.empty else matrices)["entries"].idxmax())
