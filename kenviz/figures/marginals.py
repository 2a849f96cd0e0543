"""A matrix with its marginals: the share retained of columns above it, of rows beside it, on the same ranges."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    HoverTool,
    LayoutDOM,
    PrintfTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import axes, legends, lettering, matrix
from kenviz.tiles.pyramid import Lattice
from kenviz.tiles.tiles import Tiles

Shares = tuple[NDArray[np.float64], NDArray[np.float64]]

_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 8, 6, 84
_BESIDE = 150


def columns(shares: Shares, place: Lattice) -> dict[str, dict[str, Any]]:
    """The columns of sources "row_shares" and "column_shares": one step for each row or column of tiles."""
    return {
        name: {"from": edges[:-1].astype(float), "to": edges[1:].astype(float), "percent": percent}
        for name, edges, percent in zip(
            ("row_shares", "column_shares"), (place.row_edges, place.column_edges), shares, strict=True
        )
    }


def limits(percent: NDArray[np.float64], whole: float) -> tuple[float, float]:
    """The ends of an axis of shares: what is shown and the share of the whole matrix, with room, within 0 to 100.

    >>> limits(np.array([40.0, 44.0]), 50.0)
    (39.0, 51.0)
    """
    low, high = min(percent.min(), whole), max(percent.max(), whole)
    room = max(0.1 * (high - low), 1.0)
    return max(-0.5, float(low - room)), min(100.5, float(high + room))


def build(
    tiles: Tiles,
    shares: Shares,
    whole: float,
    ranges: tuple[Range1d, Range1d],
    words: lettering.Words,
    entry: tuple[int, int] | None = None,
    theme: str = "light",
) -> LayoutDOM:
    """Three plots: the matrix; shares (`Pyramid.shares`) above it and beside it, with the share of the whole matrix.

    Named models: those of `matrix.frame`; source entry; ranges rows and columns, row_limits and column_limits; titles
    name and note; mappers codes and scale; those of `legends.build`; spans row_whole and column_whole.
    """
    codes, scale = matrix.mappers(tiles)
    main = matrix.frame(
        tiles,
        ranges,
        (codes, scale),
        height=430,
        toolbar_location="below",
        min_border_top=_TOP,
        min_border_bottom=_BOTTOM,
        min_border_left=_LEFT,
        min_border_right=_RIGHT,
        **axes.LABELLED,
    )
    matrix.mark(main, ColumnDataSource(matrix.chosen(entry), name="entry"))
    rows, across = (ColumnDataSource(data, name=source) for source, data in columns(shares, tiles.place).items())
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
        title=lettering.heading(words.name),
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
    above.add_layout(legends.build(above, [tiles], words.why_missing), "above")
    above.add_layout(lettering.words(words.lines, "note"), "above")
    beside.add_layout(matrix.bar(scale, margin=0, padding=2), "right")
    layout = column(above, row(main, beside, sizing_mode="stretch_width"), sizing_mode="stretch_width")
    themes.apply(layout, theme)
    return layout
