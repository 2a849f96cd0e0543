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

from ken.rules import Settings
from kenviz import theme as themes
from kenviz.figures import claims
from kenviz.study.row_density import RowDensity, row_density
from kenviz.text.labels import NARROW, label, row_count

#: At most this many entries and grid points are drawn as marks; more would be one solid bar.
MOST_MARKS = 5000
_DEFAULT = Settings()
#: What the lanes of the strip hold, from the top: of the whole mask, and while claims are played.
LANES = {2: "grid", 1: "retained", 0: "reset"}
LANES_OF_STEPS = {2: "grid", 1: "claimed", 0: "not yet"}

Columns = dict[str, dict[str, NDArray[Any]]]


class RowPicture(NamedTuple):
    """All that the figure of a row shows: its density, columns by source name, and the numbers in its title.

    k of the n entries of the whole row are retained by that rule, whether they are drawn or not; scope is over what
    the rule counts.
    """

    density: RowDensity
    columns: Columns
    k: int
    n: int
    rule: str = ""
    scope: str = "row"

    @property
    def row(self) -> NDArray[np.float64]:
        """The values that are drawn, (m,) float64."""
        return self.density.values

    def lines(self) -> list[str]:
        """What the figure shows, in numbers: short lines, which fit a narrow window."""
        width = "no density" if np.ptp(self.row) > 0 else "constant row, no density"
        width = f"bandwidth {self.density.bandwidth:.3g}" if self.density.bandwidth > 0 else width
        lines = [f"{row_count(self.k, self.n, self.rule, scope=self.scope)} ({self.k / self.n:.1%}), {width}"]
        drawn = int(thinned(len(self.row)).sum())
        return lines if drawn == self.n else [*lines, f"{drawn:,} of {self.n:,} entries drawn as marks"]

    def parts(self, mask: NDArray[np.bool_]) -> Columns:
        """The columns that tell entries in a mask (m,) from others: bars, and marks of both kinds."""
        inside, everything = self.density.bars(mask)
        edges, keep = self.density.edges, thinned(len(self.row))
        return {
            "bins": {"left": edges[:-1], "right": edges[1:], "retained": inside, "all": everything},
            "retained": _marks(self.row, keep & mask),
            "reset": _marks(self.row, keep & ~mask),
        }


def picture(
    fine_tuned: NDArray[np.float64],
    mask: NDArray[np.bool_],
    pretrained: NDArray[np.float64] | None = None,
    settings: Settings | None = _DEFAULT,
    claiming: bool = True,
    rule: str = "",
    scope: str = "row",
) -> RowPicture:
    """Compute everything that is shown of a row that a rule has decided about; the rest is as in `row_density`."""
    density = row_density(fine_tuned, mask, pretrained, settings=settings, claiming=claiming)
    picture = RowPicture(density=density, columns={}, k=int(mask.sum()), n=len(mask), rule=rule, scope=scope)
    curve, grid = {"x": density.points, "y": density.density}, density.grid
    columns = {**picture.parts(density.mask), "curve": curve, "grid": {"x": grid[thinned(len(grid))]}}
    return picture._replace(columns=columns)


def thinned(count: int) -> NDArray[np.bool_]:
    """Which of so many marks are drawn: evenly chosen ones, no more than MOST_MARKS."""
    keep = np.zeros(count, dtype=bool)
    keep[:: max(1, -(-count // MOST_MARKS))] = True
    return keep


def _marks(row: NDArray[np.float64], wanted: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    return {"x": row[wanted], "column": np.flatnonzero(wanted)}


def draw(plot: Any, bins: ColumnDataSource, curve: ColumnDataSource) -> None:
    """Draw the bars of a row, split into retained and reset entries, and its curve, with a legend above the plot.

    bins: columns left, right, retained, all; curve: x, y. The report draws with this, too.
    """
    bars: dict[str, Any] = {"left": "left", "right": "right", "source": bins, "line_color": None}
    hatch: dict[str, Any] = {"hatch_pattern": "right_diagonal_line", "hatch_color": "#ffffff", "hatch_scale": 8}
    plot.quad(
        bottom="retained", top="all", fill_color=themes.RESET, hatch_alpha=0.6, legend_label="reset", **hatch, **bars
    )
    plot.quad(bottom=0, top="retained", fill_color=themes.RETAINED, legend_label="retained", **bars)
    plot.line("x", "y", source=curve, color=themes.DENSITY, line_width=2.5, legend_label="density estimate")
    plot.legend.update(orientation="horizontal", padding=2, margin=2, spacing=8, label_text_font_size="12px")
    plot.add_layout(plot.legend[0], "above")
    plot.yaxis[0].ticker = BasicTicker(desired_num_ticks=4)


def legend(step: int) -> dict[str, Value]:
    """The labels of the bars by the name of their legend items: of the whole mask, or while claims are played."""
    lanes = LANES_OF_STEPS if step else LANES
    return {"legend_outside": value(lanes[0]), "legend_inside": value(lanes[1])}


def build(
    shown: RowPicture, name: str, theme: str = "light", step: claims.ClaimPicture = claims.NOTHING, title: str = ""
) -> LayoutDOM:
    """Plots over one axis of values: a histogram with the density, and a strip of grid, retained and reset entries.

    If a step is given, there is a close-up of that claim, too. title stands instead of the numbers of the picture.

    Named models: sources bins, curve, grid, retained, reset and those of `claims`; ranges values and densities; titles
    title and name; axes axis and lanes; legend_outside, legend_inside.
    """
    along = Range1d(*shown.density.ends, name="values")
    sources = {key: ColumnDataSource(dict(data), name=key) for key, data in {**shown.columns, **step.columns}.items()}
    top = figure(
        name="row",
        height=290,
        sizing_mode="stretch_width",
        x_range=along,
        y_range=Range1d(0, shown.density.highest, name="densities"),
        y_axis_label="density (1 / unit of weight)",
        tools="xpan,xwheel_zoom,xbox_zoom,reset",
        active_scroll=None,
        title=Title(text=label(name, NARROW), name="name", text_font_size="13px"),
    )
    draw(top, sources["bins"], sources["curve"])
    items: list[Any] = list(top.legend[0].items)
    for item, (key, text) in zip(items, legend(step.step).items(), strict=False):
        item.update(name=key, label=text)
    words = title or "\n".join(shown.lines())
    top.add_layout(Title(text=words, name="title", text_font_style="normal", text_font_size="12px"), "above")
    top.xaxis.visible = False
    top.toolbar.logo = None

    strip = figure(
        name="strip",
        height=160,
        sizing_mode="stretch_width",
        x_range=along,
        y_range=Range1d(-0.6, 2.7),
        x_axis_label=shown.density.axis,
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
