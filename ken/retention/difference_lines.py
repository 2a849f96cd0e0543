"""What is said of one tensor, and of one attention head, in two models."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: What may be said of a tensor: of one that has the same shape and dtype in both models equal or changed.
STATUSES = ("changed", "dtype", "reshaped", "new", "missing", "equal")


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """One tensor in both models.

    Attributes:
        tensor: Its name in the fine-tuned model; of a missing one that in the pretrained model.
        status: equal, changed, new (the pretrained model has none of it), missing (the fine-tuned one), reshaped (its
            shape is another: the entries in common are compared if rows were added, else none), dtype (its dtype is
            another: values are compared).
        reason: Why it has that status, where there is more to say; else empty.
        counterpart: Its name in the pretrained model, empty if it has none.
        shape: Its shape in the fine-tuned model, None if it is missing.
        dtype: Its dtype there, empty if it is missing.
        pretrained_shape: Its shape in the pretrained model, None if it is new.
        pretrained_dtype: Its dtype there, empty if it is new.
        compared: Entries that were compared.
        changed: How many of these differ: by bits, so that -0.0 is not 0.0; of two dtypes, by value.
        not_finite: How many of these are NaN or infinite on either side; no norm includes them.
        norm: Root of the sum of squares of the update, 0 if none changed, NaN if none were compared.
        relative: norm over that of the pretrained tensor; NaN if that is 0.
        largest: The largest absolute update, NaN if there is none.
        row: The row in which it is, and
        column: the column, of the rows that `ken.prune` sees; -1 if there is none.
    """

    tensor: str
    status: str
    reason: str
    counterpart: str
    shape: tuple[int, ...] | None
    dtype: str
    pretrained_shape: tuple[int, ...] | None
    pretrained_dtype: str
    compared: int = 0
    changed: int = 0
    not_finite: int = 0
    norm: float = math.nan
    relative: float = math.nan
    largest: float = math.nan
    row: int = -1
    column: int = -1

    @property
    def entries(self) -> int:
        """Entries of the tensor, in the fine-tuned model if it is there."""
        shape = self.pretrained_shape if self.shape is None else self.shape
        return math.prod(shape or ())

    @property
    def share(self) -> float:
        """changed / compared; NaN if nothing was compared."""
        return self.changed / self.compared if self.compared else math.nan


@dataclass(frozen=True, slots=True)
class HeadDifference:
    """One attention head in one tensor: role is that of the part, where query, key and value are one matrix."""

    tensor: str
    role: str
    head: int
    axis: str
    compared: int
    changed: int
    norm: float
