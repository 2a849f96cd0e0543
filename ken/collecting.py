"""Where the tensors of a subnetwork go while a model is pruned: here into memory, in `ken.writing` into a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ken.entries import Entries
from ken.retained import CarriedTensor, RetainedTensor
from ken.taking import InMemory
from ken.tensors import Reference, fingerprint

if TYPE_CHECKING:
    import torch


class Collector:
    """`tensors` are those that have been finished, in order."""

    def __init__(self) -> None:
        self.tensors: dict[str, RetainedTensor | CarriedTensor] = {}

    def carried(self, name: str, value: Entries, reason: str, pretrained: Reference | None) -> str:
        """Take a copy of the next tensor. Returns its fingerprint."""
        whole = value.read(0, value.count).reshape(value.shape).clone()
        self.tensors[name] = CarriedTensor(whole, reason, pretrained)
        return fingerprint(whole)

    def pruned(
        self, name: str, shape: tuple[int, ...], dtype: torch.dtype, retained: int, raw: bool, cut: str
    ) -> TensorCollector:
        """What takes in the entries of the next tensor, a stretch at a time."""
        return TensorCollector(self, name, shape, dtype, retained, raw, cut)


class TensorCollector(InMemory):
    """A sink (see `ken.taking`) for one tensor."""

    def __init__(
        self,
        owner: Collector,
        name: str,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        retained: int,
        raw: bool,
        cut: str,
    ) -> None:
        super().__init__(math.prod(shape), dtype.itemsize, retained)
        self._owner, self._name = owner, name
        self._shape, self._dtype, self._raw, self._cut = shape, dtype, raw, cut

    def finish(self, pretrained: Reference, fine_tuned: str, result: str) -> None:
        """All has been taken in."""
        self._owner.tensors[self._name] = RetainedTensor(
            self._shape, self._dtype, self.bits, self.ulps, pretrained, fine_tuned, result, self._raw, self._cut
        )
