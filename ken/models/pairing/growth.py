"""Tensors that are not of their counterpart's shape: a vocabulary that has grown, a head for other labels, a misfit."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import NamedTuple

from ken.models.checkpoints import quantised, unmerged
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.checkpoints.vocabularies import sizes
from ken.models.pairing import weight_names
from ken.models.pairing.rows import GROWN, layer_of


class Shapes(NamedTuple):
    """What shapes and kinds of dtype say of pairs of tensors, by fine-tuned name; pairs that fit are in neither.

    apart: why a tensor is new, though the pretrained model has one of its name. misfits: why one cannot be pruned.
    """

    apart: dict[str, str]
    misfits: dict[str, str]


def judge(ours: Checkpoint, theirs: Checkpoint, names: Mapping[str, str | None], rows: Mapping[str, str]) -> Shapes:
    """Compare shape and kind of dtype of every pair of tensors.

    Args:
        ours: The fine-tuned model.
        theirs: The pretrained one.
        names: The pretrained counterpart of every fine-tuned tensor.
        rows: Ways to cut tensors into rows by name pattern; "grown" says that rows were added to a tensor.

    Raises:
        PairingError: One of a pair has been left empty by ZeRO-3, or holds the codes of a quantised model.

    Example:
        >>> import torch
        >>> five, three = Checkpoint({"head": torch.ones(5, 2)}), Checkpoint({"head": torch.ones(3, 2)})
        >>> judge(five, three, {"head": "head"}, {}).apart
        {'head': 'new: its shape is (5, 2), that of the pretrained model (3, 2)'}
        >>> judge(five, three, {"head": "head"}, {"head": "grown"}).apart
        {}
    """
    words = _Vocabularies(ours, theirs)
    found = Shapes({}, {})
    for name, other in names.items():
        if other is None:
            continue
        fine_tuned, pretrained = ours.tensors[name], theirs.tensors[other]
        shape, there = tuple(fine_tuned.shape), tuple(pretrained.shape)
        unmerged.check_gathered(name, shape, there)
        quantised.check_pair(name, fine_tuned, pretrained)
        if fine_tuned.is_floating_point() != pretrained.is_floating_point():
            found.misfits[name] = f"fine-tuned is {fine_tuned.dtype}, pretrained is {pretrained.dtype}"
        elif shape == there:
            continue
        elif not _are_rows_alike(shape, there) or (shape[0] < there[0] and layer_of(name) is not None):
            # No head is in a layer: where rows are missing there, the models are of different sizes.
            found.misfits[name] = f"fine-tuned is {shape}, pretrained is {there}; only extra leading rows can be paired"
        elif not (shape[0] > there[0] and (_says_grown(name, rows) or words.have(name, other, shape[0], there[0]))):
            found.apart[name] = f"new: its shape is {shape}, that of the pretrained model {there}"
    return found


def _are_rows_alike(shape: tuple[int, ...], pretrained: tuple[int, ...]) -> bool:
    return len(shape) == len(pretrained) > 0 and shape[1:] == pretrained[1:]


def _says_grown(name: str, rows: Mapping[str, str]) -> bool:
    return next((cut for pattern, cut in rows.items() if fnmatchcase(name, pattern)), "") == GROWN


class _Vocabularies:
    """Which tensors have a row for every word; asked of classes and configurations when it first matters."""

    def __init__(self, ours: Checkpoint, theirs: Checkpoint) -> None:
        self._ours, self._theirs = ours, theirs

    def have(self, name: str, other: str, rows: int, pretrained_rows: int) -> bool:
        """Whether the kind of a module says so or, with one voice, the configurations that there are."""
        ours, theirs = self._names
        if name in ours or other in theirs:
            return True
        counts = [(rows, sizes(self._ours.config)), (pretrained_rows, sizes(self._theirs.config))]
        return any(known for _, known in counts) and all(count in known for count, known in counts if known)

    @cached_property
    def _names(self) -> tuple[frozenset[str], frozenset[str]]:
        return weight_names.vocabularies_of(self._ours), weight_names.vocabularies_of(self._theirs)
