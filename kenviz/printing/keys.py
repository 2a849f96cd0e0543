"""What explains a plot in its margins: titles, legends and colour bars, each with the room that it needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import BasicTicker, BasicTickFormatter
from bokeh.models.annotations import ColorBar, Legend, Title
from matplotlib.axes import Axes

from kenviz.printing import ticks
from kenviz.printing.glyphs import sample
from kenviz.printing.guides import Frame, write
from kenviz.printing.known import UnprintableError, require
from kenviz.printing.lettering import LEADING, Font, font
from kenviz.printing.paper import Ink
from kenviz.printing.values import mapped

_TITLE = {"text", "text_color", "text_font_size", "text_font_style"}
_LEGEND = {
    *("items", "orientation", "location", "ncols", "padding", "margin", "spacing", "visible", "label_text_font_size"),
    *("label_text_color", "background_fill_color", "border_line_color", "glyph_width"),
}
_BAR = {
    *("color_mapper", "ticker", "formatter", "major_label_overrides", "major_label_policy", "orientation", "location"),
    *("width", "height", "title", "title_text_font_size", "title_text_color", "major_label_text_color", "margin"),
    *("padding", "background_fill_color"),
}
_AIR = 6.0


class Heading:
    """A title above a plot, in as many lines as it needs."""

    def __init__(self, title: Title, room: float) -> None:
        require(title, _TITLE)
        self.font, self._colour = font(title, ""), title.text_color
        self._text = self.font.fitted(str(title.text), room) if title.visible else ""
        self.height = self.font.height(self._text) + _AIR if self._text else 0.0
        self.extra = (self._text.count("\n") - str(title.text).count("\n")) * self.font.size * LEADING

    def draw(self, sheet: Axes, frame: Frame, top: float, *, ink: Ink) -> None:
        """Draw it, from that height downwards."""
        write(sheet, (frame.left, top), self._text, font=self.font, colour=ink.rgba(self._colour))


class Key:
    """A legend above or below a plot, in as many lines as it needs."""

    def __init__(self, legend: Legend, room: float) -> None:
        require(legend, _LEGEND)
        self._legend, self.font = legend, font(legend, "label_")
        items: list[Any] = list(legend.items)
        self._items = [item for item in items if item.visible] if legend.visible else []
        self._line = max(20.0, self.font.size * LEADING) + 2
        self._widths = [legend.glyph_width + 5 + self.font.width(_said(item)) for item in self._items]
        self._rows = self._wrapped(room)
        self.height = len(self._rows) * self._line + (_AIR if self._rows else 0)
        self.extra = (len(self._rows) - len(self._wrapped(np.inf))) * self._line

    def _wrapped(self, room: float) -> list[list[int]]:
        """The items of each line, by number: in columns if it has them, else one after another."""
        legend, count = self._legend, len(self._items)
        if legend.orientation == "vertical" or legend.ncols != "auto":
            columns = 1 if legend.ncols == "auto" else int(legend.ncols)
            while columns > 1 and columns * (max(self._widths, default=0) + legend.spacing) > room:
                columns -= 1
            return [list(range(count))[start : start + columns] for start in range(0, count, columns)]
        rows: list[list[int]] = []
        used = 0.0
        for at, width in enumerate(self._widths):
            if not rows or used + width > room:
                rows.append([])
                used = 0.0
            rows[-1].append(at)
            used += width + legend.spacing
        return rows

    def draw(self, sheet: Axes, frame: Frame, top: float, *, ink: Ink) -> None:
        """Draw it, from that height downwards."""
        legend, colour = self._legend, ink.rgba(self._legend.label_text_color)
        columned = legend.orientation == "vertical" or legend.ncols != "auto"
        for number, row in enumerate(self._rows):
            width = sum(self._widths[at] for at in row) + legend.spacing * (len(row) - 1)
            at_right = not columned and "left" not in str(legend.location)
            x, y = (frame.right - width if at_right else frame.left), top + number * self._line
            for at in row:
                item = self._items[at]
                for renderer in item.renderers:
                    sample(sheet, renderer, ink, box=(x, y, float(legend.glyph_width), 20.0))
                where = x + legend.glyph_width + 5, y + 10
                write(sheet, where, _said(item), font=self.font, colour=colour, upright="center")
                x += (max(self._widths) if columned else self._widths[at]) + legend.spacing


def _said(item: Any) -> str:
    label = item.label
    value = label.get("value") if isinstance(label, dict) else getattr(label, "value", label)
    if not isinstance(value, str):
        raise UnprintableError("an item of a legend that is named by a column cannot be printed")
    return value


class Bar:
    """A colour bar: upright at the right of a plot, or lying above it or in it."""

    def __init__(self, bar: ColorBar) -> None:
        require(bar, _BAR)
        self.bar, self.font, self._title_font = bar, font(bar, "major_label_"), font(bar, "title_")
        mapper: Any = bar.color_mapper
        self._low, self._high = float(mapper.low), float(mapper.high)
        ticker: Any = bar.ticker if bar.ticker != "auto" else BasicTicker(desired_num_ticks=5)
        self._at = ticks.places(ticker, self._low, self._high)
        formatter: Any = bar.formatter if bar.formatter != "auto" else BasicTickFormatter()
        self._words = ticks.words(formatter, self._at, dict(bar.major_label_overrides))
        self._title = str(bar.title or "")
        self.upright = bar.orientation != "horizontal" and bar.height == "auto"
        widest = max((self.font.width(text) for text in self._words), default=0.0)
        #: The room that it takes at the right of a frame.
        self.width = 8 + float(bar.width) + 5 + max(widest, 0) if self.upright else 0.0
        self.width = max(self.width, 8 + self._title_font.width(self._title)) if self.upright else 0.0
        #: The room that it takes above a frame.
        self.height = 0.0 if self.upright else 3 * _AIR + float(bar.height) + self._words_high
        self.extra = 0.0

    @property
    def _words_high(self) -> float:
        return self.font.size * LEADING + self._title_font.height(self._title)

    def draw(self, sheet: Axes, frame: Frame, top: float, *, ink: Ink) -> None:
        """Draw it at the right of the frame, or from that height downwards."""
        if self.upright:
            self._draw_upright(sheet, frame, ink)
        else:
            self._draw_lying(sheet, frame, top, ink=ink)

    def _colours(self, ink: Ink) -> Any:
        mapper: Any = self.bar.color_mapper
        steps = len(mapper.palette)
        middles = self._low + (np.arange(steps) + 0.5) / steps * (self._high - self._low)
        return mapped(middles, mapper, ink)

    def _draw_upright(self, sheet: Axes, frame: Frame, ink: Ink) -> None:
        x, title = frame.right + 8, self._title_font.height(self._title)
        top, height, width = frame.top + title, frame.height - title, float(self.bar.width)
        _strip(sheet, self._colours(ink)[:, None], (x, x + width, top + height, top))
        colour = ink.rgba(self.bar.major_label_text_color)
        free = frame.bottom + self.font.size  # words keep apart, from the lowest upwards
        for at, text in zip(self._at, self._words, strict=True):
            y = top + height * (1 - (at - self._low) / (self._high - self._low))
            y = min(max(y, top + self.font.size / 2), top + height - self.font.size / 2)
            if y > free - self.font.size:
                continue
            free = y
            write(sheet, (x + width + 5, y), text, font=self.font, colour=colour, upright="center")
        above = ink.rgba(self.bar.title_text_color)
        write(sheet, (x, frame.top - 2), self._title, font=self._title_font, colour=above)

    def _draw_lying(self, sheet: Axes, frame: Frame, top: float, *, ink: Ink) -> None:
        width, height = min(float(self.bar.width), frame.width - 20), float(self.bar.height)
        x = frame.left + (frame.width - width) / 2 if self.bar.location == "center" else frame.left + 12
        above = ink.rgba(self.bar.title_text_color)
        write(sheet, (x, top), self._title, font=self._title_font, colour=above)
        y = top + self._words_high + _AIR / 2
        _strip(sheet, self._colours(ink)[None], (x, x + width, y + height, y))
        colour, last = ink.rgba(self.bar.major_label_text_color), -np.inf
        for at, text in zip(self._at, self._words, strict=True):
            middle, half = x + width * (at - self._low) / (self._high - self._low), self.font.width(text) / 2
            if middle - half > last + 3:
                last = middle + half
                place = middle, y - _AIR / 2
                write(sheet, place, text, font=self.font, colour=colour, across="center", upright="bottom")


def _strip(sheet: Axes, colours: Any, edges: tuple[float, float, float, float]) -> None:
    limits = sheet.get_xlim(), sheet.get_ylim()
    image = (colours * 255).round().astype(np.uint8)
    sheet.imshow(image, extent=edges, origin="lower", interpolation="none", aspect="auto", zorder=1)
    sheet.set(xlim=limits[0], ylim=limits[1])


def note_font() -> Font:
    """The font of captions."""
    return Font(12.0)
