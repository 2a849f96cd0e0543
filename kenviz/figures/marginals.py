"""A matrix with its marginals: the share retained of columns above it, of rows beside it, on the same ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.core.property.vectorization import Value
from bokeh.layouts import column, row
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    HoverTool,
    LayoutDOM,
    PrintfTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Legend, LegendItem, Span, Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import matrix
from kenviz.figures.labels import label
from kenviz.levels import Lattice
from kenviz.valuetiles import ValueTiles

Shares = tuple[NDArray[np.float64], NDArray[np.float64]]

_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 8, 6, 84
_BESIDE = 150
#: Characters of a title that has room in a window of 420 px.
NARROW = 40


def columns(shares: Shares, place: Lattice) -> dict[str, dict[str, Any]]:
    """The columns of sources "row_shares" and "column_shares": one step for each row or column of tiles."""
    found = {}
    for name, edges, percent in zip(
        ("row_shares", "column_shares"), (place.row_edges, place.column_edges), shares, strict=True
    ):
        found[name] = {"from": edges[:-1].astype(float), "to": edges[1:].astype(float), "percent": percent}
    return found


def limits(percent: NDArray[np.float64], whole: float) -> tuple[float, float]:
    """The ends of an axis of shares: what is shown and the share of the whole matrix, with room, within 0 to 100.

    >>> limits(np.array([40.0, 44.0]), 50.0)
    (39.0, 51.0)
    """
    low, high = min(percent.min(), whole), max(percent.max(), whole)
    room = max(0.1 * (high - low), 1.0)
    return max(-0.5, float(low - room)), min(100.5, float(high + room))


def legend(tiles: matrix.Shown, why_missing: str) -> dict[str, tuple[bool, Value]]:
    """Whether a mark has to be explained, and how, by the name of its legend item."""
    if not isinstance(tiles, ValueTiles):
        return {name: (False, value("")) for name in ("legend_above", "legend_below", "legend_missing")}
    found = {}
    for name, there in (("above", tiles.above), ("below", tiles.below)):
        count, drawn = int(there.sum()), len(matrix.marks(tiles)[name]["x"])
        some = "" if drawn == count else f" ({drawn:,} drawn)"
        found[f"legend_{name}"] = (count > 0, value(f"{count:,} {name}{some}"))
    found["legend_missing"] = (tiles.missing > 0, value(f"{tiles.missing:,} {why_missing}"))
    return found


def build(
    tiles: matrix.Shown,
    shares: Shares,
    whole: float,
    place: Lattice,
    ranges: tuple[Range1d, Range1d],
    name: str,
    lines: str,
    why_missing: str,
    entry: tuple[int, int] | None = None,
    theme: str = "light",
) -> LayoutDOM:
    """Three plots: the matrix; shares (`Pyramid.shares`) above it and beside it, with the share of the whole matrix.

    Named models: those of `matrix.frame`; source entry; ranges rows and columns, row_limits and column_limits; titles
    name and note; mappers codes and scale; legend and its items; spans row_whole and column_whole.
    """
    codes, told = matrix.mappers(tiles)
    main = matrix.frame(
        tiles,
        ranges,
        (codes, told),
        height=430,
        sizing_mode="stretch_width",
        x_axis_label="column",
        y_axis_label="row",
        toolbar_location="below",
        min_border_top=_TOP,
        min_border_bottom=_BOTTOM,
        min_border_left=_LEFT,
        min_border_right=_RIGHT,
    )
    matrix.mark(main, ColumnDataSource(matrix.chosen(entry), name="entry"))
    data = columns(shares, place)
    rows, across = (ColumnDataSource(of, name=key) for key, of in data.items())
    above = figure(
        name="column_marginal",
        height=190,
        sizing_mode="stretch_width",
        x_range=ranges[0],
        y_range=Range1d(*limits(shares[1], whole), name="column_limits"),
        y_axis_label="% of column",
        tools="",
        min_border_left=_LEFT,
        # As wide as both plots below it, for the words; its frame ends where that of the matrix does.
        min_border_right=_RIGHT + _BESIDE,
        title=Title(text=label(name, NARROW), name="name", text_font_size="13px"),
    )
    beside = figure(
        name="row_marginal",
        height=430,
        width=_BESIDE,
        x_range=Range1d(*limits(shares[0], whole), name="row_limits"),
        y_range=ranges[1],
        x_axis_label="% of row",
        tools="",
        min_border_top=_TOP,
        min_border_bottom=_BOTTOM,
        min_border_left=16,
    )
    step = {"line_color": themes.RETAINED, "line_width": 2}
    flat = above.segment("from", "percent", "to", "percent", source=across, **step)
    upright = beside.segment("percent", "from", "percent", "to", source=rows, **step)
    dash = {"line_color": themes.DENSITY, "line_dash": "dashed", "line_width": 1.2}
    above.add_layout(Span(location=whole, dimension="width", name="column_whole", **dash))
    beside.add_layout(Span(location=whole, dimension="height", name="row_whole", **dash))
    for plot, renderer, what in ((above, flat, "columns"), (beside, upright, "rows")):
        plot.toolbar_location = None
        plot.add_tools(
            HoverTool(renderers=[renderer], tooltips=[(what, "@from to before @to"), ("retained", "@percent{0.0} %")])
        )
    above.xaxis.visible = beside.yaxis.visible = False
    above.yaxis.ticker = beside.xaxis.ticker = BasicTicker(desired_num_ticks=2)
    above.yaxis.formatter = beside.xaxis.formatter = PrintfTickFormatter(format="%.3g")
    above.add_layout(_legend(above, tiles, why_missing), "above")
    above.add_layout(Title(text=lines, name="note", text_font_style="normal", text_font_size="12px"), "above")
    beside.add_layout(matrix.bar(told, margin=0, padding=2), "right")
    layout = column(above, row(main, beside, sizing_mode="stretch_width"), sizing_mode="stretch_width")
    themes.apply(layout, theme)
    return layout


def _legend(plot: figure, tiles: matrix.Shown, why_missing: str) -> Legend:
    """What the marks in the matrix mean. A legend draws only marks of its own plot: here are some without a place."""
    nowhere: dict[str, Any] = {"x": [np.nan], "y": [np.nan]}
    keys: dict[str, Any] = {
        "legend_above": plot.scatter(**nowhere, marker="triangle", **matrix.MARK),
        "legend_below": plot.scatter(**nowhere, marker="inverted_triangle", **matrix.MARK),
        "legend_missing": plot.scatter(
            **nowhere, marker="square", size=12, fill_color=themes.MISSING, line_color="#777777"
        ),
    }
    told = legend(tiles, why_missing)
    items = [
        LegendItem(name=name, label=words, visible=there, renderers=[keys[name]])
        for name, (there, words) in told.items()
    ]
    return Legend(
        items=items,
        name="legend",
        visible=any(there for there, _ in told.values()),
        orientation="horizontal",
        location="left",
        padding=2,
        margin=2,
        spacing=8,
        label_text_font_size="12px",
    )
