"""A pair of models with what is asked for, checked: all that can be known before any value is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.errors import PairingError
from ken.models.pairing import weight_names
from ken.models.pairing.pairing import Pairing
from ken.models.pairing.pairs import Pair
from ken.pruning.paired_rows import PairedRows
from ken.pruning.patterns import check_patterns
from ken.pruning.ranges import Deciding, deciding
from ken.pruning.remarks import remarks
from ken.pruning.rescaling import Rescaling, check_dtype, note
from ken.pruning.selection import Selection
from ken.subnetwork.extract import Fingerprints, Sink, Subject, base_bits, distances, take
from ken.subnetwork.subnetwork import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from ken.models.pairing.relation import Sums


@dataclass(frozen=True, eq=False)
class Prepared:
    """What pruning begins with.

    Attributes:
        pair: The two models, as they were given.
        pairing: The same, opened.
        selection: Which tensors are pruned, with which k.
        recipe: How.
        raw: Whether retained values are kept as they are.
        reasons: Why each tensor is carried, in model order; empty for those that are pruned.
        notes: What there is to say already.
    """

    pair: Pair
    pairing: Pairing
    selection: Selection
    recipe: Recipe
    raw: bool
    reasons: Mapping[str, str]
    notes: tuple[str, ...]

    @classmethod
    def from_pair(cls, pair: Pair, pairing: Pairing, selection: Selection, *, recipe: Recipe, raw: bool) -> Prepared:
        """Raises what can be known before any value is read."""
        tied = pairing.fine_tuned.tied
        check_patterns(selection, pairing.fine_tuned.tensors, tied=tied, elsewhere=pairing.pretrained.tensors)
        names = [name for name in pairing.fine_tuned.tensors if name not in tied]
        reasons = {name: _reason_to_carry(pairing, name, selection) for name in names}
        pairing = _without_misfits(pairing, reasons, selection)
        pairing = replace(pairing, cuts={name: cut for name in names if (cut := selection.cut_of(name))})
        pruned = [name for name, reason in reasons.items() if not reason]
        if recipe.rescale == "share":
            for name in pruned:
                check_dtype(name, pairing.fine_tuned.tensors[name].dtype)
        if check := rules.get(recipe.rule).check:
            for name in pruned:
                check(name, tuple(pairing.fine_tuned.tensors[name].shape))
        rescaled = (note(recipe.rule, recipe.scope),) if recipe.rescale == "share" else ()
        notes = (*remarks(pairing, selection, reasons), *rescaled)
        prepared = cls(pair, pairing, selection, recipe=recipe, raw=raw, reasons=reasons, notes=notes)
        prepared.deciding(progress=False, stood_in={})  # a range may be too large
        return prepared

    @cached_property
    def tensors(self) -> Mapping[str, PairedRows]:
        """Those that are pruned, by name."""
        return {
            name: PairedRows.of_pair(self.pairing, name, self.selection, recipe=self.recipe)
            for name, reason in self.reasons.items()
            if not reason
        }

    def deciding(self, *, progress: bool, stood_in: dict[str, int]) -> Deciding:
        """What tells their masks; see `ken.pruning.ranges.deciding`."""
        return deciding(self.tensors, self.recipe, progress, stood_in=stood_in)

    def subject(self, tensor: PairedRows, retained: int, deciding: Deciding) -> Subject:
        """The head of what will be stored of a pruned tensor, of whose common entries so many are retained."""
        return Subject(
            tensor.name,
            tensor.fine_tuned.shape,
            tensor.fine_tuned.dtype,
            retained=retained + tensor.added,
            raw=self.raw,
            cut=self.selection.cut_of(tensor.name),
            threshold=deciding.threshold(tensor),
        )

    def take(
        self,
        tensor: PairedRows,
        decide: Callable[[int, torch.Tensor, torch.Tensor], NDArray[np.bool_]],
        sink: Sink,
        *,
        deciding: Deciding,
        done: Callable[[int], object],
        within: tuple[int, int] | None = None,
    ) -> Fingerprints:
        """Bring what is retained of a tensor, or of a span of it, into a sink; see `ken.subnetwork.extract.take`."""
        # Stretches may be decided at the same time, in any order: the loops release the GIL.
        return take(
            *(tensor.fine_tuned, tensor.pretrained, tensor.rows),
            decide=decide,
            sink=sink,
            raw=self.raw,
            rescale=self._rescaling(tensor, deciding),
            within=within,
            done=done,
        )

    def distances(
        self,
        tensor: PairedRows,
        start: int,
        parts: tuple[torch.Tensor, torch.Tensor],
        *,
        mask: NDArray[np.bool_],
        deciding: Deciding,
    ) -> NDArray[Any]:
        """What is stored of some rows of a tensor, whose mask is known, flat; see `mask_of` for the other arguments."""
        rescale, (tuned, base) = self._rescaling(tensor, deciding), parts
        kept = tuned if rescale is None else rescale(start, tuned, base, mask)
        return distances(kept, base_bits(base, tensor.fine_tuned.dtype, len(tuned)), np.packbits(mask), raw=self.raw)

    def _rescaling(self, tensor: PairedRows, deciding: Deciding) -> Rescaling | None:
        return Rescaling(tensor, deciding.shares) if self.recipe.rescale == "share" else None


def mask_of(
    tensor: PairedRows,
    start: int,
    parts: tuple[torch.Tensor, torch.Tensor],
    *,
    deciding: Deciding,
    stood_in: list[int],
    sums: Sums | None = None,
) -> NDArray[np.bool_]:
    """The mask of some rows of a pruned tensor, flat.

    Args:
        tensor: The tensor.
        start: The first of their entries.
        parts: Their fine-tuned entries and their pretrained ones, flat; there may be fewer of the latter.
        deciding: What tells masks.
        stood_in: Takes in the rows that have no bandwidth of their own.
        sums: Takes in what the relation of the two models follows from.

    Returns:
        True for what is retained; rows that were added are.
    """
    fine_tuned, pretrained = parts
    mask, common = np.ones(len(fine_tuned), bool), len(pretrained)
    if common:
        block = tensor.block(start, fine_tuned[:common], pretrained=pretrained, stood_in=stood_in)
        if sums is not None:
            add_sums(sums, tensor, block)
        mask[:common] = deciding.mask(tensor, start, block)
    return mask


def add_sums(sums: Sums, tensor: PairedRows, block: rules.RowBlock) -> None:
    """Take in some common rows of a tensor."""
    matrix = len(tensor.pretrained.shape) > 1
    sums.add(tensor.name, matrix, fine_tuned=block.fine_tuned, pretrained=block.pretrained)


def _without_misfits(pairing: Pairing, reasons: Mapping[str, str], selection: Selection) -> Pairing:
    """What does not fit its counterpart has none if it is carried. Raises `PairingError` if it was to be pruned.

    Of a tensor that is floating-point on one side alone, a pattern must say that it is carried: it may be a code.
    """
    for name, misfit in pairing.misfits.items():
        fine_tuned, pretrained = pairing.fine_tuned.tensors[name], pairing.pretrained.tensors[pairing.namesakes[name]]
        alike = fine_tuned.is_floating_point() == pretrained.is_floating_point()
        if name in reasons and not (selection.reason_to_carry(name) or (alike and reasons[name])):
            error = PairingError(f"{name}: {misfit}; exclude=[{name!r}] carries it whole")
            if hint := weight_names.advice(pairing.fine_tuned, pairing.pretrained):
                error.add_note(hint)
            raise error
    names = {name: None if name in pairing.misfits else other for name, other in pairing.names.items()}
    return replace(pairing, names=names)


def _reason_to_carry(pairing: Pairing, name: str, selection: Selection) -> str:
    tensor = pairing.fine_tuned.tensors[name]
    if pairing.names[name] is None:
        return pairing.apart.get(name, "no pretrained counterpart")
    if name in pairing.fine_tuned.buffers:
        return "buffer"
    if not tensor.is_floating_point():
        return f"{str(tensor.dtype).removeprefix('torch.')}, not floating-point"
    if tensor.numel() == 0:
        return "empty"
    return selection.reason_to_carry(name)
