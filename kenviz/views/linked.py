"""What links the parts of an Explorer: one tensor, row and entry for all of them, and the states that were shown."""

from __future__ import annotations

from typing import Any

import traitlets

from kenviz.study.study import Study
from kenviz.views.base import Exported, Phase, Stateful, View, refusal
from kenviz.views.desk import Desk
from kenviz.views.history import History
from kenviz.views.matrix import MatrixView
from kenviz.views.retention import RetentionView
from kenviz.views.row import RowView
from kenviz.views.row_base import usual_state
from kenviz.views.search import TensorSearch
from kenviz.views.stage import Stage

# Traits that a slider, a wheel or typing moves in many small steps: together they are one step back.
# A zoom moves rows and columns.
_DRAGGED = {name: name for name in ("row", "k", "bandwidth", "step", "pattern", "clip")}
_DRAGGED |= {"rows": "zoom", "columns": "zoom"}


# Traits of the views of the stage that name another place: what was tapped there.
_TAPPED = {"layers": ["tensor", "entry"], "neighbours": ["tensor"], "comparison": ["tensor", "entry"]}


class Linked(Exported):
    """One place in the models, which all parts are brought to, whichever of them is moved; with a history.

    Subclasses make the parts, call `_link`, and say what is to be said when something has changed (`_say`).
    """

    tensor = traitlets.Unicode(help="Name of the pruned tensor that is looked at.")
    row = traitlets.Int(0, help="Row of the tensor, from 0.")
    column = traitlets.Int(-1, help="Column of the entry that is looked at; -1 if none is.")
    stage = traitlets.Unicode("matrix", help="What the stage shows, one of `stages`.")

    search: TensorSearch
    map: RetentionView | None
    matrix: MatrixView
    effects: View | None
    stage_box: Stage
    _study: Study
    _moving: Phase
    _parts: dict[str, Stateful]
    _history: History
    _desk: Desk
    #: Why this place is looked at, after a jump.
    _remark = ""
    _row_view: RowView | None = None

    @property
    def row_view(self) -> RowView | None:
        """The row, which is made when it is first looked at; None without the pair of models."""
        return None if self._study.pair is None else self._need_row_view()

    @property
    def stages(self) -> list[str]:
        """What the stage can show."""
        return list(self.stage_box.panels)

    @property
    def views(self) -> list[View]:
        """The views that there are: map, matrix, row, effects, and those whose tabs were opened."""
        parts = [part for part in self._parts.values() if isinstance(part, View)]
        if self.effects is not None:
            parts.append(self.effects)
        return parts + [view for view in self.stage_box.made.values() if view not in parts]

    def _say(self) -> None:
        """Keep true what is said about what is shown."""
        raise NotImplementedError

    # ---- links

    def _link(self) -> None:
        self.observe(self._moved, ["tensor", "row", "column"])
        self.observe(self._rethemed, "theme")
        self.search.observe(self._picked, "chosen")
        self.search.observe(self._found, "entry")
        self.observe(self._show_stage, "stage")
        self.observe(lambda _: self._desk.pin_box.show(self.pins), "pins")
        self.stage_box.tabs.observe(self._turned, "value")
        for view in self.views:
            view.observe(self._picked, "tensor")
        self.matrix.observe(lambda change: self._enter(change["new"]), "entry")
        for part in self._parts.values():
            part.observe(self._note, list(part.STATE))
        self._undo.on_click(lambda _: self.undo())
        self._redo.on_click(lambda _: self.redo())
        self._toggle.observe(lambda _: self._say(), "value")

    def _need_row_view(self) -> RowView:
        """The row at the place that is looked at, linked from now on: half of what an Explorer takes to open."""
        with self._lock:
            if self._row_view is None:
                made = RowView(
                    self._study.net, self._study, self.tensor, row=self.row, entry=self.column, theme=self.theme
                )
                self._row_view = self._parts["row_view"] = made
                # Its card is that of its settings, which are the subnetwork's own until they are moved.
                self._desk.use_card(made.decision_card)
                made.observe(self._picked, "tensor")
                made.observe(lambda _: self._follow(), ["row", "entry"])
                made.observe(self._note, list(made.STATE))
            return self._row_view

    def _picked(self, change: dict[str, Any]) -> None:
        """Another tensor; one that was not pruned is only described in the list."""
        with self._lock:
            if not self._moving and change["new"] in self._study.tensors:
                self.tensor = change["new"]

    def _found(self, change: dict[str, Any]) -> None:
        """An entry that was written behind a name in the search."""
        with self._lock:
            if not self._moving and change["new"] is not None:
                self._go(self.search.chosen, *change["new"])

    def _turned(self, change: dict[str, Any]) -> None:
        with self._lock:
            self.stage = change["new"]

    def _show_stage(self, _: object) -> None:
        """Open the view of the stage, and bring it to the place that is looked at."""
        with self._lock:
            known = self.stage in self.stage_box.made
            view = self.stage_box.turn_to(self.stage)
            view.theme = self.theme
            if not known and self.stage in _TAPPED:
                view.observe(self._tapped_on_stage, _TAPPED[self.stage])
            with self._moving:
                self.stage_box.follow(self.tensor, self.row, self.column)
            self._say()

    def _tapped_on_stage(self, _: object) -> None:
        """A view whose tab was opened has gone to another tensor, or entry."""
        with self._lock:
            view: Any = self.stage_box.made[self.stage]
            if self._moving or not view.tensor:
                return
            entry, same = getattr(view, "entry", None), view.tensor == self.tensor
            row, column = entry or ((self.row, self.column) if same else (0, -1))
            self._go(view.tensor, row, column)

    def _enter(self, entry: tuple[int, int] | None) -> None:
        with self._lock:
            if not self._moving and entry is not None:
                self._go(self.tensor, *entry)

    def _follow(self) -> None:
        with self._lock:
            view = self._row_view
            # A view that changes its tensor changes its row on the way; its tensor comes first here.
            if not self._moving and view is not None and view.tensor == self.tensor:
                self._go(self.tensor, view.row, view.entry)

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        with refusal():
            return self._study.check(proposal["value"])

    @traitlets.validate("stage")
    def _valid_stage(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in self.stage_box.panels:
            raise traitlets.TraitError(f"stage must be one of {', '.join(self.stages)}; got {proposal['value']!r}")
        return str(proposal["value"])

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
        self._remark = ""
        with self._moving:
            self.set_trait("tensor", tensor)
            self.set_trait("row", row)
            self.set_trait("column", column)
            self.search.chosen = tensor
            if self.map is not None and tensor in self.map.numbers().index:
                self.map.tensor = tensor
            self.matrix.tensor = tensor
            self.matrix.entry = None if column < 0 else (row, column)
            if self._row_view is not None:
                self._row_view.tensor = tensor
                self._row_view.row = row
                self._row_view.entry = column
            self.stage_box.follow(tensor, row, column)
        self._note(None)

    # ---- history

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        """The states of all parts, as plain values; of the row, too, if it has not been looked at."""
        states = {name: part.state for name, part in self._parts.items()}
        if self._row_view is None and self._study.pair is not None:
            states["row_view"] = usual_state(self._study, self.tensor, self.row, entry=self.column)
        return states

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
            row = state["row_view"]["row"] if "row_view" in state else entry[0] if entry else 0
            # A tensor before its row: the other way round a row could be out of range.
            self.set_trait("row", 0)
            self.set_trait("column", -1)
            self.set_trait("tensor", self.matrix.tensor)
            self.set_trait("row", row)
            self.set_trait("column", -1 if entry is None else entry[1])
            self.stage_box.follow(self.tensor, self.row, self.column)
        self._say()
