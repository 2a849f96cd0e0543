"""A sweep: a metric against the share that is retained, one line a rule, beside the models that bound it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Plot, Range1d
from bokeh.models.annotations import BoxAnnotation, Legend, LegendItem, Span, Title
from bokeh.plotting import figure

from kenviz import theme as themes
from kenviz.study.sweep_data import in_words

#: Okabe and Ito's, without yellow and black, which one theme or the other would hide.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "star", "plus", "hex")
DASHES = ("solid", "dashed", "dotdash", "dotted")
LEVELS = {"fine-tuned": "fine_tuned", "pretrained": "pretrained"}
SCALES = ("linear", "log")
_LEVEL_WORDS = {"fine-tuned": "fine-tuned, unpruned", "pretrained": "pretrained body"}
_TICKS = {
    "linear": [0, 0.2, 0.4, 0.6, 0.8, 1],
    "log": [m * 10.0**e for e in range(-6, 1) for m in (1, 2, 5)],
}


def style(at: int) -> tuple[str, str, str]:
    """Colour, marker and dash of the at-th series; no two of the first 24 have all three in common.

    >>> style(0), style(7)
    (('#0072b2', 'circle', 'solid'), ('#d55e00', 'hex', 'dashed'))
    """
    return COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)], DASHES[at // len(COLOURS) % len(DASHES)]


def position(share: Any, scale: str) -> Any:
    """Where a share stands on the axis: itself, or the logarithm to base 10 of it."""
    return np.log10(share) if scale == "log" else np.asarray(share, dtype=float)


def columns(
    lines: pd.DataFrame, evaluations: pd.DataFrame, names: Mapping[tuple[str, ...], str], scale: str
) -> dict[str, dict[str, Any]]:
    """Columns by source: of means and curves from the lines of a `Sweep`, of bands and seeds where there are several.

    names are those of all series, by rule, on, and scope if it is not the row; their order gives each its style. means
    and seeds have one entry a mark; curves and bands one list of points a series.
    """
    series = _series(lines)
    groups = [(style(at), lines[[one == name for one in series]]) for at, name in enumerate(names)]
    groups = [(look, group) for look, group in groups if len(group)]
    curves = {
        "xs": [np.array(position(group["share"], scale)) for _, group in groups],
        "ys": [group["mean"].to_numpy() for _, group in groups],
        "colour": [colour for (colour, _, _), _ in groups],
        "dash": [dash for (_, _, dash), _ in groups],
    }
    bands: dict[str, Any] = {"xs": [], "ys": [], "colour": []}
    for (colour, _, _), group in groups:
        if (group["seeds"] > 1).any():
            x = np.array(position(group["share"], scale))
            bands["xs"].append(np.concatenate([x, x[::-1]]))
            bands["ys"].append(np.concatenate([group["highest"], group["lowest"][::-1]]))
            bands["colour"].append(colour)
    seeds = dict(zip(_keys(lines), lines["seeds"], strict=True))
    single = evaluations[[seeds.get(key, 0) > 1 for key in _keys(evaluations)]]
    return {
        "curves": curves,
        "bands": bands,
        "means": _marks(lines, names, scale)
        | {
            "y": lines["mean"].to_numpy(),
            "low": (lines["mean"] - lines["error"]).to_numpy(),
            "high": (lines["mean"] + lines["error"]).to_numpy(),
            "error": lines["error"].to_numpy(),
            "seeds": lines["seeds"].to_numpy(),
        },
        "seeds": _marks(single, names, scale) | {"y": single["value"].to_numpy(), "seed": single["seed"].to_numpy()},
    }


def _series(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """The series of each line, as a `Sweep` names it."""
    lines = zip(table["rule"], table["on"], table["scope"], strict=True)
    return [(rule, on) if scope == "row" else (rule, on, scope) for rule, on, scope in lines]


def _keys(table: pd.DataFrame) -> list[tuple[tuple[str, ...], str]]:
    """Series and k of each line; repr tells 1 entry from 1.0, all of them."""
    return list(zip(_series(table), map(repr, table["k"]), strict=True))


def _marks(table: pd.DataFrame, names: Mapping[tuple[str, ...], str], scale: str) -> dict[str, Any]:
    place = {name: at for at, name in enumerate(names)}
    series = _series(table)
    styles = [style(place[one]) for one in series]
    return {
        "x": np.array(position(table["share"], scale)),
        "share": table["share"].to_numpy(),
        "name": [names[one] for one in series],
        "k": [in_words(k) for k in table["k"]],
        "colour": [colour for colour, _, _ in styles],
        "marker": [marker for _, marker, _ in styles],
    }


def limits(values: Any) -> tuple[float, float]:
    """The ends of an axis on which these values have some room; 0 to 1 if none is finite."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return low - room, high + room


