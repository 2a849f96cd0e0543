"""EntryField: the number of an entry, or nothing, where none is chosen."""

from __future__ import annotations

import ipywidgets
import traitlets

from kenviz.views.controls import width


class EntryField(ipywidgets.HBox):
    """A field for a number from 0 to `max`; empty for none, which is -1 in `value`. Anything else is not taken.

    >>> field = EntryField("column", "The entry to explain")
    >>> field.max = 23
    >>> field.text.value = "7"; field.value
    7
    >>> field.text.value = "99"; field.value, field.text.value
    (7, '7')
    >>> field.value = -1; field.text.value
    ''
    """

    value = traitlets.Int(-1, help="The number; -1 for none.")
    max = traitlets.Int(0, help="The highest number there is.")

    def __init__(self, description: str, tooltip: str) -> None:
        self.text = ipywidgets.Text(
            description=description,
            placeholder="none",
            tooltip=f"{tooltip}; empty for none",
            continuous_update=False,
            layout=width(240),
        )
        super().__init__([self.text])
        self.text.observe(self._typed, "value")
        self.observe(lambda _: self._write(), "value")

    def _typed(self, _: object) -> None:
        words = self.text.value.strip()
        if not words:
            self.value = -1
        elif words.isascii() and words.isdigit() and int(words) <= self.max:
            self.value = int(words)
        self._write()

    def _write(self) -> None:
        self.text.value = "" if self.value < 0 else str(self.value)
