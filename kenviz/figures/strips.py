"""A strip: one number for each of a tensor's heads, columns or rows, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, NumeralTickFormatter, Plot, Range1d
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import lettering
from kenviz.text.measures import MEASURES

#: At most this many marks: more parts are drawn some at a time, as their mean and their range.
MOST_MARKS = 256
_ONE = {"heads": "head", "columns": "column", "rows": "row"}


class StripPicture(NamedTuple):
    """What is drawn of a strip: columns by source name, the ends of both axes, and texts."""

    columns: dict[str, dict[str, Any]]
    across: tuple[float, float]
    values: tuple[float, float]
    title: str
    axis: str
    unit: str
    ticks: str


def picture(
    parts: str, values: NDArray[np.float64], measure: str, names: Sequence[str] = (), problem: str = ""
) -> StripPicture:
    """Compute what is drawn of values (m,), one for each part ("heads", "columns", "rows"); NaN where there is none.

    problem is shown in place of the marks if there are no values. names are of the parts; without, they are numbered.

    >>> picture("columns", np.arange(1024.0), "retained").title
    'entries retained by column\\neach mark: mean and range of 4'
    """
    quantity, m, one = MEASURES[measure], len(values), _ONE.get(parts, parts)
    together = max(1, -(-m // MOST_MARKS))
    starts = np.arange(0, m, together)
    low, high, mean = (_pooled(values, starts, kind) for kind in ("low", "high", "mean"))
    known = ~np.isnan(mean)
    ends = _ends(values[~np.isnan(values)])
    last = np.minimum(starts + together, m)
    marks = {
        "left": starts[known] - 0.5,
        "right": last[known] - 0.5,
        "low": low[known],
        "high": high[known],
        "mean": mean[known],
        "part": [_part(one, names, range(*span)) for span in zip(starts[known], last[known], strict=True)],
        "written": [quantity.written(value) for value in mean[known]],
    }
    missing = (starts[~known] + last[~known] - 1) / 2
    title = f"{quantity.label} by {one}" + (f"\neach mark: mean and range of {together}" if together > 1 else "")
    if len(missing):
        title += f"{'; ' if together > 1 else chr(10)}×: not defined"
    low_in_plot = 0.95 * ends[0] + 0.05 * ends[1]
    return StripPicture(
        columns={"strip": marks, "strip_missing": {"x": missing, "y": np.full(len(missing), low_in_plot)}},
        across=(-0.5, max(1, m) - 0.5),
        values=ends,
        title=problem or title,
        axis=one if not names else f"{one}: {names[0]} to {names[-1]}",
        unit=quantity.unit,
        ticks=quantity.ticks(*ends),
    )


def build(shown: StripPicture | None) -> Plot:
    """The figure of a strip; None makes one that is not to be seen yet.

    Named models: plot strip_figure; sources strip, strip_missing; ranges strip_across, strip_values; title strip_title;
    axes strip_axis, strip_unit, and how the latter writes its ticks, strip_ticks.
    """
    visible = shown is not None
    shown = picture("rows", np.zeros(0), "share") if shown is None else shown
    plot = figure(
        name="strip_figure",
        height=190,
        sizing_mode="stretch_width",
        x_range=Range1d(*shown.across, name="strip_across"),
        y_range=Range1d(*shown.values, name="strip_values"),
        x_axis_label=shown.axis,
        y_axis_label=shown.unit,
        tools="",
        toolbar_location=None,
        title=lettering.words(shown.title, "strip_title"),
        visible=visible,
    )
    plot.xgrid.visible = False
    plot.xaxis.name, plot.yaxis.name = "strip_axis", "strip_unit"
    plot.yaxis.formatter = NumeralTickFormatter(name="strip_ticks", format=shown.ticks)
    plot.xaxis.ticker = BasicTicker(min_interval=1)
    source = ColumnDataSource(shown.columns["strip"], name="strip")
    band = plot.quad(
        "left", "right", "high", "low", source=source, fill_color=themes.RETAINED, fill_alpha=0.35, line_color=None
    )
    line = plot.segment("left", "mean", "right", "mean", source=source, line_color=themes.RETAINED, line_width=3)
    plot.scatter(
        "x",
        "y",
        marker="x",
        size=7,
        source=ColumnDataSource(shown.columns["strip_missing"], name="strip_missing"),
        line_color=themes.RESET,
    )
    plot.add_tools(
        HoverTool(
            renderers=[band, line],
            mode="vline",
            tooltips=[("part", "@part"), ("value", "@written"), ("from … to", "@low{0.[0000]} … @high{0.[0000]}")],
        )
    )
    return plot


def _part(one: str, names: Sequence[str], span: range) -> str:
    first, last = span[0], span[-1]
    if names:
        return names[first] if first == last else f"{names[first]} to {names[last]}"
    return f"{one} {first:,}" if first == last else f"{one}s {first:,} to {last:,}"


def _pooled(values: NDArray[np.float64], starts: NDArray[np.int64], kind: str) -> NDArray[np.float64]:
    """The smallest, largest or mean value from each start to the next, those that are not NaN; NaN if all are."""
    if not len(values):
        return np.zeros(0)
    known = np.add.reduceat(~np.isnan(values), starts, dtype=np.int64)
    if kind == "mean":
        sums = np.add.reduceat(np.nan_to_num(values), starts)
        return np.divide(sums, known, out=np.full(len(starts), np.nan), where=known > 0)
    return (np.fmin if kind == "low" else np.fmax).reduceat(values, starts)


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the axis: the values with a margin, or a unit around a single one."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.08 * (high - low) or max(abs(low), 1e-12) / 2
    return low - margin, high + margin
