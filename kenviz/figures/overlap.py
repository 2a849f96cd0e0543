"""The masks of two subnetworks beside each other: what a retains, what b does, and which of four states entries are in.

The four states differ in lightness as well as in colour: neither is the lightest, both the darkest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.layouts import row
from bokeh.models import ColumnDataSource, LayoutDOM, LinearColorMapper, Range1d
from bokeh.models.annotations import Legend, LegendItem, Title
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import axes, lettering
from kenviz.tiles import overlap_tiles
from kenviz.tiles.overlap_tiles import STATES
from kenviz.tiles.tiles import Tiles

#: The colour of each of `STATES`: Okabe and Ito's, from light to dark.
COLOURS = ("#f2f2f2", "#e69f00", "#0072b2", "#000000")
_RGB = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in COLOURS], dtype=float)
#: Characters of a title that has room in a window of 420 px.
NARROW = 28
#: Side by side where there is room, else below each other.
_WRAP = {"flex-wrap": "wrap"}
_TOOLTIPS = [("retained by a", "@a %"), ("by b", "@b %"), ("by both", "@both %")]


def columns(tiles: Tiles) -> dict[str, Any]:
    """The columns of source "tiles": four images of one extent, in entries.

    a, b, both: percent of a tile's entries, uint8; states: what a tile looks like, RGBA in a uint32, the colours of the
    states mixed by their shares.
    """
    masks = {name: [percent] for name, percent in zip(("a", "b", "both"), tiles.codes, strict=True)}
    return {**masks, "states": [mixed(overlap_tiles.shares(tiles))], **axes.extent(tiles.place)}


def mixed(shares: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Shares of the states, (4, rows, columns), as colours, (rows, columns) uint32: bytes red, green, blue, opaque.

    >>> hex(mixed(np.array([[[0.0]], [[0.0]], [[1.0]], [[0.0]]]))[0, 0])
    '0xffb27200'
    """
    rgb = np.rint(np.tensordot(_RGB, shares, (0, 0))).astype(np.uint32)
    return rgb[0] | rgb[1] << 8 | rgb[2] << 16 | np.uint32(0xFF000000)


def note(tiles: Tiles, remark: str = "") -> str:
    """What one tile of the pictures stands for, in two short lines; a remark comes after them."""
    if remark:
        return f"{note(tiles)}\n{remark}"
    whole = axes.matrix_size(tiles.place)
    if tiles.exact:
        return f"{whole}\nexact: one tile is one entry"
    return f"{whole}\na tile mixes {axes.tile_size(tiles.place)}: zoom in"


def build(tiles: Tiles, ranges: tuple[Range1d, Range1d], name: str, remark: str = "") -> list[LayoutDOM]:
    """The states of two masks, over ranges (columns, rows); below them what a and what b retain.

    remark: what is to be known of both masks, in short lines.

    Named models: source tiles; titles name and note; figures states, mask_a, mask_b.
    """
    source = ColumnDataSource(columns(tiles), name="tiles")
    states = axes.build("states", ranges, height=330, title=lettering.heading(name, NARROW), **axes.LABELLED)
    states.add_layout(lettering.words(note(tiles, remark), "note"), "above")
    states.add_layout(_legend(states), "above")
    image = states.image_rgba("states", "x", "y", "dw", "dh", source=source)
    axes.hover(states, image, _TOOLTIPS)
    mapper = LinearColorMapper(palette=themes.SHARES, low=0, high=100)
    masks = []
    for which in "ab":
        title = Title(text=f"mask of {which}: light is retained", text_font_size="13px")
        plot = axes.build(f"mask_{which}", ranges, "pan,wheel_zoom", height=230, title=title, **axes.LABELLED)
        plot.toolbar_location = None
        axes.hover(plot, plot.image(which, "x", "y", "dw", "dh", source=source, color_mapper=mapper), _TOOLTIPS)
        plot.update(min_width=300, styles={"flex": "1 1 300px"})
        masks.append(plot)
    return [states, row(*masks, sizing_mode="stretch_width", styles=_WRAP)]


def _legend(plot: Any) -> Legend:
    """The four states, from light to dark: that order is the second cue."""
    items = []
    for state, colour in zip(STATES, COLOURS, strict=True):
        box = plot.scatter([np.nan], [np.nan], marker="square", size=14, fill_color=colour, line_color=themes.RESET)
        items.append(LegendItem(label=state, renderers=[box]))
    return lettering.legend(items, spacing=8)
