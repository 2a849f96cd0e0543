"""One claim of a grid point, in the strip of a row and in a close-up of its own; and the entry that is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from bokeh.models import BasicTicker, ColumnDataSource, FixedTicker, Plot, Range1d
from bokeh.plotting import figure
from numpy.typing import NDArray

from kenviz import theme as themes
from kenviz.figures import lettering

if TYPE_CHECKING:
    from ken.explanation import RowExplanation

#: At most this many marks of one kind are drawn around a claim.
MOST_NEAR = 1000
_FREE = 4  # so many free entries are in the close-up of what is asked
_EMPTY = np.empty(0)
_LANES = {1: "grid", 0: "entries"}
_SIGNS = "▼ visited   ◆ claimed   × claimed before   ○ free"


class ClaimPicture(NamedTuple):
    """What is drawn of one step, 0 for none: columns by source name, the part that the close-up shows, its label."""

    step: int
    columns: dict[str, dict[str, Any]]
    near: tuple[float, float]
    label: str


def _columns(**sources: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Columns by source, empty where none are given."""
    empty: dict[str, dict[str, Any]] = {
        "claim": {"at": _EMPTY, "x": _EMPTY, "column": _EMPTY},
        "nearer": {"x": _EMPTY, "column": _EMPTY},
        "near_grid": {"x": _EMPTY},
        "near_taken": {"x": _EMPTY, "column": _EMPTY},
        "near_free": {"x": _EMPTY, "column": _EMPTY},
        "chosen": {"x": _EMPTY, "lane": _EMPTY, "column": _EMPTY, "told": []},
    }
    return {**empty, **sources}


NOTHING = ClaimPicture(step=0, columns=_columns(), near=(0.0, 1.0), label="")


def picture(
    why: RowExplanation | None, step: int, values: NDArray[np.float64], mask: NDArray[np.bool_], chosen: int
) -> ClaimPicture:
    """Compute what is shown of a step of a row's claims, and of the chosen entry; 0 and -1 are for none.

    values: (m,) as drawn; mask: (m,) bool, which of the two lanes an entry is in. A chosen entry that is not drawn, as
    it was added, has no mark.
    """
    drawn = {}
    if 0 <= chosen < len(values):
        at = {"x": values[[chosen]], "lane": np.array([float(mask[chosen])]), "column": np.array([chosen])}
        drawn["chosen"] = {**at, "told": [f"{chosen}"]}
    if why is None or step == 0:
        return NOTHING._replace(columns=_columns(**drawn))
    claim = why.claim(step)
    x = float(values[claim.entry])
    middle = (claim.at + x) / 2
    # Room for what was nearer, which lies within the distance, and for some neighbours.
    half = max(1.6 * claim.distance, 2.5 * float(np.ptp(why.grid)) / max(1, len(why.grid) - 1), 1e-9 * abs(x))
    half = half or 1e-3
    low, high = middle - half, middle + half
    inside = (values >= low) & (values <= high)
    before = np.zeros(len(values), bool)
    before[why.claimed[why.order[: step - 1]]] = True
    free = inside & ~before
    free[claim.entry] = False
    drawn["claim"] = {"at": np.array([claim.at]), "x": np.array([x]), "column": np.array([claim.entry])}
    nearer = np.asarray(claim.taken[:MOST_NEAR], dtype=int)
    drawn["nearer"] = {"x": values[nearer], "column": nearer}
    drawn["near_grid"] = {"x": _few(why.grid[(why.grid >= low) & (why.grid <= high)])}
    for name, which in (("near_taken", inside & before), ("near_free", free)):
        entries = _few(np.flatnonzero(which))
        drawn[name] = {"x": values[entries], "column": entries}
    label = f"close-up of step {step:,}: distance {claim.distance:.4g}"
    return ClaimPicture(step, columns=_columns(**drawn), near=(low, high), label=label)


