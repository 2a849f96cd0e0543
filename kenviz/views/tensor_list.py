"""TensorList: a list of thousands of tensors, of which only what is in sight is in the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from kenviz.study.outline import MOST_FLAT, Outline
from kenviz.text.labels import apart, label, last, visible

#: Characters of a name that the narrowest column has room for.
_WIDTH = 36


class TensorList(anywidget.AnyWidget):
    """Tensors one below the other, each with a bar and some words; long lists fold by layer and what is in it.

    tensor_list.js beside this file draws the lines, and answers keys: arrows, Home, End, page up and down move; Enter
    chooses a tensor and opens or folds a group, as do arrows to the right and to the left. What it sends:

        {choose: number of a tensor}   ─► `on_pick` is called with its name
        {toggle: number of a group}    ─► the group opens, or folds

    >>> tensors = TensorList([f"l.{layer}.{part}" for layer in range(40) for part in "qk"], print)
    >>> tensors.show(range(80), folding=True)
    >>> len(tensors.lines), tensors.lines[1]
    (40, [-2, 0, 0, 2])
    >>> tensors.point(3)
    >>> len(tensors.lines), tensors.lines[1:4]
    (42, [[-2, 0, 1, 2], [2, 1, 0, 0], [3, 1, 0, 0]])
    """

    _esm = (Path(__file__).parent / "tensor_list.js").read_text(encoding="utf-8")

    labels: Any = traitlets.List(help="Each tensor's name.").tag(sync=True)
    heads: Any = traitlets.List(help="Each tensor's name, cut to the column.").tag(sync=True)
    tails: Any = traitlets.List(help="The same less the names of its groups.").tag(sync=True)
    groups: Any = traitlets.List(help="What each group is called.").tag(sync=True)
    bars: Any = traitlets.List(help="Each tensor's bar, −1 to 1, or None.").tag(sync=True)
    words: Any = traitlets.List(help="What is said of each tensor.").tag(sync=True)
    lines: Any = traitlets.List(help="The lines, as `kenviz.study.outline.Line`.").tag(sync=True)
    chosen = traitlets.Int(-1, help="Number of the tensor that is chosen.").tag(sync=True)

    def __init__(self, names: Sequence[str], on_pick: Callable[[str], object]) -> None:
        self._names, self._outline, self._on_pick = list(names), Outline(names), on_pick
        self._opened: set[int] = set()
        self._tensors: list[int] = []
        self._folding = False
        count = len(self._names)
        super().__init__(
            labels=apart([label(name, 200) for name in names]),
            heads=apart([_head(*self._outline.head(i)) for i in range(count)]),
            tails=[last(self._outline.tail(i), _WIDTH - 4) for i in range(count)],
            groups=[last(group, _WIDTH - 16) for group in self._outline.groups],
            bars=[None] * count,
            words=[""] * count,
        )
        self.on_msg(self._receive)

    def describe(self, bars: Sequence[float | None], words: Sequence[str]) -> None:
        """Say of each tensor how long its bar is, and what stands beside it."""
        self.bars, self.words = list(bars), [visible(text) for text in words]

    def show(self, tensors: Sequence[int], *, folding: bool) -> None:
        """List these tensors, in this order; folding, if there are many."""
        self._tensors, self._folding = list(tensors), folding and len(tensors) > MOST_FLAT
        self._draw()

    def point(self, tensor: int) -> None:
        """Mark a tensor, and open the groups that it is in; −1 marks none."""
        if tensor >= 0:
            self._opened |= set(self._outline.paths[tensor])
            self._draw()
        self.chosen = tensor

    def toggle(self, group: int) -> None:
        """Open a group, or fold it."""
        self._opened ^= {group}
        self._draw()

    def _draw(self) -> None:
        if self._folding:
            self.lines = [list(line) for line in self._outline.lines(self._tensors, self._opened)]
        else:
            self.lines = [[tensor, 0, 0, 0] for tensor in self._tensors]

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        """Take over what the page says, or ignore it: it may come from anywhere, and be malformed."""
        match content:
            case {"choose": int(tensor)} if 0 <= tensor < len(self._names):
                self._on_pick(self._names[tensor])
            case {"toggle": int(group)} if 0 <= group < len(self._outline.groups):
                self.toggle(group)
            case _:
                return

    def _repr_keys(self) -> Any:
        return iter(())  # thousands of names are no text form


def _head(layer: str, name: str) -> str:
    """A name that fits into a line; the layer is what tells equal ones apart."""
    start = f"{last(layer, _WIDTH // 2)}: " if layer else ""
    return start + last(name, _WIDTH - len(start))
