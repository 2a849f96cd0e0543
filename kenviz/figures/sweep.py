"""A sweep: a metric against what is retained, one line a rule and scope, beside the models that bound it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Plot, Range1d
from bokeh.models.annotations import BoxAnnotation, Legend, LegendItem, Span, Title
from bokeh.plotting import figure

from kenviz import theme as themes
from kenviz.figures.budget_axis import BUDGETS, position, ticks
from kenviz.study.sweep_data import SCOPES, Series, in_words, series_of, whole

#: Okabe and Ito's, without yellow and black, which one theme or the other would hide.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "star", "plus", "hex")
DASHES = ("solid", "dashed", "dotdash", "dotted")
LEVELS = {"fine-tuned": "fine_tuned", "pretrained": "pretrained"}


class Style(NamedTuple):
    """How a series is drawn; fill is the opacity of its marks."""

    colour: str
    marker: str
    dash: str
    fill: float


# Of more than one scope: dash and fill of each, and how that is said. Dashes are long, so that they are no dots.
_OF_SCOPE = {
    "row": ("solid", 1.0, "solid, full marks"),
    "tensor": ("12 5", 0.45, "dashed, pale marks"),
    "model": ("dotted", 0.0, "dotted, hollow marks"),
}
_LEVEL_WORDS = {"fine-tuned": "fine-tuned, unpruned", "pretrained": "pretrained body"}


def styles(series: Sequence[Series]) -> dict[Series, Style]:
    """How each is drawn: a rule (with its on) has a colour and a marker, a scope a dash and a fill of the marks.

    Of one scope alone the dash tells further rules apart: no two of 24 rules have all in common.

    >>> styles([("ken", "weights"), ("random", ""), ("random", "", "model")])[("random", "", "model")]
    Style(colour='#d55e00', marker='square', dash='dotted', fill=0.0)
    """
    rules = list(dict.fromkeys(one[:2] for one in series))
    several = len({whole(one)[2] for one in series}) > 1
    drawn = {}
    for one in series:
        at = rules.index(one[:2])
        dash, fill, _ = _OF_SCOPE[whole(one)[2]] if several else (DASHES[at // len(COLOURS) % len(DASHES)], 1.0, "")
        drawn[one] = Style(COLOURS[at % len(COLOURS)], MARKERS[at % len(MARKERS)], dash, fill=fill)
    return drawn


def columns(
    lines: pd.DataFrame, evaluations: pd.DataFrame, names: Mapping[Series, str], *, scale: str, budget: str
) -> dict[str, dict[str, Any]]:
    """Columns by source: of means and curves from the lines of a `Sweep`, of bands and seeds where there are several.

    names are those of all series; their order gives each its style. means and seeds have one entry a mark; curves and
    bands one list of points a series.
    """
    along = BUDGETS[budget].column
    series = pd.Series(series_of(lines), lines.index, dtype=object)
    groups = [(look, lines[[one == other for other in series]]) for one, look in styles(list(names)).items()]
    groups = [(look, group) for look, group in groups if len(group)]
    curves = {
        "xs": [np.array(position(group[along], scale)) for _, group in groups],
        "ys": [group["mean"].to_numpy() for _, group in groups],
        "colour": [look.colour for look, _ in groups],
        "dash": [look.dash for look, _ in groups],
    }
    bands: dict[str, Any] = {"xs": [], "ys": [], "colour": []}
    for look, group in groups:
        if (group["seeds"] > 1).any():
            x = np.array(position(group[along], scale))
            bands["xs"].append(np.concatenate([x, x[::-1]]))
            bands["ys"].append(np.concatenate([group["highest"], group["lowest"][::-1]]))
            bands["colour"].append(look.colour)
    seeds = dict(zip(_keys(lines), lines["seeds"], strict=True))
    single = evaluations[[seeds.get(key, 0) > 1 for key in _keys(evaluations)]]
    return {
        "curves": curves,
        "bands": bands,
        "means": _marks(lines, names, position(lines[along], scale))
        | {
            "y": lines["mean"].to_numpy(),
            "low": (lines["mean"] - lines["error"]).to_numpy(),
            "high": (lines["mean"] + lines["error"]).to_numpy(),
            "error": lines["error"].to_numpy(),
            "seeds": lines["seeds"].to_numpy(),
        },
        "seeds": _marks(single, names, position(single[along], scale))
        | {"y": single["value"].to_numpy(), "seed": single["seed"].to_numpy()},
    }


def _keys(table: pd.DataFrame) -> list[tuple[Series, str]]:
    """Series and k of each line; repr tells 1 entry from 1.0, all of them."""
    return list(zip(series_of(table), map(repr, table["k"]), strict=True))


def _marks(table: pd.DataFrame, names: Mapping[Series, str], x: Any) -> dict[str, Any]:
    looks = styles(list(names))
    series = series_of(table)
    return {
        "x": np.array(x),
        "share": table["share"].to_numpy(),
        "retained": ["not told" if math.isnan(count) else f"{count:,.0f}" for count in table["retained"]],
        "name": [names[one] for one in series],
        "k": [f"{in_words(k)} {SCOPES[scope]}" for k, scope in zip(table["k"], table["scope"], strict=True)],
        "colour": [looks[one].colour for one in series],
        "marker": [looks[one].marker for one in series],
        "fill": [looks[one].fill for one in series],
    }


def limits(values: Any) -> tuple[float, float]:
    """The ends of an axis on which these values have some room; 0 to 1 if none is finite."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    apart = high - low > 1e-9 * abs(high)  # or they differ by rounding alone
    room = 0.06 * (high - low) if apart else 0.05 * abs(high) or 0.05
    return low - room, high + room


