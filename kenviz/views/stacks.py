"""StackWalk: which expert of a stack of matrices is shown, and a way to walk from one to the next."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets

from kenviz.views.controls import width


class StackWalk(ipywidgets.HBox):
    """A number and two buttons that walk along the first axis of a stack; nothing for a tensor that is no stack.

    walk is called with the number of the expert that is wanted.

    >>> box = StackWalk(print)
    >>> box.follow((8, 64), (128.0, 192.0))
    >>> box.number.value, box.words.value
    (2, 'of 8, 64 rows each')
    >>> box.forth.click()
    3
    """

    def __init__(self, walk: Callable[[int], object]) -> None:
        self._following = False
        self.number = ipywidgets.BoundedIntText(
            description="expert", min=0, layout=width(170), tooltip="Show one expert of the stack, counted from 0"
        )
        self.words = ipywidgets.Label()
        self.back = ipywidgets.Button(description="previous expert", layout=width(130))
        self.forth = ipywidgets.Button(description="next expert", layout=width(130))

        def ask(expert: int) -> None:
            if not self._following and 0 <= expert <= self.number.max:
                walk(expert)

        self.number.observe(lambda change: ask(change["new"]), "value")
        self.back.on_click(lambda _: ask(self.number.value - 1))
        self.forth.on_click(lambda _: ask(self.number.value + 1))
        super().__init__([self.number, self.words, self.back, self.forth], layout={"flex_flow": "row wrap"})

    def follow(self, stack: tuple[int, int] | None, rows: tuple[float, float]) -> None:
        """Offer the experts of a stack, (experts, rows of each), of which those rows are shown."""
        self.layout.display = "none" if stack is None else None
        for control in self.children:
            control.layout.display = self.layout.display
        if stack is None:
            return
        experts, each = stack
        self._following = True
        try:
            self.number.max = experts - 1
            self.number.value = min(max(int(rows[0] // each), 0), experts - 1)
        finally:
            self._following = False
        self.words.value = f"of {experts:,}, {each:,} rows each"
        self.back.disabled, self.forth.disabled = self.number.value == 0, self.number.value == experts - 1
