"""The state of a view of matrices: what is shown of them, which part, on which scale, and which entry is chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets
import pandas as pd
import traitlets
from bokeh.models import Range1d

from kenviz import quantities
from kenviz.figures.matrix import Shown
from kenviz.quantities import QUANTITIES
from kenviz.study import Study
from kenviz.views.base import View

_NARROW = {"width": "min(240px, 100%)"}


class MatrixState(View):
    """A part of one or more matrices of one shape.

    Subclasses say in `_shape` how large a matrix is, and bring everything else in line with the state in `_update`.
    """

    show = traitlets.Enum(list(QUANTITIES), "mask", help="What is shown; all but the mask needs the pair of models.")
    rows = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 0.0), help="Rows shown.")
    columns = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 0.0), help="Columns shown.")
    clip = traitlets.Float(0.99, help="Quantile of the absolute tile values at which the scale ends, 0 to 1.")
    entry: Any = traitlets.Tuple(
        traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True, help="(row, column) chosen, or None."
    )

    _study: Study
    _settling = False

    @property
    def _shape(self) -> tuple[int, int]:
        """(rows, columns) of a matrix."""
        raise NotImplementedError

    def _update(self) -> None:
        """Bring what is shown in line with the state. Called with the lock held."""
        raise NotImplementedError

    @traitlets.validate("show")
    def _valid_show(self, proposal: dict[str, Any]) -> str:
        try:
            return quantities.check(proposal["value"], self._study)
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None

    @traitlets.validate("rows", "columns")
    def _valid_part(self, proposal: dict[str, Any]) -> tuple[float, float]:
        first, last = proposal["value"]
        name = proposal["trait"].name
        size = self._shape[0 if name == "rows" else 1]
        if not (math.isfinite(first) and math.isfinite(last) and min(first, last) < size and max(first, last) > 0):
            raise traitlets.TraitError(f"{name} must be a part of 0 to {size}, got {first} to {last}")
        return first, last

    @traitlets.validate("clip")
    def _valid_clip(self, proposal: dict[str, Any]) -> float:
        if not 0 < proposal["value"] <= 1:
            raise traitlets.TraitError(f"clip is a quantile above 0, up to 1, got {proposal['value']}")
        return float(proposal["value"])

    @traitlets.validate("entry")
    def _valid_entry(self, proposal: dict[str, Any]) -> tuple[int, int] | None:
        if proposal["value"] is None:
            return None
        row, column = proposal["value"]
        rows, n = self._shape
        if not (0 <= row < rows and 0 <= column < n):
            raise traitlets.TraitError(
                f"entry must be (row, column) from (0, 0) to ({rows - 1}, {n - 1}), got ({row}, {column})"
            )
        return row, column

    # ---- parts of a change

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Change several traits; nothing is drawn in between, and nothing after unless `_update` is called."""
        with self._lock:
            before, self._settling = self._settling, True
            try:
                yield
            finally:
                self._settling = before

    def _whole(self) -> None:
        """Show all of the matrix, and no entry."""
        rows, n = self._shape
        self.set_trait("entry", None)
        self.set_trait("rows", (0.0, float(rows)))
        self.set_trait("columns", (0.0, float(n)))

    def go_to(self, row: int, column: int) -> None:
        """Choose an entry, and show it together with what is around it, entry by entry.

        Raises `traitlets.TraitError` if there is no such entry; nothing changes then.
        """
        with self._settled():
            self.entry = (row, column)
            for name, at, size in (("rows", row, self._shape[0]), ("columns", column, self._shape[1])):
                part = getattr(self, name)
                span = min(max(part) - min(part), _AROUND)
                start = min(max(at + 0.5 - span / 2, 0.0), max(size - span, 0.0))
                if not (min(part) <= at and at + 1 <= max(part) and max(part) - min(part) <= _AROUND):
                    self.set_trait(name, (start, start + span))
        with self._lock:
            self._update()

    # ---- ranges

    def _draw_ranges(self) -> None:
        """Move the ranges of the figure to the part that is shown, unless they are there."""
        for name in ("rows", "columns"):
            low, high = sorted(getattr(self, name))
            start, end = (high, low) if name == "rows" else (low, high)  # row 0 is on top
            shown = self._range(name)
            if (shown.start, shown.end) != (start, end):
                self.pane.set(name, start=start, end=end)

    def _bound_ranges(self) -> None:
        """Bound the ranges of the figure by the shape."""
        rows, n = self._shape
        self.pane.set("rows", bounds=(0, rows), reset_start=rows, reset_end=0)
        self.pane.set("columns", bounds=(0, n), reset_start=0, reset_end=n)

    def _range(self, name: str) -> Range1d:
        found: Any = self.pane.root.select_one({"name": name})
        return found

    def _moved(self, name: str, start: float, end: float) -> None:
        """A range of the figure was moved in the browser."""
        with self._lock:
            with self._settled():
                self.set_trait(name, (min(start, end), max(start, end)))
            other = "columns" if name == "rows" else "rows"
            shown = self._range(other)
            # A zoom moves both ranges, in one message: what is shown follows once, with the second.
            if sorted((shown.start, shown.end)) == sorted(getattr(self, other)):
                self._update()


