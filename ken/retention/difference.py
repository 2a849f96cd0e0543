"""How two models differ, tensor by tensor and head by head, with totals: what `ken.diff` gives."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ken.errors import printable
from ken.retention.difference_lines import STATUSES, HeadDifference, TensorDifference
from ken.retention.difference_tables import (
    head_table,
    line,
    number,
    place_table,
    sum_lines,
    tensor_lines,
    tensor_table,
)

if TYPE_CHECKING:
    import pandas as pd

#: What lines can be about.
BY = ("tensor", "place", "layer", "head")
#: The version of the data that `Difference.as_dict` gives; docs/diff.md describes it.
VERSION = 1


@dataclass(frozen=True, slots=True, repr=False)
class Difference:
    """How two models differ. `print` shows it, `table` gives it as numbers.

    Attributes:
        fine_tuned: What one model was read from.
        pretrained: What the other was read from.
        tensors: Every tensor of either; tied ones count once.
        heads: Every attention head of the tensors that changed, where the configuration tells which they are.
        notes: What was guessed when the models were read.
    """

    fine_tuned: str
    pretrained: str
    tensors: tuple[TensorDifference, ...]
    heads: tuple[HeadDifference, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def identical(self) -> bool:
        """Whether every tensor is equal."""
        return all(tensor.status == "equal" for tensor in self.tensors)

    @property
    def by_status(self) -> dict[str, int]:
        """How many tensors have each status."""
        counts = Counter(tensor.status for tensor in self.tensors)
        return {status: counts[status] for status in STATUSES}

    @property
    def compared(self) -> int:
        """Entries that both models have."""
        return sum(tensor.compared for tensor in self.tensors)

    @property
    def changed(self) -> int:
        """How many of these differ."""
        return sum(tensor.changed for tensor in self.tensors)

    @property
    def share(self) -> float:
        """changed / compared; NaN if nothing was compared."""
        return self.changed / self.compared if self.compared else math.nan

    @property
    def norm(self) -> float:
        """Root of the sum of squares of the whole update."""
        return math.hypot(*(tensor.norm for tensor in self.tensors if tensor.compared))

    def table(self, by: str = "tensor") -> pd.DataFrame:
        """The numbers as a table.

        Args:
            by: "tensor"; "place", which adds up tensors of one stack, layer and role; "layer"; or "head".

        Returns:
            By tensor (index) the attributes of `TensorDifference` with entries, share, layer, stack and role. By place
            (index: stack, layer, role) and by layer (index) tensors, tensors_changed, compared, changed, share, norm.
            By head a line for each: tensor, layer, stack, role, head, axis, compared, changed, share, norm.

        Raises:
            ValueError: by is something else.

        Example:
            >>> import ken, torch
            >>> different = ken.diff({"h.0.w": torch.ones(2)}, {"h.0.w": torch.zeros(2)})
            >>> different.table("layer")[["tensors_changed", "changed"]].values.tolist()
            [[1, 2]]
        """
        if by not in BY:
            raise ValueError(f"by must be one of {', '.join(BY)}, got {by!r}")
        if by == "head":
            return head_table(self.heads)
        table = tensor_table(self.tensors)
        if by == "tensor":
            return table
        return place_table(table, ["layer"] if by == "layer" else ["stack", "layer", "role"])

    def as_dict(self) -> dict[str, Any]:
        """All of it as data that JSON can hold.

        Returns:
            What `docs/diff.md` describes; numbers that JSON does not have (NaN, infinity) are None.

        Example:
            >>> import ken, torch
            >>> ken.diff({"w": torch.ones(2)}, {"w": torch.zeros(2)}).as_dict()["changed"]
            2
        """
        return {
            "format": "ken diff",
            "version": VERSION,
            "fine_tuned": self.fine_tuned,
            "pretrained": self.pretrained,
            "identical": self.identical,
            "tensors_by_status": self.by_status,
            "compared": self.compared,
            "changed": self.changed,
            "share": number(self.share),
            "norm": number(self.norm),
            "notes": list(self.notes),
            "tensors": [{name: number(value) for name, value in line(tensor).items()} for tensor in self.tensors],
            "heads": [{name: number(value) for name, value in asdict(head).items()} for head in self.heads],
        }

    def text(self, by: str = "tensor", *, equal: bool = False) -> str:
        """The difference for people.

        Args:
            by: As in `table`.
            equal: Whether tensors that are equal, and places where nothing changed, have lines as well.

        Returns:
            A few lines about the whole, then a table.

        Example:
            >>> import ken, torch
            >>> "1 changed" in ken.diff({"w": torch.ones(2)}, {"w": torch.zeros(2)}).text()
            True
        """
        counts = ", ".join(f"{count:,} {status}" for status, count in self.by_status.items() if count)
        share = f" ({100 * self.share:.3g} %)" if self.compared else ""
        lines = [
            f"{'fine-tuned':<12}{self.fine_tuned}",
            f"{'pretrained':<12}{self.pretrained}",
            f"{'tensors':<12}{counts or 'none'}",
            f"{'entries':<12}{self.changed:,} of {self.compared:,} differ{share}",
        ]
        if self.changed:
            lines.append(f"{'update':<12}norm {self.norm:.4g}")
        elif self.identical:
            lines.append(f"{'update':<12}none: both models are the same, bit for bit")
        if unknown := sum(tensor.not_finite for tensor in self.tensors):
            lines.append(f"{'not finite':<12}{unknown:,} of those that differ; no norm includes them")
        lines += [f"{'note':<12}{note}" for note in self.notes]
        table = self.table(by)
        if not equal:
            table = table[table["status"] != "equal"] if by == "tensor" else table[table["changed"] > 0]
        body = tensor_lines(table) if by == "tensor" else sum_lines(table, by)
        return "\n".join(printable(shown) for shown in [*lines, *([""] if body else []), *body])

    def __repr__(self) -> str:
        return self.text()
