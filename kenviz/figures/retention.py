"""Layer × matrix kind, coloured by one column of the retention table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from bokeh.layouts import column
from bokeh.models import (
    BasicTicker,
    Column,
    ColumnDataSource,
    FactorRange,
    HoverTool,
    LinearColorMapper,
    NoOverlap,
    NumeralTickFormatter,
    Plot,
    ScrollBox,
    TapTool,
)
from bokeh.models.annotations import ColorBar, Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import strips
from kenviz.text.labels import apart, label, last
from kenviz.text.measures import MEASURES, Measure

_OUTSIDE = "–"
_MOST_WRITTEN = 16  # more layers than this, and the numbers no longer fit into their cells
_MOST_PIXELS = 24_000  # browsers draw no canvas of more than 32,767 pixels a side
_TALLEST = 640  # what is taller is scrolled through

_HATCH = {True: "/", False: " "}


def columns(table: pd.DataFrame, measure: str) -> dict[str, Any]:
    """The columns of source "cells", one entry a tensor: place, value, how it is written, and in which ink.

    It is hatched where there is no value.
    """
    shown, values = MEASURES[measure], table[measure].to_numpy(dtype=float)
    labels = short_kinds(list(dict.fromkeys(table["kind"])))
    few = table["layer"].nunique() <= _MOST_WRITTEN
    return {
        "layer": layers(table),
        "kind": [labels[kind] for kind in table["kind"]],
        "tensor": list(table.index),
        "name": [label(name) for name in table.index],
        "value": values,
        "text": [shown.brief(v) if few else _sign(shown, v) for v in values],
        "written": [f"{shown.written(v)} {'' if shown.style == 'share' else shown.unit}".strip() for v in values],
        "ink": _inks(values, measure),
        "hatch": [_HATCH[bool(missing)] for missing in np.isnan(values)],
        "retained": table["retained"].to_numpy(),
        "entries": table["entries"].to_numpy(),
        "shape": [f"{rows:,} × {n:,}" for rows, n in zip(table["rows"], table["row_length"], strict=True)],
    }


def limits(values: NDArray[np.float64], measure: str) -> tuple[float, float]:
    """The ends of the colour scale: the range of the finite values, or a unit around a single one.

    Where a measure has a middle, 0 is the middle of the scale. Of a share, the scale of a single value is all of it.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if MEASURES[measure].middle:
        farthest = max(-low, high) or 0.5
        return -farthest, farthest
    if high > low:
        return low, high
    whole = MEASURES[measure].style == "share" and 0 <= low <= 1
    return (0.0, 1.0) if whole else (low - 0.5, high + 0.5)


def scale(values: NDArray[np.float64], measure: str) -> dict[str, dict[str, Any]]:
    """The colour scale for values: properties by name of the models colours, bar and ticks."""
    shown, (low, high) = MEASURES[measure], limits(values, measure)
    words = [shown.unit, "hatched: not defined" if np.isnan(values).any() else ""]
    return {
        "colours": {"low": low, "high": high, "palette": _palette(shown)},
        "bar": {"title": "; ".join(filter(None, words))},
        "ticks": {"format": shown.ticks(low, high)},
    }


def _inks(values: NDArray[np.float64], measure: str) -> list[str]:
    """Dark ink on bright cells, light ink on dark ones, by the luminance of their colour."""
    palette = _palette(MEASURES[measure])
    low, high = limits(values, measure)
    at = np.nan_to_num((values - low) / (high - low) * len(palette)).clip(0, len(palette) - 1).astype(int)
    bright = np.array([0.2126 * r + 0.7152 * g + 0.0722 * b > 110 for r, g, b in map(_rgb, palette)])
    return ["#000000" if bright[i] or np.isnan(v) else "#ffffff" for i, v in zip(at, values, strict=True)]


def _palette(shown: Measure) -> tuple[str, ...]:
    return themes.DIVERGING if shown.middle else themes.SEQUENTIAL


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _sign(shown: Measure, value: float) -> str:
    """What there is room for beside the colour, if numbers do not fit: on which side of the middle a value is."""
    return "−" if shown.middle and value < 0 else ""


def layers(table: pd.DataFrame) -> list[str]:
    """The layer of each tensor as the factor it is drawn at, "–" outside of layers."""
    return [_OUTSIDE if pd.isna(layer) else str(layer) for layer in table["layer"]]


