"""One matrix as tiles of one byte, their colours, marks where values are beyond the scale, and the entry chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CustomJSHover,
    LinearColorMapper,
    Plot,
    PrintfTickFormatter,
    Range1d,
)
from bokeh.models.annotations import ColorBar, Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import axes
from kenviz.text.labels import label
from kenviz.tiles.mask_tiles import Tiles
from kenviz.tiles.neighbour_tiles import MeanTiles
from kenviz.tiles.value_tiles import ValueTiles

#: Of the tiles beyond one end of the scale, at most this many are marked.
MOST_MARKS = 200
#: How a tile beyond the scale is marked, apart from the shape.
MARK: dict[str, Any] = {"size": 6, "fill_color": "#000000", "line_color": "#ffffff"}

Shown = Tiles | ValueTiles
Columns = dict[str, Any]


def columns(tiles: Shown | MeanTiles) -> Columns:
    """The columns of source "tiles": one image and where it lies, in entries."""
    return {"image": [tiles.codes], **axes.extent(tiles, *tiles.codes.shape)}


def marks(tiles: Shown, most: int = MOST_MARKS) -> dict[str, Columns]:
    """The columns of sources "above" and "below": the middles of tiles beyond the scale, at most so many of each."""
    if isinstance(tiles, Tiles):
        return {"above": _middles(tiles, np.empty((0, 2))), "below": _middles(tiles, np.empty((0, 2)))}
    return {
        "above": _middles(tiles, _thinned(tiles.above, most)),
        "below": _middles(tiles, _thinned(tiles.below, most)),
    }


def chosen(entry: tuple[int, int] | None) -> Columns:
    """The columns of source "entry": the middle of the entry that is chosen, if there is one."""
    there = [] if entry is None else [entry]
    return {"x": np.array([column + 0.5 for _, column in there]), "y": np.array([row + 0.5 for row, _ in there])}


def colours(tiles: Shown) -> dict[str, Any]:
    """Properties of the mapper "codes": from codes to colours."""
    palette = themes.SHARES if isinstance(tiles, Tiles) else themes.DIVERGING
    return {"palette": list(palette), "low": -0.5, "high": len(palette) - 0.5}


def scale(tiles: Shown) -> dict[str, Any]:
    """Properties of the mapper "scale", which the colour bar draws: from what codes stand for to the same colours."""
    if isinstance(tiles, Tiles):
        return {"palette": list(themes.SHARES), "low": 0.0, "high": 100.0}
    return {"palette": list(themes.DIVERGING), "low": tiles.low, "high": -tiles.low}


def note(tiles: Tiles, shape: tuple[int, int]) -> str:
    """What one tile of the picture of a mask stands for."""
    whole = f"matrix of {shape[0]:,} rows × {shape[1]:,} columns"
    if tiles.exact:
        return f"{whole}; exact: one tile is one entry"
    tile = f"{tiles.tile_rows:,} × {tiles.tile_columns:,} entries"
    return f"{whole}; each tile is the share of {tile}: zoom in for single ones"


def mappers(tiles: Shown) -> tuple[LinearColorMapper, LinearColorMapper]:
    """The mappers "codes" and "scale"."""
    codes = LinearColorMapper(**colours(tiles), high_color=themes.MISSING, name="codes")
    return codes, LinearColorMapper(**scale(tiles), name="scale")


def bar(mapper: LinearColorMapper, **options: Any) -> ColorBar:
    """The colour bar of a scale."""
    return ColorBar(
        color_mapper=mapper,
        ticker=BasicTicker(desired_num_ticks=6),
        formatter=PrintfTickFormatter(format="%.3g"),
        **{"width": 14, **options},
    )


def frame(
    tiles: Shown,
    ranges: tuple[Range1d, Range1d],
    mappers: tuple[LinearColorMapper, LinearColorMapper],
    name: str = "matrix",
    suffix: str = "",
    most_marks: int = MOST_MARKS,
    **options: Any,
) -> figure:
    """A plot of tiles alone, over ranges (columns, rows).

    Named models: the figure; sources tiles, above, below, each with the suffix; tool hover.
    """
    plot = axes.build(name, ranges, **options)
    data = {"tiles": columns(tiles), **marks(tiles, most_marks)}
    sources = {key: ColumnDataSource(of, name=f"{key}{suffix}") for key, of in data.items()}
    codes, told = mappers
    image = plot.image("image", "x", "y", "dw", "dh", source=sources["tiles"], color_mapper=codes)
    for key, marker in (("above", "triangle"), ("below", "inverted_triangle")):
        plot.scatter("x", "y", source=sources[key], marker=marker, **MARK)
    decoded = CustomJSHover(
        args={"scale": told},
        code="""
            const most = scale.palette.length - 1
            const there = scale.low + (value * (scale.high - scale.low)) / most
            return value > most ? "none" : String(Number(there.toPrecision(4)))
        """,
    )
    axes.hover(plot, image, [("shown in this tile", "@image{custom}")], image=decoded)
    return plot


def mark(plot: figure, source: ColumnDataSource) -> None:
    """Draw rings around the points of a source, which can be seen on any colour: the entry that is chosen."""
    for size, colour, width in ((13, "#ffffff", 5), (13, themes.CHOSEN, 2.5)):
        plot.scatter("x", "y", source=source, size=size, fill_color=None, line_color=colour, line_width=width)


def build(tiles: Tiles, shape: tuple[int, int], name: str, theme: str = "light") -> Plot:
    """The figure of a mask of that shape, alone. Row 0 is on top.

    Named models: source tiles; ranges rows and columns; titles note and name.
    """
    codes, told = mappers(tiles)
    plot = frame(
        tiles,
        axes.ranges(shape),
        (codes, told),
        height=460,
        sizing_mode="stretch_width",
        x_axis_label="column",
        y_axis_label="row",
        title=Title(text=label(name), name="name", text_font_size="13px"),
    )
    words = Title(text=note(tiles, shape), name="note", text_font_style="normal", text_font_size="12px")
    plot.add_layout(words, "above")
    plot.add_layout(bar(told, title="retained, % of entries"), "right")
    themes.apply(plot, theme)
    return plot


def _thinned(there: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    places = np.argwhere(there)
    return places[:: max(1, -(-len(places) // most))]


def _middles(tiles: Shown, places: NDArray[Any]) -> Columns:
    x = tiles.first_column + (places[:, 1] + 0.5) * tiles.tile_columns
    y = tiles.first_row + (places[:, 0] + 0.5) * tiles.tile_rows
    return {"x": x, "y": y}
