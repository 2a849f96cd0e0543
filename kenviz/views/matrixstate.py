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
from kenviz.figures import legends, matrix
from kenviz.figures.matrix import Shown
from kenviz.quantities import FIXED, QUANTITIES
from kenviz.study import Study
from kenviz.views.base import View
from kenviz.views.goto import GoTo

_NARROW = {"width": "min(240px, 100%)"}
_SMALL = {"width": "min(170px, 100%)"}
#: Going to an entry shows at most this many rows and columns around it.
_AROUND = 60.0


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

    def _open(self) -> None:
        """Show all of the matrix, and no entry."""
        self.set_trait("entry", None)
        self._widen()

    def _widen(self) -> None:
        rows, n = self._shape
        self.set_trait("rows", (0.0, float(rows)))
        self.set_trait("columns", (0.0, float(n)))

    def show_all(self) -> None:
        """Zoom out to the whole matrix."""
        with self._lock:
            with self._settled():
                self._widen()
            self._update()

    def go_to(self, row: int, column: int) -> None:
        """Choose an entry, and show it together with what is around it, entry by entry.

        Raises `traitlets.TraitError` if there is no such entry; nothing changes then.
        """
        with self._lock:
            with self._settled():
                self.entry = (row, column)
                for name, at, size in (("rows", row, self._shape[0]), ("columns", column, self._shape[1])):
                    low, high = sorted(getattr(self, name))
                    span = min(high - low, _AROUND)
                    start = min(max(at + 0.5 - span / 2, 0.0), max(size - span, 0.0))
                    if not (low <= at and at + 1 <= high and high - low <= _AROUND):
                        self.set_trait(name, (start, start + span))
            self._update()

    # ---- controls

    def _make_controls(self) -> None:
        self._shows = ipywidgets.Dropdown(
            options=quantities.offered(self._study), value=self.show, description="show", layout=_NARROW
        )
        self._clips = ipywidgets.BoundedFloatText(
            value=self.clip,
            min=0.001,
            max=1,
            step=0.005,
            description="clip",
            layout=_SMALL,
            tooltip="Quantile of the absolute tile values at which the scale of colours ends",
        )
        self._to = GoTo(self)

    def _follow(self) -> None:
        """Let the controls offer what there is."""
        with self._sync():
            self._clips.disabled = self.show in FIXED
            self._to.follow(self._shape, self.entry)

    # ---- what is drawn

    def _draw_colours(self, tiles: Shown) -> None:
        self.pane.set("codes", **matrix.colours(tiles))
        self.pane.set("scale", **matrix.scale(tiles))

    def _draw_legend(self, shown: list[Shown], most: int = matrix.MOST_MARKS) -> None:
        told = legends.items(shown, QUANTITIES[self.show].missing, most)
        self.pane.set("legend", visible=any(there for there, _ in told.values()))
        for name, (there, words) in told.items():
            self.pane.set(name, visible=there, label=words)

    def _at(self, event: dict[str, Any]) -> tuple[int, int] | None:
        """The entry at which the figure of a matrix was tapped, if there is one."""
        row, column = int(event["y"] // 1), int(event["x"] // 1)
        rows, n = self._shape
        return (row, column) if 0 <= row < rows and 0 <= column < n else None

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
