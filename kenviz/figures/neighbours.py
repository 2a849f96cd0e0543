"""How many neighbours of each retained entry are retained: a map at any zoom, and the distribution beside chance."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from bokeh.layouts import column
from bokeh.models import (
    Column,
    ColumnDataSource,
    CustomJSHover,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    Plot,
    Range1d,
)
from bokeh.models.annotations import ColorBar
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import axes, lettering
from kenviz.figures.matrix import columns
from kenviz.tiles.neighbour_tiles import STEPS
from kenviz.tiles.tiles import MISSING, Tiles

#: So many rows and columns, and the counts are also written into the entries.
MOST_WRITTEN = 32
# Steps from which the ink on a tile is dark.
_BRIGHT = 110


class Distribution(NamedTuple):
    """Retained entries by their number of retained neighbours, 0 to 4: counted, and expected by chance; each (5,)."""

    counted: NDArray[np.int64]
    expected: NDArray[np.float64]

    def columns(self) -> dict[str, Any]:
        """The columns of source "bars": what is drawn is in percent of the retained entries."""
        total = max(1, int(self.counted.sum()))
        return {
            "neighbours": np.arange(5),
            "left": np.arange(5) - 0.2,
            "right": np.arange(5) + 0.2,
            "found": 100 * self.counted / total,
            "expected": 100 * self.expected / total,
            "entries": self.counted.astype(np.float64),
            "entries_expected": self.expected,
        }

    @property
    def highest(self) -> float:
        """Where the axis of the bars ends, in percent."""
        columns = self.columns()
        return 1.08 * max(1.0, float(columns["found"].max()), float(columns["expected"].max()))


def digits(shown: Tiles) -> dict[str, Any]:
    """The columns of source "digits": the counts of retained entries as text, where there is room for them."""
    few = shown.exact and max(shown.codes.shape) <= MOST_WRITTEN
    at = np.nonzero(shown.codes != MISSING) if few else (np.zeros(0, int), np.zeros(0, int))
    steps = shown.codes[at]
    return {
        "x": at[1] + shown.place.first_column + 0.5,
        "y": at[0] + shown.place.first_row + 0.5,
        "text": [str(step // STEPS) for step in steps.tolist()],
        "ink": ["#000000" if step > _BRIGHT else "#ffffff" for step in steps.tolist()],
    }


def note(shown: Tiles) -> str:
    """What one tile of the picture stands for, in two lines that fit into a narrow figure."""
    whole = axes.matrix_size(shown.place)
    if shown.exact:
        return f"{whole}, each tile exactly one entry\nblank: reset"
    return f"{whole} in tiles of {axes.tile_size(shown.place)}\neach tile: mean over its retained entries; blank: none"


def reading(mean: float, expected: float, z: float) -> str:
    """What the mean number of retained neighbours says, beside the expected one, and the z-score; in two lines.

    Beyond 2 standard deviations, as 1 in 20 random masks are, it says "somewhat", beyond 4 (1 in 16,000) no longer.

    >>> print(reading(2.25, 2.0, 5.0))
    retained neighbours: 2.250 on average, 2.000 by chance
    z = +5.0: more side by side than by chance
    """
    if math.isnan(mean):
        return "nothing is retained"
    means = f"retained neighbours: {mean:.3f} on average, {expected:.3f} by chance"
    if math.isnan(z):
        return f"{means}\nwith so many in each row, only one mask is possible"
    strength = "" if abs(z) >= 4 else "somewhat "
    side = f"{strength}{'more' if z > 0 else 'less'} side by side than by chance"
    return f"{means}\nz = {z:+.1f}: {side if abs(z) >= 2 else 'side by side as often as by chance'}"


def build(
    shown: Tiles,
    ranges: tuple[Range1d, Range1d],
    distribution: Distribution,
    name: str,
    words: str,
    theme: str = "light",
) -> Column:
    """The map of a mask, over ranges (columns, rows), above its distribution.

    words are what that says (`reading`). Named models: sources tiles, digits, bars; range shares; titles name, note,
    reading.
    """
    root = column(_map(shown, ranges, name), _bars(distribution, words), sizing_mode="stretch_width")
    themes.apply(root, theme)
    return root


def _map(shown: Tiles, ranges: tuple[Range1d, Range1d], name: str) -> Plot:
    plot = axes.build(
        "neighbours",
        ranges,
        height=460,
        title=lettering.heading(name),
        **axes.LABELLED,
    )
    plot.add_layout(lettering.words(note(shown), "note"), "above")
    # What is not a mean is left blank, so that it is the paper of either theme, and no colour of the scale.
    mapper = LinearColorMapper(palette=themes.COUNTS, low=0, high=4 * STEPS, high_color="rgba(0, 0, 0, 0)")
    image = plot.image(
        "image", "x", "y", "dw", "dh", source=ColumnDataSource(columns(shown), name="tiles"), color_mapper=mapper
    )
    plot.text(
        "x",
        "y",
        "text",
        source=ColumnDataSource(digits(shown), name="digits"),
        text_color="ink",
        text_align="center",
        text_baseline="middle",
        text_font_size="10px",
    )
    mean = CustomJSHover(
        code=f"return value === {MISSING} ? 'nothing retained here' : String(Math.round(100 * value / {STEPS}) / 100)"
    )
    axes.hover(plot, image, [("retained neighbours", "@image{custom}")], image=mean)
    marks = [STEPS * count for count in range(5)]
    plot.add_layout(
        ColorBar(
            color_mapper=mapper,
            title="neighbours",
            width=14,
            ticker=FixedTicker(ticks=marks),
            major_label_overrides={mark: str(mark // STEPS) for mark in marks},
        ),
        "right",
    )
    return plot


def _bars(distribution: Distribution, words: str) -> Plot:
    plot = figure(
        name="distribution",
        height=250,
        sizing_mode="stretch_width",
        x_range=Range1d(-0.5, 4.5),
        y_range=Range1d(0, distribution.highest, name="shares"),
        x_axis_label="retained neighbours of a retained entry",
        y_axis_label="% of retained entries",
        tools="",
        toolbar_location=None,
        title=lettering.words(words, "reading"),
    )
    plot.xaxis.ticker = FixedTicker(ticks=list(range(5)))
    plot.xgrid.visible = False
    source = ColumnDataSource(distribution.columns(), name="bars")
    counted = plot.vbar("left", 0.36, "found", source=source, fill_color=themes.RETAINED, line_color=themes.RETAINED)
    expected = plot.vbar(
        "right",
        0.36,
        "expected",
        source=source,
        fill_color=themes.MISSING,
        line_color=themes.RESET,
        hatch_pattern="/",
        hatch_color=themes.RESET,
    )
    plot.add_layout(lettering.legend([("this mask", [counted]), ("by chance", [expected])]), "above")
    plot.add_tools(
        HoverTool(
            renderers=[counted, expected],
            tooltips=[
                ("retained neighbours", "@neighbours"),
                ("this mask", "@entries{0,0} entries, @found{0.00} %"),
                ("expected by chance", "@entries_expected{0,0.0} entries, @expected{0.00} %"),
            ],
        )
    )
    return plot
