"""The axes of a plot: their marks, words and lines, and the grid, on the margins around its frame."""

from __future__ import annotations

from typing import Any, NamedTuple

from bokeh.models import FactorRange, Grid
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from kenviz.printing import ticks
from kenviz.printing.glyphs import factor_ends
from kenviz.printing.known import require
from kenviz.printing.lettering import LEADING, Font, font
from kenviz.printing.paper import Ink

_AXIS = {
    *("ticker", "formatter", "axis_label", "axis_label_text_color", "axis_label_text_font_size", "visible"),
    *("axis_label_text_font_style", "axis_label_standoff", "major_label_text_color", "major_label_text_font_size"),
    *("major_label_overrides", "major_label_policy", "axis_line_color", "major_tick_line_color"),
    "minor_tick_line_color",
}
_GRID = {"dimension", "axis", "ticker", "grid_line_color", "grid_line_alpha", "visible"}
#: Words on an axis keep that far from each other, in pixels.
_APART = 3.0
#: An axis label longer than its axis is made smaller, down to that part, before it is broken into lines.
_SMALLER = 0.8


class Frame(NamedTuple):
    """Where the frame of a plot is on the sheet, in pixels from its left upper corner."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.top + self.height


class Scale:
    """An axis: where its marks are, as shares of the frame from its left or lower edge, and what stands at them."""

    def __init__(self, axis: Any, span: Any) -> None:
        require(axis, _AXIS)
        self.axis = axis
        low, high = factor_ends(span)
        if isinstance(span, FactorRange):
            known = ticks.factors(axis.ticker, span)
            self.words, at = list(known), list(known.values())
        else:
            at = ticks.places(axis.ticker, min(low, high), max(low, high))
            self.words = ticks.words(axis.formatter, at, dict(axis.major_label_overrides))
        self.at = [(tick - low) / (high - low) for tick in at] if high != low else []
        self.font = font(axis, "major_label_")
        self.label = str(axis.axis_label or "")
        self.label_font = font(axis, "axis_label_")
        self.out = axis.major_tick_out + axis.major_label_standoff

    @property
    def label_room(self) -> float:
        """Of the label of the axis, across it."""
        return axis_standoff(self) + self.label_font.height(self.label) if self.label else 0.0

    def fit(self, length: float) -> None:
        """Make the label fit an axis of that length: smaller, or in lines."""
        if self.label_font.width(self.label) > length:
            self.label_font = self.label_font.shrunk(
                self.label, max(length, _SMALLER * self.label_font.width(self.label))
            )
            self.label = self.label_font.fitted(self.label, length)

    @property
    def beside(self) -> float:
        """The room that the axis takes at the left of its frame."""
        if not self.axis.visible:
            return 0.0
        return self.out + max((self.font.width(text) for text in self.words), default=0.0) + self.label_room

    @property
    def below(self) -> float:
        """The room that it takes below the frame."""
        if not self.axis.visible:
            return 0.0
        return self.out + max((self.font.height(text) for text in self.words), default=0.0) + self.label_room


def axis_standoff(scale: Scale) -> float:
    """From the words at the marks to the label of the axis."""
    return float(scale.axis.axis_label_standoff)


def draw_below(sheet: Axes, scale: Scale, frame: Frame, *, ink: Ink) -> None:
    """Draw an axis below its frame, onto axes in pixels."""
    if not scale.axis.visible:
        return
    axis, y = scale.axis, frame.bottom
    _lines(sheet, [((frame.left, y), (frame.right, y))], ink.rgba(axis.axis_line_color))
    places = [frame.left + share * frame.width for share in scale.at]
    _lines(sheet, [((x, y), (x, y + axis.major_tick_out)) for x in places], ink.rgba(axis.major_tick_line_color))
    last = -1e9
    for x, text in sorted(zip(places, scale.words, strict=True)):
        half = scale.font.width(text) / 2
        if x - half < last + _APART:
            continue
        last = x + half
        colour = ink.rgba(axis.major_label_text_color)
        write(sheet, (x, y + scale.out), text, font=scale.font, colour=colour, across="center")
    if scale.label:
        highest = max((scale.font.height(text) for text in scale.words), default=0.0)
        where = frame.left + frame.width / 2, y + scale.out + highest + axis_standoff(scale)
        colour = ink.rgba(axis.axis_label_text_color)
        write(sheet, where, scale.label, font=scale.label_font, colour=colour, across="center")


def draw_beside(sheet: Axes, scale: Scale, frame: Frame, *, ink: Ink) -> None:
    """Draw an axis at the left of its frame, onto axes in pixels."""
    if not scale.axis.visible:
        return
    axis, x = scale.axis, frame.left
    _lines(sheet, [((x, frame.top), (x, frame.bottom))], ink.rgba(axis.axis_line_color))
    places = [frame.bottom - share * frame.height for share in scale.at]
    _lines(sheet, [((x, y), (x - axis.major_tick_out, y)) for y in places], ink.rgba(axis.major_tick_line_color))
    last = -1e9
    for y, text in sorted(zip(places, scale.words, strict=True)):
        half = scale.font.size * LEADING / 2
        if y - half < last:
            continue
        last = y + half - 1
        colour = ink.rgba(axis.major_label_text_color)
        place = x - scale.out, y
        write(sheet, place, text, font=scale.font, colour=colour, across="right", upright="center")
    if scale.label:
        widest = max((scale.font.width(text) for text in scale.words), default=0.0)
        middle = x - scale.out - widest - axis_standoff(scale) - scale.label_font.height(scale.label) / 2
        colour = ink.rgba(axis.axis_label_text_color)
        where = middle, frame.top + frame.height / 2
        look: Any = {"font": scale.label_font, "colour": colour, "across": "center", "upright": "center"}
        write(sheet, where, scale.label, turned=True, **look)


def draw_grid(axes: Axes, grid: Grid, scales: dict[int, Scale], *, ink: Ink) -> None:
    """Draw the lines of a grid into the axes of a plot, below all else."""
    require(grid, _GRID)
    if not grid.visible or grid.grid_line_color is None:
        return
    scale = scales[grid.dimension]
    if grid.ticker is not None and grid.ticker is not scale.axis.ticker:
        low, high = axes.get_xlim() if grid.dimension == 0 else axes.get_ylim()
        at = [(tick - low) / (high - low) for tick in ticks.places(grid.ticker, min(low, high), max(low, high))]
    else:
        at = scale.at
    ends = [((share, 0), (share, 1)) if grid.dimension == 0 else ((0, share), (1, share)) for share in at]
    colour = ink.rgba(grid.grid_line_color, grid.grid_line_alpha)
    axes.add_collection(LineCollection(ends, colors=[colour], linewidths=1, transform=axes.transAxes), autolim=False)


def write(
    sheet: Axes,
    place: tuple[float, float],
    text: str,
    *,
    font: Font,
    colour: tuple[float, ...],
    across: str = "left",
    upright: str = "top",
    turned: bool = False,
) -> None:
    """Write lines of text at a place in pixels: its left, middle or right, its top or middle."""
    sheet.text(
        *place,
        text,
        color=colour,
        fontproperties=font.properties(),
        horizontalalignment=across,
        verticalalignment=upright,
        rotation=90 if turned else 0,
        rotation_mode="default",
        linespacing=LEADING,
        multialignment="center" if across == "center" else "left",
        parse_math=False,
    )


def _lines(sheet: Axes, lines: list[Any], colour: tuple[float, ...]) -> None:
    if lines and colour[3]:
        sheet.add_collection(LineCollection(lines, colors=[colour], linewidths=1), autolim=False)
