"""Layer × matrix kind, coloured by one column of the retention table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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


class Size(NamedTuple):
    """How much of a map is on one sheet: so many kinds and layers at most, each kind so many pixels high.

    bar: where the colour bar is, "above" or "right". What is on other sheets a `sheet` says in words.
    """

    kinds: int
    layers: int
    pixels: int
    bar: str


FULL, COMPACT = Size(20, 64, pixels=24, bar="above"), Size(11, 64, pixels=14, bar="right")


class Sheet(NamedTuple):
    """A sheet of a map: the tensors on it, by kinds and layers, its number from 1, and how many sheets there are."""

    table: pd.DataFrame
    number: int
    sheets: int
    words: str


def sheet(table: pd.DataFrame, number: int, size: Size) -> Sheet:
    """A sheet of the map of a retention table, and in words what it shows of it; empty words if it shows all.

    >>> table = pd.DataFrame({"layer": [0, 0, 1, 1], "kind": ["a", "b", "a", "b"]}, index=list("pqrs"))
    >>> one = sheet(table, 2, Size(1, 64, pixels=24, bar="above"))
    >>> list(one.table.index), one.sheets, one.words
    (['q', 's'], 2, 'sheet 2 of 2: kind 2 of 2')
    """
    kinds = list(dict.fromkeys(table["kind"]))
    order = sorted({int(layer) for layer in table["layer"].dropna()})
    down, across = (max(1, -(-len(all) // most)) for all, most in ((kinds, size.kinds), (order, size.layers)))
    number = min(max(number, 1), down * across)
    downward: int = (number - 1) // across
    sideways: int = (number - 1) % across
    first, start = downward * size.kinds, sideways * size.layers
    some, those = kinds[first : first + size.kinds], set(order[start : start + size.layers])
    # What is outside of layers stands on the first sheet of its kinds.
    fits = table["kind"].isin(some) & (table["layer"].isin(those) | (table["layer"].isna() & (sideways == 0)))
    parts = []
    if down > 1:
        parts.append(_span("kind", first + 1, first + len(some), count=len(kinds)))
    if across > 1:
        parts.append(f"layers {min(those)} to {max(those)}, {len(those):,} of {len(order):,}")
    words = f"sheet {number} of {down * across}: {'; '.join(parts)}" if parts else ""
    return Sheet(table[fits], number, down * across, words=words)


def sheet_of(table: pd.DataFrame, tensor: str, size: Size) -> int:
    """On which sheet a tensor is, from 1."""
    kinds = list(dict.fromkeys(table["kind"]))
    order = sorted({int(layer) for layer in table["layer"].dropna()})
    line = table.loc[tensor]
    across = max(1, -(-len(order) // size.layers))
    sideways: int = 0 if pd.isna(line["layer"]) else order.index(int(line["layer"])) // size.layers
    return kinds.index(line["kind"]) // size.kinds * across + sideways + 1


def _span(noun: str, first: int, last: int, *, count: int) -> str:
    return f"{noun} {first} of {count:,}" if first == last else f"{noun}s {first} to {last} of {count:,}"


_BARS: dict[str, dict[str, Any]] = {
    "above": {"orientation": "horizontal", "width": 220, "height": 12, "padding": 6},
    "right": {"orientation": "vertical", "width": 12, "padding": 2, "margin": 0},
}


def columns(whole: pd.DataFrame, measure: str, number: int = 1, size: Size = FULL) -> dict[str, Any]:
    """The columns of source "cells", an entry a tensor on that sheet: place, value, how it is written, in which ink.

    Where there is no value it is hatched (`blanks`). The colours are those of the whole table, on each sheet.
    """
    table, ends = sheet(whole, number, size).table, limits(whole[measure].to_numpy(dtype=float), measure)
    shown, values = MEASURES[measure], table[measure].to_numpy(dtype=float)
    labels = short_kinds(list(dict.fromkeys(table["kind"])))
    few = whole["layer"].nunique() <= _MOST_WRITTEN
    return {
        "layer": layers(table),
        "kind": [labels[kind] for kind in table["kind"]],
        "tensor": list(table.index),
        "name": [label(name) for name in table.index],
        "value": values,
        "text": [shown.brief(v) if few else _sign(shown, v) for v in values],
        "written": [f"{shown.written(v)} {'' if shown.style == 'share' else shown.unit}".strip() for v in values],
        "ink": _inks(values, measure, ends),
        "retained": table["retained"].to_numpy(),
        "entries": table["entries"].to_numpy(),
        "shape": [f"{rows:,} × {n:,}" for rows, n in zip(table["rows"], table["row_length"], strict=True)],
    }


def blanks(cells: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The columns of source "blanks", the places of the cells without a value: hatched in a layer of their own.

    BokehJS makes a canvas for the hatch of each mark of a layer, also of those that have none.
    """
    missing = np.flatnonzero(np.isnan(np.asarray(cells["value"], dtype=float)))
    return {side: [cells[side][at] for at in missing] for side in ("layer", "kind")}


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


