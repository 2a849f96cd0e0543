"""Where the tensors of a subnetwork go while a model is pruned: here into memory, by `ken.storage.writer` to disk."""

from __future__ import annotations

import math
from typing import Protocol

from ken.models.tensors.tensor_bytes import Reference, fingerprint
from ken.models.tensors.tensor_reader import Entries
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.extract import InMemory, Sink, Subject
from ken.subnetwork.retained_tensor import RetainedTensor


class TensorSink(Sink, Protocol):
    """Takes in one pruned tensor."""

    def finish(self, pretrained: Reference, fine_tuned: str, result: str) -> None:
        """All has been taken in: the counterpart, and the fingerprints of the fine-tuned and the injected tensor."""


class Sinks(Protocol):
    """Takes in the tensors of a subnetwork, one after the other."""

    def carried(self, name: str, value: Entries, reason: str, pretrained: Reference | None) -> str:
        """Take in a whole tensor. Returns its fingerprint."""

    def pruned(self, subject: Subject) -> TensorSink:
        """What takes in the entries of a tensor, a stretch at a time."""


class Collector:
    """Keeps a subnetwork in memory; `tensors` are those that have been finished, in order."""

    def __init__(self) -> None:
        self.tensors: dict[str, RetainedTensor | CarriedTensor] = {}

    def carried(self, name: str, value: Entries, reason: str, pretrained: Reference | None) -> str:
        """Take a copy of the next tensor. Returns its fingerprint."""
        whole = value.read(0, value.count).reshape(value.shape).clone()
        self.tensors[name] = CarriedTensor(whole, reason, pretrained)
        return fingerprint(whole)

    def pruned(self, subject: Subject) -> TensorCollector:
        """What takes in the entries of the next tensor, a stretch at a time."""
        return TensorCollector(self, subject)


class TensorCollector(InMemory):
    """A sink (see `ken.subnetwork.extract`) for one tensor."""

    def __init__(self, owner: Collector, subject: Subject) -> None:
        super().__init__(math.prod(subject.shape), subject.dtype.itemsize, subject.retained)
        self._owner, self._subject = owner, subject

    def finish(self, pretrained: Reference, fine_tuned: str, result: str) -> None:
        """All has been taken in."""
        subject = self._subject
        self._owner.tensors[subject.name] = RetainedTensor(
            shape=subject.shape,
            dtype=subject.dtype,
            bits=self.bits,
            ulps=self.ulps,
            pretrained=pretrained,
            fine_tuned=fine_tuned,
            result=result,
            raw=subject.raw,
            cut=subject.cut,
            threshold=subject.threshold,
        )
