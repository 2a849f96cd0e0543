"""Layer × matrix kind, coloured by one column of the retention table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from bokeh.models import BasicTicker, ColumnDataSource, FactorRange, HoverTool, LinearColorMapper, Plot
from bokeh.models.annotations import ColorBar, Title
from bokeh.plotting import figure

from kenviz import theme as themes
from kenviz.figures.labels import label

#: What can be shown: column of the retention table -> label and how a value is written in a cell.
MEASURES = {
    "update_share": ("share of the update's energy retained", "{:.1%}"),
    "share": ("share of entries retained", "{:.1%}"),
    "update_rms": ("root mean square of the update", "{:.1e}"),
    "retained": ("entries retained", "{:,.0f}"),
}
_OUTSIDE = "–"
_MOST_WRITTEN = 16  # more layers than this, and the numbers no longer fit into their cells


def columns(table: pd.DataFrame, measure: str) -> dict[str, Any]:
    """The columns of source "cells", one entry a tensor: place, value, how it is written, in which ink."""
    values = table[measure].to_numpy(dtype=float)
    low, high = limits(values)
    # Dark ink on the light half of the palette, light ink on the dark half.
    light = (values - low) / (high - low) > 0.5 if high > low else np.zeros(len(values), dtype=bool)
    written = MEASURES[measure][1]
    labels = short_kinds(list(dict.fromkeys(table["kind"])))
    few = table["layer"].nunique() <= _MOST_WRITTEN
    return {
        "layer": layers(table),
        "kind": [labels[kind] for kind in table["kind"]],
        "tensor": list(table.index),
        "value": values,
        "text": [written.format(v) if few and np.isfinite(v) else "" for v in values],
        "ink": ["#000000" if bright else "#ffffff" for bright in light],
        "retained": table["retained"].to_numpy(),
        "entries": table["entries"].to_numpy(),
        "shape": [f"{rows:,} × {n:,}" for rows, n in zip(table["rows"], table["row_length"], strict=True)],
    }


def limits(values: np.ndarray) -> tuple[float, float]:
    """The ends of the colour scale: the range of the finite values, or a unit around a single one."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def layers(table: pd.DataFrame) -> list[str]:
    """The layer of each tensor as the factor it is drawn at, "–" outside of layers."""
    return [_OUTSIDE if pd.isna(layer) else str(layer) for layer in table["layer"]]


def short_kinds(kinds: Sequence[str]) -> dict[str, str]:
    """Kinds less what precedes the layer number, if it is the same for all, and less a closing ``.weight``.

    >>> short_kinds(["bert.l.*.query.weight", "bert.l.*.query.bias", "bert.pooler.weight"])
    {'bert.l.*.query.weight': 'query',
     'bert.l.*.query.bias': 'query.bias',
     'bert.pooler.weight': 'bert.pooler'}
    """
    stems = {kind[: kind.index("*") + 2] for kind in kinds if "*" in kind.split(".")}
    stem = stems.pop() if len(stems) == 1 else ""
    short = {kind: label(kind.removeprefix(stem).removesuffix(".weight"), most=44) for kind in kinds}
    if len(set(short.values())) < len(short):
        # What was left out made the difference: number them.
        return {kind: f"{i} {short[kind]}" for i, kind in enumerate(kinds, 1)}
    return short


def build(table: pd.DataFrame, measure: str, theme: str = "light") -> Plot:
    """The map of a retention table (at least one row). Named models: source cells, mapper colours, title title."""
    data = columns(table, measure)
    order = sorted({int(layer) for layer in table["layer"].dropna()})
    factors = [_OUTSIDE] * bool(table["layer"].isna().any()) + [str(layer) for layer in order]
    kinds = list(dict.fromkeys(table["kind"]))
    plot = figure(
        height=110 + 24 * len(kinds),
        sizing_mode="stretch_width",
        x_range=FactorRange(*factors),
        y_range=FactorRange(*reversed(short_kinds(kinds).values())),
        x_axis_label="layer (– : outside of layers)",
        x_axis_location="below",
        tools="tap,reset",
        toolbar_location=None,
        name="map",
        title=Title(text=MEASURES[measure][0], name="title", text_font_size="13px"),
    )
    plot.grid.visible = False
    low, high = limits(data["value"])
    mapper = LinearColorMapper(palette=themes.SEQUENTIAL, low=low, high=high, nan_color=themes.MISSING, name="colours")
    source = ColumnDataSource(data, name="cells")
    cells = plot.rect(
        "layer",
        "kind",
        width=0.96,
        height=0.92,
        source=source,
        fill_color={"field": "value", "transform": mapper},
        line_color=None,
        nonselection_fill_alpha=1.0,
        selection_line_color=themes.DENSITY,
        selection_line_width=3,
    )
    plot.text(
        "layer",
        "kind",
        "text",
        source=source,
        text_color="ink",
        text_align="center",
        text_baseline="middle",
        text_font_size="11px",
    )
    plot.add_tools(
        HoverTool(
            renderers=[cells],
            tooltips=[
                ("tensor", "@tensor"),
                ("shape", "@shape"),
                ("retained", "@retained{0,0} of @entries{0,0}"),
                ("value shown", "@value{0.000e+0}"),
            ],
        )
    )
    plot.add_layout(ColorBar(color_mapper=mapper, ticker=BasicTicker(), width=14), "right")
    themes.apply(plot, theme)
    return plot
