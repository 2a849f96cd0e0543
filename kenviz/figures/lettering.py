"""What many figures have, in one size and place: titles, lines of words and legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bokeh.models.annotations import Legend, Title

from kenviz.text.labels import NARROW, label


class Words(NamedTuple):
    """What is said of matrices: the name of what is shown, lines about it, and why a tile may have no value."""

    name: str
    lines: str
    why_missing: str


def heading(name: str, most: int = NARROW) -> Title:
    """The title "name": the name of a tensor or kind, in at most so many characters."""
    return Title(text=label(name, most), name="name", text_font_size="13px")


def words(text: str, name: str | None = None) -> Title:
    """Plain lines of words."""
    return Title(text=text, name=name, text_font_style="normal", text_font_size="12px")


def legend(items: Sequence[Any], **options: Any) -> Legend:
    """A legend in a line."""
    line: dict[str, Any] = {"orientation": "horizontal", "padding": 2, "margin": 2, "label_text_font_size": "12px"}
    return Legend(items=list(items), **line, **options)
