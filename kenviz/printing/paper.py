"""What a printed figure is asked to be: its width, its resolution, its palette."""

from __future__ import annotations

import math
from typing import NamedTuple

from matplotlib.colors import to_rgb, to_rgba

from ken.errors import OutputError
from kenviz import theme as themes

#: Widths that journals ask for, in millimetres.
WIDTHS_MM = {"column": 85.0, "page": 175.0}
PALETTES = ("screen", "grey")
_MM_AN_INCH = 25.4
_LIMITS_MM = (30.0, 1000.0)
_LIMITS_DPI = (30.0, 1200.0)
_PIXELS_AN_INCH = 96.0  # of CSS, which the sizes of figures are in
#: No figure is laid out narrower, in pixels: its lines of text are made for that. On narrower paper it is scaled down.
_NARROWEST = 420.0


class Paper(NamedTuple):
    """How wide a figure is printed, in millimetres, and in the pixels that it is laid out in."""

    width_mm: float
    pixels: float

    def dots(self, dpi: float) -> int:
        """How many dots wide it is."""
        return round(self.width_mm / _MM_AN_INCH * dpi)

    def millimetres(self, pixels: float) -> float:
        """A length of the layout as it is printed."""
        return pixels * self.width_mm / self.pixels


def paper(width_mm: str | float) -> Paper:
    """The paper of a width that is asked for, in millimetres or by name; checks it.

    >>> paper("page")
    Paper(width_mm=175.0, pixels=661.4)
    >>> paper(85).pixels
    420.0
    """
    if isinstance(width_mm, str):
        if width_mm not in WIDTHS_MM:
            raise OutputError(f"width_mm must be a number or one of {', '.join(WIDTHS_MM)}; got {width_mm!r}")
        width_mm = WIDTHS_MM[width_mm]
    width = _number(width_mm, "width_mm", _LIMITS_MM)
    return Paper(width, max(_NARROWEST, round(width / _MM_AN_INCH * _PIXELS_AN_INCH, 1)))


def resolution(dpi: float) -> float:
    """Dots an inch as they are asked for; checks them."""
    return _number(dpi, "dpi", _LIMITS_DPI)


def _number(value: float, name: str, limits: tuple[float, float]) -> float:
    low, high = limits
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise OutputError(f"{name} must be from {low:g} to {high:g}, got {value!r}")
    return float(value)


class Ink:
    """Colours as they are printed: as on the screen, or as greys of the same lightness.

    >>> Ink("screen").rgba("#ff0000", 0.5)
    (1.0, 0.0, 0.0, 0.5)
    >>> Ink("grey").rgba("#ff0000")
    (0.2126, 0.2126, 0.2126, 1.0)
    """

    def __init__(self, palette: str) -> None:
        if palette not in PALETTES:
            raise OutputError(f"palette must be one of {', '.join(PALETTES)}; got {palette!r}")
        self.grey = palette == "grey"

    def rgba(self, colour: object, alpha: float = 1.0) -> tuple[float, float, float, float]:
        """A colour of Bokeh with an opacity, as four shares; no colour at all for None."""
        if colour is None or alpha == 0:
            return (0.0, 0.0, 0.0, 0.0)
        red, green, blue, opacity = _parsed(colour)
        if self.grey:
            red = green = blue = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        return (red, green, blue, opacity * alpha)

    def check(self, palette: tuple[str, ...]) -> None:
        """Refuse a scale of colours whose two sides would be the same greys."""
        if self.grey and palette == themes.DIVERGING:
            raise OutputError(
                'palette "grey" cannot tell negative values from positive ones, which this figure shows; '
                'print it with palette="screen"'
            )


def _parsed(colour: object) -> tuple[float, float, float, float]:
    if isinstance(colour, str) and colour.startswith("rgba("):  # as CSS writes it
        red, green, blue, opacity = (float(part) for part in colour[5:-1].split(","))
        return red / 255, green / 255, blue / 255, opacity
    if isinstance(colour, str) and not math.isnan(len(colour)) and len(colour) == 9:
        return to_rgba(colour)
    return (*to_rgb(colour), 1.0)  # type: ignore[arg-type]
