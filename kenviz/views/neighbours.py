"""NeighbourView: whether retained entries lie beside one another, and whether chance would do the same."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from bokeh.models import Column

import ken
from ken.retention import PairOfModels, chance, expected_neighbours, z_score
from kenviz.figures import axes, matrix
from kenviz.figures import neighbours as figures
from kenviz.study.study import Study
from kenviz.text.labels import label
from kenviz.tiles.tiles import Tiles
from kenviz.views.parts import PartView, numbers
from kenviz.views.tensors import TensorView


class NeighbourView(PartView, TensorView):
    """For each retained entry of a matrix, how many of its neighbours (left, right, above, below) are retained.

    The map shows the counts, or their means where tiles are larger than an entry. Below it is their distribution,
    beside the one that is expected if the retained entries of each row lay at random, and the z-score of the pairs of
    neighbours (`neighbours_z` of `ken.retention.table`). tensor, rows and columns are the state.

    Args:
        net: The subnetwork; nothing else is needed.
        pair: The models it is of, or None.
        tensor: Name of the matrix; by default the first that was pruned. Rows and columns are those of the rule, as
            the tensor was cut.
        rows: The part that is shown, (from, to) in entries; by default all. Zooming and panning set it, too.
        columns: The same of the columns.
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: The models are not those of the subnetwork, or no such tensor was pruned.

    Example:
        >>> import torch
        >>> net = ken.prune({"w": torch.eye(6)}, {"w": torch.zeros(6, 6)}, k=1, rule="magnitude")
        >>> view = NeighbourView(net)
        >>> view.numbers()["entries"].tolist()
        [6, 0, 0, 0, 0]
        >>> round(view.z, 2)
        -1.0
        >>> view.means().loc[2].tolist()
        [nan, nan, 0.0, nan, nan, nan]
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
        super().__init__(net, pair, tensor, theme=theme)
        self._open()
        self._assign(rows=rows, columns=columns)
        self._start({self._picker: "tensor"})

    @property
    def _shape(self) -> tuple[int, int]:
        return self._neighbours.shape

    # ---- from the state to what is shown

    def _open(self) -> None:
        """Count the tensor, and show it whole."""
        self._neighbours = self._study.neighbours(self.tensor)
        retained, n = self._neighbours.retained, self._shape[1]
        self._distribution = figures.Distribution(self._neighbours.distribution, expected_neighbours(retained, n))
        self._z = z_score(self._neighbours.pairs, chance(retained, n))
        super()._open()

    def _read(self) -> None:
        self._tiles = self._neighbours.tiles(self.rows, self.columns)
        rows, n = self._shape
        kept = int(self._neighbours.distribution.sum())
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
        kept = int(self._neighbours.distribution.sum()) or math.nan
        mean, by_chance = (float(counts @ np.arange(5)) / kept for counts in self._distribution)
        return figures.reading(mean, by_chance, self.z)

    def _figure(self) -> Column:
        return figures.build(
            self._tiles,
            ranges=axes.ranges(self._shape, self.rows, self.columns),
            distribution=self._distribution,
            name=self.tensor,
            words=self._reading(),
            theme=self.colours,
        )

    def _update(self, name: str) -> None:
        if name == "tensor":
            with self._settling:
                self._open()
            self._draw_another(self.tensor)
            self.pane.set("reading", text=self._reading())
            self.pane.set("shares", end=self._distribution.highest)
            self.pane.patch("bars", **self._distribution.columns())
        else:
            self._draw_range(name)
        self._read()
        self.pane.patch("tiles", **matrix.columns(self._tiles))
        self.pane.patch("digits", **figures.digits(self._tiles))
        self.pane.set("note", text=figures.note(self._tiles))

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
        """Give the distribution in the whole tensor.

        Returns:
            By neighbours (0 to 4): entries, the retained entries with so many retained neighbours; expected, what they
            are on average in random masks; share and expected_share, of all retained entries, NaN if there are none.
        """
        with self._lock:
            entries, by_chance = self._distribution
        kept = float(entries.sum()) or math.nan
        shares = {"share": entries / kept, "expected": by_chance, "expected_share": by_chance / kept}
        return pd.DataFrame({"entries": entries, **shares}, index=pd.RangeIndex(5, name="neighbours"))

    def means(self) -> pd.DataFrame:
        """Give the tiles that are shown.

        Returns:
            The mean count, NaN where nothing is retained, by the first row and column of each tile.
        """
        with self._lock:
            return numbers(self._tiles)
