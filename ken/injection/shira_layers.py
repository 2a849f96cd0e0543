"""One linear layer as a SHiRA adapter has it: places and differences that PEFT adds up to the bits of the tuned one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ken.models.tensors.tensor_bytes import bits_of

if TYPE_CHECKING:
    import torch

# Bytes of a place: two indices of an int32 each.
_PLACE = 8


@dataclass(frozen=True, slots=True)
class SparseLayer:
    """What fine-tuning changed of a linear layer, as differences.

    Attributes:
        shape: Rows and columns of its weight.
        width: Bytes of an entry of the weight.
        places: The changed entries, counted in C order, (changed,).
        differences: What is added to them, (changed,), of the dtype that PEFT keeps them in.
        free: Other entries to which 0.0 may be added without a change, as many as a layer can need.
    """

    shape: tuple[int, int]
    width: int
    places: NDArray[np.intp]
    differences: torch.Tensor
    free: NDArray[np.intp]

    @property
    def need(self) -> int:
        """The least r that has room for the changed entries: SHiRA has r (rows + columns) values a layer."""
        return max(1, -(-len(self.places) // sum(self.shape)))

    def size(self, r: int) -> int:
        """Bytes that the layer takes at that r; those of its whole weight if it does not fit, or is no shorter."""
        rows, columns = self.shape
        whole = rows * columns * self.width
        count = r * (rows + columns)
        if not len(self.places) <= count <= len(self.places) + len(self.free):
            return whole
        return min(whole, count * (_PLACE + self.differences.element_size()))

    def tensors(self, r: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices (2, count) int32 and values (count,) for that r, filled up with entries that stay as they are."""
        import torch

        more = r * sum(self.shape) - len(self.places)
        places = np.concatenate([self.places, self.free[:more]])
        values = torch.cat([self.differences, torch.zeros(more, dtype=self.differences.dtype)])
        indices = np.stack(np.divmod(places, self.shape[1])).astype(np.int32)
        return torch.from_numpy(indices), values


def sparse_layer(tuned: torch.Tensor, base: torch.Tensor) -> SparseLayer | None:
    """The layer as differences; None if floating-point addition cannot reach every entry, or if most have changed.

    Args:
        tuned: The weight to be reached, (rows, columns).
        base: The weight that it is added to, of the same shape and dtype.

    Example:
        >>> import torch
        >>> layer = sparse_layer(torch.tensor([[1.5, 2.0]]), torch.tensor([[1.0, 2.0]]))
        >>> layer.places.tolist(), layer.differences.tolist()
        ([0], [0.5])
        >>> sparse_layer(torch.tensor([[1e-20, 2.0]]), torch.tensor([[1.0, 2.0]])) is None
        True
    """
    import torch

    rows, columns = tuned.shape
    wanted, before = bits_of(tuned), bits_of(base)
    places = np.flatnonzero(wanted != before)
    if len(places) * 2 > wanted.size:
        return None
    # PEFT keeps what it adds in float32, whatever narrower dtype the base has.
    kept = torch.float64 if tuned.dtype == torch.float64 else torch.float32
    targets, bases = (side.detach().reshape(-1)[torch.from_numpy(places)].double() for side in (tuned, base))
    differences = (targets - bases).to(kept)
    for step in (0, 1, -1, 2, -2):
        missed = np.flatnonzero(_added(base, places, differences) != wanted[places])
        if not len(missed):
            free = np.flatnonzero((wanted == before) & ~np.signbit(base.detach().double().numpy().reshape(-1)))
            return SparseLayer((rows, columns), tuned.element_size(), places, differences=differences, free=free)
        nudged = torch.from_numpy(missed)
        exact = targets[nudged] - bases[nudged]
        ulp = torch.finfo(tuned.dtype).eps * exact.abs()
        differences[nudged] = (exact.to(tuned.dtype).double() + step * ulp).to(kept)
    return None


def _added(base: torch.Tensor, places: NDArray[np.intp], differences: torch.Tensor) -> NDArray[np.unsignedinteger]:
    """The bits of the changed entries as torch adds them up for PEFT."""
    import torch

    rows, columns = base.shape
    sum_of = base.detach().clone()
    indices = torch.from_numpy(np.stack(np.divmod(places, columns)).astype(np.int32))
    with torch.sparse.check_sparse_tensor_invariants():
        sum_of += torch.sparse_coo_tensor(indices, differences, (rows, columns))
    return bits_of(sum_of)[places]


def best_r(layers: Sequence[SparseLayer]) -> int:
    """The r, one for all layers, at which they take the fewest bytes, each sparse or whole; 0 if none is sparse then.

    >>> best_r([])
    0
    """
    tries = sorted({layer.need for layer in layers})
    best = min(tries, key=lambda r: sum(layer.size(r) for layer in layers), default=0)
    return best if any(is_sparse(layer, best) for layer in layers) else 0


def is_sparse(layer: SparseLayer, r: int) -> bool:
    """Whether a layer is shorter as places and values at that r than whole, and fits."""
    return r > 0 and layer.size(r) < layer.shape[0] * layer.shape[1] * layer.width
