"""Controls beside a figure: how wide they are, those of a place in a matrix, and those that play claims."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets

from kenviz.text.labels import visible

_INTERVAL_MS = 700


def width(pixels: int) -> dict[str, str]:
    """The layout of a control that is so wide where there is room, and else as wide as its row."""
    return {"width": f"min({pixels}px, 100%)"}


def choice(description: str, options: Iterable[Any] = (), pixels: int = 240) -> ipywidgets.Dropdown:
    """A list to choose one value from: options are values, or (text, value) each."""
    return ipywidgets.Dropdown(options=list(options), description=description, layout=width(pixels))


def rest_button(decide: Callable[[], object]) -> ipywidgets.Button:
    """The button that decides the rows which a first look at a large matrix has left out."""
    button = ipywidgets.Button(
        description="decide every row", layout=width(150), tooltip="Decide the rows that are missing"
    )
    button.on_click(lambda _: decide())
    return button


class GoTo(ipywidgets.HBox):
    """Row and column to go to, a button that goes there, and one that takes the mark away."""

    def __init__(self, view: Any) -> None:
        self.row = ipywidgets.BoundedIntText(description="to row", min=0, layout=width(170), tooltip="Row of the entry")
        self.column = ipywidgets.BoundedIntText(
            description="to column", min=0, layout=width(170), tooltip="Column of the entry to go to"
        )
        self.go = ipywidgets.Button(description="go to", layout={"width": "70px"}, tooltip="Show and mark that entry")
        self.leave = ipywidgets.Button(description="unmark", layout={"width": "80px"}, tooltip="Choose no entry")
        self.whole = ipywidgets.Button(description="show all", layout={"width": "85px"}, tooltip="Zoom out")
        self.whole.on_click(lambda _: view.show_all())
        self.go.on_click(lambda _: view.go_to(self.row.value, self.column.value))
        self.leave.on_click(lambda _: view.set_trait("entry", None))
        super().__init__([self.row, self.column, self.go, self.leave, self.whole], layout={"flex_flow": "row wrap"})

    def follow(self, shape: tuple[int, int], entry: tuple[int, int] | None) -> None:
        """Offer what a matrix of that shape has; say where the chosen entry is."""
        for control, size, at in zip((self.row, self.column), shape, entry or (None, None), strict=True):
            control.value = min(control.value, size - 1)
            control.max = size - 1
            if at is not None:
                control.value = at
        self.leave.disabled = entry is None


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
            description="step", min=0, max=0, layout=width(360), tooltip="0 shows the whole mask"
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