def extent(
    data: Mapping[str, Mapping[str, Any]], levels: Mapping[str, Any], shares: Any, scale: str
) -> dict[str, tuple[float, float]]:
    """The ends of both axes, by the name of their range: shares (all of the sweep's) and values (what is shown)."""
    means, seeds = data["means"], data["seeds"]
    shown = [np.asarray(part, dtype=float) for part in (means["y"], means["low"], means["high"], seeds["y"])]
    edges = [edge for level in levels.values() for edge in (level.value, *band(level))]
    low, high = limits(position(shares, scale))
    return {
        "shares": (low, high) if scale == "log" else (min(0.0, low), max(1.02, high)),
        "values": limits(np.concatenate([*shown, edges])),
    }


def band(level: Any) -> tuple[float, float]:
    """From and to of a level's error band: the level less and plus its standard error; none has no width."""
    error = 0.0 if math.isnan(level.error) else level.error
    return level.value - error, level.value + error


def ticks(ends: tuple[float, float], scale: str) -> dict[float, str]:
    """Where the axis of shares is marked, and how: round percentages, not more than have room in a narrow window."""
    chosen = [share for share in _TICKS[scale] if ends[0] <= position(share or 1e-9, scale) <= ends[1] or share == 0]
    chosen = [share for share in chosen if scale == "linear" or share > 0]
    if len(chosen) > 7:
        chosen = [share for share in chosen if round(math.log10(share), 6).is_integer()]
    return {float(position(share, scale)): f"{100 * share:g} %" for share in chosen}


def axis_label(metric: str, quantity: str) -> str:
    """What the values are."""
    return f"{metric} less that of the unpruned model" if quantity == "difference" else metric


