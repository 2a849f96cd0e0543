"""GoTo: the place in a matrix as numbers, for those who do not zoom and tap."""

from __future__ import annotations

from typing import Any

import ipywidgets

_SMALL = {"width": "min(170px, 100%)"}


class GoTo(ipywidgets.HBox):
    """Row and column to go to, a button that goes there, and one that takes the mark away."""

    def __init__(self, view: Any) -> None:
        self.row = ipywidgets.BoundedIntText(description="to row", min=0, layout=_SMALL, tooltip="Row of the entry")
        self.column = ipywidgets.BoundedIntText(
            description="to column", min=0, layout=_SMALL, tooltip="Column of the entry to go to"
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
