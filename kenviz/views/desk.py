"""How the Explorer is laid out: a bar, tensors at the left, the map on top, one stage with tabs, the card beside it.

pane/look.css has the grid, and how it folds where there is less room.
"""

from __future__ import annotations

import html
from collections.abc import Callable

import ipywidgets

from kenviz.study.extremes import JUMPS
from kenviz.text.labels import label, visible
from kenviz.views.base import View
from kenviz.views.cards import CardBox
from kenviz.views.pin_box import PinBox
from kenviz.views.stage import Stage, subjects
from kenviz.views.tabs import FullScreen


class Desk(ipywidgets.Box):
    """The parts of an Explorer, each in its place, with the bar and the pins; `say` keeps them true.

    search, map (None without one) and stage are parts; card is the decision card that stands beside the stage. jump is
    called with the name of what is to be jumped to; without it that is not offered.
    """

    def __init__(
        self,
        search: ipywidgets.Widget,
        matrix_map: View | None,
        stage: Stage,
        *,
        card: CardBox,
        pin_box: PinBox,
        jump: Callable[[str], object] | None,
    ) -> None:
        self._map, self._stage, self.card, self.pin_box = matrix_map, stage, card, pin_box
        self.undo = ipywidgets.Button(description="undo", icon="undo", tooltip="Back to what was shown before")
        self.redo = ipywidgets.Button(description="redo", icon="repeat", tooltip="Forward again")
        self.toggle = ipywidgets.ToggleButton(description="Python", icon="code", tooltip="The Python that leads here")
        self.python = ipywidgets.Textarea(
            layout={"width": "auto", "height": "8em"}, disabled=True, tooltip="The Python that leads here"
        )
        self.python.add_class("kenviz-python-lines")
        self._place = ipywidgets.HTML()
        self._place.add_class("kenviz-place")
        bar = [self.undo, self.redo, self._place]
        if jump is not None:
            bar.append(_JumpList(jump))
        bar += [self.toggle, FullScreen(), self.python]
        parts = {
            "bar": ipywidgets.HBox(bar),
            "map-panel": ipywidgets.VBox([] if matrix_map is None else [matrix_map]),
            "aside": (aside := ipywidgets.VBox([card, pin_box])),
        }
        for name, part in parts.items():
            part.add_class(f"kenviz-{name}")
        super().__init__([parts["bar"], search, parts["map-panel"], stage, parts["aside"]])
        self.add_class("kenviz-desk")
        self._aside = aside

    def use_card(self, card: CardBox) -> None:
        """Let another decision card stand beside the stage."""
        self.card = card
        self._aside.children = [card, self.pin_box]

    def say(self, tensor: str, where: str, *, back: bool, forward: bool, code: str | None, remark: str = "") -> None:
        """Bring the buttons, the place, the code and what can be pinned in line with what is shown."""
        self.undo.disabled, self.redo.disabled = not back, not forward
        self.python.value = code or ""
        self.python.layout.display = "none" if code is None else None
        why = f'<div class="kenviz-remark" role="status">{html.escape(visible(remark))}</div>' if remark else ""
        self._place.value = f"<b>{html.escape(label(tensor))}</b><br>{html.escape(where)}{why}"
        self.pin_box.offer(subjects(self._map is not None, self._stage.made, self.card.card is not None))


class _JumpList(ipywidgets.HBox):
    """A list of what can be jumped to, and the button that does it: keys that walk through a list choose each line."""

    def __init__(self, jump: Callable[[str], object]) -> None:
        where = ipywidgets.Dropdown(
            options=[(one.title, name) for name, one in JUMPS.items()],
            description="jump to",
            tooltip="Where fine-tuning was retained least, or most",
        )
        button = ipywidgets.Button(description="go", tooltip="Go there")
        button.on_click(lambda _: jump(where.value))
        super().__init__([where, button])
        self.add_class("kenviz-jump")
