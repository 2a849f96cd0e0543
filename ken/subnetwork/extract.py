"""Taking the retained entries out of a fine-tuned tensor, a stretch at a time; the rest of it is only fingerprinted.

fine-tuned ─┐                       ┌─► bits, distances ──► sink (memory or a file)
            ├─► stretches ──► mask ─┤
pretrained ─┘                       └─► fingerprints: of both, and of what injection will give
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ken.errors import SubnetworkError, ValuesError
from ken.models.tensors.tensor_bytes import bits_of, bytes_of, dtype_name, new_digest
from ken.models.tensors.tensor_reader import Entries
from ken.rules.thresholds import Threshold
from ken.subnetwork import ulp_distances
from ken.subnetwork.threads import in_order

if TYPE_CHECKING:
    import torch

# Entries of a stretch: few enough for a processor's cache, enough to keep it busy.
_STRETCH = 1 << 17


class Sink(Protocol):
    """Where the retained entries of one tensor go, in order."""

    def add(self, bits: NDArray[np.uint8], distances: NDArray[Any]) -> None:
        """The mask of some more entries, packed; and the distances of those that are retained."""


class Subject(NamedTuple):
    """What is known of a fine-tuned tensor before its entries are taken: the head of what will be stored of it."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    retained: int
    raw: bool
    cut: str
    threshold: Threshold | None = None


