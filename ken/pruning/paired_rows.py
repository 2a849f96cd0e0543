"""The rows of one pruned tensor beside those of its counterpart, read a stretch at a time as a rule sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ken import rules
from ken.models.pairing.pairing import Pairing
from ken.models.pairing.rows import row_shape
from ken.models.tensors.tensor_bytes import dtype_name
from ken.models.tensors.tensor_reader import Entries
from ken.pruning.remarks import kept_of_row
from ken.pruning.selection import Selection
from ken.rules.row_block import check_finite
from ken.subnetwork.extract import whole_rows
from ken.subnetwork.subnetwork import Recipe

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class PairedRows:
    """A pruned tensor of two models. A rule sees what both have: of a grown vocabulary the rows of the pretrained one.

    Attributes:
        name: Its name in the fine-tuned model, by which random rules are seeded.
        other: Its name in the pretrained model.
        fine_tuned: Its fine-tuned entries.
        pretrained: Its pretrained entries, maybe fewer.
        rows: (rows, row length) of the fine-tuned tensor.
        common: (rows, row length) of what both have.
        k: Entries that are retained of each common row; None for a rule that counts for itself.
        recipe: How it is pruned.
    """

    name: str
    other: str
    fine_tuned: Entries
    pretrained: Entries
    rows: tuple[int, int]
    common: tuple[int, int]
    k: int | None
    recipe: Recipe

    @classmethod
    def of_pair(cls, pairing: Pairing, name: str, selection: Selection, *, recipe: Recipe) -> PairedRows:
        """The tensor of that name, which must have a counterpart."""
        other = pairing.names[name]
        assert other is not None
        pretrained = pairing.pretrained.entries(other)
        k, n = kept_of_row(pairing, name, selection)
        common_rows, _ = row_shape(pretrained.shape, selection.cut_of(name))
        return cls(
            name,
            other,
            pairing.fine_tuned.entries(name),
            pretrained=pretrained,
            rows=pairing.row_shape(name),
            common=(common_rows, n),
            k=k,
            recipe=recipe,
        )

    @property
    def added(self) -> int:
        """Entries that the pretrained tensor does not have; all are retained."""
        return self.fine_tuned.count - self.pretrained.count

    @property
    def budget(self) -> int:
        """Entries that are retained of all common rows together."""
        assert self.k is not None
        return self.common[0] * self.k

    def shapes_of(self, span: tuple[int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of a span of entries, flat: of the fine-tuned ones, and of those that have a counterpart."""
        start, stop = span
        return (stop - start,), (max(0, min(stop, self.pretrained.count) - start),)

    def added_in(self, span: tuple[int, int]) -> int:
        """Entries of a span that the pretrained tensor does not have."""
        (entries,), (common,) = self.shapes_of(span)
        return entries - common

    def stretches(self, within: tuple[int, int] | None = None) -> Iterator[tuple[int, int]]:
        """(start, stop) of the stretches that have something in common: as `ken.subnetwork.extract.take` cuts them."""
        for start, stop in whole_rows(*self.rows, within=within):
            if start < self.pretrained.count:
                yield start, min(stop, self.pretrained.count)

    def read(self, start: int, stop: int) -> rules.RowBlock:
        """The common rows between two entries."""
        return self.block(start, self.fine_tuned.read(start, stop), pretrained=self.pretrained.read(start, stop))

    def block(
        self, start: int, fine_tuned: torch.Tensor, *, pretrained: torch.Tensor, stood_in: list[int] | None = None
    ) -> rules.RowBlock:
        """Common rows that have been read, flat, from an entry on. Raises `ValuesError` for NaN and infinity."""
        import torch

        n, first_row = self.common[1], start // self.rows[1]
        tuned, base = (part.to(torch.float64).numpy().reshape(-1, n) for part in (fine_tuned, pretrained))
        check_finite(tuned, "fine-tuned ", first_row)
        check_finite(base, "pretrained ", first_row)
        return rules.RowBlock(
            tuned,
            base,
            tensor=self.name,
            first_row=first_row,
            seed=self.recipe.seed,
            settings=self.recipe.settings,
            stood_in=[] if stood_in is None else stood_in,
            dtype=dtype_name(self.fine_tuned.dtype),
        )