def asked(
    why: RowExplanation, step: int, values: NDArray[np.float64], mask: NDArray[np.bool_], chosen: int
) -> ClaimPicture:
    """Compute what is shown before a claim, to somebody who is to foresee it; nothing of it depends on the answer.

    step: the claim, or 0 where the chosen entry is what is asked about, and nothing has been claimed. The close-up is
    as wide to either side of the grid point, or of the entry, and has some free entries in it.
    """
    drawn = {}
    if 0 <= chosen < len(values):
        at = {"x": values[[chosen]], "lane": np.array([float(mask[chosen])]), "column": np.array([chosen])}
        drawn["chosen"] = {**at, "told": [f"{chosen}"]}
    middle = float(why.grid[why.order[step - 1]] if step else values[chosen])
    if step:  # the point that is visited, without what it claims
        drawn["claim"] = {"at": np.array([middle]), "x": np.array([np.nan]), "column": np.array([-1])}
    near = np.sort(np.abs(values[~mask] - middle))[:_FREE]
    half = max(1.15 * float(near.max(initial=0)), 1.1 * float(np.ptp(why.grid)) / max(1, len(why.grid) - 1))
    low, high = middle - half, middle + half
    inside = (values >= low) & (values <= high)
    drawn["near_grid"] = {"x": _few(why.grid[(why.grid >= low) & (why.grid <= high)])}
    for name, which in (("near_taken", inside & mask), ("near_free", inside & ~mask)):
        entries = _few(np.flatnonzero(which))
        drawn[name] = {"x": values[entries], "column": entries}
    label = f"close-up of the grid point at {middle:.4g}" if step else f"close-up around entry {chosen}"
    return ClaimPicture(max(1, step), columns=_columns(**drawn), near=(low, high), label=label)


def _few(values: NDArray[Any]) -> NDArray[Any]:
    return values[:: max(1, -(-len(values) // MOST_NEAR))]


def mark(strip: Any, sources: dict[str, ColumnDataSource]) -> None:
    """Draw the claim and the chosen entry into the strip, whose lanes are 2: grid, 1: claimed, 0: not."""
    claim = sources["claim"]
    strip.segment("at", 1.75, "x", 1.25, source=claim, color=themes.CLAIMED, line_width=2)
    strip.scatter("x", 1, source=sources["nearer"], marker="x", size=9, color=themes.TAKEN, line_width=2)
    point = {"source": claim, "size": 13, "color": themes.CLAIMED, "line_color": "#222222"}
    strip.scatter("at", 2, marker="inverted_triangle", **point)
    strip.scatter("x", 1, marker="diamond", **point)
    ring = {"marker": "circle", "size": 17, "fill_alpha": 0, "line_width": 2.5, "line_color": themes.CHOSEN}
    strip.scatter("x", "lane", source=sources["chosen"], **ring)
    number = strip.text(
        "x", "lane", "told", source=sources["chosen"], y_offset=-12, text_align="center", text_font_size="12px"
    )
    number.glyph.update(text_color=themes.CHOSEN, text_font_style="bold")


def close_up(sources: dict[str, ColumnDataSource], shown: ClaimPicture) -> Plot:
    """The surroundings of one claim, large enough to see its distance. Named models: close, near, close_axis."""
    plot = figure(
        name="close",
        height=170,
        sizing_mode="stretch_width",
        x_range=Range1d(*shown.near, name="near"),
        y_range=Range1d(-0.6, 1.6),
        tools="",
        visible=shown.step > 0,
        title=lettering.words(_SIGNS),
        x_axis_label=shown.label,
    )
    plot.yaxis.ticker = FixedTicker(ticks=list(_LANES))
    plot.yaxis.major_label_overrides = dict(_LANES)
    plot.ygrid.visible = False
    plot.toolbar_location = None
    plot.xaxis[0].name = "close_axis"
    plot.xaxis[0].ticker = BasicTicker(desired_num_ticks=4)
    claim = sources["claim"]
    dotted = {"source": claim, "color": themes.CLAIMED, "line_width": 1.5, "line_dash": "dotted"}
    plot.segment("at", 1, "at", 0.5, **dotted)
    plot.segment("x", 0.5, "x", 0, **dotted)
    plot.segment("at", 0.5, "x", 0.5, source=claim, color=themes.CLAIMED, line_width=4)
    bar = {"marker": "dash", "angle": np.pi / 2, "size": 22, "line_width": 1.5}
    plot.scatter("x", 1, source=sources["near_grid"], color=themes.GRID, **bar)
    ring = {"marker": "circle", "fill_alpha": 0, "size": 10, "line_width": 1.8}
    plot.scatter("x", 0, source=sources["near_free"], line_color=themes.RESET, **ring)
    plot.scatter("x", 0, source=sources["near_taken"], marker="x", size=10, color=themes.TAKEN, line_width=2)
    chosen = {"size": 19, "line_width": 2.5, "line_color": themes.CHOSEN}
    plot.scatter("x", 0, source=sources["chosen"], marker="circle", fill_alpha=0, **chosen)
    point = {"source": claim, "size": 14, "color": themes.CLAIMED, "line_color": "#222222"}
    plot.scatter("at", 1, marker="inverted_triangle", **point)
    plot.scatter("x", 0, marker="diamond", **point)
    return plot
