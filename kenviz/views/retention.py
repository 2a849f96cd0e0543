"""RetentionView: what was retained, layer by layer and kind by kind, and within one tensor."""

from __future__ import annotations

from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from bokeh.models import Column
from numpy.typing import NDArray

import ken
from ken.retention import PairOfModels
from kenviz.figures import retention as figures
from kenviz.figures import strips as strip_figures
from kenviz.study import tensor_parts
from kenviz.study.study import Study
from kenviz.text.labels import label
from kenviz.text.measures import MEASURES, Measure
from kenviz.views.base import View


class RetentionView(View):
    """Layer × matrix kind, coloured by a column of `ken.retention.table`, and one tensor by head, column or row.

    measure, tensor and strip are the state: what is shown; the tensor that is chosen, by a tap or by name (empty before
    one is), whose cell is outlined; and whether below the map that tensor is shown by "heads", by "columns", by "rows",
    or not ("none"). A measure that has no value for such parts is replaced by a share, as the strip's title says.
    Vectors (biases, layer norms) are left out unless vectors=True.

    The models are read when a measure is shown that the subnetwork alone does not tell. Without a pair (None), only
    share, retained, entries, rows and row_length can be chosen. A `traitlets.TraitError` refuses what is not there.

    >>> import torch
    >>> pair = ken.Pair({"l.0.w": torch.eye(4)}, {"l.0.w": torch.zeros(4, 4)})
    >>> view = RetentionView(ken.prune(*pair, k=2), pair)
    >>> view.numbers()["share"].tolist()
    [0.5]
    >>> view.tensor, view.strip = "l.0.w", "columns"
    >>> view.strip_numbers()["update_share"].tolist()
    [1.0, 1.0, 1.0, 1.0]
    """

    STATE = ("measure", "tensor", "strip")

    measure = traitlets.Enum(list(MEASURES), "update_share", help="Column of the table that is shown.")
    tensor = traitlets.Unicode(help="Name of the tensor that is chosen.")
    strip = traitlets.Enum(["none", *tensor_parts.PARTS], "none", help="Parts by which the chosen tensor is shown.")

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels | Study | None,
        measure: str = "update_share",
        tensor: str = "",
        strip: str = "none",
        *,
        vectors: bool = False,
        theme: str = "auto",
    ) -> None:
        self._study = Study.open(net, pair)
        shares = self._study.shares
        self._names = shares.index if vectors else shares.index[shares["rows"] > 1]
        if not len(self._names):
            raise ValueError("the subnetwork has no pruned matrix to show")
        self._left_out = len(shares) - len(self._names)
        known = [key for key in MEASURES if self._study.pair is not None or key in shares]
        self._picker = ipywidgets.Dropdown(
            options=[(MEASURES[key].label, key) for key in known],
            description="shown",
            layout={"width": "min(420px, 100%)"},
        )
        self._strips = ipywidgets.Dropdown(
            options=["none", *tensor_parts.PARTS],
            description="strip by",
            layout={"width": "min(240px, 100%)"},
        )
        super().__init__(theme=theme, measure=measure, tensor=tensor, strip=strip)
        self._read()
        self._start([self._picker, self._strips], self._figure())
        self._bind(self._picker, "measure")
        self._bind(self._strips, "strip")

    def _listen(self) -> None:
        self.pane.on_event(self._heard)

    @traitlets.validate("measure")
    def _valid_measure(self, proposal: dict[str, Any]) -> str:
        if self._study.pair is None and proposal["value"] not in self._study.shares:
            known = ", ".join(key for key in MEASURES if key in self._study.shares)
            raise traitlets.TraitError(f"measure must be one of {known} without a pair, got {proposal['value']!r}")
        return str(proposal["value"])

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] and proposal["value"] not in self._names:
            raise traitlets.TraitError(f"tensor must be one that is shown, got {proposal['value']!r}")
        return str(proposal["value"])

    # ---- from the state to what is shown

    def _read(self) -> None:
        self._table = self._study.table([self.measure]).loc[self._names]
        self._strip = tensor_parts.NOTHING
        if self.tensor and self.strip != "none":
            self._strip = tensor_parts.strip(self._study, self.tensor, self.strip, self.measure)
        self.caption = " ".join(filter(None, [self._of_all(), self._of_one()]))

    def _of_all(self) -> str:
        of, values = MEASURES[self.measure], self._table[self.measure].dropna().to_numpy(dtype=float)
        missing = len(self._table) - len(values)
        gaps = f" In {missing} it is not defined." if missing and len(values) else ""
        left_out = f" {self._left_out} vectors are left out." if self._left_out else ""
        what = f"the {of.label} in {len(self._table):,} matrices"
        return f"Retention by layer and kind: {what}, {_spread(of, values)}.{gaps}{left_out}"

    def _of_one(self) -> str:
        """The chosen tensor, and what its strip shows."""
        if not self.tensor:
            return "" if self.strip == "none" else "No tensor is chosen for the strip."
        chosen = f"Chosen: {label(self.tensor)}."
        if self.strip == "none":
            return chosen
        if self._strip.problem:
            return f"{chosen} By {self.strip}: {self._strip.problem}."
        of, values = MEASURES[self._strip.measure], self._strip.values[~np.isnan(self._strip.values)]
        return f"{chosen} In its {len(self._strip.values):,} {self.strip}, the {of.label} is {_spread(of, values)}."

    def _strip_picture(self) -> strip_figures.StripPicture | None:
        if self.strip == "none":
            return None
        shown = self._strip
        problem = shown.problem if self.tensor else "tap a cell to choose a tensor"
        return strip_figures.picture(self.strip, shown.values, shown.measure, shown.names, problem)

    def _figure(self) -> Column:
        return figures.build(self._table, self.measure, self.colours, self.tensor, self._strip_picture())

    @traitlets.observe("measure", "tensor", "strip")
    def _changed(self, change: dict[str, Any]) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock, self.pane.hold():
            self._read()
            if change["name"] == "measure":
                data = figures.columns(self._table, self.measure)
                for name, properties in figures.scale(data["value"], self.measure).items():
                    self.pane.set(name, **properties)
                self.pane.patch("cells", **data)
                self.pane.set("title", text=MEASURES[self.measure].label)
            self._mark()
            self._redraw_strip()

    def _mark(self) -> None:
        """Outline the cell of the chosen tensor: it is the one that is selected."""
        self.pane.set("picked", indices=figures.picked(self._table, self.tensor))

    def _redraw_strip(self) -> None:
        shown = self._strip_picture()
        self.pane.set("strip_figure", visible=shown is not None)
        if shown is not None:
            for source, columns in shown.columns.items():
                self.pane.patch(source, **columns)
            self.pane.set("strip_across", start=shown.across[0], end=shown.across[1])
            self.pane.set("strip_values", start=shown.values[0], end=shown.values[1])
            self.pane.set("strip_title", text=shown.title)
            self.pane.set("strip_axis", axis_label=shown.axis)
            self.pane.set("strip_unit", axis_label=shown.unit)
            self.pane.set("strip_ticks", format=shown.ticks)

    def _heard(self, event: dict[str, Any]) -> None:
        if event["kind"] != "select" or event["name"] != "cells":
            return
        if event["indices"]:
            # Without the lock: whoever follows the tensor may wait for one that another thread holds.
            self.tensor = str(self._names[event["indices"][0]])
            return
        with self._lock:
            self._mark()  # a tap beside all cells has taken the outline away

    # ---- what can be asked

    def numbers(self) -> pd.DataFrame:
        """The table of the tensors shown: all statistics, or for such a measure what the subnetwork alone tells."""
        with self._lock:
            return self._table.copy()

    def strip_numbers(self) -> pd.DataFrame:
        """What the strip shows, one line for each head, column or row; no lines where there is no strip."""
        with self._lock:
            shown, parts = self._strip, self.strip
        index = pd.Index(shown.names or range(len(shown.values)), name=parts.removesuffix("s"))
        return pd.DataFrame({shown.measure: shown.values}, index=index)


def _spread(of: Measure, values: NDArray[np.float64]) -> str:
    """Between which values of a measure all of these lie, in words."""
    if not len(values):
        return "not defined"
    low, high = of.written(values.min()), of.written(values.max())
    unit = f" {of.unit}" if of.unit and of.style != "share" else ""
    return f"{low}{unit} in each" if low == high else f"from {low} to {high}{unit}"