def _inks(values: NDArray[np.float64], measure: str, ends: tuple[float, float]) -> list[str]:
    """Dark ink on bright cells, light ink on dark ones, by the luminance of their colour."""
    palette = _palette(MEASURES[measure])
    low, high = ends
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
    number: int = 1,
    size: Size = FULL,
) -> Column:
    """A sheet of the map of a retention table (at least one row), the cell of `chosen` outlined; below it a strip.

    Named models: ranges across and down; plot map; source cells, its selection picked; mapper colours,
    its bar and ticks; title title; and those of `kenviz.figures.strips.build`.
    """
    plot = _map(table, measure, chosen, number=number, size=size)
    box = ScrollBox(child=plot, sizing_mode="stretch_width", vertical_scrollbar="hidden", horizontal_scrollbar="auto")
    root = column(box, strips.build(strip), sizing_mode="stretch_width")
    themes.apply(root, theme)
    return root


def title(measure: str, one: Sheet) -> str:
    """What the colours of a sheet are, and which part of the map it is."""
    return "; ".join(filter(None, [MEASURES[measure].label, one.words]))


def ranges(table: pd.DataFrame) -> dict[str, list[str]]:
    """The factors of the ranges "across" (layers) and "down" (kinds) of a sheet."""
    order = sorted({int(layer) for layer in table["layer"].dropna()})
    factors = [_OUTSIDE] * bool(table["layer"].isna().any()) + [str(layer) for layer in order]
    return {"across": factors, "down": list(reversed(short_kinds(list(dict.fromkeys(table["kind"]))).values()))}


def height(table: pd.DataFrame, size: Size) -> int:
    """How high the plot of a sheet is, in pixels."""
    return (140 if size.bar == "above" else 52) + size.pixels * max(table["kind"].nunique(), 4)


def _map(whole: pd.DataFrame, measure: str, chosen: str, *, number: int, size: Size) -> Plot:
    one = sheet(whole, number, size)
    table, data, factors = one.table, columns(whole, measure, number, size=size), ranges(one.table)
    narrow = {} if size.bar == "above" else {"major_label_text_font_size": "10px", "axis_label_standoff": 0}
    beside, letter, written = (50, 7, 46) if size.bar == "above" else (110, 5.6, 32)
    columns_wide = written if whole["layer"].nunique() <= _MOST_WRITTEN else 8
    plot = figure(
        height=height(table, size),
        min_height=height(table, size),  # or the box around it would squeeze it
        # In a narrow place the map is scrolled through: cells stay wide enough for what is written in them.
        min_width=beside + int(letter * max(map(len, factors["down"]))) + columns_wide * len(factors["across"]),
        sizing_mode="stretch_width",
        x_range=FactorRange(*factors["across"], name="across"),
        y_range=FactorRange(*factors["down"], name="down"),
        x_axis_label="layer (– : outside of layers)",
        tools="",
        toolbar_location=None,
        name="map",
        title=Title(text=title(measure, one), name="title", text_font_size="13px"),
    )
    for axis in plot.axis:
        axis.update(**narrow)
    plot.grid.visible = False
    plot.xaxis.major_label_policy = NoOverlap(min_distance=3)
    plot.yaxis.major_label_policy = NoOverlap(min_distance=0)
    scales = scale(whole[measure].to_numpy(dtype=float), measure)
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
        selection_line_color=themes.CHOSEN,
        selection_line_width=4,
    )
    cells.nonselection_glyph = None  # else whatever is not chosen would fade
    plot.rect(
        "layer",
        "kind",
        width=0.96,
        height=0.92,
        source=ColumnDataSource(blanks(data), name="blanks"),
        fill_color=None,
        line_color=None,
        hatch_pattern="/",
        hatch_color="#444444",
    )
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
        **_BARS[size.bar],
        location=(0, 0),
        title_text_font_size="12px",
        name="bar",
        **scales["bar"],
    )
    plot.add_layout(bar, size.bar)
    return plot


def picked(table: pd.DataFrame, chosen: str) -> list[int]:
    """Which entries of source "cells" are selected: that of the chosen tensor, if it is shown."""
    return [int(at) for at in np.flatnonzero(table.index == chosen)]
