"""The map that a report can be brushed by: a Bokeh layout that works in the page alone, without a kernel.

What a chosen cell shows lies in the page as data (`embedded`); `choose.js`, a CustomJS callback, brings it into the
sources of this layout.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CustomJS,
    HoverTool,
    LayoutDOM,
    LinearColorMapper,
    Plot,
    Range1d,
)
from bokeh.models.annotations import ColorBar, Title
from bokeh.plotting import figure

from kenviz import theme as themes
from kenviz.figures import axes
from kenviz.figures import retention as retention_figure
from kenviz.figures import row as row_figure
from kenviz.reporting.sampling import SampledRow
from kenviz.reporting.tiles import MaskTiles
from kenviz.study.row_density import AXIS

if TYPE_CHECKING:
    import pandas as pd

# Neither plot is moved or zoomed.
_FIXED: dict[str, Any] = {
    "tools": "",
    "toolbar_location": None,
    "sizing_mode": "stretch_width",
    "frame_align": False,
}
#: Kinds of matrices that have a line in the map; of more, those with the most entries.
MOST_KINDS = 80


def mapped(matrices: pd.DataFrame) -> pd.DataFrame:
    """The lines of a retention table that are in the map: of the `MOST_KINDS` kinds with the most entries."""
    sizes = matrices.groupby("kind", sort=False)["entries"].sum()
    return matrices[matrices["kind"].isin(sizes.nlargest(MOST_KINDS, keep="first").index)]


def embedded(tiles: MaskTiles, rows: Sequence[SampledRow]) -> dict[str, Any]:
    """What the page holds of a tensor: counts by tile as base64 of little-endian uint16 or uint32, and fits of rows."""
    wide = int(tiles.counts.max(initial=0)) > np.iinfo(np.uint16).max
    counts = tiles.counts.astype("<u4" if wide else "<u2")
    return {
        "shape": list(tiles.place.shape),
        "tile": list(tiles.place.tile),
        "tiles": list(tiles.counts.shape),
        "bytes": counts.itemsize,
        "counts": base64.b64encode(counts.tobytes()).decode("ascii"),
        "limits": [100 * limit for limit in tiles.limits],
        "note": tiles.note(),
        "rows": [row.embedded() for row in rows],
    }


def layout(matrices: pd.DataFrame, on: str) -> LayoutDOM:
    """The map above one matrix and one of its rows, both of them empty until a cell is chosen.

    Named models: those of `kenviz.figures.retention`; sources tiles, bins, curve, and chosen, whose column row says
    which of the sampled rows is shown; mapper shares; ranges columns, rows, values, densities; titles matrix_title,
    row_title.
    """
    drawn_map = retention_figure.build(matrices, "update_share")
    matrix, inside = _matrix()
    row, drawn = _row_plot(on)
    chosen = ColumnDataSource({"row": [0]}, name="chosen")
    cells: Any = drawn_map.select_one({"name": "cells"})
    page = column(drawn_map, matrix, row, sizing_mode="stretch_width")
    code = (files("kenviz.reporting") / "templates" / "choose.js").read_text(encoding="utf-8")
    callback = CustomJS(args={"cells": cells, "chosen": chosen, **inside, **drawn}, code=code)
    cells.selected.js_on_change("indices", callback)
    chosen.js_on_change("data", callback)
    return page


def _matrix() -> tuple[Plot, Mapping[str, Any]]:
    across, down = Range1d(0, 1, name="columns"), Range1d(1, 0, name="rows")
    title = Title(text="", name="matrix_title", text_font_size="13px")
    plot = axes.build("matrix", (across, down), height=380, title=title, **{**axes.LABELLED, **_FIXED})
    mapper = LinearColorMapper(palette=themes.SEQUENTIAL, low=0, high=100, name="shares")
    source = ColumnDataSource(
        {"image": [np.full((1, 1), np.nan)], "x": [0], "y": [0], "dw": [1], "dh": [1]}, name="tiles"
    )
    image = plot.image("image", "x", "y", "dw", "dh", source=source, color_mapper=mapper)
    plot.add_tools(HoverTool(renderers=[image], tooltips=[("retained in this tile", "@image{0.0} %")]))
    plot.add_layout(ColorBar(color_mapper=mapper, title="retained, %", width=14, ticker=BasicTicker()), "right")
    return plot, {"tiles": source, "mapper": mapper, "across": across, "down": down, "matrixTitle": title}


def _row_plot(on: str) -> tuple[Plot, Mapping[str, Any]]:
    values, densities = Range1d(0, 1, name="values"), Range1d(0, 1, name="densities")
    title = Title(text="", name="row_title", text_font_size="13px")
    plot = figure(
        name="row",
        height=280,
        x_range=values,
        y_range=densities,
        x_axis_label=AXIS[on],
        y_axis_label="density (1 / unit of weight)",
        title=title,
        **_FIXED,
    )
    empty: dict[str, Sequence[float]] = {"left": [], "right": [], "retained": [], "all": []}
    bins = ColumnDataSource(empty, name="bins")
    curve = ColumnDataSource({"x": [], "y": []}, name="curve")
    row_figure.draw(plot, bins, curve)
    plot.xaxis.ticker = BasicTicker(desired_num_ticks=5)
    return plot, {"bins": bins, "curve": curve, "values": values, "densities": densities, "rowTitle": title}
