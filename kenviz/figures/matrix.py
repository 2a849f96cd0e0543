"""One matrix as tiles of one byte, their colours, marks where values are beyond the scale, and the entry chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CustomJSHover,
    LinearColorMapper,
    PrintfTickFormatter,
    Range1d,
)
from bokeh.models.annotations import ColorBar
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import axes
from kenviz.tiles.pyramid import Lattice
from kenviz.tiles.tiles import Tiles

#: Of the tiles beyond one end of the scale, at most this many are marked.
MOST_MARKS = 200
#: How a tile beyond the scale is marked, apart from the shape.
MARK: dict[str, Any] = {"size": 6, "fill_color": "#000000", "line_color": "#ffffff"}

Columns = dict[str, Any]


def columns(tiles: Tiles) -> Columns:
    """The columns of source "tiles": one image and where it lies, in entries."""
    return {"image": [tiles.codes], **axes.extent(tiles.place)}


def marks(tiles: Tiles, most: int = MOST_MARKS) -> dict[str, Columns]:
    """The columns of sources "above" and "below": the middles of tiles beyond the scale, at most so many of each."""
    return {"above": _middles(tiles.place, tiles.above, most), "below": _middles(tiles.place, tiles.below, most)}


def sources(tiles: Tiles, most: int = MOST_MARKS, suffix: str = "") -> dict[str, Columns]:
    """The columns of sources "tiles", "above" and "below", whose names end with the suffix."""
    return {f"{name}{suffix}": data for name, data in {"tiles": columns(tiles), **marks(tiles, most)}.items()}


def chosen(entry: tuple[int, int] | None) -> Columns:
    """The columns of source "entry": the middle of the entry that is chosen, if there is one."""
    entries = [] if entry is None else [entry]
    return {"x": np.array([column + 0.5 for _, column in entries]), "y": np.array([row + 0.5 for row, _ in entries])}


def colours(tiles: Tiles) -> dict[str, Any]:
    """Properties of the mapper "codes": from codes to colours."""
    palette = _palette(tiles)
    return {"palette": palette, "low": -0.5, "high": len(palette) - 0.5}


def scale(tiles: Tiles) -> dict[str, Any]:
    """Properties of the mapper "scale", which the colour bar draws: from what codes stand for to the same colours."""
    palette = _palette(tiles)
    return {"palette": palette, "low": tiles.low, "high": (len(palette) - 1 - tiles.zero) * tiles.step}


def _palette(tiles: Tiles) -> list[str]:
    return list(themes.DIVERGING if tiles.signed else themes.SHARES)


def mappers(tiles: Tiles) -> tuple[LinearColorMapper, LinearColorMapper]:
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
    tiles: Tiles,
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
    data = sources(tiles, most_marks, suffix).items()
    shown, above, below = (ColumnDataSource(columns, name=source) for source, columns in data)
    codes, scale = mappers
    image = plot.image("image", "x", "y", "dw", "dh", source=shown, color_mapper=codes)
    for source, marker in ((above, "triangle"), (below, "inverted_triangle")):
        plot.scatter("x", "y", source=source, marker=marker, **MARK)
    decoded = CustomJSHover(
        args={"scale": scale},
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


def _middles(place: Lattice, marked: NDArray[np.bool_], most: int) -> Columns:
    """The middles of marked tiles, evenly thinned to at most so many."""
    rows, columns = np.nonzero(marked)
    some = slice(None, None, max(1, -(-len(rows) // most)))
    return {
        "x": place.first_column + (columns[some] + 0.5) * place.tile_columns,
        "y": place.first_row + (rows[some] + 0.5) * place.tile_rows,
    }
