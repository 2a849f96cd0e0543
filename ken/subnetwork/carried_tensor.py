"""What is stored of a tensor that is not pruned: the tensor whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.models.tensors.tensor_bytes import Reference, bytes_of
from ken.models.tensors.tensor_reader import Entries

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class CarriedTensor:
    """A tensor that goes into the subnetwork whole: a new head, an integer buffer, an excluded name.

    Args:
        value: The fine-tuned tensor, of any shape and dtype.
        reason: Why it is not pruned, in words.
        pretrained: Its pretrained counterpart; None if it has none.

    Example:
        >>> import torch
        >>> tensor = CarriedTensor(torch.zeros(2, 3), "excluded")
        >>> tensor.shape, tensor.entries, tensor.retained, tensor.dtype
        ((2, 3), 6, 6, torch.float32)
        >>> [stretch.size for stretch in tensor.stretches()], tensor.decoded() is tensor
        ([24], True)
    """

    value: torch.Tensor
    reason: str
    pretrained: Reference | None = None

    def __eq__(self, other: object) -> bool:
        """Whether it is the same tensor, bit for bit, carried for the same reason."""
        if not isinstance(other, CarriedTensor):
            return NotImplemented
        return self._about == other._about and bytes_of(self.value) == bytes_of(other.value)

    def __hash__(self) -> int:
        return hash(self._about)

    @property
    def _about(self) -> tuple[Any, ...]:
        return self.shape, self.dtype, self.reason, self.pretrained

    def decoded(self) -> CarriedTensor:
        """The same tensor in memory, without any file.

        Returns:
            The tensor itself if it is in memory already.
        """
        return self

    def stretches(self) -> Iterator[NDArray[Any]]:
        """The tensor's bytes, a stretch at a time; with the last of them, all has been checked.

        Yields:
            Flat uint8 arrays.
        """
        for part in Entries.from_tensor(self.value).stretches():
            yield np.frombuffer(bytes_of(part), np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the fine-tuned tensor."""
        return tuple(self.value.shape)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the fine-tuned tensor."""
        return self.value.dtype

    @property
    def entries(self) -> int:
        """Entries of the tensor; all are retained."""
        return math.prod(self.shape)

    @property
    def retained(self) -> int:
        """The same as `entries`."""
        return self.entries
