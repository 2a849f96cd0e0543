"""One kind of matrix in many layers, side by side over the same ranges and on one scale of colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import BasicTicker, ColumnDataSource, LayoutDOM, Range1d
from bokeh.models.annotations import Title
from bokeh.models.css import InlineStyleSheet
from bokeh.plotting import figure

from kenviz import theme as themes
from kenviz.figures import legends, lettering, matrix
from kenviz.tiles.pyramid import lattice
from kenviz.tiles.tiles import Tiles

#: Marks of tiles beyond one end of the scale, in a layer: there is less room than in one large matrix.
MOST_MARKS = 40

#: What a slot without a layer holds; it is not visible.
NOTHING = Tiles(lattice((1, 1), (0, 1), (0, 1)), np.zeros((1, 1), np.uint8))


class Slot(NamedTuple):
    """What is shown of one layer, and its title; nothing is shown of a slot without a title."""

    tiles: Tiles
    title: str


def sources(tiles: Sequence[Tiles]) -> dict[str, dict[str, Any]]:
    """The columns of all sources: tiles, above and below, numbered by slot."""
    layers = (matrix.sources(layer, MOST_MARKS, f"_{i}") for i, layer in enumerate(tiles))
    return {name: columns for layer in layers for name, columns in layer.items()}


def build(
    slots: Sequence[Slot],
    ranges: tuple[Range1d, Range1d],
    words: lettering.Words,
    entry: tuple[int, int] | None = None,
    theme: str = "light",
) -> LayoutDOM:
    """Plots side by side, as many in a line as there is room for, below words, legend and colour bar.

    Named models, numbered by slot: figures layer_0 …; titles title_0 …; sources as in `sources`. For all: source entry;
    ranges rows and columns; titles name and note; mappers codes and scale; those of `legends.build`.
    """
    shown = [slot.tiles for slot in slots if slot.title]
    mappers = matrix.mappers(shown[0])
    head = figure(
        name="layers",
        height=170,
        sizing_mode="stretch_width",
        x_range=Range1d(0, 1),
        y_range=Range1d(0, 1),
        tools="",
        toolbar_location=None,
        min_border_left=24,
        min_border_right=24,
        title=lettering.heading(words.name),
    )
    head.axis.visible = False
    head.outline_line_alpha = 0  # it frames nothing
    head.grid.visible = False
    head.add_layout(legends.build(head, shown, words.why_missing, most=MOST_MARKS), "above")
    head.add_layout(lettering.words(words.lines, "note"), "above")
    place: dict[str, Any] = {"orientation": "horizontal", "location": "center", "padding": 2, "margin": 0}
    head.add_layout(matrix.bar(mappers[1], height=12, width=260, **place))
    chosen = ColumnDataSource(matrix.chosen(entry), name="entry")
    plots = [_layer(i, slot, ranges=ranges, mappers=mappers, chosen=chosen) for i, slot in enumerate(slots)]
    # All of one width, in the last line, too.
    wrapped = InlineStyleSheet(
        css=":host { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); }"
    )
    layout = column(head, row(*plots, sizing_mode="stretch_width", stylesheets=[wrapped]), sizing_mode="stretch_width")
    themes.apply(layout, theme)
    return layout


def _layer(i: int, slot: Slot, ranges: Any, mappers: Any, chosen: ColumnDataSource) -> figure:
    plot = matrix.frame(
        slot.tiles,
        ranges,
        mappers,
        name=f"layer_{i}",
        suffix=f"_{i}",
        most_marks=MOST_MARKS,
        height=220,
        min_width=190,
        sizing_mode="stretch_width",
        toolbar_location=None,
        visible=bool(slot.title),
        title=Title(text=slot.title, name=f"title_{i}", text_font_size="11px"),
        min_border_left=50,
        min_border_right=14,
    )
    for axis in plot.axis:
        axis.ticker = BasicTicker(min_interval=1, desired_num_ticks=3)
    matrix.mark(plot, chosen)
    return plot
