"""Which stretches of which tensors are in which part: balanced by the bytes that are read, from shapes alone.

A tensor stays in one part if it can: its fingerprints go over all of its bytes in order, and those of a tensor in
several parts are made when they are joined, which reads it once more. So only what is too large for a part is split,
at the ends of stretches; then the largest piece always goes to the part that has the least to read.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# The largest part may have so much more to read than the mean before smaller pieces are tried, and how small.
_UNEVEN = 1.1
_LIMITS = (1.0, 0.5, 0.25, 0.125)
# The number of parts that nobody has said: for so many bytes of both models one, within these bounds; for so many
# workers, where to read a byte once more, in the join, takes that share of what it takes to decide about it.
_SHARE, _FEWEST, _MOST = 256 << 20, 8, 4096
_WORKERS, _AGAIN, _HARDLY = 16, 0.4, 1.25


class Work(NamedTuple):
    """A tensor to be read, by its shape.

    Attributes:
        name: Its name.
        entries: Its fine-tuned entries; 0 if only the pretrained tensor is read.
        width: Bytes of one of them.
        base_entries: Pretrained entries that are read along with them, maybe fewer.
        base_width: Bytes of one of those.
        step: Entries of a stretch, at whose ends it may be split; 0 if it may not.
    """

    name: str
    entries: int
    width: int
    base_entries: int
    base_width: int
    step: int = 0

    def bytes_in(self, start: int, stop: int) -> int:
        """Bytes that a span takes to read, of both models."""
        base = min(stop, self.base_entries) - min(start, self.base_entries)
        return (stop - start) * self.width + base * self.base_width

    @property
    def end(self) -> int:
        """Where the last span of it ends."""
        return max(self.entries, self.base_entries)

    @property
    def bytes(self) -> int:
        """Bytes that all of it takes to read."""
        return self.entries * self.width + self.base_entries * self.base_width


class Piece(NamedTuple):
    """A span of entries of a tensor, which is given by its place among all."""

    place: int
    start: int
    stop: int


class Packing:
    """Pieces in parts, which are numbered from 1 on. A part is looked up when it is asked for.

    >>> packing = Packing([Work("a", 4096, 2, 4096, 2, step=1024), Work("b", 1024, 2, 1024, 2)], parts=3)
    >>> [packing.bytes_in(index) for index in (1, 2, 3)]
    [8192, 8192, 4096]
    >>> packing.pieces(1)
    [Piece(place=0, start=2048, stop=4096)]
    """

    def __init__(self, works: Sequence[Work], parts: int) -> None:
        self.works, self.parts = works, parts
        total = sum(work.bytes for work in works)
        mean = -(-total // parts)
        whole = max((work.bytes for work in works if not work.step), default=0)
        best: tuple[int, list[Piece], list[int]] | None = None
        for share in _LIMITS:
            pieces = [piece for place in range(len(works)) for piece in _split(works[place], place, int(mean * share))]
            owners, largest = self._packed(pieces)
            if best is None or largest < best[0]:  # of equally good ones, that with the fewest pieces
                best = largest, pieces, owners
            if largest <= max(_UNEVEN * mean, whole):
                break
        assert best is not None
        _, pieces, owners = best
        table = np.array([(owner, *piece) for owner, piece in zip(owners, pieces, strict=True)], np.int64)
        table = table.reshape(-1, 4)
        self._table: NDArray[np.int64] = table[np.lexsort(table.T[::-1])]
        self._starts = np.searchsorted(self._table[:, 0], np.arange(parts + 1))

    def _packed(self, pieces: Sequence[Piece]) -> tuple[list[int], int]:
        """The part of each piece, counted from 0, and the bytes of the largest part."""
        sizes = [self.works[piece.place].bytes_in(piece.start, piece.stop) for piece in pieces]
        loads = [(0, part) for part in range(self.parts)]  # in order, and so a heap
        owners = [0] * len(pieces)
        for at in sorted(range(len(pieces)), key=lambda at: (-sizes[at], pieces[at])):
            load, part = loads[0]
            owners[at] = part
            heapq.heapreplace(loads, (load + sizes[at], part))
        return owners, max(load for load, _ in loads)

    def __len__(self) -> int:
        return self.parts

    def pieces(self, index: int) -> list[Piece]:
        """The pieces of a part, in the order of the tensors."""
        lines = self._table[self._starts[index - 1] : self._starts[index]]
        return [Piece(*line[1:].tolist()) for line in lines]

    def bytes_in(self, index: int) -> int:
        """Bytes that a part reads, of both models."""
        return sum(self.works[piece.place].bytes_in(piece.start, piece.stop) for piece in self.pieces(index))

    def split(self) -> Iterator[Work]:
        """The tensors that are in several pieces."""
        places, counts = np.unique(self._table[:, 1], return_counts=True)
        for place in places[counts > 1].tolist():
            yield self.works[place]


def usual_parts(works: Sequence[Work]) -> int:
    """How many parts there are if nobody says: of one model always the same, whoever is to make them.

    One for so many bytes, or a half, a quarter … of that number: the largest with which some workers and then the join,
    which reads again what is split, take hardly longer than with any other.

    >>> usual_parts([Work(str(number), 1 << 25, 2, 1 << 25, 2, step=1024) for number in range(64)])
    32
    >>> usual_parts([Work("few", 4096, 2, 4096, 2, step=1024)])
    8
    """
    most = min(max(_FEWEST, -(-sum(work.bytes for work in works) // _SHARE)), _MOST)
    numbers = [most]
    while numbers[-1] // 2 >= _FEWEST:
        numbers.append(numbers[-1] // 2)
    durations = {parts: _duration(Packing(works, parts)) for parts in numbers}
    return max(parts for parts in numbers if durations[parts] <= _HARDLY * min(durations.values()))


def _duration(packing: Packing) -> float:
    """What some workers, and then the join, take, in bytes that a worker reads meanwhile."""
    largest = max(packing.bytes_in(index) for index in range(1, len(packing) + 1))
    again = sum(work.bytes for work in packing.split())
    return largest * -(-len(packing) // _WORKERS) + _AGAIN * again


def _split(work: Work, place: int, limit: int) -> Iterator[Piece]:
    """A tensor in as few pieces of whole stretches as are not larger than they may be."""
    stretches = -(-work.end // work.step) if work.step else 1
    count = min(stretches, -(-work.bytes // max(limit, 1)))
    if count <= 1:
        yield Piece(place, 0, work.end)
        return
    ends = [min(stretches * number // count * work.step, work.end) for number in range(count + 1)]
    for start, stop in pairwise(ends):
        yield Piece(place, start, stop)
