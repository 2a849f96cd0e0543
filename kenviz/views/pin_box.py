"""PinBox: what is to be kept of what was found, and a list of what is."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping

import ipywidgets

from kenviz.study.pins import Pin
from kenviz.text.labels import visible
from kenviz.views.base import View
from kenviz.views.cards import DecisionCard
from kenviz.views.closing import close_all


class PinBox(ipywidgets.VBox):
    """A sentence, what it is about, a button that pins it, and the pins, each with a button that takes it away.

    pin is called with what is to be pinned and the sentence, remove with the number of a pin.

    >>> box = PinBox(lambda subject, sentence: print(subject, sentence), print)
    >>> box.offer(["decision", "map"])
    >>> box.sentence.value = "The tails stay."
    >>> box.button.click()
    decision The tails stay.
    """

    def __init__(self, pin: Callable[[str, str], object], remove: Callable[[int], object]) -> None:
        self._remove = remove
        self.subject = ipywidgets.Dropdown(description="pin the")
        self.sentence = ipywidgets.Textarea(
            description="say",
            placeholder="What do you say of it? (optional)",
            rows=2,
            # At once when the field is left: a change for each key could arrive behind the button that is pressed next.
            continuous_update=False,
            tooltip="A sentence of your own, for the report",
        )
        self.button = ipywidgets.Button(description="pin", icon="thumb-tack", tooltip="Keep this for the report")
        self._list = ipywidgets.VBox()
        self.button.on_click(lambda _: pin(self.subject.value, self.sentence.value.strip()))
        self._heading = ipywidgets.HTML()
        self._heading.add_class("kenviz-heading")
        # The button behind the sentence: who has typed it gets there by one key.
        row = ipywidgets.HBox([self.sentence, self.button])
        row.add_class("kenviz-pin-row")
        super().__init__([self._heading, self.subject, row, self._list])
        self.add_class("kenviz-pins")
        self.show([])

    def offer(self, subjects: list[str]) -> None:
        """What can be pinned, the likeliest first; what the user has chosen stays, if it is there."""
        before, options = self.subject.value, list(self.subject.options)
        chosen = before in subjects and before != options[0]
        if options != subjects:
            self.subject.options = subjects
            self.subject.value = before if chosen else subjects[0]

    def show(self, pins: list[Pin]) -> None:
        """List the pins, and make room for another sentence."""
        self.sentence.value = ""
        self._heading.value = f"Pins for the report: {len(pins) or 'none yet'}"
        before = self._list.children
        self._list.children = [self._line(number, pin) for number, pin in enumerate(pins)]
        close_all(*before)

    def _line(self, number: int, pin: Pin) -> ipywidgets.Widget:
        words = html.escape(visible(pin.sentence or pin.text.partition(". ")[0]))
        said = ipywidgets.HTML(f'<div class="kenviz-caption">{number + 1}. {html.escape(pin.subject)}: {words}</div>')
        away = ipywidgets.Button(description="remove", tooltip=f"Remove pin {number + 1}")
        away.on_click(lambda _: self._remove(number))
        line = ipywidgets.HBox([said, away])
        line.add_class("kenviz-pin-row")
        return line


def pinned(subject: str, sentence: str, card: DecisionCard | None, *, views: Mapping[str, View], code: str) -> Pin:
    """The pin of a card, or of one of the views; raises `ValueError` where there is neither."""
    if subject in views:
        return Pin(subject, sentence, views[subject].caption, code=code)
    if subject != "decision":
        names = ", ".join(["decision", *views])
        raise ValueError(f"subject must be one of {names}: what was opened; got {subject!r}")
    if card is None:
        raise ValueError("no entry is chosen: there is no decision to pin; tap one, or set explorer.column")
    return Pin(subject, sentence, f"{card.verdict} {card.reason}", numbers=card.numbers, code=code)
