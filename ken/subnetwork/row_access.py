"""What is stored of some rows of a tensor, without the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ken.models.pairing.rows import row_shape
from ken.models.tensors.tensor_bytes import Reference

if TYPE_CHECKING:
    import torch

    from ken.models.pairing.pairing import Pairing


class RowAccess:
    """The part of `ken.RetainedTensor`, which has the attributes, that gives its mask and its rows.

    Example:
        >>> from ken import RetainedTensor
        >>> issubclass(RetainedTensor, RowAccess)
        True
    """

    shape: tuple[int, ...]
    bits: NDArray[np.uint8]
    ulps: NDArray[np.unsignedinteger]
    pretrained: Reference
    cut: str

    @property
    def entries(self) -> int:
        """Entries of the whole tensor, retained or reset."""
        return math.prod(self.shape)

    def mask(self) -> NDArray[np.bool_]:
        """Unpack the mask.

        Returns:
            Bool, in the tensor's shape: True where retained.
        """
        return np.unpackbits(self.bits, count=self.entries).view(np.bool_).reshape(self.shape)

    @property
    def row_shape(self) -> tuple[int, int]:
        """(rows, row length)."""
        return row_shape(self.shape, self.cut)

    def row_mask(self, wanted: slice | None = None) -> NDArray[np.bool_]:
        """Unpack the mask of some rows, cut as the tensor was; no other bits are unpacked.

        Args:
            wanted: A slice of rows; by default all of them.

        Returns:
            Bool, (rows, row length).

        Example:
            >>> import torch
            >>> from ken import RetainedTensor
            >>> RetainedTensor.of(torch.ones(2, 2), np.eye(2, dtype=bool), torch.zeros(2, 2)).row_mask(slice(1, 2))
            array([[False,  True]])
        """
        rows, n = self.row_shape
        chosen = range(rows)[wanted or slice(None)]
        first, last = (min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1) if chosen else (0, 0)
        start, stop = first * n, last * n
        bits = np.unpackbits(self.bits[start // 8 : -(-stop // 8)])[start % 8 : start % 8 + stop - start]
        return bits.view(np.bool_).reshape(last - first, n)[:: chosen.step]

    def retained_rows(self, wanted: slice) -> tuple[NDArray[np.bool_], NDArray[np.unsignedinteger]]:
        """What is stored of some rows.

        Args:
            wanted: A slice of rows, without step.

        Returns:
            Their mask, (rows, row length) bool; and what `ulps` has of them, an element for each True.

        Example:
            >>> import torch
            >>> from ken import RetainedTensor
            >>> tensor = RetainedTensor.of(torch.ones(2, 2), np.eye(2, dtype=bool), torch.zeros(2, 2), raw=True)
            >>> mask, ulps = tensor.retained_rows(slice(1, 2))
            >>> mask.tolist(), ulps.view(np.float32).tolist()
            ([[False, True]], [1.0])
        """
        mask = self.row_mask(wanted)
        start = wanted.indices(self.row_shape[0])[0] * mask.shape[1]
        whole, rest = divmod(start, 8)
        before = int(np.bitwise_count(self.bits[:whole]).sum())
        before += int(np.unpackbits(self.bits[whole : whole + 1])[:rest].sum())
        return mask, self.ulps[before : before + int(mask.sum())]

    @property
    def pretrained_dtype(self) -> torch.dtype:
        """The dtype of the pretrained tensor."""
        return self.pretrained.dtype

    def decided_from(self, pairing: Pairing) -> bool:
        """Whether this is decided from that very pair, as it is looked at, so that they cannot but belong together.

        Args:
            pairing: Two models that have been opened.

        Returns:
            False: this was decided before.
        """
        return False
