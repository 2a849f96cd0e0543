"""One row: its histogram, its density, the grid, and which entries are retained and which are reset."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from bokeh.core.properties import value
from bokeh.core.property.vectorization import Value
from bokeh.layouts import column
from bokeh.models import BasicTicker, ColumnDataSource, FixedTicker, HoverTool, LayoutDOM, Range1d
from bokeh.models.annotations import Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from ken import density as kde
from ken.rules import Settings
from kenviz import theme as themes
from kenviz.figures import claims
from kenviz.text.labels import NARROW, label

#: At most this many entries and grid points are drawn as marks; more would be one solid bar.
MOST_MARKS = 5000
_DEFAULT = Settings()
#: What the lanes of the strip hold, from the top: of the whole mask, and while claims are played.
LANES = {2: "grid", 1: "retained", 0: "reset"}
LANES_OF_STEPS = {2: "grid", 1: "claimed", 0: "not yet"}

Columns = dict[str, dict[str, NDArray[Any]]]


class RowPicture(NamedTuple):
    """All that the figure of a row shows: columns by source name, ranges, and the numbers in its title.

    row: the values that are drawn, (m,) float64; edges: of the bars.
    """

    columns: Columns
    values: tuple[float, float]
    highest: float
    bandwidth: float
    k: int
    n: int
    drawn: int
    row: NDArray[np.float64]
    edges: NDArray[np.float64]
    of: str = "fine-tuned value"

    def lines(self) -> list[str]:
        """What the figure shows, in numbers: short lines, which fit a narrow window."""
        width = "no density" if np.ptp(self.row) > 0 else "constant row, no density"
        width = f"bandwidth {self.bandwidth:.3g}" if self.bandwidth > 0 else width
        lines = [f"k = {self.k:,} of {self.n:,} ({self.k / self.n:.1%}), {width}"]
        return lines if self.drawn == self.n else [*lines, f"{self.drawn:,} of {self.n:,} entries drawn as marks"]

    def parts(self, mask: NDArray[np.bool_]) -> Columns:
        """The columns that tell entries in a mask (m,) from others: bars, and marks of both kinds."""
        scale = 1.0 / (len(self.row) * np.diff(self.edges))
        inside = np.histogram(self.row[mask], self.edges)[0] * scale
        outside = np.histogram(self.row[~mask], self.edges)[0] * scale
        keep = thinned(len(self.row))
        return {
            "bins": {
                "left": self.edges[:-1],
                "right": self.edges[1:],
                "retained": inside,
                "all": inside + outside,
            },
            "retained": _marks(self.row, keep & mask),
            "reset": _marks(self.row, keep & ~mask),
        }


def picture(
    fine_tuned: NDArray[np.float64],
    mask: NDArray[np.bool_],
    pretrained: NDArray[np.float64] | None = None,
    settings: Settings | None = _DEFAULT,
    claiming: bool = True,
) -> RowPicture:
    """Compute everything that is shown of a row (n,) float64 and its mask (n,) bool.

    With settings on="update" the row that is shown is the update, as the rule saw it. Entries at the end without a
    pretrained value, which no rule decided about, are not drawn; a row of nothing else is, by its fine-tuned values.
    Without settings there is no density; unless claiming, the rule has no grid.

    The histogram is in the units of the density (1 / units of the weights), so that bars and curve compare; each
    bar is split into its retained and its reset part.
    """
    row, of = fine_tuned, "fine-tuned value"
    known = len(row) if pretrained is None else len(row) - int(np.isnan(pretrained).sum())
    if known and pretrained is not None:
        row = fine_tuned[:known]
        if settings is not None and settings.on == "update":
            row, of = row - pretrained[:known], "update: fine-tuned less pretrained value"
    decided = mask[: len(row)]
    m, k = len(row), int(decided.sum())
    low, high = float(row.min()), float(row.max())
    h = 0.0 if settings is None else float(kde.bandwidth(row[None], settings.bandwidth)[0, 0])
    pad = min(3 * h, high - low) or 0.05 * (high - low) or max(1e-3, 0.1 * abs(low))
    start, end = low - pad, high + pad
    # Of a very long row, fewer points: what is left is still smoother than the screen.
    points = np.linspace(start, end, int(np.clip((1 << 24) // m, 100, 400))) if h > 0 else np.empty(0)
    curve = points
    if settings is not None and h > 0:
        curve = kde.density(row[None], points[None], np.array([[h]]), settings.kernel)[0]
    edges = np.unique(np.linspace(low, high, _bars(row, h > 0) + 1))  # float64 may not tell them apart
    edges = edges if len(edges) > 1 else np.linspace(low - pad, low + pad, 12)
    grid = kde.grid(row[None], k)[0] if claiming and h > 0 and 0 < k < m else np.empty(0)

    found = RowPicture({}, (start, end), 1.0, h, int(mask.sum()), len(mask), int(thinned(m).sum()), row, edges, of)
    columns = {**found.parts(decided), "curve": {"x": points, "y": curve}, "grid": {"x": grid[thinned(len(grid))]}}
    highest = max(float(columns["bins"]["all"].max(initial=0)), float(curve.max(initial=0)))
    return found._replace(columns=columns, highest=highest * 1.08 or 1.0)


def _bars(row: NDArray[np.float64], curved: bool) -> int:
    """√m bars; beside a curve more if they would be wider than the normal reference bandwidth, as where a few values
    are far out. At whatever bandwidth the curve is drawn, they stay."""
    narrow = np.ptp(row) / kde.bandwidth(row[None])[0, 0] if curved else 0.0
    return int(np.clip(max(np.sqrt(len(row)), narrow), 10, 80))


def thinned(count: int) -> NDArray[np.bool_]:
    """Every so-manieth of a number of marks, so that no more than MOST_MARKS are drawn."""
    keep = np.zeros(count, dtype=bool)
    keep[:: max(1, -(-count // MOST_MARKS))] = True
    return keep


def _marks(row: NDArray[np.float64], wanted: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    return {"x": row[wanted], "column": np.flatnonzero(wanted)}


def legend(step: int) -> dict[str, Value]:
    """The labels of the bars by the name of their legend items: of the whole mask, or while claims are played."""
    lanes = LANES_OF_STEPS if step else LANES
    return {"legend_outside": value(lanes[0]), "legend_inside": value(lanes[1])}


def build(
    shown: RowPicture, name: str, theme: str = "light", step: claims.ClaimPicture = claims.NOTHING, title: str = ""
) -> LayoutDOM:
    """Plots over one axis of values: histogram with density, and a strip of grid, retained, reset; and of one claim,
    if a step is given, a close-up. title stands instead of the numbers of the picture.

    Named models: sources bins, curve, grid, retained, reset and those of `claims`; ranges values and densities; titles
    title and name; axes axis and lanes; legend_outside, legend_inside.
    """
    along = Range1d(*shown.values, name="values")
    sources = {key: ColumnDataSource(dict(data), name=key) for key, data in {**shown.columns, **step.columns}.items()}
    top = figure(
        name="row",
        height=290,
        sizing_mode="stretch_width",
        x_range=along,
        y_range=Range1d(0, shown.highest, name="densities"),
        y_axis_label="density (1 / unit of weight)",
        tools="xpan,xwheel_zoom,xbox_zoom,reset",
        active_scroll=None,
        title=Title(text=label(name, NARROW), name="name", text_font_size="13px"),
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
        legend_label="reset",
        **bars,
    )
    top.quad(bottom=0, top="retained", fill_color=themes.RETAINED, legend_label="retained", **bars)
    top.line("x", "y", source=sources["curve"], color=themes.DENSITY, line_width=2.5, legend_label="density estimate")
    top.legend.update(orientation="horizontal", padding=2, margin=2, spacing=8, label_text_font_size="12px")
    items: list[Any] = list(top.legend[0].items)
    for item, (key, text) in zip(items, legend(step.step).items(), strict=False):
        item.update(name=key, label=text)
    top.add_layout(top.legend[0], "above")
    told = title or "\n".join(shown.lines())
    top.add_layout(Title(text=told, name="title", text_font_style="normal", text_font_size="12px"), "above")
    top.xaxis.visible = False
    top.toolbar.logo = None
    top.yaxis[0].ticker = BasicTicker(desired_num_ticks=4)

    strip = figure(
        name="strip",
        height=160,
        sizing_mode="stretch_width",
        x_range=along,
        y_range=Range1d(-0.6, 2.7),
        x_axis_label=shown.of,
        tools="",
    )
    strip.xaxis[0].name = "axis"
    strip.yaxis[0].name = "lanes"
    strip.yaxis.ticker = FixedTicker(ticks=list(LANES))
    strip.yaxis.major_label_overrides = dict(LANES_OF_STEPS if step.step else LANES)
    strip.ygrid.visible = False
    strip.toolbar_location = None
    mark = {"marker": "dash", "angle": np.pi / 2, "size": 22, "line_width": 1.2}
    strip.scatter("x", 2, source=sources["grid"], color=themes.GRID, **mark)
    marks = [
        strip.scatter("x", 1, source=sources["retained"], color=themes.RETAINED, **mark),
        strip.scatter("x", 0, source=sources["reset"], color=themes.RESET, **mark),
    ]
    claims.mark(strip, sources)
    close = claims.close_up(sources, step)
    for plot, drawn in ((strip, marks), (close, close.renderers)):
        plot.add_tools(_values_of(drawn))
    # All plots draw the same value at the same place only if their left margins agree.
    for plot in (top, strip, close):
        plot.min_border_left, plot.min_border_right = 70, 14
    layout = column(top, strip, close, sizing_mode="stretch_width")
    themes.apply(layout, theme)
    return layout


def _values_of(renderers: list[Any]) -> HoverTool:
    """What is under the pointer, with digits enough for values of any size."""
    with_column = [renderer for renderer in renderers if "column" in renderer.data_source.data]
    return HoverTool(
        renderers=with_column,
        tooltips=[("column", "@column"), ("value", "@x{%.6g}")],
        formatters={"@x": "printf"},
        mode="mouse",
    )
