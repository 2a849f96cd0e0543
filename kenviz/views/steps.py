"""StepBox: play what happens step by step, or say in words why there is nothing to play."""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets

from kenviz.text.labels import visible

_INTERVAL_MS = 700


class StepBox(ipywidgets.VBox):
    """Controls of a step from 0, which is all of them, to a highest: play, a slider, and buttons for one step.

    play and slider are for the view to bind; move is called with -1 or 1 when a button is pressed.

    >>> box = StepBox(print)
    >>> box.offer(0, "rule 'magnitude' has no grid")
    >>> box.slider.disabled, "has no grid" in box.words.value
    (True, True)
    """

    def __init__(self, move: Callable[[int], object]) -> None:
        self.play = ipywidgets.Play(min=0, max=0, interval=_INTERVAL_MS, show_repeat=False)
        self.slider = ipywidgets.IntSlider(
            description="step", min=0, max=0, layout={"width": "min(360px, 100%)"}, tooltip="0 shows the whole mask"
        )
        self.back = ipywidgets.Button(description="previous", layout={"width": "90px"}, tooltip="One claim back")
        self.forth = ipywidgets.Button(description="next", layout={"width": "90px"}, tooltip="One claim further")
        self.back.on_click(lambda _: move(-1))
        self.forth.on_click(lambda _: move(1))
        self.words = ipywidgets.HTML()
        self._row = ipywidgets.HBox(
            [self.slider, self.play, self.back, self.forth], layout={"flex_flow": "row wrap", "align_items": "center"}
        )
        super().__init__([self._row, self.words])

    def offer(self, steps: int, reason: str) -> None:
        """Make so many steps playable; with 0, hide the controls and show the reason."""
        self.slider.value = min(self.slider.value, steps)
        self.play.value = min(self.play.value, steps)
        self.slider.max = self.play.max = steps
        for control in (self.slider, self.play, self.back, self.forth):
            control.disabled = steps == 0
        self._row.layout.display = "none" if steps == 0 else None
        words = f"No claims to play: {visible(reason)}." if steps == 0 else ""
        self.words.value = f'<span style="line-height: 1.4; overflow-wrap: anywhere">{html.escape(words)}</span>'
        self.words.layout.display = None if words else "none"
