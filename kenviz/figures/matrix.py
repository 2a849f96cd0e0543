"""The mask of one matrix: shares per tile when zoomed out, entries when zoomed in."""

from __future__ import annotations

from typing import Any

from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    ColumnDataSource,
    CustomJSHover,
    HoverTool,
    LinearColorMapper,
    Plot,
    Range1d,
)
from bokeh.models.annotations import ColorBar, Title
from bokeh.plotting import figure

from kenviz import theme as themes
from kenviz.figures.labels import label
from kenviz.rasters import Tiles


def columns(tiles: Tiles) -> dict[str, Any]:
    """The columns of source "tiles": one image and where it lies, in entries."""
    rows, across = tiles.percent.shape
    return {
        "image": [tiles.percent],
        "x": [tiles.first_column],
        "y": [tiles.first_row],
        "dw": [across * tiles.tile_columns],
        "dh": [rows * tiles.tile_rows],
    }


def note(tiles: Tiles, shape: tuple[int, int]) -> str:
    """What one tile of the picture stands for."""
    whole = f"matrix of {shape[0]:,} rows × {shape[1]:,} columns"
    if tiles.exact:
        return f"{whole}; exact: one tile is one entry"
    tile = f"{tiles.tile_rows:,} × {tiles.tile_columns:,} entries"
    return f"{whole}; each tile is the share of {tile}: zoom in for single ones"


def build(tiles: Tiles, shape: tuple[int, int], name: str, theme: str = "light") -> Plot:
    """The figure of a mask of that shape. Row 0 is on top.

    Named models: source tiles; ranges rows and columns; titles note and name.
    """
    rows, across = shape
    plot = figure(
        name="matrix",
        height=460,
        sizing_mode="stretch_width",
        x_range=Range1d(0, across, bounds=(0, across), name="columns"),
        y_range=Range1d(rows, 0, bounds=(0, rows), name="rows"),
        x_axis_label="column",
        y_axis_label="row",
        tools="pan,wheel_zoom,box_zoom,reset",
        active_scroll="wheel_zoom",
        title=Title(text=label(name), name="name", text_font_size="13px"),
    )
    words = Title(text=note(tiles, shape), name="note", text_font_style="normal", text_font_size="12px")
    plot.add_layout(words, "above")
    plot.toolbar.logo = None
    plot.grid.visible = False
    for axis in plot.axis:
        axis.ticker = BasicTicker(min_interval=1)
        axis.formatter = BasicTickFormatter(use_scientific=False)
    mapper = LinearColorMapper(palette=themes.SHARES, low=0, high=100)
    image = plot.image(
        "image", "x", "y", "dw", "dh", source=ColumnDataSource(columns(tiles), name="tiles"), color_mapper=mapper
    )
    # An entry covers the unit square to the right of and below its indices: the entry under the pointer is the floor.
    floor = CustomJSHover(code="return String(Math.floor(value))")
    plot.add_tools(
        HoverTool(
            renderers=[image],
            tooltips=[("row", "$y{custom}"), ("column", "$x{custom}"), ("retained in this tile", "@image %")],
            formatters={"$x": floor, "$y": floor},
        )
    )
    plot.add_layout(ColorBar(color_mapper=mapper, title="retained, % of entries", width=14), "right")
    themes.apply(plot, theme)
    return plot
