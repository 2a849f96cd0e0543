"""Numbers in prose: each carries its exact value and where it was taken from, so that it can be checked."""

from __future__ import annotations

import math

from markupsafe import Markup

_ELEMENT = Markup('<data value="{}" data-of="{}">{}</data>')


def count(name: str, value: int) -> Markup:
    """A whole number, in groups of three digits; name says which one it is.

    >>> count("summary.entries_retained", 12345)
    Markup('<data value="12345" data-of="summary.entries_retained">12,345</data>')
    """
    return _ELEMENT.format(int(value), name, f"{int(value):,}")


def percent(name: str, value: float) -> Markup:
    """A share as a percentage, a dash if it is NaN.

    >>> percent("summary.share_retained", 0.5)
    Markup('<data value="0.5" data-of="summary.share_retained">50.0\\xa0%</data>')
    """
    return _ELEMENT.format(repr(float(value)), name, in_percent(value))


def points(name: str, value: float) -> Markup:
    """A difference of two shares, with its sign, in percentage points."""
    return _ELEMENT.format(repr(float(value)), name, f"{100 * value:+.1f}\N{NO-BREAK SPACE}points".replace("-", "−"))


def unsigned_points(name: str, value: float) -> Markup:
    """A width in percentage points, such as a standard error."""
    return _ELEMENT.format(repr(float(value)), name, f"{100 * value:.1f}\N{NO-BREAK SPACE}points")


def measure(name: str, value: float) -> Markup:
    """Any other number, to three digits."""
    return _ELEMENT.format(repr(float(value)), name, in_digits(value))


def in_percent(value: float) -> str:
    """The text of a share. Something that is not quite nothing, or not quite all, does not read as that.

    >>> [in_percent(value) for value in (0.25, 0.0001, 0.9999, 1.0, math.nan)]
    ['25.0\\xa0%', '<0.1\\xa0%', '>99.9\\xa0%', '100.0\\xa0%', '–']
    """
    if math.isnan(value):
        return "–"
    if 0 < value < 0.0005:
        return "<0.1\N{NO-BREAK SPACE}%"
    if 0.9995 <= value < 1:
        return ">99.9\N{NO-BREAK SPACE}%"
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def in_digits(value: float, digits: int = 3) -> str:
    """The text of a number of any size, a dash if it is NaN.

    >>> in_digits(0.012345), in_digits(math.nan)
    ('0.0123', '–')
    """
    return "–" if math.isnan(value) else f"{value:.{digits}g}".replace("-", "−")
