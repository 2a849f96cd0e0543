"""MatrixView: one matrix of any size, by its mask or its values, entry by entry when zoomed in."""

from __future__ import annotations

from typing import Any

import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from kenviz.figures import axes, lettering, matrix, matrix_text
from kenviz.figures import marginals as figures
from kenviz.study.quantities import QUANTITIES
from kenviz.study.study import Study
from kenviz.tiles.tiles import Tiles
from kenviz.views.card import CardBox
from kenviz.views.entry_card import entry_card
from kenviz.views.matrix_base import MatrixState
from kenviz.views.parts import numbers
from kenviz.views.tensors import TensorView


class MatrixView(MatrixState, TensorView):
    """A matrix in tiles, with the share retained of its rows and columns beside it.

    The state, which can be assigned to, moved with the controls, and given as keyword arguments:

    - tensor: which matrix
    - show: "mask", "retained" (values of retained entries), "update", "sign" (of the update), "pretrained" or
      "fine_tuned"
    - rows, columns: the part that is shown, (from, to) in entries; zooming and panning in the browser sets them
    - clip: the scale of a signed quantity ends at this quantile of the absolute tile values shown that are not 0
    - entry: (row, column) whose decision card is shown, None for none; a tap sets it

    A tile is one entry when zoomed in, and else the share (mask) or the mean of those it covers. Without a pair there
    is only the mask: a subnetwork knows its retained values only in relation to the pretrained ones. A
    `traitlets.TraitError` refuses what is not there, and changes nothing.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.rand(600, 900)}, {"w": torch.zeros(600, 900)})
    >>> view = MatrixView(ken.prune(*pair, k=300), pair)
    >>> view.exact
    False
    >>> view.rows, view.columns, view.show = (100, 150), (0, 80), "update"
    >>> view.exact
    True
    """

    STATE = ("tensor", "show", "rows", "columns", "clip", "entry")
    TILED = ("tensor", "show", "rows", "columns", "clip")

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels | Study | None = None,
        tensor: str | None = None,
        rows: tuple[float, float] | None = None,
        columns: tuple[float, float] | None = None,
        *,
        show: str = "mask",
        clip: float = 0.99,
        entry: tuple[int, int] | None = None,
        theme: str = "auto",
    ) -> None:
        super().__init__(net, pair, tensor, theme)
        self.set_trait("tensor", self._picker.value)
        self._open()
        given = {"show": show, "rows": rows, "columns": columns, "clip": clip, "entry": entry}
        for name, value in given.items():
            if value is not None:
                self.set_trait(name, value)
        self._make_controls()
        self._card = CardBox()
        self._read()
        self._drawn = self._read_for
        self._start([self._picker, self._shows, self._clips, self._to], self._figure())
        self.children = [self._controls, self.pane, self._note, self._card]
        for control, trait in ((self._picker, "tensor"), (self._shows, "show"), (self._clips, "clip")):
            self._bind(control, trait)

    @property
    def _shape(self) -> tuple[int, int]:
        return self._study.shape(self.tensor)

    @property
    def _names(self) -> list[str]:
        return [self.tensor]

    _observed = traitlets.observe(*STATE)(MatrixState._changed)

    def _tell(self) -> None:
        kept = self._study.tensor(self.tensor).retained
        self.caption = matrix_text.caption(
            self.tiles, self.show, self.clip, tensor=self.tensor, retained=kept, entry=self.entry
        )
        self._follow()
        self._card.show(None if self.entry is None else entry_card(self._study, self.tensor, self.entry))

    @property
    def tiles(self) -> Tiles:
        """The tiles that are shown now."""
        return self._tiles[0]

    @property
    def exact(self) -> bool:
        """True if every tile that is shown is one entry."""
        return self.tiles.exact

    def _sources(self) -> dict[str, dict[str, Any]]:
        return matrix.sources(self.tiles)

    def _draw_more(self, tiled: bool, other: bool) -> None:
        if other:
            for name in ("row_whole", "column_whole"):
                self.pane.set(name, location=self._whole_share())
        if tiled:
            shares = self._shares()
            for source, columns in figures.columns(shares, self._place).items():
                self.pane.patch(source, **columns)
            for name, percent in zip(("row_limits", "column_limits"), shares, strict=True):
                start, end = figures.limits(percent, self._whole_share())
                self.pane.set(name, start=start, end=end)

    def _lines(self) -> str:
        return matrix_text.lines(self.tiles, self.show, self.clip)

    def _shares(self) -> figures.Shares:
        return self._study.pyramid(self.tensor).shares(self._place)

    def _whole_share(self) -> float:
        rows, n = self._shape
        return 100 * self._study.tensor(self.tensor).retained / (rows * n)

    def _figure(self) -> LayoutDOM:
        return figures.build(
            self.tiles,
            self._shares(),
            self._whole_share(),
            axes.ranges(self._shape, self.rows, self.columns),
            lettering.Words(self.tensor, self._lines(), QUANTITIES[self.show].missing),
            self.entry,
            self.colours,
        )

    def _tapped(self, event: dict[str, Any]) -> None:
        if event["figure"] == "matrix":
            self.entry = self._at(event) or self.entry

    def numbers(self) -> pd.DataFrame:
        """The tiles shown, percent retained or mean values, indexed by the first row and column of each tile."""
        with self._lock:
            return numbers(self.tiles)
