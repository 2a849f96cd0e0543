"""Rescaling: what is stored of retained entries if their updates are divided by the share that was retained.

    stored = base + (fine-tuned - base) / share

The base is the pretrained value in the fine-tuned dtype, which reset entries have: where the two models have different
dtypes, the rounding in between is nothing that fine-tuning did.

The share is k / n of the row, or of the range over which k is counted; of a rule that draws with unequal probabilities
it is that of each entry. So the update is retained in expectation: Yu et al., DARE, arXiv 2311.03099, sec. 3.2; Deep et
al., DELLA, arXiv 2406.11617, sec. 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.errors import RuleError, ValuesError
from ken.models.tensors.tensor_bytes import dtype_name
from ken.pruning.paired_rows import PairedRows

if TYPE_CHECKING:
    import torch


#: From a tensor, the place of some common rows and the rows, to the divisors of their updates, (rows, n).
Shares = Callable[[PairedRows, int, rules.RowBlock], NDArray[np.float64]]


def note(rule: str, scope: str = "row") -> str:
    """What a subnetwork notes of it.

    >>> note("random")
    'retained values are rescaled, and not the fine-tuned ones: updates are divided by the share retained of their row'
    """
    own = rules.get(rule).probability is not None
    divisor = "the probability that the entry is retained" if own else f"the share retained of {rules.SHARED[scope]}"
    return f"retained values are rescaled, and not the fine-tuned ones: updates are divided by {divisor}"


def check_dtype(name: str, dtype: torch.dtype) -> None:
    """See that values of a tensor can be rescaled; raises `RuleError` for a dtype of powers of two alone."""
    if dtype_name(dtype) == "float8_e8m0fnu":
        raise RuleError(
            f"{name}: rescale='share' needs a dtype that has sums and 0, and float8_e8m0fnu has powers of two alone; "
            f"exclude=[{name!r}] carries the tensor whole, or do without rescale"
        )


class Rescaling:
    """Of one tensor: what is stored of a stretch of it, a `ken.subnetwork.extract.Rescale`."""

    def __init__(self, tensor: PairedRows, shares: Shares) -> None:
        self._tensor, self._shares = tensor, shares

    def __call__(
        self, start: int, fine_tuned: torch.Tensor, pretrained: torch.Tensor, mask: NDArray[np.bool_]
    ) -> torch.Tensor:
        """A stretch as it is stored where it is retained. Raises `ValuesError` for a value that the dtype cannot hold.

        Entries without a pretrained value, whole rows and entries that equal the base stay what they are, bit for bit.
        """
        import torch

        stored = fine_tuned.clone()
        common = len(pretrained)
        if not common:
            return stored
        block = self._tensor.block(start, fine_tuned[:common], pretrained=pretrained)
        base = pretrained.to(fine_tuned.dtype).to(torch.float64).numpy().reshape(block.fine_tuned.shape)
        update = block.fine_tuned - base
        retained = mask[:common].reshape(base.shape)
        share = self._shares(self._tensor, start, block)
        moved = retained & (share < 1) & (update != 0)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            values = (base + update / share)[moved]
        at = np.flatnonzero(moved)
        rounded = rounded_once(values, fine_tuned.dtype)
        if not (fits := torch.isfinite(rounded.to(torch.float64)).numpy()).all():
            first = int(fits.argmin())
            where = [int(i) for i in np.unravel_index(start + at[first], self._tensor.fine_tuned.shape)]
            raise ValuesError(
                f"the rescaled value {values[first]:g} at {where} does not fit into {dtype_name(fine_tuned.dtype)}: "
                "retain a larger share, or do without rescale"
            )
        stored[torch.from_numpy(at)] = rounded
        return stored


def rounded_once(values: NDArray[np.float64], dtype: torch.dtype) -> torch.Tensor:
    """Values in another floating dtype, each rounded once, to nearest, ties to even.

    torch goes by way of float32 to narrower dtypes, and rounds twice. Rounded to odd on the way, an inexact value keeps
    to its side of every tie (Boldo & Melquiond 2008, "Emulation of FMA and correctly rounded sums").

    >>> import torch
    >>> twice = np.array([1 + 2.0**-8 + 2.0**-40])  # just above a tie of bfloat16, on it in float32
    >>> float(torch.from_numpy(twice).to(torch.bfloat16)[0]), float(rounded_once(twice, torch.bfloat16)[0])
    (1.0, 1.0078125)
    """
    import torch

    if dtype.itemsize >= 4:
        return torch.from_numpy(values).to(dtype)
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    back = single.astype(np.float64)
    bits = single.view(np.uint32) - (np.abs(back) > np.abs(values))
    return torch.from_numpy((bits | (back != values)).astype(np.uint32).view(np.float32)).to(dtype)
