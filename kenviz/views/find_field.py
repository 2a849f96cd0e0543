"""FindField: a part of a name that narrows a list as it is typed, and goes to what it names with Enter."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

_ENTRY = re.compile(r"\s*[\[(]\s*(\d{1,18})\s*,\s*(\d{1,18})\s*[\])]\s*\Z")


class FindField(anywidget.AnyWidget):
    """A text field; `value` follows each key, and on_go is called with the whole text when Enter is pressed.

    find_field.js beside this file is the other half.

    >>> field = FindField(print)
    >>> field._receive(field, {"go": "query [112, 86]"}, [])
    query [112, 86]
    """

    _esm = (Path(__file__).parent / "find_field.js").read_text(encoding="utf-8")

    value = traitlets.Unicode(help="What has been typed.").tag(sync=True)
    placeholder = traitlets.Unicode("part of a name").tag(sync=True)
    hint = traitlets.Unicode("Words of a name, or *query*; with [row, column], Enter goes to that entry").tag(sync=True)

    def __init__(self, on_go: Callable[[str], object]) -> None:
        self._on_go = on_go
        super().__init__()
        self.on_msg(self._receive)

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        """Take over what the page says, or ignore it: it may come from anywhere, and be malformed."""
        match content:
            case {"go": str(text)}:
                self._on_go(text)
            case _:
                return


def split_entry(text: str) -> tuple[str, tuple[int, int] | None]:
    """The name in a text, and the entry (row, column) behind it, if one is there.

    >>> split_entry("layer.2 query [112, 86]"), split_entry("*.query.*(0,7)"), split_entry("layer.[12].q")
    (('layer.2 query', (112, 86)), ('*.query.*', (0, 7)), ('layer.[12].q', None))
    """
    place = _ENTRY.search(text)
    if place is None:
        return text.strip(), None
    return text[: place.start()].strip(), (int(place[1]), int(place[2]))
