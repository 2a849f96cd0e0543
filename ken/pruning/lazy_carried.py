"""A carried tensor of a subnetwork that is decided as it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ken.models.tensors.tensor_bytes import Reference
from ken.models.tensors.tensor_reader import Entries
from ken.subnetwork.carried_tensor import CarriedTensor

if TYPE_CHECKING:
    import torch

    from ken.models.pairing.pairing import Pairing


class LazyCarried(CarriedTensor):
    """A `ken.CarriedTensor` whose value is read, and copied, whenever it is asked for."""

    def __init__(self, pairing: Pairing, name: str, reason: str) -> None:
        self._pairing, self._name, self.reason = pairing, name, reason
        self._entries: Entries = pairing.fine_tuned.entries(name)

    @property
    def value(self) -> torch.Tensor:  # type: ignore[override]
        """The tensor."""
        entries = self._entries
        return entries.read(0, entries.count).reshape(entries.shape).clone()

    @property
    def pretrained(self) -> Reference | None:  # type: ignore[override]
        """Its pretrained counterpart, which is read for its fingerprint."""
        other = self._pairing.names[self._name]
        return None if other is None else self._pairing.pretrained.entries(other).reference(other)

    def decoded(self) -> CarriedTensor:
        """The same in memory.

        Returns:
            An ordinary tensor.
        """
        return CarriedTensor(self.value, self.reason, self.pretrained)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the fine-tuned tensor."""
        return self._entries.shape

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the fine-tuned tensor."""
        return self._entries.dtype