#: Going to an entry shows at most this many rows and columns around it.
_AROUND = 60.0


def make_controls(view: MatrixState) -> tuple[ipywidgets.Dropdown, ipywidgets.BoundedFloatText, ipywidgets.Box]:
    """Controls of what is shown, of the quantile, and of the entry to go to, with buttons."""
    shows = ipywidgets.Dropdown(options=quantities.offered(view._study), description="show", layout=_NARROW)
    clip = ipywidgets.BoundedFloatText(
        value=0.99,
        min=0.001,
        max=1,
        step=0.005,
        description="clip",
        layout={"width": "min(170px, 100%)"},
        tooltip="Quantile of the absolute tile values at which the scale of colours ends",
    )
    return shows, clip, GoTo(view)


class GoTo(ipywidgets.HBox):
    """Row and column to go to, a button that goes there, and one that takes the mark away."""

    def __init__(self, view: MatrixState) -> None:
        wide = {"width": "min(170px, 100%)"}
        self.row = ipywidgets.BoundedIntText(description="to row", min=0, layout=wide, tooltip="Row of the entry")
        self.column = ipywidgets.BoundedIntText(
            description="column", min=0, layout=wide, tooltip="Column of the entry to go to"
        )
        self.go = ipywidgets.Button(description="go to", layout={"width": "70px"}, tooltip="Show and mark that entry")
        self.leave = ipywidgets.Button(description="unmark", layout={"width": "80px"}, tooltip="Choose no entry")
        self.go.on_click(lambda _: view.go_to(self.row.value, self.column.value))
        self.leave.on_click(lambda _: view.set_trait("entry", None))
        super().__init__([self.row, self.column, self.go, self.leave], layout={"flex_flow": "row wrap"})

    def follow(self, shape: tuple[int, int], entry: tuple[int, int] | None) -> None:
        """Offer what a matrix of that shape has; say where the chosen entry is."""
        for control, size, at in zip((self.row, self.column), shape, entry or (None, None), strict=True):
            control.value = min(control.value, size - 1)
            control.max = size - 1
            if at is not None:
                control.value = at
        self.leave.disabled = entry is None


def numbers(tiles: Shown) -> pd.DataFrame:
    """What the tiles show, indexed by the first row and column of each."""
    rows, across = tiles.values.shape
    return pd.DataFrame(
        tiles.values,
        index=pd.RangeIndex(tiles.first_row, tiles.first_row + rows * tiles.tile_rows, tiles.tile_rows, name="row"),
        columns=pd.RangeIndex(
            tiles.first_column, tiles.first_column + across * tiles.tile_columns, tiles.tile_columns, name="column"
        ),
    )