class InMemory:
    """A sink that keeps all: `bits` and `ulps`."""

    def __init__(self, entries: int, width: int, retained: int) -> None:
        self.bits = np.empty(-(-entries // 8), np.uint8)
        self.ulps = np.empty(retained, f"u{width}")
        self._bits = self._ulps = 0

    def add(self, bits: NDArray[np.uint8], distances: NDArray[Any]) -> None:
        """See `Sink`."""
        self.bits[self._bits : self._bits + bits.size] = bits
        self.ulps[self._ulps : self._ulps + distances.size] = distances
        self._bits += bits.size
        self._ulps += distances.size


class Fingerprints(NamedTuple):
    """Of the pretrained tensor, of the fine-tuned one, and of the one that injection will give."""

    pretrained: str
    fine_tuned: str
    result: str


#: From the place of a stretch among all entries, and its fine-tuned and pretrained entries (flat, each in its own
#: dtype, fewer of the pretrained where there are no more), to its mask: bool, flat, one for each fine-tuned entry.
Decide = Callable[[int, "torch.Tensor", "torch.Tensor"], NDArray[np.bool_]]


#: From the place of a stretch, its fine-tuned and pretrained entries as for `Decide`, and its mask, to what is stored
#: of retained entries in place of the fine-tuned ones: a flat tensor of the fine-tuned length and dtype.
Rescale = Callable[[int, "torch.Tensor", "torch.Tensor", NDArray[np.bool_]], "torch.Tensor"]


class _Stretch(NamedTuple):
    """What is retained of some entries, and the bytes that go into the three fingerprints."""

    bits: NDArray[np.uint8]
    distances: NDArray[Any]
    hashed: tuple[memoryview, memoryview, memoryview]
    entries: int


def take(
    fine_tuned: Entries,
    pretrained: Entries,
    rows: tuple[int, int],
    decide: Decide,
    sink: Sink,
    *,
    raw: bool = False,
    rescale: Rescale | None = None,
    within: tuple[int, int] | None = None,
    done: Callable[[int], object] = lambda _: None,
) -> Fingerprints:
    """Decide on all rows, each whole, and bring what is retained into the sink.

    rows is (rows, row length). Several threads work on the stretches, which arrive in order; done is called with the
    number of entries that have arrived. within confines all of it, the fingerprints included, to a span that is made
    of whole stretches (`whole_rows`). Raises what decide and rescale raise, and `ValuesError` for a pretrained value
    that the fine-tuned dtype cannot hold.

    >>> import torch
    >>> a, b, sink = torch.tensor([1.0, 2.0]), torch.zeros(2), InMemory(2, 4, 1)
    >>> decide = lambda *_: np.array([False, True])
    >>> _ = take(Entries.from_tensor(a), Entries.from_tensor(b), rows=(1, 2), decide=decide, sink=sink, raw=True)
    >>> sink.bits, sink.ulps.view(np.float32)
    (array([64], dtype=uint8), array([2.], dtype=float32))
    """

    def work(span: tuple[int, int]) -> _Stretch:
        start, stop = span
        tuned = fine_tuned.read(start, stop)
        original = pretrained.read(*(min(at, pretrained.count) for at in span))
        mask = decide(start, tuned, original)
        if not mask[len(original) :].all():
            rows = pretrained.shape[0]
            raise SubnetworkError(f"rows from {rows} on are reset, but the pretrained tensor ends there")
        base = base_bits(original, fine_tuned.dtype, len(tuned))
        if pretrained.dtype != fine_tuned.dtype:
            _check_cast(original, fine_tuned.dtype, start=start, shape=pretrained.shape)
        bits = np.packbits(mask)
        kept = tuned if rescale is None else rescale(start, tuned, original, mask)
        hashed = bytes_of(original), bytes_of(tuned), _merged(mask, bits_of(kept), base).data
        return _Stretch(bits, distances(kept, base, bits, raw=raw), hashed, entries=len(tuned))

    hashes = [new_digest() for _ in range(3)]
    spans = list(whole_rows(*rows, within=within))
    for part in map(work, spans) if len(spans) == 1 else in_order(work, spans):
        sink.add(part.bits, part.distances)
        for running, data in zip(hashes, part.hashed, strict=True):
            running.update(data)
        done(part.entries)
    return Fingerprints(*(running.hexdigest() for running in hashes))


def _merged(mask: NDArray[np.bool_], kept: NDArray[Any], base: NDArray[Any]) -> NDArray[Any]:
    """`np.where(mask, kept, base)` of unsigned integers, which asks about every entry and is eight times as slow."""
    return base ^ ((base ^ kept) * mask)


def distances(kept: torch.Tensor, base: NDArray[Any], bits: NDArray[np.uint8], *, raw: bool) -> NDArray[Any]:
    """What is stored of the retained ones of flat entries: their distances from those bits, or from 0.0 if raw."""
    origin, count = np.zeros_like(base) if raw else base, ulp_distances.marked_in(bits)
    return ulp_distances.take(bits_of(kept), origin, bits, retained=count)


def base_bits(pretrained: torch.Tensor, dtype: torch.dtype, count: int) -> NDArray[Any]:
    """The bits of flat pretrained entries in the fine-tuned dtype, 0 for those that are missing; never a view."""
    import torch

    base = torch.zeros(count, dtype=dtype)
    base[: len(pretrained)].copy_(pretrained)
    return bits_of(base)


def stretch_of(n: int) -> int:
    """Entries of a stretch of rows of n: whole rows, as many as make whole bytes of the mask.

    >>> stretch_of(2**17), stretch_of(3 * 2**16)
    (131072, 196608)
    """
    even = 8 // math.gcd(n, 8)
    return -(-max(1, _STRETCH // max(n, 1)) // even) * even * n


def whole_rows(rows: int, n: int, within: tuple[int, int] | None = None) -> Iterator[tuple[int, int]]:
    """The stretches of a tensor of so many rows of n, (start, stop): whole rows, cut where a byte of the mask begins.

    within is a span that is made of some of them.

    >>> list(whole_rows(3, 2**17)), list(whole_rows(3, 2**17, within=(131072, 262144)))
    ([(0, 131072), (131072, 262144), (262144, 393216)], [(131072, 262144)])
    """
    step, end = stretch_of(n), rows * n
    for start in range(*(within or (0, end)), max(step, 1)):
        yield start, min(start + step, end)


def _check_cast(pretrained: torch.Tensor, dtype: torch.dtype, start: int, shape: tuple[int, ...]) -> None:
    """Raise `ValuesError` if a finite value has no counterpart in the fine-tuned dtype: a reset entry would be lost."""
    import torch

    lost = torch.isfinite(pretrained.to(torch.float64)) & ~torch.isfinite(pretrained.to(dtype).to(torch.float64))
    if lost.any():
        first = int(lost.nonzero()[0])
        where = [int(i) for i in np.unravel_index(start + first, shape)]
        raise ValuesError(
            f"the pretrained value {float(pretrained[first]):g} at {where} does not fit into {dtype_name(dtype)}"
        )
