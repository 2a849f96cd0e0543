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
from kenviz.views.controls import choice, width
from kenviz.views.tensors import StudyView


class RetentionView(StudyView):
    """Layer × matrix kind, coloured by a column of `ken.retention.table`, and one tensor by head, column or row.

    The models are read when a measure is shown that the subnetwork alone does not tell. measure, tensor and strip are
    the state; a `traitlets.TraitError` refuses what is not there.

    Args:
        net: The subnetwork.
        pair: The models it is of. With None only share, retained, entries, rows and row_length can be chosen.
        measure: The column that is shown.
        tensor: Name of the tensor that is chosen, and whose cell is outlined; empty before one is. A tap chooses, too.
        strip: Parts by which the chosen tensor is shown below the map: "heads", "columns", "rows", or "none". A measure
            that has no value for such parts is replaced by a share, as the strip's title says.
        sheet: Of a large map, the sheet that is shown, from 1; the caption says what is on it.
        vectors: Whether vectors (biases, layer norms) are shown, too; by default they are left out.
        compact: Whether the map is made for a narrow place: fewer kinds on a sheet, lower rows.
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: Nothing was pruned that could be shown, or the models are not those of the subnetwork.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"l.0.w": torch.eye(4)}, {"l.0.w": torch.zeros(4, 4)})
        >>> view = RetentionView(ken.prune(*pair, k=2), pair)
        >>> view.numbers()["share"].tolist()
        [0.5]
        >>> view.tensor, view.strip = "l.0.w", "columns"
        >>> view.strip_numbers()["update_share"].tolist()
        [1.0, 1.0, 1.0, 1.0]
        >>> print(view.code())
        kenviz.RetentionView(net, pair, measure='update_share', tensor='l.0.w', strip='columns', sheet=1)
    """

    STATE = ("measure", "tensor", "strip", "sheet")

    measure = traitlets.Enum(list(MEASURES), "update_share", help="Column of the table that is shown.")
    tensor = traitlets.Unicode(help="Name of the tensor that is chosen.")
    sheet = traitlets.Int(1, help="Sheet of the map, from 1.")
    strip = traitlets.Enum(["none", *tensor_parts.PARTS], "none", help="Parts by which the chosen tensor is shown.")

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels | Study | None,
        measure: str = "update_share",
        tensor: str = "",
        strip: str = "none",
        sheet: int = 1,
        *,
        vectors: bool = False,
        compact: bool = False,
        theme: str = "auto",
    ) -> None:
        super().__init__(net, pair, theme=theme)
        self._size = figures.COMPACT if compact else figures.FULL
        shares, self._vectors = self._study.shares, vectors
        self._names = shares.index if vectors else shares.index[shares["rows"] > 1]
        if not len(self._names):
            raise ValueError("the subnetwork has no pruned matrix to show")
        self._left_out, self._shares = len(shares) - len(self._names), shares.loc[self._names]
        self._assign(measure=measure, tensor=tensor, strip=strip, sheet=sheet)
        self._picker = choice("shown", [(MEASURES[name].label, name) for name in self._measures()], pixels=420)
        self._strips = choice("strip by", ["none", *tensor_parts.PARTS])
        self._turner = ipywidgets.BoundedIntText(
            value=sheet, min=1, max=max(self._sheets, sheet), description="sheet", layout=width(170)
        )
        self._turner.layout.display = None if self._sheets > 1 else "none"
        self._start({self._picker: "measure", self._strips: "strip", self._turner: "sheet"})

    def _measures(self) -> list[str]:
        """What can be shown: without a pair, what the subnetwork alone tells."""
        return [name for name in MEASURES if self._study.pair is not None or name in self._study.shares]

    @traitlets.validate("measure")
    def _valid_measure(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in self._measures():
            names = ", ".join(self._measures())
            raise traitlets.TraitError(f"measure must be one of {names} without a pair, got {proposal['value']!r}")
        return str(proposal["value"])

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] and proposal["value"] not in self._names:
            raise traitlets.TraitError(f"tensor must be one that is shown, got {proposal['value']!r}")
        return str(proposal["value"])

    @traitlets.validate("sheet")
    def _valid_sheet(self, proposal: dict[str, Any]) -> int:
        if not 1 <= proposal["value"] <= self._sheets:
            raise traitlets.TraitError(f"sheet must be from 1 to {self._sheets}, got {proposal['value']}")
        return int(proposal["value"])

    @property
    def _sheets(self) -> int:
        return figures.sheet(self._shares, 1, self._size).sheets

    # ---- from the state to what is shown

    def _read(self) -> None:
        self._table = self._study.table([self.measure]).loc[self._names]
        self._sheet = figures.sheet(self._table, self.sheet, self._size)
        self._strip = tensor_parts.NOTHING
        if self.tensor and self.strip != "none":
            self._strip = tensor_parts.strip(self._study, tensor=self.tensor, parts=self.strip, measure=self.measure)
        self.caption = " ".join(filter(None, [self._of_all(), self._of_one()]))

    def _of_all(self) -> str:
        measure, values = MEASURES[self.measure], self._table[self.measure].dropna().to_numpy(dtype=float)
        missing = len(self._table) - len(values)
        gaps = f" In {missing} it is not defined." if missing and len(values) else ""
        left_out = f" {self._left_out} vectors are left out." if self._left_out else ""
        shown = f"the {measure.label} in {len(self._table):,} matrices"
        sheet = f" Shown is {self._sheet.words}." if self._sheet.words else ""
        return f"Retention by layer and kind: {shown}, {_spread(measure, values)}.{sheet}{gaps}{left_out}"

    def _of_one(self) -> str:
        """The chosen tensor, and what its strip shows."""
        if not self.tensor:
            return "" if self.strip == "none" else "No tensor is chosen for the strip."
        chosen = f"Chosen: {label(self.tensor)}."
        if self.strip == "none":
            return chosen
        if self._strip.problem:
            return f"{chosen} By {self.strip}: {self._strip.problem}."
        measure, values = MEASURES[self._strip.measure], self._strip.values[~np.isnan(self._strip.values)]
        parts = f"{len(self._strip.values):,} {self.strip}"
        return f"{chosen} In its {parts}, the {measure.label} is {_spread(measure, values)}."

    def _strip_picture(self) -> strip_figures.StripPicture | None:
        if self.strip == "none":
            return None
        shown = self._strip
        problem = shown.problem if self.tensor else "tap a cell to choose a tensor"
        return strip_figures.picture(self.strip, shown.values, shown.measure, names=shown.names, problem=problem)

    def _figure(self) -> Column:
        return figures.build(
            self._table,
            self.measure,
            theme=self.colours,
            chosen=self.tensor,
            strip=self._strip_picture(),
            number=self.sheet,
            size=self._size,
        )

    def _update(self, name: str) -> None:
        if name == "tensor" and self.tensor:
            with self._settling:  # the sheet that the tensor is on
                self.set_trait("sheet", figures.sheet_of(self._shares, self.tensor, self._size))
        before = self._sheet.number
        self._read()
        turned = self._sheet.number != before
        if name == "measure" or turned:
            data = figures.columns(self._table, self.measure, self.sheet, size=self._size)
            values = self._table[self.measure].to_numpy(dtype=float)
            for model, properties in figures.scale(values, self.measure).items():
                self.pane.set(model, **properties)
            if turned:
                for model, factors in figures.ranges(self._sheet.table).items():
                    self.pane.set(model, factors=factors)
                tall = figures.height(self._sheet.table, self._size)
                self.pane.set("map", height=tall, min_height=tall)
            self.pane.patch("cells", **data)
            self.pane.patch("blanks", **figures.blanks(data))
            self.pane.set("title", text=figures.title(self.measure, self._sheet))
        self._mark()
        self._redraw_strip()

    def _mark(self) -> None:
        """Outline the cell of the chosen tensor: it is the one that is selected."""
        self.pane.set("picked", indices=figures.picked(self._sheet.table, self.tensor))

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
            self.tensor = str(self._sheet.table.index[event["indices"][0]])
            return
        with self._lock:
            self._mark()  # a tap beside all cells has taken the outline away

    # ---- what can be asked

    def code(self) -> str:
        """Write the Python that makes this view as it is now.

        Returns:
            One expression, of a subnetwork `net` and a pair `pair`.
        """
        options = {"vectors": self._vectors, "compact": self._size is figures.COMPACT}
        return self._call("net", "pair", **{name: True for name, given in options.items() if given})

    def numbers(self) -> pd.DataFrame:
        """Give the table of the tensors that are shown.

        Returns:
            All statistics of `ken.retention.table`, or for such a measure only what the subnetwork alone tells.
        """
        with self._lock:
            return self._table.copy()

    def strip_numbers(self) -> pd.DataFrame:
        """Give what the strip shows.

        Returns:
            One line for each head, column or row, its measure as the column; no lines where there is no strip.
        """
        with self._lock:
            shown, parts = self._strip, self.strip
        index = pd.Index(shown.names or range(len(shown.values)), name=parts.removesuffix("s"))
        return pd.DataFrame({shown.measure: shown.values}, index=index)


def _spread(measure: Measure, values: NDArray[np.float64]) -> str:
    """Between which values of a measure all of these lie, in words."""
    if not len(values):
        return "not defined"
    low, high = measure.written(values.min()), measure.written(values.max())
    unit = f" {measure.unit}" if measure.unit and measure.style != "share" else ""
    return f"{low}{unit} in each" if low == high else f"from {low} to {high}{unit}"
