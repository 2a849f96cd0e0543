"""MatrixView: one matrix of any size, by its mask or its values, entry by entry when zoomed in."""

from __future__ import annotations

from typing import Any

import pandas as pd
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from kenviz.figures import marginals as figures
from kenviz.figures import matrix, matrix_text
from kenviz.study.study import Study
from kenviz.tiles.tiles import Tiles
from kenviz.views.controls import rest_button
from kenviz.views.matrix_base import MatrixState
from kenviz.views.parts import numbers
from kenviz.views.stacks import StackWalk
from kenviz.views.tensors import TensorView


class MatrixView(MatrixState, TensorView):
    """A matrix in tiles, with the share retained of its rows and columns beside it.

    A tile is one entry when zoomed in, and else the share (mask) or the mean of those it covers. The arguments from
    tensor on are the state: they are traits, which can be assigned to, and which the controls move. A
    `traitlets.TraitError` refuses what is not there, and changes nothing.

    Args:
        net: The subnetwork.
        pair: The models it is of. Without them there is only the mask: a subnetwork knows its retained values only in
            relation to the pretrained ones.
        tensor: Name of the matrix; by default the first that was pruned.
        rows: The part that is shown, (from, to) in entries; by default all. Zooming and panning set it, too.
        columns: The same of the columns.
        show: "mask", "retained" (values of retained entries), "update", "sign" (of the update), "pretrained" or
            "fine_tuned".
        clip: The scale of a signed quantity ends at this quantile of the absolute tile values shown that are not 0;
            above 0, up to 1.
        entry: (row, column) whose decision card is shown, None for none; a tap sets it, too.
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: The models are not those of the subnetwork, or no such tensor was pruned.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.rand(600, 900)}, {"w": torch.zeros(600, 900)})
        >>> view = MatrixView(ken.prune(*pair, k=300), pair)
        >>> view.exact
        False
        >>> view.rows, view.columns, view.show = (100, 150), (0, 80), "update"
        >>> view.exact, view.numbers().shape
        (True, (50, 80))
        >>> print(view.code())
        kenviz.MatrixView(net, pair, tensor='w', show='update', rows=(100.0, 150.0), columns=(0.0, 80.0), clip=0.99,
        entry=None)
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
        super().__init__(net, pair, tensor, theme=theme)
        self._open()
        self._assign(show=show, rows=rows, columns=columns, clip=clip, entry=entry)
        self._walk = StackWalk(self.show_expert)
        self._rest = rest_button(self.decide)
        self._start({self._picker: "tensor", self._walk: None, self._rest: None})

    def decide(self) -> None:
        """Decide every row of the matrix, where a first look (`every`) has left some out: all that is shown is exact.

        Example:
            ```python
            explorer = kenviz.explore(pair, k=0.5)
            explorer.matrix.decide()
            ```
        """
        with self._lock:
            self._study.decide(self.tensor)
            self._draw()

    def show_expert(self, expert: int) -> None:
        """Show one matrix of a tensor that stacks several, such as one expert of many.

        Args:
            expert: Its number along the first axis, from 0.

        Raises:
            ValueError: The tensor is no stack, or has no such expert. Nothing changes then.

        Example:
            >>> import torch
            >>> pair = ken.Pair({"w": torch.rand(4, 3, 16)}, {"w": torch.zeros(4, 3, 16)})
            >>> view = MatrixView(ken.prune(*pair, k=2), pair)
            >>> view.show_expert(2)
            >>> view.rows
            (6.0, 9.0)
        """
        with self._lock:
            stack = self._study.stack(self.tensor)
            if stack is None:
                raise ValueError(f"{self.tensor} is no stack of matrices: it has no experts to walk along")
            if not 0 <= expert < stack[0]:
                raise ValueError(f"expert must be from 0 to {stack[0] - 1} in {self.tensor}, got {expert}")
            self.rows = (expert * stack[1], (expert + 1) * stack[1])

    @property
    def _shape(self) -> tuple[int, int]:
        return self._study.shape(self.tensor)

    @property
    def _names(self) -> list[str]:
        return [self.tensor]

    def _tell(self) -> None:
        self.caption = matrix_text.caption(
            self.tiles,
            self.show,
            self.clip,
            tensor=self.tensor,
            retained=self._study.tensor(self.tensor).retained,
            entry=self.entry,
        )
        if self.every > 1:
            self.caption += f" {matrix_text.sampled(self.every)}"
        self._rest.layout.display = "none" if self.every == 1 else None
        stack = self._study.stack(self.tensor)
        if stack is not None:
            self.caption += f" The rows are those of {stack[0]:,} experts, {stack[1]:,} each."
        with self._syncing:
            self._walk.follow(stack, self.rows)

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
        return matrix_text.lines(self.tiles, self.show, self.clip) + matrix_text.sampled_in_words(self.every)

    def _shares(self) -> figures.Shares:
        return self._study.look(self.tensor).shares(self._place)

    def _whole_share(self) -> float:
        rows, n = self._shape
        return 100 * self._study.tensor(self.tensor).retained / (rows * n)

    def _figure(self) -> LayoutDOM:
        return figures.build(
            self.tiles,
            shares=self._shares(),
            whole=self._whole_share(),
            **self._drawn_as(self.tensor),
        )

    def _tapped(self, event: dict[str, Any]) -> None:
        if event["figure"] == "matrix":
            self.entry = self._at(event) or self.entry

    def numbers(self) -> pd.DataFrame:
        """Give the tiles that are shown.

        Returns:
            Percent retained (mask) or mean values, indexed by the first row and column of each tile.
        """
        with self._lock:
            return numbers(self.tiles)
