"""What groups do: groups down, a panel for each quantity, all with the same groups in the same line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    InlineStyleSheet,
    LayoutDOM,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.models.annotations import BoxAnnotation, Span, Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes

_LINE = 20  # pixels of a group
_AROUND = 160  # pixels above and below all groups
_NOT_SURE = "#7a7a7a"

Values = NDArray[np.float64]


class Panel(NamedTuple):
    """One quantity of all groups that are shown; arrays are (groups,), NaN where a group has no such number.

    title says what it is and what its marks mean, unit stands at the axis. sure: a mark is full, else hollow. other is
    what it is compared with, an upright line: a control, or chance. stems: marks stand on a bar that begins at 0.
    whole: the axis is of shares. seen: it is shown; not before anything is known.
    """

    name: str
    title: str
    unit: str
    value: Values
    low: Values
    high: Values
    sure: NDArray[np.bool_]
    other: Values
    said: Sequence[str]
    other_low: Values | None = None
    other_high: Values | None = None
    stems: bool = False
    whole: bool = False
    seen: bool = True


class Block(NamedTuple):
    """Panels of the same groups, in the same lines; at is the line of the chosen one, None if there is none.

    name tells the models that the panels share from those of another block: it goes before theirs.
    """

    panels: Sequence[Panel]
    names: Sequence[str]
    at: int | None = None
    name: str = ""


def columns(panel: Panel, names: Sequence[str]) -> dict[str, Any]:
    """The columns of a panel's source, one entry a group."""
    count = len(panel.value)
    nothing = np.full(count, np.nan)
    return {
        "y": np.arange(count, dtype=float),
        "name": list(names),
        "said": list(panel.said),
        "value": panel.value,
        "start": np.zeros(count) if panel.stems else nothing,
        "low": panel.low,
        "high": panel.high,
        "other": panel.other,
        "other_low": nothing if panel.other_low is None else panel.other_low,
        "other_high": nothing if panel.other_high is None else panel.other_high,
        "colour": [themes.RETAINED if sure else _NOT_SURE for sure in panel.sure],
        "full": panel.sure.astype(float),
    }


def ends(panel: Panel) -> tuple[float, float]:
    """The ends of a panel's axis: all that is drawn, and 0; of shares, 0 to 1 at least."""
    parts = [panel.value, panel.low, panel.high, panel.other, panel.other_low, panel.other_high]
    values = np.concatenate([[0.0, 1.0] if panel.whole else [0.0], *(part for part in parts if part is not None)])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or 0.05
    return low - room, high + room


def chosen(at: int | None) -> dict[str, Any]:
    """The band around the chosen group, which is in line `at`; None if it is not shown."""
    return {
        "bottom": -0.5 if at is None else at - 0.5,
        "top": 0.5 if at is None else at + 0.5,
        "visible": at is not None,
    }


def height(count: int) -> int:
    """Of a panel with so many groups, in pixels."""
    return _AROUND + _LINE * max(count, 2)


def redrawn(block: Block) -> dict[str, dict[str, Any]]:
    """Everything but the sources, as properties by the name of the model: for a view to set again."""
    panels, names, at, prefix = block
    ticks = [float(place) for place in range(len(names))]
    labels = dict(zip(ticks, names, strict=True))
    shown: dict[str, dict[str, Any]] = {
        f"{prefix}groups": {"start": max(len(names), 1) - 0.5, "end": -0.5},
        f"{prefix}places": {"ticks": ticks},
    }
    most = max(panel.title.count("\n") for panel in panels)  # so that panels beside each other begin at one height
    for panel in panels:
        start, end = ends(panel)
        tall = height(len(names))
        shown[f"panel_{panel.name}"] = {"height": tall, "min_height": tall, "visible": panel.seen}
        shown[f"x_{panel.name}"] = {"start": start, "end": end, "reset_start": start, "reset_end": end}
        shown[f"title_{panel.name}"] = {"text": "\n" * (most - panel.title.count("\n")) + panel.title}
        shown[f"unit_{panel.name}"] = {"axis_label": panel.unit}
        shown[f"axis_{panel.name}"] = {"major_label_overrides": labels}
        shown[f"chosen_{panel.name}"] = chosen(at)
    return shown


def build(*blocks: Block, theme: str = "light") -> LayoutDOM:
    """Blocks one below the other; the panels of each side by side, as many in a line as there is room for.

    Named models, by the name of the panel: figure panel_…, source marks_…, range x_…, title title_…, axes unit_… and
    axis_…, band chosen_…; and for all of a block: range groups, ticker places.
    """
    rows = []
    for block in blocks:
        shown = redrawn(block)
        groups = Range1d(name=f"{block.name}groups", **shown[f"{block.name}groups"])
        places = FixedTicker(name=f"{block.name}places", minor_ticks=[], **shown[f"{block.name}places"])
        plots = [_panel(panel, block.names, (groups, places), shown=shown) for panel in block.panels]
        wrapped = InlineStyleSheet(
            css=":host { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); }"
        )
        rows.append(row(*plots, sizing_mode="stretch_width", stylesheets=[wrapped]))
    layout = column(*rows, sizing_mode="stretch_width")
    themes.apply(layout, theme)
    return layout


def _panel(
    panel: Panel, names: Sequence[str], down: tuple[Range1d, FixedTicker], *, shown: Mapping[str, dict[str, Any]]
) -> figure:
    name = panel.name
    plot = figure(
        name=f"panel_{name}",
        sizing_mode="stretch_width",
        min_width=260,
        x_range=Range1d(name=f"x_{name}", **shown[f"x_{name}"]),
        y_range=down[0],
        tools="xbox_zoom,reset",
        toolbar_location="below",
        title=Title(name=f"title_{name}", text_font_size="12px", text_font_style="normal", **shown[f"title_{name}"]),
        **shown[f"panel_{name}"],
    )
    plot.toolbar.logo = None
    plot.min_border_right = 16
    plot.xaxis[0].update(name=f"unit_{name}", ticker=BasicTicker(desired_num_ticks=4), **shown[f"unit_{name}"])
    if panel.whole:
        plot.xaxis[0].formatter = NumeralTickFormatter(format="0 %")
    plot.yaxis[0].update(
        name=f"axis_{name}", ticker=down[1], major_label_text_font_size="11px", **shown[f"axis_{name}"]
    )
    plot.ygrid.grid_line_color = None
    plot.add_layout(
        BoxAnnotation(
            name=f"chosen_{name}",
            fill_color=themes.CHOSEN,
            fill_alpha=0.12,
            line_color=themes.CHOSEN,
            line_width=2,
            **shown[f"chosen_{name}"],
        )
    )
    plot.add_layout(Span(name=f"zero_{name}", location=0, dimension="height", line_color="#7a7a7a", line_width=1.5))
    source = ColumnDataSource(columns(panel, names), name=f"marks_{name}")
    other: dict[str, Any] = {"source": source, "line_color": themes.DENSITY}
    plot.segment("other_low", "y", "other_high", "y", line_width=1, line_alpha=0.7, **other)
    plot.scatter("other", "y", marker="dash", angle=np.pi / 2, size=14, line_width=2.5, **other)
    plot.segment("start", "y", "value", "y", source=source, line_color="colour", line_width=7, line_alpha=0.45)
    plot.segment("low", "y", "high", "y", source=source, line_color="colour", line_width=1.5)
    marks = plot.scatter(
        "value", "y", source=source, size=8, fill_color="colour", fill_alpha="full", line_color="colour", line_width=1.5
    )
    plot.add_tools(HoverTool(renderers=[marks], tooltips=[("group", "@name"), (panel.unit, "@said")]))
    return plot
