"""MatrixView: the mask of one matrix of any size, entry by entry when zoomed in."""

from __future__ import annotations

import math
from typing import Any, cast

import pandas as pd
import traitlets
from bokeh.models import Plot, Range1d

import ken
from ken.retention import PairOfModels
from kenviz.figures import matrix as figures
from kenviz.figures.labels import label
from kenviz.rasters import Tiles
from kenviz.study import Study
from kenviz.views.tensors import TensorView


class MatrixView(TensorView):
    """Which entries of a matrix are retained.

    tensor, rows and columns are the state: rows and columns are the part that is shown, (from, to) in entries.
    Zooming and panning in the browser sets them, and new tiles are computed for what is shown.

    >>> import torch
    >>> net = ken.prune({"w": torch.rand(600, 900)}, {"w": torch.zeros(600, 900)}, k=300)
    >>> view = MatrixView(net)
    >>> view.exact
    False
    >>> view.rows, view.columns = (100, 150), (0, 80)
    >>> view.exact
    True
    """

    STATE = ("tensor", "rows", "columns")

    rows = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 0.0), help="Rows shown.")
    columns = traitlets.Tuple(traitlets.Float(), traitlets.Float(), default_value=(0.0, 0.0), help="Columns shown.")

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels | Study | None = None,
        tensor: str | None = None,
        rows: tuple[float, float] | None = None,
        columns: tuple[float, float] | None = None,
        *,
        theme: str = "auto",
    ) -> None:
        super().__init__(net, pair, tensor, theme)
        self._choose(self._picker.value)
        for name, part in (("rows", rows), ("columns", columns)):
            if part is not None:
                self.set_trait(name, part)
        self._read()
        self._start([self._picker], self._figure())
        self._bind(self._picker, "tensor")

    def _listen(self) -> None:
        self.pane.on_event(self._heard)

    @traitlets.validate("rows", "columns")
    def _valid_part(self, proposal: dict[str, Any]) -> tuple[float, float]:
        first, last = proposal["value"]
        name = proposal["trait"].name
        size = self._pyramid.shape[0 if name == "rows" else 1]
        if not (math.isfinite(first) and math.isfinite(last) and min(first, last) < size and max(first, last) > 0):
            raise traitlets.TraitError(f"{name} must be a part of 0 to {size}, got {first} to {last}")
        return first, last

    def _choose(self, tensor: str) -> None:
        self._pyramid = self._study.pyramid(tensor)
        with self.hold_trait_notifications():
            self.set_trait("tensor", tensor)
            self.set_trait("rows", (0.0, float(self._pyramid.shape[0])))
            self.set_trait("columns", (0.0, float(self._pyramid.shape[1])))
        self._read()

    def _read(self) -> None:
        self._tiles = self._pyramid.tiles(self.rows, self.columns)
        rows, n = self._pyramid.shape
        kept = self._study.tensor(self.tensor).retained
        self.caption = (
            f"Mask of {label(self.tensor)}: {kept:,} of {rows * n:,} entries are retained ({kept / (rows * n):.1%}). "
            + figures.note(self._tiles, self._pyramid.shape).capitalize()
            + "."
        )

    @property
    def tiles(self) -> Tiles:
        """The tiles that are shown now."""
        return self._tiles

    @property
    def exact(self) -> bool:
        """True if every tile that is shown is one entry."""
        return self._tiles.exact

    @traitlets.observe("tensor")
    def _changed(self, _: object) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock:
            self._choose(self.tensor)
            rows, n = self._pyramid.shape
            with self.pane.hold():
                self.pane.set("rows", start=rows, end=0, bounds=(0, rows), reset_start=rows, reset_end=0)
                self.pane.set("columns", start=0, end=n, bounds=(0, n), reset_start=0, reset_end=n)
                self.pane.set("name", text=label(self.tensor))
                self._redraw()

    @traitlets.observe("rows", "columns")
    def _moved(self, change: dict[str, Any]) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock:
            self._read()
            with self.pane.hold():
                start, end = change["new"]
                down = change["name"] == "rows"  # row 0 is on top
                start, end = (max(start, end), min(start, end)) if down else (min(start, end), max(start, end))
                plot = cast(Plot, self.figure)
                shown = cast(Range1d, plot.y_range if down else plot.x_range)
                if (shown.start, shown.end) != (start, end):
                    self.pane.set(change["name"], start=start, end=end)
                self._redraw()

    def _heard(self, event: dict[str, Any]) -> None:
        if event["kind"] == "range" and event["name"] in ("rows", "columns"):
            bounds = sorted((float(event["start"]), float(event["end"])))
            self.set_trait(event["name"], (bounds[0], bounds[1]))

    def _redraw(self) -> None:
        self.pane.patch("tiles", **figures.columns(self._tiles))
        self.pane.set("note", text=figures.note(self._tiles, self._pyramid.shape))

    def _figure(self) -> Plot:
        plot = figures.build(self._tiles, self._pyramid.shape, self.tensor, self.colours)
        plot.y_range.update(start=max(self.rows), end=min(self.rows))
        plot.x_range.update(start=min(self.columns), end=max(self.columns))
        return plot

    def numbers(self) -> pd.DataFrame:
        """The tiles shown: percent retained, indexed by the first row and column of each tile."""
        with self._lock:
            tiles = self._tiles
        rows, across = tiles.percent.shape
        return pd.DataFrame(
            tiles.percent,
            index=pd.RangeIndex(tiles.first_row, tiles.first_row + rows * tiles.tile_rows, tiles.tile_rows, name="row"),
            columns=pd.RangeIndex(
                tiles.first_column, tiles.first_column + across * tiles.tile_columns, tiles.tile_columns, name="column"
            ),
        )