def levels_drawn(levels: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Properties, by model name, of the spans and bands of both levels; a level that is not known is not there."""
    drawn: dict[str, dict[str, Any]] = {}
    for model, name in LEVELS.items():
        level = levels[model]
        known = math.isfinite(level.value)
        low, high = band(level) if known else (0.0, 0.0)
        drawn[name] = {"location": level.value if known else 0.0, "visible": known}
        drawn[f"{name}_band"] = {"bottom": low, "top": high, "visible": known and high > low}
    return drawn


def build(
    data: Mapping[str, Mapping[str, Any]],
    ends: Mapping[str, tuple[float, float]],
    levels: Mapping[str, Any],
    names: Sequence[str],
    shown: Sequence[bool],
    scale: str,
    words: str,
    ring: Mapping[str, Any],
    theme: str = "light",
) -> Plot:
    """The figure of a sweep. names and shown are of all series, in order; words go along the axis of values.

    Named models: sources means, curves, bands, seeds, ring; ranges shares and values; axes share_axis and value_axis;
    ticker share_ticks; spans and bands fine_tuned, pretrained, fine_tuned_band, pretrained_band; legend items
    series_0, …, and level_fine_tuned, level_pretrained.
    """
    plot = figure(
        name="sweep",
        height=380 + 20 * math.ceil((len(names) + len(LEVELS)) / _columns(names)),
        sizing_mode="stretch_width",
        x_range=Range1d(*ends["shares"], name="shares"),
        y_range=Range1d(*ends["values"], name="values"),
        x_axis_label="share of entries retained",
        y_axis_label=words,
        tools="pan,box_zoom,wheel_zoom,reset",
        active_scroll=None,
        title=Title(
            text="line: mean over seeds; bar: ± 1\nstandard error; band: all seeds",
            text_font_size="12px",
            text_font_style="normal",
        ),
    )
    plot.toolbar.logo = None
    marks = ticks(ends["shares"], scale)
    plot.xaxis[0].update(
        name="share_axis",
        ticker=FixedTicker(ticks=list(marks), minor_ticks=[], name="share_ticks"),
        major_label_overrides=marks,
    )
    plot.xgrid.ticker = plot.xaxis[0].ticker
    plot.yaxis[0].name = "value_axis"
    _levels(plot, levels)
    source = {name: ColumnDataSource(dict(columns), name=name) for name, columns in data.items()}
    plot.patches(
        "xs", "ys", source=source["bands"], fill_color="colour", fill_alpha=0.15, line_color="colour", line_alpha=0.4
    )
    plot.multi_line("xs", "ys", source=source["curves"], line_color="colour", line_dash="dash", line_width=2)
    plot.segment("x", "low", "x", "high", source=source["means"], line_color="colour", line_width=1.5)
    seeds = plot.scatter("x", "y", marker="marker", source=source["seeds"], size=5, color="colour", fill_alpha=0)
    means = plot.scatter("x", "y", marker="marker", source=source["means"], size=8, color="colour")
    rings = {"size": 17, "fill_alpha": 0, "line_width": 2.5, "line_color": themes.CHOSEN}
    plot.scatter("x", "y", source=ColumnDataSource(dict(ring), name="ring"), **rings)
    value = ("value", "@y{0.0000}")
    plot.add_tools(
        HoverTool(
            renderers=[means],
            tooltips=[
                ("rule", "@name"),
                ("k", "@k"),
                ("share retained", "@share{0.0 %}"),
                value,
                ("standard error", "@error{0.0000}"),
                ("evaluations", "@seeds"),
            ],
        ),
        HoverTool(
            renderers=[seeds],
            tooltips=[("rule", "@name"), ("k", "@k"), ("share retained", "@share{0.0 %}"), value, ("seed", "@seed")],
        ),
    )
    plot.add_layout(_legend(plot, names, shown, levels=levels), "below")
    themes.apply(plot, theme)
    return plot


def _levels(plot: Plot, levels: Mapping[str, Any]) -> None:
    drawn = levels_drawn(levels)
    for (model, name), dash in zip(LEVELS.items(), ("solid", "dotted"), strict=True):
        colour, edge = _level_colour(model), f"{name}_band"
        plot.add_layout(BoxAnnotation(name=edge, fill_color=colour, fill_alpha=0.15, line_color=None, **drawn[edge]))
        line = {"dimension": "width", "line_color": colour, "line_width": 1.5, "line_dash": dash}
        plot.add_layout(Span(name=name, **line, **drawn[name]))


def _level_colour(model: str) -> str:
    return themes.RESET if model == "pretrained" else "#7a7a7a"


def _legend(plot: Any, names: Sequence[str], shown: Sequence[bool], levels: Mapping[str, Any]) -> Legend:
    """All series and levels that there may be, drawn by marks of nothing: what is not shown is hidden."""
    nowhere: dict[str, Any] = {"x": [np.nan, np.nan], "y": [np.nan, np.nan]}
    items = []
    for at, (name, visible) in enumerate(zip(names, shown, strict=True)):
        colour, marker, dash = style(at)
        line = plot.line(**nowhere, line_color=colour, line_dash=dash, line_width=2)
        mark = plot.scatter(**nowhere, marker=marker, size=9, color=colour)
        items.append(LegendItem(label=name, renderers=[line, mark], name=f"series_{at}", visible=visible))
    for (model, name), dash in zip(LEVELS.items(), ("solid", "dotted"), strict=True):
        line = plot.line(**nowhere, line_color=_level_colour(model), line_dash=dash, line_width=1.5)
        known = math.isfinite(levels[model].value)
        items.append(LegendItem(label=_LEVEL_WORDS[model], renderers=[line], name=f"level_{name}", visible=known))
    return Legend(
        items=items,
        ncols=_columns(names),
        location="top_left",
        padding=2,
        margin=2,
        spacing=6,
        label_text_font_size="12px",
    )


def _columns(names: Sequence[str]) -> int:
    """Of the legend: two, if they have room in a narrow window."""
    return 2 if max(map(len, names)) <= 24 else 1
