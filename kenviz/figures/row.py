"""One row: its histogram, its density, the grid, and which entries are retained and which are reset."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, LayoutDOM, Range1d
from bokeh.models.annotations import Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from ken import density as kde
from ken.rules import Settings
from kenviz import theme as themes
from kenviz.figures.labels import label

#: At most this many entries and grid points are drawn as marks; more would be one solid bar.
MOST_MARKS = 5000
_CURVE_POINTS = 400
_DEFAULT = Settings()
_LANES = {2: "grid", 1: "retained", 0: "reset"}


class RowPicture(NamedTuple):
    """All that the figure of a row shows: columns by source name, ranges, and the numbers in its title."""

    columns: dict[str, dict[str, NDArray[Any]]]
    values: tuple[float, float]
    highest: float
    bandwidth: float
    k: int
    n: int
    drawn: int
    of: str = "fine-tuned value"

    def title(self) -> str:
        """One line that says what the figure shows, in numbers."""
        width = f"bandwidth {self.bandwidth:.3g}" if self.bandwidth > 0 else "constant row, no density"
        line = f"k = {self.k:,} of {self.n:,} entries retained ({self.k / self.n:.1%}), {width}"
        return line if self.drawn == self.n else f"{line}; {self.drawn:,} of {self.n:,} entries drawn as marks"


def picture(
    fine_tuned: NDArray[np.float64],
    mask: NDArray[np.bool_],
    pretrained: NDArray[np.float64] | None = None,
    settings: Settings = _DEFAULT,
) -> RowPicture:
    """Compute everything that is shown of a row (n,) float64 and its mask (n,) bool.

    With settings on="update" the row that is shown is the update, as the rule saw it; where there are no pretrained
    values (rows that were added) nothing was decided, and the fine-tuned values are shown.

    The histogram is in the units of the density (1 / units of the weights), so that bars and curve compare; each
    bar is split into its retained and its reset part.
    """
    row, of = fine_tuned, "fine-tuned value"
    if settings.on == "update" and pretrained is not None and not np.isnan(pretrained).any():
        row, of = fine_tuned - pretrained, "update: fine-tuned less pretrained value"
    n, k = len(row), int(mask.sum())
    h = float(kde.bandwidth(row[None], settings.bandwidth)[0, 0])
    pad = 3 * h if h > 0 else max(1e-3, 0.1 * abs(float(row[0])))
    low, high = float(row.min()) - pad, float(row.max()) + pad
    points = np.linspace(low, high, _CURVE_POINTS) if h > 0 else np.empty(0)
    widths = np.array([[h]])
    curve = kde.density(row[None], points[None], widths, settings.kernel)[0] if h > 0 else np.empty(0)

    edges = np.linspace(row.min(), row.max(), min(81, max(11, int(np.sqrt(n)) + 1))) if h > 0 else _around(row[0], pad)
    scale = 1.0 / (n * np.diff(edges))
    retained = np.histogram(row[mask], edges)[0] * scale
    reset = np.histogram(row[~mask], edges)[0] * scale
    grid = kde.grid(row[None], k)[0] if h > 0 and k < n else np.empty(0)

    keep = _thin(n)
    columns = {
        "bins": {
            "left": edges[:-1],
            "right": edges[1:],
            "retained": retained,
            "all": retained + reset,
        },
        "curve": {"x": points, "y": curve},
        "grid": {"x": grid[_thin(len(grid))]},
        "retained": _marks(row, keep & mask),
        "reset": _marks(row, keep & ~mask),
    }
    highest = max(float((retained + reset).max(initial=0)), float(curve.max(initial=0)))
    return RowPicture(columns, (low, high), highest * 1.08 or 1.0, h, k, n, int(keep.sum()), of)


def _around(value: float, pad: float) -> NDArray[np.float64]:
    return np.linspace(value - pad, value + pad, 12)


def _thin(count: int) -> NDArray[np.bool_]:
    """Every so-manieth of a number of marks, so that no more than MOST_MARKS are drawn."""
    keep = np.zeros(count, dtype=bool)
    keep[:: max(1, -(-count // MOST_MARKS))] = True
    return keep


def _marks(row: NDArray[np.float64], wanted: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    return {"x": row[wanted], "column": np.flatnonzero(wanted)}


def build(shown: RowPicture, name: str, theme: str = "light") -> LayoutDOM:
    """Two plots over one axis of values: histogram with density, and a strip of grid, retained, reset.

    Named models: sources bins, curve, grid, retained, reset; ranges values and densities; titles title and name; axis.
    """
    values = Range1d(*shown.values, name="values")
    sources = {key: ColumnDataSource(dict(data), name=key) for key, data in shown.columns.items()}
    top = figure(
        name="row",
        height=300,
        sizing_mode="stretch_width",
        x_range=values,
        y_range=Range1d(0, shown.highest, name="densities"),
        y_axis_label="density (1 / unit of weight)",
        tools="xpan,xwheel_zoom,xbox_zoom,reset",
        active_scroll=None,
        title=Title(text=label(name), name="name", text_font_size="13px"),
    )
    bars = {"left": "left", "right": "right", "source": sources["bins"], "line_color": None}
    top.quad(
        bottom="retained",
        top="all",
        fill_color=themes.RESET,
        hatch_pattern="right_diagonal_line",
        hatch_color="#ffffff",
        hatch_alpha=0.6,
        hatch_scale=8,
        legend_label="entries reset",
        **bars,
    )
    top.quad(bottom=0, top="retained", fill_color=themes.RETAINED, legend_label="entries retained", **bars)
    top.line(
        "x", "y", source=sources["curve"], color=themes.DENSITY, line_width=2.5, legend_label="kernel density estimate"
    )
    top.legend.update(orientation="horizontal", padding=2, margin=2)
    top.add_layout(top.legend[0], "above")
    note = Title(text=shown.title(), name="title", text_font_style="normal", text_font_size="12px")
    top.add_layout(note, "above")
    top.xaxis.visible = False
    top.toolbar.logo = None

    strip = figure(
        name="strip",
        height=150,
        sizing_mode="stretch_width",
        x_range=values,
        y_range=Range1d(-0.6, 2.6),
        x_axis_label=shown.of,
        tools="",
    )
    strip.xaxis[0].name = "axis"
    strip.yaxis.ticker = FixedTicker(ticks=list(_LANES))
    strip.yaxis.major_label_overrides = dict(_LANES)
    strip.ygrid.visible = False
    strip.toolbar_location = None
    mark = {"marker": "dash", "angle": np.pi / 2, "size": 22, "line_width": 1.2}
    strip.scatter("x", 2, source=sources["grid"], color=themes.GRID, **mark)
    marks = [
        strip.scatter("x", 1, source=sources["retained"], color=themes.RETAINED, **mark),
        strip.scatter("x", 0, source=sources["reset"], color=themes.RESET, **mark),
    ]
    strip.add_tools(
        HoverTool(renderers=marks, tooltips=[("column", "@column"), ("value", "@x{0.000000}")], mode="mouse")
    )
    # Both plots draw the same value at the same place only if their left margins agree.
    top.min_border_left = strip.min_border_left = 80
    layout = column(top, strip, sizing_mode="stretch_width")
    themes.apply(layout, theme)
    return layout
