"""One plot on paper: its frame with what is drawn in it, and around it axes, titles, legends and colour bars."""

from __future__ import annotations

import math
from typing import Any

from bokeh.models import Axis, Grid, Plot
from bokeh.models.annotations import BoxAnnotation, ColorBar, Legend, Span, Title
from bokeh.models.nodes import Node
from bokeh.models.renderers import GlyphRenderer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kenviz.printing.glyphs import draw as draw_glyph
from kenviz.printing.glyphs import factor_ends
from kenviz.printing.guides import Frame, Scale, draw_below, draw_beside, draw_grid
from kenviz.printing.keys import Bar, Heading, Key
from kenviz.printing.known import UnprintableError, require
from kenviz.printing.paper import Ink
from kenviz.printing.shapes import dashes

_PLOT = {
    *(
        "height",
        "width",
        "min_width",
        "min_height",
        "sizing_mode",
        "styles",
        "visible",
        "x_range",
        "y_range",
        "x_scale",
    ),
    *("y_scale", "title", "toolbar", "toolbar_location", "renderers", "left", "right", "above", "below", "center"),
    *("min_border_left", "min_border_right", "min_border_top", "min_border_bottom", "background_fill_color"),
    *("border_fill_color", "outline_line_color", "outline_line_alpha"),
}
_SPAN = {"location", "dimension", "line_color", "line_alpha", "line_width", "line_dash", "visible"}
_BOX = {
    *(
        "left",
        "right",
        "top",
        "bottom",
        "fill_color",
        "fill_alpha",
        "line_color",
        "line_alpha",
        "line_width",
        "visible",
    ),
    "handles",
}
#: A frame is no lower than that, however much is written above it.
_LOWEST = 40.0
_BORDER = 5.0


class Printed:
    """A plot with its margins, for a place of a given width; `height` is what it needs."""

    def __init__(self, plot: Plot, width: float) -> None:
        require(plot, _PLOT)
        self._plot, self.width = plot, width
        self.across = _scale(plot.below, plot.x_range)
        self.up = _scale(plot.left, plot.y_range)
        bars = [Bar(one) for one in plot.right if isinstance(one, ColorBar)]
        self._right_bars = bars
        if len(bars) != len(plot.right):
            raise UnprintableError("at the right of a plot, only colour bars can be printed")
        self._left = max(plot.min_border_left or 0, self.up.beside) + _BORDER
        self._right = max(plot.min_border_right or _BORDER, sum(bar.width for bar in bars) + _BORDER * bool(bars))
        room = width - self._left - _BORDER
        # Outward from the frame: what was added first is the nearest to it, the title the farthest.
        self._above = [_key(one, room) for one in [*plot.above, plot.title] if one is not None]
        self._below = [_key(one, room) for one in plot.below if not isinstance(one, Axis)]
        self.across.fit(width - self._left - self._right)
        top = max(plot.min_border_top or _BORDER, sum(key.height for key in self._above))
        bottom = self.across.below + sum(key.height for key in self._below) + _BORDER
        # Room for more lines, less that for a toolbar, which is not printed.
        extra = sum(key.extra for key in (*self._above, *self._below)) - max(0, (plot.min_border_bottom or 0) - bottom)
        self._top, self._bottom = top, bottom
        self.height = max(float(plot.height or 0) + extra, top + bottom + _LOWEST)
        before = self.up.beside
        self.up.fit(self.height - top - bottom)
        self._left += max(0.0, self.up.beside - before)

    def draw(self, figure: Figure, sheets: tuple[Axes, Axes], place: tuple[float, float], *, ink: Ink) -> None:
        """Draw it with its left upper corner at that place; sheets are axes in pixels, below and above all plots."""
        plot, (left, top), (under, over) = self._plot, place, sheets
        paper = Rectangle(place, self.width, self.height, facecolor=ink.rgba(plot.border_fill_color), linewidth=0)
        under.add_patch(paper)
        width, height = self.width - self._left - self._right, self.height - self._top - self._bottom
        frame = Frame(left + self._left, top + self._top, width=width, height=height)
        corner = frame.left, frame.top
        under.add_patch(Rectangle(corner, width, height, facecolor=ink.rgba(plot.background_fill_color), linewidth=0))
        if plot.outline_line_color is not None and plot.outline_line_alpha:
            line = ink.rgba(plot.outline_line_color, plot.outline_line_alpha)
            over.add_patch(Rectangle(corner, width, height, facecolor="none", edgecolor=line, linewidth=1))
        self._fill(figure, over, frame, ink=ink)
        draw_below(over, self.across, frame, ink=ink)
        draw_beside(over, self.up, frame, ink=ink)
        for bar in self._right_bars:
            bar.draw(over, frame, frame.top, ink=ink)
        at = frame.top
        for key in self._above:
            at -= key.height
            key.draw(over, frame, at, ink=ink)
        at = frame.bottom + self.across.below + _BORDER
        for key in self._below:
            key.draw(over, frame, at, ink=ink)
            at += key.height

    def _fill(self, figure: Figure, over: Axes, frame: Frame, *, ink: Ink) -> None:
        """Draw what is in the frame, one thing above the other."""
        plot = self._plot
        wide, high = figure.get_size_inches() * 72
        box = (frame.left / wide, 1 - frame.bottom / high, frame.width / wide, frame.height / high)
        axes = figure.add_axes(box, zorder=1, frameon=False)
        axes.set(xlim=factor_ends(plot.x_range), ylim=factor_ends(plot.y_range))
        axes.set_axis_off()
        grids = [one for one in plot.center if isinstance(one, Grid)]
        others = [one for one in plot.center if not isinstance(one, Grid)]
        for one in [*grids, *plot.renderers, *others]:
            before = set(axes.get_children())
            match one:
                case Grid():
                    draw_grid(axes, one, {0: self.across, 1: self.up}, ink=ink)
                case GlyphRenderer():
                    draw_glyph(axes, one, ink, spans=(plot.x_range, plot.y_range))
                case Span():
                    _draw_span(axes, one, ink)
                case BoxAnnotation():
                    _draw_box(axes, one, ink)
                case ColorBar():
                    bar = Bar(one)
                    middle = frame.top + max(0.0, (frame.height - bar.height) / 2)
                    bar.draw(over, frame, middle, ink=ink)
                case _:
                    raise UnprintableError(f"a {type(one).__name__} in a plot cannot be printed")
            for number, artist in enumerate(axes.get_children()):
                if artist not in before:
                    artist.set_zorder(len(before) + number)


