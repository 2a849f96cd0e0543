"""The masks of two subnetworks beside each other: what a retains, what b does, and which of four states entries are in.

The four states differ in lightness as well as in colour: neither is the lightest, both the darkest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.layouts import row
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    ColumnDataSource,
    CustomJSHover,
    HoverTool,
    LayoutDOM,
    LinearColorMapper,
    Range1d,
)
from bokeh.models.annotations import Legend, LegendItem, Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures.labels import label
from kenviz.overlap_tiles import STATES, OverlapTiles

#: The colour of each of `STATES`: Okabe and Ito's, from light to dark.
COLOURS = ("#f2f2f2", "#e69f00", "#0072b2", "#000000")
_RGB = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in COLOURS], dtype=float)
#: Characters of a title that has room in a window of 420 px.
NARROW = 28
#: Side by side where there is room, else below each other.
_WRAP = {"flex-wrap": "wrap"}


def columns(tiles: OverlapTiles) -> dict[str, Any]:
    """The columns of source "tiles": four images of one extent, in entries.

    a, b, both: percent of a tile's entries, uint8; states: what a tile looks like, RGBA in a uint32, the colours of the
    states mixed by their shares.
    """
    down, across = tiles.a.percent.shape
    return {
        "a": [tiles.a.percent],
        "b": [tiles.b.percent],
        "both": [tiles.both.percent],
        "states": [mixed(tiles.shares)],
        "x": [tiles.a.first_column],
        "y": [tiles.a.first_row],
        "dw": [across * tiles.a.tile_columns],
        "dh": [down * tiles.a.tile_rows],
    }


def mixed(shares: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Shares of the states, (4, rows, columns), as colours, (rows, columns) uint32: bytes red, green, blue, opaque.

    >>> hex(mixed(np.array([[[0.0]], [[0.0]], [[1.0]], [[0.0]]]))[0, 0])
    '0xffb27200'
    """
    rgb = np.rint(np.tensordot(_RGB, shares, (0, 0))).astype(np.uint32)
    return rgb[0] | rgb[1] << 8 | rgb[2] << 16 | np.uint32(0xFF000000)


def note(tiles: OverlapTiles, shape: tuple[int, int]) -> str:
    """What one tile of the pictures stands for, in two short lines."""
    whole = f"{shape[0]:,} rows × {shape[1]:,} columns"
    if tiles.exact:
        return f"{whole}\nexact: one tile is one entry"
    return f"{whole}\na tile mixes {tiles.a.tile_rows:,} × {tiles.a.tile_columns:,} entries: zoom in"


def build(tiles: OverlapTiles, shape: tuple[int, int], name: str) -> list[LayoutDOM]:
    """The states of a mask of that shape; below them what a and what b retain. Row 0 is on top.

    Named models: source tiles; ranges rows and columns; titles name and note; figures states, mask_a, mask_b.
    """
    down, across = shape
    source = ColumnDataSource(columns(tiles), name="tiles")
    ranges = {
        "x_range": Range1d(0, across, bounds=(0, across), name="columns"),
        "y_range": Range1d(down, 0, bounds=(0, down), name="rows"),
    }
    states = _plot("states", 330, name, "name", ranges, "pan,wheel_zoom,box_zoom,reset")
    words = Title(text=note(tiles, shape), name="note", text_font_style="normal", text_font_size="12px")
    states.add_layout(words, "above")
    states.add_layout(_legend(states), "above")
    image = states.image_rgba("states", "x", "y", "dw", "dh", source=source)
    _hover(states, image)
    mapper = LinearColorMapper(palette=themes.SHARES, low=0, high=100)
    masks = []
    for which in "ab":
        plot = _plot(f"mask_{which}", 230, f"mask of {which}: light is retained", None, ranges, "pan,wheel_zoom")
        plot.toolbar_location = None
        _hover(plot, plot.image(which, "x", "y", "dw", "dh", source=source, color_mapper=mapper))
        plot.update(min_width=300, styles={"flex": "1 1 300px"})
        masks.append(plot)
    return [states, row(*masks, sizing_mode="stretch_width", styles=_WRAP)]


def _plot(name: str, height: int, words: str, named: str | None, ranges: Any, tools: str) -> Any:
    plot = figure(
        name=name,
        height=height,
        sizing_mode="stretch_width",
        x_axis_label="column",
        y_axis_label="row",
        tools=tools,
        title=Title(text=label(words, NARROW), name=named, text_font_size="13px"),
        active_scroll="wheel_zoom",
        **ranges,
    )
    plot.toolbar.logo = None
    plot.grid.visible = False
    for axis in plot.axis:
        axis.ticker = BasicTicker(min_interval=1, desired_num_ticks=5)
        axis.formatter = BasicTickFormatter(use_scientific=False)
    return plot


def _legend(plot: Any) -> Legend:
    """The four states, from light to dark: that order is the second cue."""
    items = []
    for state, colour in zip(STATES, COLOURS, strict=True):
        box = plot.scatter([np.nan], [np.nan], marker="square", size=14, fill_color=colour, line_color=themes.RESET)
        items.append(LegendItem(label=state, renderers=[box]))
    return Legend(items=items, orientation="horizontal", padding=2, margin=2, spacing=8, label_text_font_size="12px")


def _hover(plot: Any, image: Any) -> None:
    # An entry covers the unit square to the right of and below its indices: the entry under the pointer is the floor.
    floor = CustomJSHover(code="return String(Math.floor(value))")
    plot.add_tools(
        HoverTool(
            renderers=[image],
            tooltips=[
                ("row", "$y{custom}"),
                ("column", "$x{custom}"),
                ("retained by a", "@a %"),
                ("by b", "@b %"),
                ("by both", "@both %"),
            ],
            formatters={"$x": floor, "$y": floor},
        )
    )
