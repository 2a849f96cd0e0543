"""What views of a part of a matrix share: which part, in the traits and in the ranges of the figure."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import traitlets
from bokeh.models import Range1d

from kenviz.text.labels import NARROW, label
from kenviz.tiles.tiles import Tiles
from kenviz.views.base import View


class PartView(View):
    """A view of some rows and columns of a matrix: each (from, to) in entries, in this order, some in the matrix.

    The ranges "rows" and "columns" of its figure are those, row 0 on top; its title "name" is the matrix.
    """

    #: Characters of the matrix' name in the title.
    NARROW = NARROW

    rows = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 0.0), help="Rows shown.")
    columns = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 0.0), help="Columns shown.")

    # ---- what subclasses say

    @property
    def _shape(self) -> tuple[int, int]:
        """(rows, columns) of the matrix."""
        raise NotImplementedError

    def _open(self) -> None:
        """Begin with another matrix: show all of it."""
        rows, columns = self._shape
        self._assign(rows=(0.0, float(rows)), columns=(0.0, float(columns)))

    def _moved(self, name: str, start: float, end: float) -> None:
        """A range of the figure was moved in the browser. Called with the lock held."""
        self.set_trait(name, (start, end))

    def _tapped(self, event: dict[str, Any]) -> None:
        """A figure was tapped in the browser. Called with the lock held."""

    # ---- the part in the traits

    @traitlets.validate("rows", "columns")
    def _valid_part(self, proposal: dict[str, Any]) -> tuple[float, float]:
        first, last = sorted(proposal["value"])
        name = proposal["trait"].name
        size = self._shape[0 if name == "rows" else 1]
        if not (math.isfinite(first) and math.isfinite(last) and first < size and last > 0):
            part = "{} to {}".format(*proposal["value"])
            raise traitlets.TraitError(f"{name} must be a part of 0 to {size}, got {part}")
        return first, last

    # ---- the part in the figure

    def _heard(self, event: dict[str, Any]) -> None:
        with self._lock:
            if event["kind"] == "range" and event["name"] in ("rows", "columns"):
                self._moved(event["name"], float(event["start"]), float(event["end"]))
            elif event["kind"] == "tap":
                self._tapped(event)

    def _range(self, name: str) -> Range1d:
        shown: Any = self.figure.select_one({"name": name})
        return shown

    def _draw_range(self, name: str) -> None:
        """Move the range of that name to the part that is shown, unless it is there."""
        low, high = getattr(self, name)
        start, end = (high, low) if name == "rows" else (low, high)
        shown = self._range(name)
        if (shown.start, shown.end) != (start, end):
            self.pane.set(name, start=start, end=end)

    def _draw_another(self, name: str) -> None:
        """Move both ranges to another matrix, of that name. Bounds first: BokehJS cuts what it is sent to those."""
        rows, columns = self._shape
        self.pane.set("rows", bounds=(0, rows), reset_start=rows, reset_end=0)
        self.pane.set("columns", bounds=(0, columns), reset_start=0, reset_end=columns)
        self._draw_range("rows")
        self._draw_range("columns")
        self.pane.set("name", text=label(name, self.NARROW))


def numbers(tiles: Tiles) -> pd.DataFrame:
    """What the tiles show, indexed by the first row and column of each."""
    at = tiles.place
    index = pd.RangeIndex(at.first_row, at.first_row + at.rows * at.tile_rows, at.tile_rows, name="row")
    end = at.first_column + at.columns * at.tile_columns
    columns = pd.RangeIndex(at.first_column, end, at.tile_columns, name="column")
    return pd.DataFrame(tiles.values, index=index, columns=columns)
