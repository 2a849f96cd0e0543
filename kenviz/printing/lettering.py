"""Text on paper: its font, how much room it takes, and how it is broken into lines that fit."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

#: matplotlib brings it along; what stands for it in an SVG, where it is not installed: `files`.
FAMILY = ["DejaVu Sans"]
#: Of the height of letters: from one line to the next.
LEADING = 1.25
#: In pixels: smaller than that nobody can read it.
SMALLEST = 7.0


class Font(NamedTuple):
    """A size in pixels, and a style as Bokeh names it."""

    size: float
    style: str = "normal"

    def properties(self) -> FontProperties:
        """The font as matplotlib knows it."""
        return _properties(self)

    def width(self, text: str) -> float:
        """Of the longest line, in pixels."""
        return max((_width(line, self) for line in text.split("\n")), default=0.0)

    def height(self, text: str) -> float:
        """Of all lines, in pixels."""
        return self.size * LEADING * (text.count("\n") + 1) if text else 0.0

    def fitted(self, text: str, room: float) -> str:
        """The text with its lines broken at blanks, so that they are no wider than there is room.

        >>> Font(10).fitted("one two three", 45).split(chr(10))
        ['one two', 'three']
        """
        lines = []
        for line in text.split("\n"):
            current = ""
            for word in self._parted(line.split(" "), room):
                longer = f"{current} {word}" if current else word
                if current and self.width(longer) > room:
                    lines.append(current)
                    current = word
                else:
                    current = longer
            lines.append(current)
        return "\n".join(lines)

    def _parted(self, words: list[str], room: float) -> Iterator[str]:
        """Words, those that are wider than there is room in parts."""
        for word in words:
            while len(word) > 1 and self.width(word) > room:
                fits = max(1, int(len(word) * room / self.width(word)) - 1)
                yield word[:fits]
                word = word[fits:]
            yield word

    def shrunk(self, text: str, room: float) -> Font:
        """The font in the size in which a text has room, no smaller than can be read."""
        width = self.width(text)
        return self if width <= room else self._replace(size=max(SMALLEST, self.size * room / width))


def font(model: Any, prefix: str) -> Font:
    """The font that a model has for what its properties call by that prefix."""
    size = str(getattr(model, f"{prefix}text_font_size"))
    return Font(pixels(size), str(getattr(model, f"{prefix}text_font_style")))


def pixels(size: str) -> float:
    """A font size of CSS in pixels.

    >>> pixels("12px"), pixels("9pt")
    (12.0, 12.0)
    """
    number, unit = float(size[:-2]), size[-2:]
    return number * {"px": 1.0, "pt": 96 / 72}[unit]


@lru_cache(maxsize=64)
def _properties(font: Font) -> FontProperties:
    weight = "bold" if "bold" in font.style else "normal"
    slant: Literal["italic", "normal"] = "italic" if "italic" in font.style else "normal"
    return FontProperties(family=FAMILY, size=font.size, weight=weight, style=slant)


@lru_cache(maxsize=4096)
def _width(line: str, font: Font) -> float:
    if not line.strip():
        return 0.0
    width, _, _ = text_to_path.get_text_width_height_descent(line, _properties(font), ismath=False)
    return float(width)
