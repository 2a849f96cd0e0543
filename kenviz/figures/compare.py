"""Two subnetworks: a measure of what they have in common by kind and layer, beside the value that chance would give.

The measure "budget" shows both, side by side: the share that each retains of a tensor, beside that of all together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from bokeh.core.properties import value
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, FixedTicker, HoverTool, Plot, Range1d
from bokeh.models.annotations import LegendItem, Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import lettering
from kenviz.figures.retention import short_kinds
from kenviz.text.labels import label

#: What stands in a picture of two subnetworks that were drawn with the same random numbers.
ONE_DRAW = "both are the same draw:\nwhat they share is no finding"
_RANDOM = "two random masks with as many entries in each row"
_BLIND = "a mask that has nothing to do with the update"


#: The measure of both at once: how the budget of each is spread over the tensors.
BUDGET = "budget"


class Measure(NamedTuple):
    """What can be shown: a title of short lines, the column of what chance gives, what chance is, if it is a share."""

    title: str
    by_chance: str
    meaning: str = _BLIND
    percent: bool = True

    @property
    def words(self) -> str:
        """The title in one line."""
        return self.title.replace("\n", " ")


#: Column of the table of a `Comparison` -> what it is.
MEASURES = {
    "jaccard": Measure("Jaccard: shared part\nof what either retains", "jaccard_expected", _RANDOM),
    "overlap": Measure("overlap: shared part\nof the smaller mask", "overlap_expected", _RANDOM),
    "both_z": Measure(
        "entries in both masks, in\nstandard deviations from chance", by_chance="", meaning=_RANDOM, percent=False
    ),
    "update_share_a": Measure("share of the update's energy\nthat a retains", "share_a"),
    "update_share_b": Measure("share of the update's energy\nthat b retains", "share_b"),
    "update_share_both": Measure("share of the update's energy\nthat both retain", "share_both"),
    "update_share_difference": Measure("share of the update's energy\nretained: a less b", "share_difference"),
    BUDGET: Measure("budget: share of a tensor's\nentries that each retains", "", "a budget that is spread evenly"),
}
_OUTSIDE = "–"
# What is measured of both at once, and says nothing if both are one draw.
_OF_BOTH = {"jaccard", "overlap", "both_z", "update_share_both"}


def title(table: pd.DataFrame, measure: str) -> str:
    """What the dots are, in short lines; and that they are no finding, if both subnetworks are one draw."""
    words = MEASURES[measure].title
    return f"{words}\n{ONE_DRAW}" if measure in _OF_BOTH and table["same_draw"].any() else words


def values(table: pd.DataFrame, measure: str) -> pd.Series:
    """A measure, tensor by tensor; of the budget, that of a."""
    shown: pd.Series = table["share_a" if measure == BUDGET else measure]
    return shown


def by_chance(table: pd.DataFrame, measure: str) -> NDArray[np.float64]:
    """What chance would give of a measure, tensor by tensor, (tensors,); NaN where the measure is not known.

    Of the share of the update it is the share of the entries; of a budget, the share of all tensors together.
    """
    if measure == BUDGET:
        return np.full(len(table), _evenly(table, "a"))
    share_a, share_b = (table[f"retained_{which}"] / table["paired"] for which in "ab")
    of_both = table["both_expected"] / table["paired"]
    shares = {"share_a": share_a, "share_b": share_b, "share_both": of_both, "share_difference": share_a - share_b}
    expected = (shares | dict(table.items())).get(MEASURES[measure].by_chance, pd.Series(0.0, table.index))
    return expected.where(table[measure].notna()).to_numpy(dtype=float)


def _evenly(table: pd.DataFrame, which: str) -> float:
    """The share of every tensor that a or b would retain if its budget were spread evenly."""
    return float(table[f"retained_{which}"].sum() / table["paired"].sum())


def columns(table: pd.DataFrame, measure: str) -> dict[str, Any]:
    """The columns of source "dots", one entry a tensor: value, by chance, and where it stands.

    Of the budget, value and chance are of a, second and second_chance of b; else these are NaN. A tie goes from value
    to what it is compared with.
    """
    both, nothing, chance = measure == BUDGET, np.full(len(table), np.nan), by_chance(table, measure)
    second = table["share_b"].to_numpy(dtype=float) if both else nothing
    return {
        "value": values(table, measure).to_numpy(dtype=float),
        "chance": chance,
        "second": second,
        "second_chance": np.full(len(table), _evenly(table, "b")) if both else nothing,
        "tie": second if both else chance,
        "share_a": table["share_a"].to_numpy(dtype=float),
        "share_b": table["share_b"].to_numpy(dtype=float),
        "y": places(table),
        "tensor": [label(str(name)) for name in table.index],
        "layer": [_OUTSIDE if pd.isna(layer) else str(layer) for layer in table["layer"]],
        "a": table["retained_a"].to_numpy(),
        "b": table["retained_b"].to_numpy(),
        "both": table["both"].to_numpy(),
        "paired": table["paired"].to_numpy(),
    }


def places(table: pd.DataFrame) -> NDArray[np.float64]:
    """Where each tensor stands: kinds at whole numbers downwards, their layers around these, the first on top."""
    kinds = {kind: i for i, kind in enumerate(dict.fromkeys(table["kind"]))}
    at = table["kind"].map(kinds).to_numpy(dtype=float)
    group = table.groupby("kind", sort=False)["kind"]
    rank, count = group.cumcount().to_numpy(), group.transform("size").to_numpy()
    return at + np.where(count > 1, (rank / np.maximum(count - 1, 1) - 0.5) * 0.64, 0.0)


def limits(data: dict[str, Any], measure: str) -> tuple[float, float]:
    """The ends of the axis: all values and what chance gives, with some room; 0 to 1 if nothing is known."""
    drawn = np.concatenate([data[name] for name in ("value", "chance", "second", "second_chance")])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return 0.0, 1.0
    low, high = float(drawn.min()), float(drawn.max())
    room = 0.06 * (high - low) or (0.02 if MEASURES[measure].percent else 0.5)
    return low - room, high + room


def ring(data: dict[str, Any], at: int | None) -> dict[str, Any]:
    """The columns of source "ring", which marks the chosen tensor, the at-th; None marks nothing."""
    chosen = [] if at is None else [at]
    return {"value": data["value"][chosen], "y": data["y"][chosen]}


def build(table: pd.DataFrame, measure: str, at: int | None = None, theme: str = "light", masks: Any = None) -> Any:
    """The dots of a table of a `Comparison`, and below them the plots of its masks, if there are any.

    Named models: sources dots and ring, range values, title title, figure dots, formatter unit; legend items found, a,
    b, chance, even, chosen.
    """
    plot = dots(table, measure, at)
    root = plot if masks is None else column(plot, *masks, sizing_mode="stretch_width")
    themes.apply(root, theme)
    return root


def dots(table: pd.DataFrame, measure: str, at: int | None = None) -> Plot:
    """One dot a tensor, tied to the mark of what chance gives; kinds from top to bottom."""
    data = columns(table, measure)
    kinds = short_kinds(list(dict.fromkeys(table["kind"])), 22)
    layers = int(table.groupby("kind").size().max())
    plot = figure(
        name="dots",
        height=130 + len(kinds) * int(np.clip(5 * layers, 22, 60)),
        sizing_mode="stretch_width",
        x_range=Range1d(*limits(data, measure), name="values"),
        y_range=Range1d(len(kinds) - 0.5, -0.5),
        tools="xpan,xwheel_zoom,reset",
        active_scroll=None,
        title=Title(text=title(table, measure), name="title", text_font_size="12px"),
    )
    plot.xaxis.axis_label = "press a dot to see its masks" + "\nlayers: the first on top" * (layers > 1)
    plot.xaxis[0].axis_label_text_font_style = "normal"
    plot.toolbar.logo = None
    plot.yaxis.ticker = FixedTicker(ticks=list(range(len(kinds))), minor_ticks=[])
    plot.yaxis.major_label_overrides = dict(enumerate(kinds.values()))
    plot.ygrid.ticker = FixedTicker(ticks=[i + 0.5 for i in range(len(kinds))])
    # The same formatter for all measures: shares in percent.
    plot.xaxis.formatter = unit(measure)
    source, chosen = ColumnDataSource(data, name="dots"), ColumnDataSource(ring(data, at), name="ring")
    ties = plot.segment("tie", "y", "value", "y", source=source, color=themes.RESET, line_width=1.2)
    tick = {"marker": "dash", "angle": np.pi / 2, "size": 11, "line_width": 2}
    chance = plot.scatter("chance", "y", source=source, color=themes.GRID, **tick)
    even_b = plot.scatter("second_chance", "y", source=source, color=themes.CLAIMED, line_alpha=0.8, **tick)
    first = plot.scatter("value", "y", source=source, size=7, color=themes.RETAINED)
    hollow: dict[str, Any] = {"fill_alpha": 0, "line_width": 2}  # where both have one share, both are to be seen
    second = plot.scatter("second", "y", source=source, size=13, marker="diamond", color=themes.CLAIMED, **hollow)
    for renderer in (ties, chance, even_b, first, second):
        renderer.nonselection_glyph = renderer.glyph
    mark = {"marker": "circle", "size": 15, "fill_alpha": 0, "line_width": 2.5, "line_color": themes.CHOSEN}
    marked = plot.scatter("value", "y", source=chosen, **mark)
    explained: dict[str, tuple[str, list[Any]]] = {
        "found": ("found", [ties, first]),
        "a": ("a", [first]),
        "b": ("b", [second]),
        "chance": ("by chance", [chance]),
        "even": ("spread evenly", [chance]),
        "chosen": ("chosen", [marked]),
    }
    seen = legend_shown(measure)
    items = [
        LegendItem(name=name, label=value(words), renderers=renderers, visible=seen.get(name, True))
        for name, (words, renderers) in explained.items()
    ]
    plot.add_layout(lettering.legend(items), "above")
    plot.add_tools(
        HoverTool(
            renderers=[first, second, chance],
            tooltips=[
                ("tensor", "@tensor"),
                ("found", "@value{0.0000}"),
                ("by chance", "@chance{0.0000}"),
                ("retained by a", "@a{0,0} of @paired{0,0} (@share_a{0.0 %})"),
                ("by b", "@b{0,0} (@share_b{0.0 %})"),
                ("by both", "@both{0,0}"),
            ],
        )
    )
    return plot


def legend_shown(measure: str) -> dict[str, bool]:
    """Which items of the legend a measure has, by name."""
    return {name: (measure == BUDGET) == (name in ("a", "b", "even")) for name in ("found", "a", "b", "chance", "even")}


def unit(measure: str) -> CustomJSTickFormatter:
    """How the axis is written: shares in percent, deviations as they are."""
    return CustomJSTickFormatter(
        name="unit",
        args={"percent": MEASURES[measure].percent},
        code=UNIT,
    )


#: What `unit` has the browser write; `written` is the same in Python, for paper.
UNIT = "return percent ? `${+(100 * tick).toPrecision(4)} %` : String(+tick.toPrecision(4))"


def written(tick: float, percent: bool) -> str:
    """A tick of the axis as `unit` has it written.

    >>> written(0.1234567, True), written(-2.0, False)
    ('12.35 %', '-2')
    """
    return f"{float(f'{100 * tick:.4g}'):g} %" if percent else f"{float(f'{tick:.4g}'):g}"
