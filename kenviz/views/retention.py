"""RetentionView: what was retained, layer by layer and kind by kind."""

from __future__ import annotations

from typing import Any

import ipywidgets
import pandas as pd
import traitlets
from bokeh.models import Plot

import ken
from ken.retention import PairOfModels
from kenviz.figures import retention as figures
from kenviz.figures.labels import label
from kenviz.study import Study
from kenviz.views.base import View


class RetentionView(View):
    """Layer × matrix kind, coloured by a column of `ken.retention.table`.

    measure and tensor are the state: what is shown, and which tensor was tapped last (empty before). Vectors
    (biases, layer norms) are left out unless vectors=True.

    >>> import torch
    >>> pair = ken.Pair({"l.0.w": torch.eye(4)}, {"l.0.w": torch.zeros(4, 4)})
    >>> RetentionView(ken.prune(*pair, k=2), pair).numbers()["share"].tolist()
    [0.5]
    """

    STATE = ("measure", "tensor")

    measure = traitlets.Enum(list(figures.MEASURES), "update_share", help="Column of the table that is shown.")
    tensor = traitlets.Unicode(help="Name of the tensor that was tapped last.")

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels | Study | None,
        measure: str = "update_share",
        tensor: str = "",
        *,
        vectors: bool = False,
        theme: str = "auto",
    ) -> None:
        self._study, self._vectors = Study.of(net, pair), vectors
        self._look_up(measure)
        if self._table.empty:
            raise ValueError("the subnetwork has no pruned matrix to show")
        self._left_out = len(self._study.shares) - len(self._table)
        self._picker = ipywidgets.Dropdown(
            options=[(label, key) for key, (label, _) in figures.MEASURES.items()],
            description="shown",
            layout={"width": "min(420px, 100%)"},
        )
        super().__init__(theme=theme, measure=measure, tensor=tensor)
        self._describe()
        self._start([self._picker], self._figure())
        self._bind(self._picker, "measure")

    def _listen(self) -> None:
        self.pane.on_event(self._heard)

    def _look_up(self, measure: str) -> None:
        """The table with that column: the models are read only for columns that need them."""
        table = self._study.table([measure])
        self._table = table if self._vectors else table[table["rows"] > 1]

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] and proposal["value"] not in self._table.index:
            raise traitlets.TraitError(f"tensor must be one that is shown, got {proposal['value']!r}")
        return str(proposal["value"])

    def _describe(self) -> None:
        values = self._table[self.measure]
        written = figures.MEASURES[self.measure][1].format
        known = values.dropna()
        spread = f"from {written(known.min())} to {written(known.max())}" if len(known) else "not defined"
        left_out = f" {self._left_out} vectors are left out." if self._left_out else ""
        chosen = f" Chosen: {label(self.tensor)}." if self.tensor else ""
        self.caption = (
            f"Retention by layer and kind: the {figures.MEASURES[self.measure][0]} in {len(values)} matrices, "
            f"{spread}.{left_out}{chosen}"
        )

    @traitlets.observe("measure")
    def _changed(self, _: object) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock, self.pane.hold():
            self._look_up(self.measure)
            data = figures.columns(self._table, self.measure)
            low, high = figures.limits(data["value"])
            self.pane.set("colours", low=low, high=high)
            self.pane.patch("cells", **data)
            self.pane.set("title", text=figures.MEASURES[self.measure][0])
            self._describe()

    @traitlets.observe("tensor")
    def _chosen(self, _: object) -> None:
        with self._lock:
            self._describe()

    def _heard(self, event: dict[str, Any]) -> None:
        if event["kind"] == "select" and event["name"] == "cells" and event["indices"]:
            self.tensor = str(self._table.index[event["indices"][0]])

    def _figure(self) -> Plot:
        return figures.build(self._table, self.measure, self.colours)

    def numbers(self) -> pd.DataFrame:
        """The retention table of the tensors shown."""
        return self._table.copy()
