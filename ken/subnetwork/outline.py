"""What is known of a stored tensor without decoding it."""

from __future__ import annotations

import math
from typing import NamedTuple

from ken.models.tensors.tensor_bytes import dtype_name
from ken.rules.thresholds import Threshold
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.retained_tensor import RetainedTensor


class Outline(NamedTuple):
    """What is known of a stored tensor without its values.

    reason says why it is carried, None if it is pruned. unchanged: it is pruned, but fine-tuning did not change it.
    cut: how it was cut into rows. threshold: what decided about each entry where rows shared a budget.
    """

    shape: tuple[int, ...]
    dtype: str
    retained: int
    reason: str | None
    unchanged: bool = False
    cut: str = ""
    threshold: Threshold | None = None

    @property
    def entries(self) -> int:
        """Entries of the whole tensor."""
        return math.prod(self.shape)

    @property
    def status(self) -> str:
        """What was done with the tensor: "pruned", "carried", or "unchanged" if pruning it changed nothing."""
        return "unchanged" if self.unchanged else "pruned" if self.reason is None else "carried"

    @classmethod
    def from_tensor(cls, tensor: RetainedTensor | CarriedTensor) -> Outline:
        """The outline of a tensor in memory."""
        whole = cls(tensor.shape, dtype_name(tensor.dtype), retained=tensor.retained, reason=None)
        if isinstance(tensor, CarriedTensor):
            return whole._replace(reason=tensor.reason)
        return whole._replace(unchanged=tensor.unchanged, cut=tensor.cut, threshold=tensor.threshold)
