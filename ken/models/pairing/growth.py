"""Tensors that are not of their counterpart's shape: a vocabulary that has grown, a head for other labels, a misfit."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import NamedTuple

from ken.models.checkpoints import quantised, unmerged
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.checkpoints.vocabularies import sizes
from ken.models.pairing.rows import GROWN
from ken.models.pairing.weight_names import vocabularies_of
from ken.models.tensors.tensor_roles import place


class Shapes(NamedTuple):
    """What shapes and kinds of dtype say of pairs of tensors, by fine-tuned name; pairs that fit are in neither.

    apart: why a tensor is new, though the pretrained model has one of its name. misfits: why one cannot be pruned.
    """

    apart: dict[str, str]
    misfits: dict[str, str]


def judge(
    fine_tuned: Checkpoint, pretrained: Checkpoint, names: Mapping[str, str | None], rows: Mapping[str, str]
) -> Shapes:
    """Compare shape and kind of dtype of every pair of tensors.

    names has the pretrained counterpart of every fine-tuned tensor; rows, ways to cut tensors into rows by name
    pattern, of which "grown" says that rows were added. Raises `PairingError` if one of a pair has been left empty by
    ZeRO-3, or holds the codes of a quantised model.

    >>> import torch
    >>> five, three = Checkpoint({"head": torch.ones(5, 2)}), Checkpoint({"head": torch.ones(3, 2)})
    >>> judge(five, three, {"head": "head"}, rows={}).apart
    {'head': 'new: its shape is (5, 2), that of the pretrained model (3, 2)'}
    >>> judge(five, three, {"head": "head"}, rows={"head": "grown"}).apart
    {}
    """
    words = cache(lambda: (vocabularies_of(fine_tuned), vocabularies_of(pretrained)))  # not before it matters

    def has_grown(name: str, counterpart: str, counts: tuple[int, int]) -> bool:
        """Whether rows, the kind of a module or, with one voice, the configurations that there are say so."""
        if next((cut for pattern, cut in rows.items() if fnmatchcase(name, pattern)), "") == GROWN:
            return True
        if name in words()[0] or counterpart in words()[1]:
            return True
        configured = [sizes(fine_tuned.config), sizes(pretrained.config)]
        return any(configured) and all(n in config for n, config in zip(counts, configured, strict=True) if config)

    shapes = Shapes({}, {})
    for name, counterpart in names.items():
        if counterpart is None:
            continue
        new, old = fine_tuned.tensors[name], pretrained.tensors[counterpart]
        shape, old_shape = tuple(new.shape), tuple(old.shape)
        unmerged.check_gathered(name, shape, old_shape)
        quantised.check_pair(name, new, old)
        if new.is_floating_point() != old.is_floating_point():
            shapes.misfits[name] = f"fine-tuned is {new.dtype}, pretrained is {old.dtype}"
        elif shape == old_shape:
            continue
        elif not _are_rows_alike(shape, old_shape) or (shape[0] < old_shape[0] and place(name).layer is not None):
            # No head is in a layer: where rows are missing there, the models are of different sizes.
            why = f"fine-tuned is {shape}, pretrained is {old_shape}; only extra leading rows can be paired"
            shapes.misfits[name] = why
        elif shape[0] < old_shape[0] or not has_grown(name, counterpart, (shape[0], old_shape[0])):
            shapes.apart[name] = f"new: its shape is {shape}, that of the pretrained model {old_shape}"
    return shapes


def _are_rows_alike(shape: tuple[int, ...], pretrained: tuple[int, ...]) -> bool:
    return len(shape) == len(pretrained) > 0 and shape[1:] == pretrained[1:]