def _scale(beside: list[Any], span: Any) -> Scale:
    axes = [one for one in beside if isinstance(one, Axis)]
    if len(axes) != 1:
        raise UnprintableError(f"a plot with {len(axes)} axes at one side cannot be printed")
    return Scale(axes[0], span)


def _key(one: Any, room: float) -> Heading | Key | Bar:
    match one:
        case Title():
            return Heading(one, room)
        case Legend():
            return Key(one, room)
        case ColorBar():
            return Bar(one)
    raise UnprintableError(f"a {type(one).__name__} above or below a plot cannot be printed")


def _draw_span(axes: Axes, span: Span, ink: Ink) -> None:
    require(span, _SPAN)
    if not span.visible or span.location is None:
        return
    width = float(span.line_width)
    look: dict[str, Any] = {
        "color": ink.rgba(span.line_color, span.line_alpha),
        "linewidth": width,
        "linestyle": dashes(span.line_dash, width),
    }
    place: Any = span.location
    (axes.axhline if span.dimension == "width" else axes.axvline)(place, **look)


def _draw_box(axes: Axes, box: BoxAnnotation, ink: Ink) -> None:
    require(box, _BOX)
    if not box.visible:
        return
    (low_x, high_x), (low_y, high_y) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    left, right = _end(box.left, low_x), _end(box.right, high_x)
    bottom, top = _end(box.bottom, low_y), _end(box.top, high_y)
    look: dict[str, Any] = {
        "facecolor": ink.rgba(box.fill_color, box.fill_alpha),
        "edgecolor": ink.rgba(box.line_color, box.line_alpha),
        "linewidth": box.line_width if box.line_color is not None else 0,
    }
    axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, **look))


def _end(place: Any, frame: float) -> float:
    """An edge of a box: a place, or that of the frame."""
    if isinstance(place, Node) or place is None or math.isnan(place):
        return frame
    return float(place)
