"""The subnetwork: all retained entries and carried tensors of a model, and where they came from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import SubnetworkError
from ken.rows import row_shape

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from ken.checkpoint import Architecture


@dataclass(frozen=True, slots=True, eq=False)
class RetainedTensor:
    """The entries of one tensor that stay fine-tuned.

    shape is that of the fine-tuned tensor. bits is the mask, packed in C order, eight entries a byte, the first in
    the highest bit (uint8, as `numpy.packbits` writes it; spare bits are 0). values are the retained entries in C
    order, in the fine-tuned dtype, on the CPU.

    >>> import torch
    >>> tensor = RetainedTensor.of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [False, True]]))
    >>> tensor.onto(torch.zeros(2, 2)).tolist()
    [[1.0, 0.0], [0.0, 4.0]]
    """

    shape: tuple[int, ...]
    bits: NDArray[np.uint8]
    values: torch.Tensor

    def __post_init__(self) -> None:
        if self.bits.dtype != np.uint8 or self.bits.shape != (-(-self.entries // 8),):
            raise SubnetworkError(
                f"the mask of {self.entries} entries must be uint8 of ({-(-self.entries // 8)},), "
                f"got {self.bits.dtype} of {self.bits.shape}"
            )
        spare = -self.entries % 8
        if spare and self.bits[-1] & ((1 << spare) - 1):
            raise SubnetworkError(f"the {spare} spare bits behind the mask must be 0")
        marked = int(np.bitwise_count(self.bits).sum())
        if self.values.ndim != 1 or marked != self.values.numel():
            raise SubnetworkError(
                f"the mask retains {marked} entries, but values of shape {tuple(self.values.shape)} were given"
            )

    @classmethod
    def of(cls, fine_tuned: torch.Tensor, mask: NDArray[np.bool_]) -> RetainedTensor:
        """Take the masked entries out of a fine-tuned tensor; mask is bool, of its shape or of its rows."""
        import torch

        flat = fine_tuned.detach().reshape(-1)
        marks = np.ascontiguousarray(mask).reshape(-1)
        if marks.size != flat.numel():
            raise SubnetworkError(f"the mask has {marks.size} entries, the tensor {flat.numel()}")
        values = flat[torch.from_numpy(marks).to(flat.device)].cpu()
        return cls(tuple(fine_tuned.shape), np.packbits(marks), values)

    @property
    def entries(self) -> int:
        """Entries of the whole tensor, retained or reset."""
        return math.prod(self.shape)

    @property
    def retained(self) -> int:
        """Entries that stay fine-tuned."""
        return self.values.numel()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the fine-tuned tensor."""
        return self.values.dtype

    def mask(self) -> NDArray[np.bool_]:
        """The mask, bool, in the tensor's shape: True where retained."""
        return np.unpackbits(self.bits, count=self.entries).view(np.bool_).reshape(self.shape)

    def row_mask(self, wanted: slice | None = None) -> NDArray[np.bool_]:
        """The mask as (rows, row length), cut as `ken.rows.row_shape` says; only some rows if a slice is given.

        Nothing but the bits of the wanted rows is unpacked. The slice has no step.
        """
        rows, n = row_shape(self.shape)
        first, last, _ = (wanted or slice(None)).indices(rows)
        start, stop = first * n, max(first, last) * n
        bits = np.unpackbits(self.bits[start // 8 : -(-stop // 8)])[start % 8 : start % 8 + stop - start]
        return bits.view(np.bool_).reshape(max(0, last - first), n)

    def onto(self, pretrained: torch.Tensor) -> torch.Tensor:
        """A new tensor: retained entries from here, all others from the pretrained tensor, bit for bit.

        It has the fine-tuned shape and dtype and the pretrained tensor's device. A pretrained value of another
        dtype is cast. Where the fine-tuned tensor has extra leading rows, those are retained whole.
        """
        import torch

        theirs = tuple(pretrained.shape)
        grown = len(theirs) == len(self.shape) > 0 and theirs[1:] == self.shape[1:] and theirs[0] < self.shape[0]
        if theirs != self.shape and not grown:
            raise SubnetworkError(f"the subnetwork has shape {self.shape}, the pretrained tensor {theirs}")
        mask = self.mask()
        if grown and not mask[theirs[0] :].all():
            raise SubnetworkError(f"rows from {theirs[0]} on are reset, but the pretrained tensor ends there")
        merged = torch.empty(self.shape, dtype=self.dtype, device=pretrained.device)
        (merged[: theirs[0]] if grown else merged).copy_(pretrained.detach())
        flat = merged.view(-1)
        flat[torch.from_numpy(mask.reshape(-1)).to(flat.device)] = self.values.to(flat.device)
        return merged


@dataclass(frozen=True, slots=True, eq=False)
class CarriedTensor:
    """A tensor that goes into the subnetwork whole, and why: a new head, an integer buffer, an excluded name."""

    value: torch.Tensor
    reason: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the fine-tuned tensor."""
        return tuple(self.value.shape)

    @property
    def entries(self) -> int:
        """Entries of the tensor; all are retained."""
        return self.value.numel()

    @property
    def retained(self) -> int:
        """The same as `entries`."""
        return self.value.numel()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the fine-tuned tensor."""
        return self.value.dtype


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a subnetwork was made: rule, k, seed, patterns, and the versions of what computed it."""

    rule: str
    k: Any
    seed: int = 0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Subnetwork(Mapping[str, "RetainedTensor | CarriedTensor"]):
    """A mapping from tensor name (of the fine-tuned model) to what is stored of that tensor.

    tied maps aliases to the names they are stored under. only_pretrained are tensors of the pretrained model
    without a fine-tuned counterpart, with their shapes: nothing is stored of them.
    """

    tensors: Mapping[str, RetainedTensor | CarriedTensor]
    recipe: Recipe
    tied: Mapping[str, str] = field(default_factory=dict)
    only_pretrained: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    architecture: Architecture | None = None
    prefix: str = ""

    def __getitem__(self, name: str) -> RetainedTensor | CarriedTensor:
        """What is stored of a tensor; an alias of a tied tensor finds the tensor itself."""
        return self.tensors[self.tied.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def pruned(self) -> dict[str, RetainedTensor]:
        """The pruned tensors alone, in model order."""
        return {name: tensor for name, tensor in self.items() if isinstance(tensor, RetainedTensor)}

    @property
    def entries(self) -> int:
        """Entries of the fine-tuned model, tied tensors counted once."""
        return sum(tensor.entries for tensor in self.values())

    @property
    def retained(self) -> int:
        """Entries that stay fine-tuned: the retained ones of pruned tensors and all of carried ones."""
        return sum(tensor.retained for tensor in self.values())

    @property
    def share(self) -> float:
        """retained / entries; NaN for a model without entries."""
        return self.retained / self.entries if self.entries else math.nan

    def table(self) -> pd.DataFrame:
        """One row for every tensor of either model.

        Columns: tensor (index), status (pruned, carried, tied, only in pretrained), reason, shape, dtype, rows,
        row_length, entries, retained, share. Entries of a tied alias, and of a tensor that only the pretrained
        model has, count as 0, so that the column adds up to the fine-tuned model; their share is NaN.
        """
        import pandas as pd

        lines: list[tuple[object, ...]] = []
        for name, tensor in self.items():
            pruned = isinstance(tensor, RetainedTensor)
            reason = "" if isinstance(tensor, RetainedTensor) else tensor.reason
            count = (tensor.entries, tensor.retained)
            lines.append((name, "pruned" if pruned else "carried", reason, tensor.shape, tensor.dtype, *count))
        for alias, name in self.tied.items():
            lines.append((alias, "tied", f"the same tensor as {name}", self[name].shape, self[name].dtype, 0, 0))
        for name, shape in self.only_pretrained.items():
            lines.append((name, "only in pretrained", "no fine-tuned counterpart", shape, "", 0, 0))
        columns = ["tensor", "status", "reason", "shape", "dtype", "entries", "retained"]
        table = pd.DataFrame(lines, columns=columns).set_index("tensor")
        cut = [row_shape(shape) for shape in table["shape"]]
        table["dtype"] = [str(dtype).removeprefix("torch.") for dtype in table["dtype"]]
        table.insert(4, "rows", [rows for rows, _ in cut])
        table.insert(5, "row_length", [length for _, length in cut])
        entries = table["entries"].to_numpy(dtype=float)
        table["share"] = np.divide(
            table["retained"].to_numpy(dtype=float),
            entries,
            out=np.full(len(table), np.nan),
            where=entries > 0,
        )
        return table

    def __repr__(self) -> str:
        pruned = len(self.pruned())
        return (
            f"Subnetwork(rule={self.recipe.rule!r}, k={self.recipe.k!r}: {self.retained:,} of {self.entries:,} "
            f"entries retained; {pruned} tensors pruned, {len(self) - pruned} carried)"
        )