def extent(
    data: Mapping[str, Mapping[str, Any]],
    levels: Mapping[str, Any],
    evaluations: pd.DataFrame,
    *,
    scale: str,
    budget: str,
) -> dict[str, tuple[float, float]]:
    """The ends of both axes, by the name of their range: shares (of all evaluations) and values (what is shown)."""
    means, seeds = data["means"], data["seeds"]
    shown = [np.asarray(part, dtype=float) for part in (means["y"], means["low"], means["high"], seeds["y"])]
    edges = [edge for level in levels.values() for edge in (level.value, *band(level))]
    low, high = limits(position(evaluations[BUDGETS[budget].column], scale))
    all_of_it = 1.02 if budget == "share" else high
    return {
        "shares": (low, high) if scale == "log" else (min(0.0, low), max(all_of_it, high)),
        "values": limits(np.concatenate([*shown, edges])),
    }


def band(level: Any) -> tuple[float, float]:
    """From and to of a level's error band: the level less and plus its standard error; none has no width."""
    error = 0.0 if math.isnan(level.error) else level.error
    return level.value - error, level.value + error


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
    *,
    names: Mapping[Series, str],
    shown: Sequence[Series],
    scale: str,
    budget: str,
    words: str,
    ring: Mapping[str, Any],
    theme: str = "light",
) -> Plot:
    """The figure of a sweep. names are those of all series, shown some of these; words go along the axis of values.

    Named models: sources means, curves, bands, seeds, ring; ranges shares and values; axes share_axis and value_axis;
    ticker share_ticks; spans and bands fine_tuned, pretrained, fine_tuned_band, pretrained_band; legend items
    series_0, …, and level_fine_tuned, level_pretrained.
    """
    key = "line: mean over seeds; bar: ± 1\nstandard error; band: all seeds" + _key(names)
    plot = figure(
        name="sweep",
        height=380 + 26 * (math.ceil((len(names) + len(LEVELS)) / _columns(names)) + key.count("\n")),
        sizing_mode="stretch_width",
        x_range=Range1d(*ends["shares"], name="shares"),
        y_range=Range1d(*ends["values"], name="values"),
        x_axis_label=BUDGETS[budget].words,
        y_axis_label=words,
        tools="pan,box_zoom,wheel_zoom,reset",
        active_scroll=None,
        title=Title(
            text=key,
            text_font_size="12px",
            text_font_style="normal",
        ),
    )
    plot.toolbar.logo = None
    marks = ticks(ends["shares"], scale=scale, budget=budget)
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
    means = plot.scatter("x", "y", marker="marker", source=source["means"], size=8, color="colour", fill_alpha="fill")
    rings = {"size": 17, "fill_alpha": 0, "line_width": 2.5, "line_color": themes.CHOSEN}
    plot.scatter("x", "y", source=ColumnDataSource(dict(ring), name="ring"), **rings)
    value = ("value", "@y{0.0000}")
    about = [("rule", "@name"), ("k", "@k"), ("share retained", "@share{0.0 %}"), ("entries retained", "@retained")]
    plot.add_tools(
        HoverTool(
            renderers=[means],
            tooltips=[*about, value, ("standard error", "@error{0.0000}"), ("evaluations", "@seeds")],
        ),
        HoverTool(renderers=[seeds], tooltips=[*about, value, ("seed", "@seed")]),
    )
    plot.add_layout(_legend(plot, names, shown, levels=levels), "below")
    themes.apply(plot, theme)
    return plot


def _key(names: Mapping[Series, str]) -> str:
    """What dash and fill say, in lines; nothing of one scope alone."""
    scopes = [scope for scope in SCOPES if any(whole(one)[2] == scope for one in names)]
    said = [f"k {SCOPES[scope]}: {_OF_SCOPE[scope][2]}" for scope in scopes]
    return "\n" + "\n".join(said) if len(said) > 1 else ""


def _levels(plot: Plot, levels: Mapping[str, Any]) -> None:
    drawn = levels_drawn(levels)
    for (model, name), dash in zip(LEVELS.items(), ("solid", "dotted"), strict=True):
        colour, edge = _level_colour(model), f"{name}_band"
        plot.add_layout(BoxAnnotation(name=edge, fill_color=colour, fill_alpha=0.15, line_color=None, **drawn[edge]))
        line = {"dimension": "width", "line_color": colour, "line_width": 1.5, "line_dash": dash}
        plot.add_layout(Span(name=name, **line, **drawn[name]))


def _level_colour(model: str) -> str:
    return themes.RESET if model == "pretrained" else "#7a7a7a"


def _legend(plot: Any, names: Mapping[Series, str], shown: Sequence[Series], levels: Mapping[str, Any]) -> Legend:
    """All series and levels that there may be, drawn by marks of nothing: what is not shown is hidden."""
    nowhere: dict[str, Any] = {"x": [np.nan, np.nan], "y": [np.nan, np.nan]}
    items = []
    for at, (series, look) in enumerate(styles(list(names)).items()):
        line = plot.line(**nowhere, line_color=look.colour, line_dash=look.dash, line_width=2)
        mark = plot.scatter(**nowhere, marker=look.marker, size=9, color=look.colour, fill_alpha=look.fill)
        drawn = {"renderers": [line, mark], "name": f"series_{at}", "visible": series in shown}
        items.append(LegendItem(label=names[series], **drawn))
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
        glyph_width=32,
        label_text_font_size="12px",
    )


def _columns(names: Mapping[Series, str]) -> int:
    """Of the legend: two, if they have room in a narrow window."""
    return 2 if max(map(len, names.values())) <= 24 else 1