def short_kinds(kinds: Sequence[str], most: int = 30) -> dict[str, str]:
    """Kinds less what precedes the layer number, if it is the same for all, and less a closing ``.weight``.

    What is still longer than `most` is cut, at its beginning if that will do.

    >>> short_kinds(["bert.l.*.query.weight", "bert.l.*.query.bias", "bert.pooler.weight"])
    {'bert.l.*.query.weight': 'query',
     'bert.l.*.query.bias': 'query.bias',
     'bert.pooler.weight': 'bert.pooler'}
    """
    stems = {kind[: kind.index("*") + 2] for kind in kinds if "*" in kind.split(".")}
    stem = stems.pop() if len(stems) == 1 else ""
    short = [last(kind.removeprefix(stem).removesuffix(".weight"), most) for kind in kinds]
    return dict(zip(kinds, apart(short), strict=True))


def build(
    table: pd.DataFrame,
    measure: str,
    theme: str = "light",
    chosen: str = "",
    strip: strips.StripPicture | None = None,
) -> Column:
    """The map of a retention table (at least one row), the cell of the tensor `chosen` outlined; below it a strip.

    What does not fit is scrolled through. Named models: plot map; source cells, its selection picked; mapper colours,
    its bar and ticks; title title; and those of `kenviz.figures.strips.build`.
    """
    plot = _map(table, measure, chosen)
    box = ScrollBox(child=plot, sizing_mode="stretch_width", vertical_scrollbar="auto", horizontal_scrollbar="auto")
    if (plot.height or 0) > _TALLEST:
        box.height = _TALLEST
    root = column(box, strips.build(strip), sizing_mode="stretch_width")
    themes.apply(root, theme)
    return root


def _map(table: pd.DataFrame, measure: str, chosen: str) -> Plot:
    data = columns(table, measure)
    order = sorted({int(layer) for layer in table["layer"].dropna()})
    factors = [_OUTSIDE] * bool(table["layer"].isna().any()) + [str(layer) for layer in order]
    kinds = list(short_kinds(list(dict.fromkeys(table["kind"]))).values())
    wide = 46 if len(order) <= _MOST_WRITTEN else 14
    height = 140 + max(1, min(24, _MOST_PIXELS // len(kinds))) * len(kinds)
    plot = figure(
        height=height,
        min_height=height,  # or the box around it would squeeze it
        min_width=min(50 + 7 * max(map(len, kinds)) + wide * len(factors), _MOST_PIXELS),
        sizing_mode="stretch_width",
        x_range=FactorRange(*factors),
        y_range=FactorRange(*reversed(kinds)),
        x_axis_label="layer (– : outside of layers)",
        # Of a map that is scrolled through, the beginning is seen first.
        x_axis_location="above" if height > _TALLEST else "below",
        tools="",
        toolbar_location=None,
        name="map",
        title=Title(text=MEASURES[measure].label, name="title", text_font_size="13px"),
    )
    plot.grid.visible = False
    plot.xaxis.major_label_policy = NoOverlap(min_distance=3)
    plot.yaxis.major_label_policy = NoOverlap(min_distance=0)
    scales = scale(data["value"], measure)
    mapper = LinearColorMapper(**scales["colours"], nan_color=themes.MISSING, name="colours")
    source = ColumnDataSource(data, name="cells")
    source.selected.name = "picked"
    source.selected.indices = picked(table, chosen)
    cells = plot.rect(
        "layer",
        "kind",
        width=0.96,
        height=0.92,
        source=source,
        fill_color={"field": "value", "transform": mapper},
        line_color=None,
        hatch_pattern="hatch",
        hatch_color="#444444",
        selection_line_color=themes.CHOSEN,
        selection_line_width=4,
    )
    cells.nonselection_glyph = None  # else whatever is not chosen would fade
    texts = plot.text(
        "layer",
        "kind",
        "text",
        source=source,
        text_color="ink",
        text_align="center",
        text_baseline="middle",
        text_font_size="11px",
    )
    texts.nonselection_glyph = texts.selection_glyph = None
    plot.add_tools(
        TapTool(renderers=[cells]),
        HoverTool(
            renderers=[cells],
            tooltips=[
                ("tensor", "@name"),
                ("shape", "@shape"),
                ("retained", "@retained{0,0} of @entries{0,0}"),
                ("value shown", "@written"),
            ],
        ),
    )
    bar = ColorBar(
        color_mapper=mapper,
        ticker=BasicTicker(desired_num_ticks=5),
        formatter=NumeralTickFormatter(name="ticks", **scales["ticks"]),
        orientation="horizontal",
        width=220,
        height=12,
        padding=6,
        location=(0, 0),
        title_text_font_size="12px",
        name="bar",
        **scales["bar"],
    )
    plot.add_layout(bar, "above")
    return plot


def picked(table: pd.DataFrame, chosen: str) -> list[int]:
    """Which entries of source "cells" are selected: that of the chosen tensor, if it is shown."""
    return [int(at) for at in np.flatnonzero(table.index == chosen)]
