"""NeighbourView: whether retained entries lie beside one another, and whether chance would do the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import traitlets
from bokeh.models import Column

import ken
from ken.retention import PairOfModels
from ken.retention.neighbour_chance import chance, z_score
from kenviz.figures import axes, matrix
from kenviz.figures import neighbours as figures
from kenviz.study.neighbour_chance import expected
from kenviz.study.study import Study
from kenviz.text.labels import NARROW, label
from kenviz.tiles.tiles import Tiles
from kenviz.views.parts import PartView, numbers
from kenviz.views.tensors import TensorView


class NeighbourView(PartView, TensorView):
    """For each retained entry of a matrix, how many of its neighbours (left, right, above, below) are retained.

    The map shows the counts, or their means where tiles are larger than an entry. Below it is their distribution,
    beside the one that is expected if the retained entries of each row lay at random,
    and the z-score of the pairs of neighbours (`neighbours_z` of `ken.retention.table`). Only the subnetwork is needed.

    tensor, rows and columns are the state: rows and columns are the part that is shown, (from, to) in entries.
    Zooming and panning in the browser sets them. Rows and columns are those of the rule, as the tensor was cut.

    >>> import torch
    >>> net = ken.prune({"w": torch.eye(6)}, {"w": torch.zeros(6, 6)}, k=1, rule="magnitude")
    >>> view = NeighbourView(net)
    >>> view.numbers()["entries"].tolist()
    [6, 0, 0, 0, 0]
    >>> round(view.z, 2)
    -1.0
    """

    STATE = ("tensor", "rows", "columns")

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
        self._settling = False
        self.set_trait("tensor", self._picker.value)
        self._count()
        for name, part in (("rows", rows), ("columns", columns)):
            if part is not None:
                self.set_trait(name, part)
        self._read()
        self._start([self._picker], self._figure())
        self._bind(self._picker, "tensor")

    def _listen(self) -> None:
        self.pane.on_event(self._heard)

    @property
    def _shape(self) -> tuple[int, int]:
        return self._found.shape

    # ---- from the state to what is shown

    def _count(self) -> None:
        """Count the tensor, and show it whole."""
        self._found = self._study.neighbours(self.tensor)
        n = self._shape[1]
        by_chance = chance(self._found.retained, n)
        self._distribution = figures.Distribution(self._found.distribution, expected(self._found.retained, n))
        self._z = z_score(self._found.pairs, by_chance)
        self._widen()

    def _read(self) -> None:
        self._tiles = self._found.tiles(self.rows, self.columns)
        rows, n = self._shape
        kept = int(self._found.distribution.sum())
        reading, note = (text.replace("\n", "; ") for text in (self._reading(), figures.note(self._tiles)))
        self.caption = (
            f"Neighbours in {label(self.tensor)}: {reading}. Chance is that of random masks with as many entries in "
            f"each row. {kept:,} of {rows * n:,} entries are retained{self._added()}. {note}."
        )

    def _added(self) -> str:
        tensor = self._study.tensor(self.tensor)
        added = tensor.entries - math.prod(tensor.pretrained.shape)
        return f", {added:,} of them because fine-tuning added them" if added else ""

    def _reading(self) -> str:
        kept = int(self._found.distribution.sum()) or math.nan
        found, by_chance = (float(of @ np.arange(5)) / kept for of in self._distribution)
        return figures.reading(found, by_chance, self.z)

    def _figure(self) -> Column:
        return figures.build(
            self._tiles,
            axes.ranges(self._shape, self.rows, self.columns),
            self._distribution,
            self.tensor,
            self._reading(),
            self.colours,
        )

    @traitlets.observe("tensor")
    def _changed(self, _: object) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock, self.pane.hold():
            self._settling = True
            try:
                self._count()
            finally:
                self._settling = False
            self._bound_ranges()
            self._draw_range("rows")
            self._draw_range("columns")
            self.pane.set("name", text=label(self.tensor, NARROW))
            self.pane.set("reading", text=self._reading())
            self.pane.set("shares", end=self._distribution.highest)
            self.pane.patch("bars", **self._distribution.columns())
            self._redraw()

    @traitlets.observe("rows", "columns")
    def _moved(self, change: dict[str, Any]) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock, self.pane.hold():
            if self._settling:  # another tensor is on its way, and is drawn once it is there
                return
            self._draw_range(change["name"])
            self._redraw()

    def _redraw(self) -> None:
        self._read()
        self.pane.patch("tiles", **matrix.columns(self._tiles))
        self.pane.patch("digits", **figures.digits(self._tiles))
        self.pane.set("note", text=figures.note(self._tiles))

    def _heard(self, event: dict[str, Any]) -> None:
        if event["kind"] == "range" and event["name"] in ("rows", "columns"):
            self.set_trait(event["name"], (float(event["start"]), float(event["end"])))

    # ---- what can be asked

    @property
    def z(self) -> float:
        """(pairs of retained neighbours − their expected number) / standard deviation; NaN if there is no choice."""
        return self._z

    @property
    def tiles(self) -> Tiles:
        """The tiles that are shown now."""
        return self._tiles

    @property
    def exact(self) -> bool:
        """True if every tile that is shown is one entry."""
        return self._tiles.exact

    def numbers(self) -> pd.DataFrame:
        """The distribution in the whole tensor: neighbours (index, 0 to 4), entries, share, expected, expected_share.

        entries are retained entries with so many retained neighbours, expected what they are on average in random
        masks; the shares are of all retained entries, NaN if there are none.
        """
        with self._lock:
            found, by_chance = self._distribution
        kept = float(found.sum()) or math.nan
        columns = {"entries": found, "share": found / kept, "expected": by_chance, "expected_share": by_chance / kept}
        return pd.DataFrame(columns, index=pd.RangeIndex(5, name="neighbours"))

    def means(self) -> pd.DataFrame:
        """The tiles shown: mean count, NaN where nothing is retained, by the first row and column of each tile."""
        with self._lock:
            return numbers(self._tiles)
