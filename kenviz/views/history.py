"""History: states one after another, to go back to and forward again."""

from __future__ import annotations

from typing import Any

#: States that are kept; the oldest are forgotten.
MOST = 200


class History:
    """A line of states with a place in it. States are plain values and are compared with ==.

    Changes of one cause that follow each other are one step: a slider that is dragged, a wheel that is turned. Without
    a cause, each is a step of its own.

    >>> history = History({"row": 0})
    >>> history.push({"row": 1}, "row"); history.push({"row": 2}, "row"); history.push({"row": 2, "k": 5})
    >>> history.undo(), history.undo(), history.undo()
    ({'row': 2}, {'row': 0}, None)
    >>> history.redo()
    {'row': 2}
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self._states: list[tuple[dict[str, Any], str | None]] = [(state, None)]
        self._at = 0

    @property
    def can_undo(self) -> bool:
        """True if there is a state before the present one."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """True if there is a state after the present one."""
        return self._at + 1 < len(self._states)

    def push(self, state: dict[str, Any], cause: str | None = None) -> None:
        """A new present state; what had been undone is forgotten."""
        present, before = self._states[self._at]
        if state == present:
            return
        if cause is not None and cause == before and not self.can_redo:
            self._states[self._at] = (state, cause)
            return
        self._states[self._at + 1 :] = [(state, cause)]
        del self._states[:-MOST]
        self._at = len(self._states) - 1

    def undo(self) -> dict[str, Any] | None:
        """The state before, which is the present one now; None if there is none."""
        return self._move(-1)

    def redo(self) -> dict[str, Any] | None:
        """The state after, which is the present one now; None if there is none."""
        return self._move(1)

    def _move(self, by: int) -> dict[str, Any] | None:
        if not 0 <= self._at + by < len(self._states):
            return None
        self._at += by
        return self._states[self._at][0]
