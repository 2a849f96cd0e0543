"""Names of tensors as an outline that folds: layer by layer, and within a layer what is numbered, such as experts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

#: Lists that are longer than this fold.
MOST_FLAT = 48


class Line(NamedTuple):
    """A line of the list: number of the tensor, or −1 − number of the group; how deep; if open; how many tensors."""

    id: int
    depth: int
    open: int = 0
    tensors: int = 0


class Outline:
    """The groups of all names of a model, in model order. What belongs to no layer is in no group.

    >>> outline = Outline(["embed", "l.0.q", "l.0.experts.0.w", "l.0.experts.1.w", "l.1.q"])
    >>> outline.groups
    ['layer 0', 'experts', 'layer 1']
    >>> [outline.tail(name) for name in range(5)]
    ['embed', 'q', '0.w', '1.w', 'q']
    >>> [tuple(line) for line in outline.lines([0, 1, 2, 3, 4], opened=[0])]
    [(0, 0, 0, 0), (-1, 0, 1, 3), (1, 1, 0, 0), (-2, 1, 0, 2), (-3, 0, 0, 1)]
    """

    def __init__(self, names: Sequence[str]) -> None:
        numbers: dict[tuple[str, ...], int] = {}
        self.groups: list[str] = []
        #: The groups that each tensor is in, from the outermost.
        self.paths: list[tuple[int, ...]] = []
        self._tails: list[str] = []
        # Where there is one stack of layers, a number is enough; an encoder's layers are not a decoder's.
        stems = {keys[0].rpartition(".")[0] for keys, _ in map(_divided, names) if keys}
        for name in names:
            keys, tail = _divided(name)
            path: tuple[str, ...] = ()
            places = []
            for key in keys:
                path = (*path, key)
                if path not in numbers:
                    numbers[path] = len(self.groups)
                    short = len(path) == 1 and len(stems) == 1
                    self.groups.append(f"layer {key.rpartition('.')[2]}" if short else key)
                places.append(numbers[path])
            self.paths.append(tuple(places))
            self._tails.append(tail)

    def head(self, tensor: int) -> tuple[str, str]:
        """What a name is called outside of its groups: the layer, empty outside of layers, and the rest."""
        path = self.paths[tensor]
        between = [self.groups[group] for group in path[1:]]
        return self.groups[path[0]] if path else "", ".".join([*between, self._tails[tensor]])

    def tail(self, tensor: int) -> str:
        """The name of a tensor less those of its groups."""
        return self._tails[tensor]

    def lines(self, tensors: Sequence[int], opened: Collection[int]) -> list[Line]:
        """The lines of the outline of some tensors, in their order, with the groups that are open.

        A group has one line, where its first tensor stands; groups in a group that is folded have none.
        """
        inside: dict[int, list[int]] = {}
        for tensor in tensors:
            for group in self.paths[tensor]:
                inside.setdefault(group, []).append(tensor)
        opened = set(opened)

        def under(members: Sequence[int], depth: int) -> Iterator[Line]:
            shown = set()
            for tensor in members:
                path = self.paths[tensor]
                if len(path) <= depth:
                    yield Line(tensor, depth)
                elif path[depth] not in shown:
                    group = path[depth]
                    shown.add(group)
                    yield Line(-1 - group, depth, open=int(group in opened), tensors=len(inside[group]))
                    if group in opened:
                        yield from under(inside[group], depth + 1)

        return list(under(tensors, 0))


def _divided(name: str) -> tuple[tuple[str, ...], str]:
    """The groups that a name is in, and the rest: its layer, and what of it is numbered once more."""
    parts = name.split(".")
    numbered = [i for i, part in enumerate(parts[:-1]) if part.isascii() and part.isdigit()]
    if not numbered:
        return (), name
    layer = numbered[0]
    outer = ".".join(parts[: layer + 1])
    inner = next((i for i in numbered[1:] if i > layer + 1), None)
    if inner is None:
        return (outer,), ".".join(parts[layer + 1 :])
    return (outer, ".".join(parts[layer + 1 : inner])), ".".join(parts[inner:])
