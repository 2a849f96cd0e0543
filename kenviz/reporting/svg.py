"""A small plot as SVG: it prints sharply, and takes its colours from the page's style sheet.

Classes, not colours, are written: report.css gives every role its colour in both themes. plot.svg is the template.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from kenviz.reporting.templating import filled_line
from kenviz.text.numbers import in_digits


class Plot:
    """A frame with two axes, in which marks are placed by their values; coordinates of the picture are in pixels.

    >>> plot = Plot(100, 80, x=(0, 1), y=(0, 2), left=10, bottom=10)
    >>> plot.rect(0, 1, 0, 1, "retained")
    >>> 'class="retained"' in plot.markup("a bar") and 'aria-label="a bar"' in plot.markup("a bar")
    True
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        x: tuple[float, float],
        y: tuple[float, float],
        left: int = 48,
        right: int = 8,
        top: int = 8,
        bottom: int = 34,
    ) -> None:
        self._size = width, height
        self._x, self._y = _some(x), _some(y)
        self._left, self._right, self._top, self._bottom = left, width - right, top, height - bottom
        self._parts: list[tuple[str, dict[str, Any], str]] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is, in pixels."""
        (x0, x1), (y0, y1) = self._x, self._y
        across = self._left + (x - x0) / (x1 - x0) * (self._right - self._left)
        return across, self._bottom - (y - y0) / (y1 - y0) * (self._bottom - self._top)

    def axes(self, x_label: str, y_label: str, x_ticks: int = 4, y_ticks: int = 4, percent: bool = False) -> None:
        """Both axes with their ticks and labels. Of percent, values of y are shares."""
        frame = f"M{self._left} {self._top}V{self._bottom}H{self._right}"
        self._path("axis", frame)
        for value in ticks(*self._x, x_ticks):
            x, _ = self.at(value, self._y[0])
            self._path("axis", f"M{x:.1f} {self._bottom}v4")
            self.text(x, self._bottom + 15, in_digits(value), anchor="middle")
        for value in ticks(*self._y, y_ticks) if y_ticks else ():
            _, y = self.at(self._x[0], value)
            self._path("rule", f"M{self._left} {y:.1f}H{self._right}")
            self.text(self._left - 5, y + 4, f"{100 * value:g} %" if percent else in_digits(value), anchor="end")
        self.text((self._left + self._right) / 2, self._size[1] - 4, x_label, anchor="middle")
        if y_label:
            self.text(self._left, self._top - 6, y_label)

    def rect(self, x0: float, x1: float, y0: float, y1: float, kind: str) -> None:
        """A bar between two values of each axis."""
        (left, low), (right, high) = self.at(x0, y0), self.at(x1, y1)
        box = {"x": left, "y": high, "width": max(0, right - left), "height": max(0, low - high)}
        self._add("rect", {"class": kind, **_rounded(box)})

    def cell(self, x: float, y: float, colour: str, text: str, kind: str) -> None:
        """A unit square of a colour of its own, with text of a kind in it."""
        (left, low), (right, high) = self.at(x, y), self.at(x + 1, y + 1)
        box = {"x": left + 0.5, "y": high + 0.5, "width": right - left - 1, "height": low - high - 1}
        self._add("rect", {**_rounded(box), "fill": colour})
        if text:
            self.text((left + right) / 2, (low + high) / 2 + 4, text, anchor="middle", kind=kind)

    def line(self, x: Iterable[float], y: Iterable[float], kind: str) -> None:
        """A line through points."""
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in (self.at(*point) for point in zip(x, y, strict=True)))
        self._path(f"line {kind}", f"M{path}")

    def mark(self, x: float, y: float, kind: str, shape: int = 0) -> None:
        """A mark at a point; its shape is a second cue beside its colour."""
        a, b = self.at(x, y)
        self.sign(a, b, kind, shape=shape)

    def sign(self, a: float, b: float, kind: str, shape: int = 0) -> None:
        """A mark at a place in pixels."""
        self._path(f"mark {kind}", SHAPES[shape % len(SHAPES)], transform=f"translate({a:.1f} {b:.1f})")

    def text(self, a: float, b: float, text: str, anchor: str = "start", kind: str | None = None) -> None:
        """Text at a place in pixels."""
        self._add("text", {"class": kind, **_rounded({"x": a, "y": b}), "text-anchor": anchor}, text)

    def _path(self, kind: str, path: str, **more: str) -> None:
        self._add("path", {"class": kind, **more, "d": path})

    def _add(self, element: str, attributes: dict[str, Any], text: str = "") -> None:
        self._parts.append((element, attributes, text))

    def markup(self, words: str) -> Markup:
        """The picture; words say to those who cannot see it what it shows."""
        width, height = self._size
        return filled_line("plot.svg", width=width, height=height, words=words, parts=self._parts)


def _rounded(lengths: dict[str, float]) -> dict[str, str]:
    return {name: f"{length:.1f}" for name, length in lengths.items()}


#: Outlines of marks around the origin: circle, square, triangle, diamond, cross, inverted triangle.
SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M-3.6 -3.6h7.2v7.2h-7.2z",
    "M0 -4.6l4.4 8h-8.8z",
    "M0 -5l4.4 5l-4.4 5l-4.4 -5z",
    "M-1.3 -4.4h2.6v3.1h3.1v2.6h-3.1v3.1h-2.6v-3.1h-3.1v-2.6h3.1z",
    "M0 4.6l4.4 -8h-8.8z",
)


def ticks(low: float, high: float, about: int) -> Sequence[float]:
    """Round numbers from low to high, about so many.

    >>> ticks(0, 1, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / max(1, about)
    if not 0 < rough < math.inf:
        return [low]
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next((unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999), unit * 10)
    if not step > 0:  # smaller than float64 can say
        return [low]
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return sorted({float(f"{i * step:.12g}") for i in range(first, last + 1)})


def _some(limits: tuple[float, float]) -> tuple[float, float]:
    """Limits with room between them."""
    low, high = limits
    if high > low:
        return low, high
    return low - (abs(low) * 0.05 or 0.5), high + (abs(high) * 0.05 or 0.5)
