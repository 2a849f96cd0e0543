"""CardBox: the decision card of one entry, beside a figure."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets

from kenviz.text.labels import visible

_EMPTY = "Tap an entry to read why it was retained or reset."


class CardBox(ipywidgets.HTML):
    """The text of a decision card, as text whatever the names in it say; an invitation before there is one.

    >>> import ken, numpy
    >>> box = CardBox()
    >>> box.show(ken.explain_row(numpy.array([0.0, 0.4, 0.5, 0.6, 1.0]), k=3).entry(3))
    >>> "Entry 3 is reset." in box.value
    True
    """

    def __init__(self, invitation: str = _EMPTY) -> None:
        self._invitation = invitation
        super().__init__(layout={"width": "auto"})
        self.show(None)

    def show(self, card: Any) -> None:
        """Show a card of `ken.explain`, or with None the invitation."""
        lines = [self._invitation] if card is None else card.text.splitlines()
        text = html.escape("\n".join(visible(line) for line in lines))
        # A live region: a screen reader says what a tap has found.
        self.value = (
            f'<pre class="kenviz-card" role="status" style="white-space: pre-wrap; word-break: normal; '
            f'overflow-wrap: anywhere; line-height: 1.4; margin: 0">{text}</pre>'
        )
