"""RowView: one row, its density, and what is retained of it at any k."""

from __future__ import annotations

from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from bokeh.models import LayoutDOM
from numpy.typing import NDArray

import ken
from ken.retention import PairOfModels
from kenviz.figures import row as figures
from kenviz.figures.labels import label, rule_in_words
from kenviz.study import Study
from kenviz.views.tensors import TensorView


class RowView(TensorView):
    """Histogram, kernel density estimate, grid, retained and reset entries of one row.

    tensor, row and k are the state; assign to them, or move the sliders. k starts as the subnetwork's own for that
    tensor, and its mask is then the subnetwork's; at another k the rule decides anew.

    Raises `ValueError` if the models are not those of the subnetwork; a `traitlets.TraitError` refuses a tensor,
    row or k that is not there.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> view = RowView(ken.prune(*pair, k=2), pair)
    >>> view.row, view.k = 1, 3
    >>> view.numbers()["retained"].tolist()
    [True, True, False, True]
    """

    STATE = ("tensor", "row", "k")

    row = traitlets.Int(0, help="Row of the tensor, from 0.")
    k = traitlets.Int(1, help="Entries retained.")

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels | Study,
        tensor: str | None = None,
        row: int = 0,
        k: int | None = None,
        *,
        theme: str = "auto",
    ) -> None:
        super().__init__(net, pair, tensor, theme)
        self._row_slider = ipywidgets.IntSlider(description="row", min=0, layout={"width": "360px"})
        self._k_slider = ipywidgets.IntSlider(description="k", min=1, layout={"width": "360px"})
        self._choose(self._picker.value, row)
        if k is not None:
            self.k = k
        self._read()
        self._start([self._picker, self._row_slider, self._k_slider], self._figure())
        self._bind(self._picker, "tensor")
        self._bind(self._row_slider, "row")
        self._bind(self._k_slider, "k")

    def own_k(self, row: int | None = None) -> int:
        """How many entries of a row (the current one) the subnetwork retains."""
        row = self.row if row is None else row
        return int(self._study.mask(self.tensor, slice(row, row + 1)).sum())

    def _choose(self, tensor: str, row: int) -> None:
        """Go to another tensor: bounds before values, so that no slider is ever out of range."""
        rows, n = self._study.shape(tensor)
        if not 0 <= row < rows:
            raise traitlets.TraitError(f"row must be from 0 to {rows - 1} in {tensor}, got {row}")
        with self.hold_trait_notifications():
            self.set_trait("tensor", tensor)
            self.set_trait("row", row)
            self.set_trait("k", self.own_k(row))
        with self._sync():
            for slider, value, highest in ((self._row_slider, self.row, rows - 1), (self._k_slider, self.k, n)):
                slider.value = min(slider.value, highest)
                slider.max = highest
                slider.value = value

    @traitlets.validate("row")
    def _valid_row(self, proposal: dict[str, Any]) -> int:
        rows = self._study.shape(self.tensor)[0] if self.tensor else 1
        if not 0 <= proposal["value"] < rows:
            raise traitlets.TraitError(f"row must be from 0 to {rows - 1} in {self.tensor}, got {proposal['value']}")
        return int(proposal["value"])

    @traitlets.validate("k")
    def _valid_k(self, proposal: dict[str, Any]) -> int:
        n = self._study.shape(self.tensor)[1] if self.tensor else 1
        if not 1 <= proposal["value"] <= n:
            raise traitlets.TraitError(f"k must be from 1 to {n} in {self.tensor}, got {proposal['value']}")
        return int(proposal["value"])

    @traitlets.observe("tensor", "row", "k")
    def _changed(self, change: dict[str, Any]) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock:
            if change["name"] == "tensor":
                rows, _ = self._study.shape(self.tensor)
                self._choose(self.tensor, min(self.row, rows - 1))
            self._read()
            self._redraw()

    def _read(self) -> None:
        wanted = slice(self.row, self.row + 1)
        fine_tuned, pretrained = self._study.rows(self.tensor, wanted)
        stored = self._study.mask(self.tensor, wanted)[0]
        mask: NDArray[np.bool_] = stored
        recipe = self._study.net.recipe
        settings = ken.rules.Settings(recipe.on, recipe.bandwidth, recipe.kernel)
        if self.k != int(stored.sum()):
            mask = ken.rules.retain(
                fine_tuned[0],
                self.k,
                recipe.rule,
                pretrained=pretrained[0],
                tensor=self.tensor,
                first_row=self.row,
                seed=recipe.seed,
                on=settings.on,
                bandwidth=settings.bandwidth,
                kernel=settings.kernel,
            )
        self._values, self._pretrained, self._mask = fine_tuned[0], pretrained[0], mask
        self._picture = figures.picture(fine_tuned[0], mask, pretrained[0], settings)
        n = len(mask)
        told = rule_in_words(recipe.rule, recipe.on, recipe.bandwidth, recipe.kernel)
        self.caption = (
            f"Row {self.row} of {label(self.tensor)}: rule {told} retains {self.k:,} of {n:,} entries "
            f"({self.k / n:.1%}) at their fine-tuned value and resets {n - self.k:,} to their pretrained value."
        )

    def _name(self) -> str:
        return f"row {self.row} of {self.tensor}"

    def _figure(self) -> LayoutDOM:
        return figures.build(self._picture, self._name(), self.colours)

    def _redraw(self) -> None:
        shown = self._picture
        with self.pane.hold():
            for source, columns in shown.columns.items():
                self.pane.patch(source, **columns)
            self.pane.set("values", start=shown.values[0], end=shown.values[1])
            self.pane.set("densities", start=0.0, end=shown.highest)
            self.pane.set("axis", axis_label=shown.of)
            self.pane.set("title", text=shown.title())
            self.pane.set("name", text=label(self._name()))

    def numbers(self) -> pd.DataFrame:
        """One line an entry: column (index), fine_tuned, pretrained, update, retained."""
        with self._lock:
            values = {"fine_tuned": self._values, "pretrained": self._pretrained}
            table = pd.DataFrame(values).assign(update=self._values - self._pretrained, retained=self._mask)
        return table.rename_axis("column")
