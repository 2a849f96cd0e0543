"""A whole figure on a sheet: rows and columns of plots as boxes, with a caption below."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from bokeh.models import Column, LayoutDOM, Plot, Row, ScrollBox
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kenviz import theme as themes
from kenviz.printing.guides import write
from kenviz.printing.keys import note_font
from kenviz.printing.known import UnprintableError, require
from kenviz.printing.paper import Ink
from kenviz.printing.plot import Printed

_BOX = {
    "sizing_mode",
    "children",
    "stylesheets",
    "styles",
    "child",
    "vertical_scrollbar",
    "horizontal_scrollbar",
    "visible",
}
#: Of a row that wraps: how wide a part is at least, as its style sheet says.
_LEAST = re.compile(r"minmax\((?:min\()?(\d+)px")
#: Around a caption, in pixels.
_AIR = 10.0

Placed = tuple[Printed, float, float]


def drawn(figures: Sequence[tuple[LayoutDOM, str]], width: float, ink: Ink, *, theme: str) -> Figure:
    """Draw figures one below the other, each with its caption, if that is not empty, on a sheet so many pixels wide."""
    font, placed, notes, at = note_font(), [], [], _AIR / 2
    for root, caption in figures:
        parts, height = _laid(root, (0.0, at), width)
        placed += parts
        at += height
        if caption:
            text = font.fitted(caption, width - 2 * _AIR)
            notes.append((at + _AIR / 2, text))
            at += font.height(text) + 2 * _AIR
    colours = themes.THEMES[theme]
    paper = ink.rgba(colours["Plot"]["background_fill_color"])
    figure = Figure(figsize=(width / 72, max(at, 1.0) / 72), dpi=72, facecolor=paper)
    under, over = _whole(figure, 0), _whole(figure, 2)
    under.add_patch(Rectangle((0, 0), width, at, facecolor=paper, linewidth=0))
    for printed, x, y in placed:
        printed.draw(figure, (under, over), (x, y), ink=ink)
    for y, text in notes:
        write(over, (_AIR, y), text, font=font, colour=ink.rgba(colours["Title"]["text_color"]))
    return figure


def _whole(figure: Figure, order: int) -> Axes:
    """Axes over the whole sheet, in its pixels, from its left upper corner downwards."""
    width, height = figure.get_size_inches() * 72
    axes = figure.add_axes((0, 0, 1, 1), zorder=order, frameon=False)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return axes


def _laid(root: Any, place: tuple[float, float], width: float) -> tuple[list[Placed], float]:
    """The plots of a figure with their places, and how high all of them are."""
    if not root.visible:
        return [], 0.0
    if isinstance(root, Plot):
        printed = Printed(root, width)
        return [(printed, *place)], printed.height
    require(root, _BOX)
    match root:
        case ScrollBox():
            return _laid(root.child, place, width)
        case Column():
            return _stacked([[child] for child in root.children], place, width)
        case Row():
            return _stacked(list(_lines(root, width)), place, width)
    raise UnprintableError(f"a {type(root).__name__} cannot be printed")


def _lines(row: Row, width: float) -> Iterator[list[Any]]:
    """The children of a row, line by line: one line, or as many as its style asks for."""
    children: list[Any] = [child for child in row.children if child.visible]
    sheet = _LEAST.search("".join(str(getattr(one, "css", "")) for one in row.stylesheets))
    if sheet is None and row.styles.get("flex-wrap") != "wrap":  # type: ignore[union-attr]
        yield children
        return
    least = float(sheet[1]) if sheet else max(float(child.min_width or 1) for child in children)
    most = max(1, min(len(children), int(width // least)))
    for start in range(0, len(children), most):
        line = children[start : start + most]
        # In a grid all are of one width, in the last line, too.
        yield line + [None] * (most - len(line) if sheet else 0)


def _stacked(lines: list[list[Any]], place: tuple[float, float], width: float) -> tuple[list[Placed], float]:
    (x, y), total = place, 0.0
    placed: list[Placed] = []
    for line in lines:
        fixed = [0.0 if child is None or child.sizing_mode == "stretch_width" else float(child.width) for child in line]
        fixed = [0.0] if len(line) == 1 else fixed
        free = (width - sum(fixed)) / max(1, fixed.count(0.0))
        across, highest = x, 0.0
        for child, own in zip(line, fixed, strict=True):
            if child is not None:
                parts, height = _laid(child, (across, y + total), own or free)
                placed += parts
                highest = max(highest, height)
            across += own or free
        total += highest
    return placed, total
