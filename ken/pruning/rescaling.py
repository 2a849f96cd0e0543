"""Rescaling: what is stored of retained entries if their updates are divided by the share that was retained.

    stored = pretrained + update / share

The share of a row is k / n, or of a rule that draws with unequal probabilities that of each entry. So the update is
retained in expectation: Yu et al., DARE, arXiv 2311.03099, sec. 3.2; Deep et al., DELLA, arXiv 2406.11617, sec. 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.errors import ValuesError
from ken.models.tensors.tensor_bytes import dtype_name

if TYPE_CHECKING:
    import torch


def note(rule: str) -> str:
    """What a subnetwork notes of it.

    >>> note("random")
    'retained values are rescaled, and not the fine-tuned ones: updates are divided by the share retained of their row'
    """
    own = rules.get(rule).probability is not None
    divisor = "the probability that the entry is retained" if own else "the share retained of their row"
    return f"retained values are rescaled, and not the fine-tuned ones: updates are divided by {divisor}"


class Rescaling:
    """Of one tensor: its rule, the length of the rows that the rule decides about, and its shape.

    >>> import torch
    >>> stored = Rescaling("update", n=4, shape=(1, 4))
    >>> tuned, base = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.ones(4)
    >>> stored(0, tuned, base, np.array([False, False, True, True])).tolist()
    [1.0, 2.0, 5.0, 7.0]
    """

    def __init__(self, rule: str, n: int, shape: tuple[int, ...]) -> None:
        self._probability, self._n, self._shape = rules.get(rule).probability, n, shape

    def __call__(
        self, start: int, fine_tuned: torch.Tensor, pretrained: torch.Tensor, mask: NDArray[np.bool_]
    ) -> torch.Tensor:
        """A stretch as it is stored where it is retained. Raises `ValuesError` for a value that the dtype cannot hold.

        Entries without a pretrained value, whole rows and unchanged entries stay what they are, bit for bit.
        """
        import torch

        stored = fine_tuned.clone()
        common = len(pretrained)
        if not common:
            return stored
        tuned, base = (
            part.to(torch.float64).numpy().reshape(-1, self._n) for part in (fine_tuned[:common], pretrained)
        )
        retained = mask[:common].reshape(tuned.shape)
        share = self._shares(tuned, base, retained)
        update = tuned - base
        moved = retained & (share < 1) & (update != 0)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            values = (base + update / share)[moved]
        at = np.flatnonzero(moved)
        rounded = rounded_once(values, fine_tuned.dtype)
        if not (fits := torch.isfinite(rounded.to(torch.float64)).numpy()).all():
            first = int(fits.argmin())
            where = [int(i) for i in np.unravel_index(start + at[first], self._shape)]
            raise ValuesError(
                f"the rescaled value {values[first]:g} at {where} does not fit into {dtype_name(fine_tuned.dtype)}: "
                "retain a larger share, or do without rescale"
            )
        stored[torch.from_numpy(at)] = rounded
        return stored

    def _shares(
        self, tuned: NDArray[np.float64], base: NDArray[np.float64], retained: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        counts = np.count_nonzero(retained, axis=1, keepdims=True)
        if self._probability is None or not len(counts) or counts[0, 0] == self._n:
            return np.broadcast_to(counts / self._n, retained.shape)
        return self._probability(rules.RowBlock(tuned, base), int(counts[0, 0]))


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
