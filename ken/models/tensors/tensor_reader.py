"""The entries of one tensor in C order, read a stretch at a time, wherever they lie: in memory, on a GPU, on a disk."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ken.models.tensors.tensor_bytes import Reference, bytes_of, new_digest

if TYPE_CHECKING:
    import torch

Part = TypeVar("Part")

#: Entries that are read at a time where nothing else says how many: a multiple of 8, so that masks are cut at bytes.
STRETCH = 1 << 20


@dataclass(frozen=True, slots=True)
class Entries:
    """A tensor that need not be in memory: its shape and dtype, and a way to read some of its entries.

    read(start, stop) gives a new or borrowed flat tensor on the CPU, contiguous, of the entries from start on and
    before stop, counted in C order.

    >>> import torch
    >>> entries = Entries.from_tensor(torch.arange(6.0).reshape(2, 3).T)
    >>> entries.shape, entries.read(1, 4)
    ((3, 2), tensor([3., 1., 4.]))
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[int, int], torch.Tensor]

    @classmethod
    def from_tensor(cls, tensor: torch.Tensor) -> Entries:
        """Those of a tensor. Only what is read of it is brought to the CPU."""
        flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return cls(tuple(tensor.shape), tensor.dtype, lambda start, stop: flat[start:stop].cpu())

    @property
    def count(self) -> int:
        """How many there are."""
        return math.prod(self.shape)

    def stretches(self, length: int = STRETCH) -> Iterator[torch.Tensor]:
        """All of them, so many at a time."""
        for start in range(0, self.count, length):
            yield self.read(start, min(start + length, self.count))

    def fingerprint(self) -> str:
        """The same as `ken.models.tensors.tensor_bytes.fingerprint` of the whole tensor."""
        running = new_digest()
        for part in self.stretches():
            running.update(bytes_of(part))
        return running.hexdigest()

    def reference(self, name: str) -> Reference:
        """The same as `Reference.to` of the whole tensor."""
        return Reference(name, self.shape, self.dtype, fingerprint=self.fingerprint())


class Store(ABC):
    """What gives tensors by name, and reads their entries when they are asked for: a file, or a base with adapters."""

    @abstractmethod
    def tensor(self, name: str) -> torch.Tensor:
        """A tensor of its shape and dtype."""

    @abstractmethod
    def entries(self, name: str) -> Entries:
        """Its entries, to be read a stretch at a time."""

    def whole(self, name: str) -> torch.Tensor:
        """A tensor with its values, all of them in memory (or, of a file on the disk, mapped into it)."""
        tensor = self.tensor(name)
        if not tensor.is_meta:
            return tensor
        entries = self.entries(name)
        return entries.read(0, entries.count).reshape(entries.shape)


def in_turn(get: Callable[[int, int], Part]) -> Callable[[int], Part]:
    """From a function of (start, stop) to one of how many more."""
    at = 0

    def take(count: int) -> Part:
        nonlocal at
        at += count
        return get(at - count, at)

    return take
