"""The axes of a matrix: an entry is the unit square to the right of and below its column and row; row 0 is on top."""

from __future__ import annotations

from typing import Any

from bokeh.models import BasicTicker, BasicTickFormatter, CustomJSHover, HoverTool, Range1d
from bokeh.plotting import figure

from kenviz.tiles.pyramid import Lattice

#: A figure of a matrix that is as wide as there is room.
LABELLED: dict[str, Any] = {"sizing_mode": "stretch_width", "x_axis_label": "column", "y_axis_label": "row"}


def extent(place: Lattice) -> dict[str, list[int]]:
    """The columns of a source that say where an image of tiles lies, in entries."""
    return {
        "x": [place.first_column],
        "y": [place.first_row],
        "dw": [place.columns * place.tile_columns],
        "dh": [place.rows * place.tile_rows],
    }


def matrix_size(place: Lattice) -> str:
    """How large the whole matrix is, in words."""
    return f"{place.shape[0]:,} rows × {place.shape[1]:,} columns"


def tile_size(place: Lattice) -> str:
    """How large tiles are, in words."""
    return f"{place.tile_rows:,} × {place.tile_columns:,} entries"


def ranges(
    shape: tuple[int, int], rows: tuple[float, float] | None = None, columns: tuple[float, float] | None = None
) -> tuple[Range1d, Range1d]:
    """The ranges "columns" and "rows" of a matrix, of which a part may be shown."""
    down, across = shape
    left, right = columns or (0, across)
    top, bottom = rows or (0, down)
    return (
        Range1d(left, right, bounds=(0, across), reset_start=0, reset_end=across, name="columns"),
        Range1d(bottom, top, bounds=(0, down), reset_start=down, reset_end=0, name="rows"),
    )


def build(
    name: str, ranges: tuple[Range1d, Range1d], tools: str = "pan,wheel_zoom,box_zoom,reset", **options: Any
) -> figure:
    """A figure of that name without anything in it, over ranges (columns, rows)."""
    scroll = "wheel_zoom" if "wheel_zoom" in tools else None
    plot = figure(name=name, x_range=ranges[0], y_range=ranges[1], tools=tools, active_scroll=scroll, **options)
    plot.toolbar.logo = None
    plot.grid.visible = False
    for axis in plot.axis:
        axis.ticker = BasicTicker(min_interval=1, desired_num_ticks=5)
        axis.formatter = BasicTickFormatter(use_scientific=False)
    return plot


def hover(plot: figure, drawn: Any, tooltips: list[tuple[str, str]], **decoded: CustomJSHover) -> None:
    """Say at the pointer in which row and column it is, and what else the tooltips say of the image there.

    decoded: how a tooltip ``@image{custom}`` writes its value, by the name of the column.
    """
    floor = CustomJSHover(code="return String(Math.floor(value))")
    plot.add_tools(
        HoverTool(
            renderers=[drawn],
            tooltips=[("row", "$y{custom}"), ("column", "$x{custom}"), *tooltips],
            formatters={"$x": floor, "$y": floor, **{f"@{name}": written for name, written in decoded.items()}},
        )
    )
