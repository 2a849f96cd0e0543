"""All of a subnetwork but its tensors: drafted before they are read, to reserve room, and complete when they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ken import __version__
from ken.api import Subnetwork
from ken.density import bandwidth_note, longest_bandwidth_note
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.pairing.mixups import unrelated
from ken.models.pairing.pairing import Pairing
from ken.models.pairing.relation import WIDEST, Sums
from ken.models.tensors.tensor_bytes import Reference, dtype_name, of_model
from ken.storage.model_files import FilesOnDisk
from ken.subnetwork.outline import Outline
from ken.subnetwork.subnetwork import Provenance, Recipe


class Seen(NamedTuple):
    """What has been read so far of both models, and what there was to say before.

    ours, theirs: references by name; stood_in: rows without a bandwidth of their own, by tensor.
    """

    ours: dict[str, Reference]
    theirs: dict[str, Reference]
    sums: Sums
    stood_in: dict[str, int]
    notes: tuple[str, ...]


def head(pairing: Pairing, recipe: Recipe, seen: Seen, draft: bool = False) -> Subnetwork:
    """A subnetwork with everything but its tensors; a draft, before they have been read, as wide as it can become."""
    fine_tuned, pretrained = pairing.fine_tuned, pairing.pretrained
    tied = pretrained.tied
    used = {*pairing.names.values(), *pairing.namesakes.values(), *pairing.lacking.values()} - {None}
    used |= {tied.get(name or "", name) for name in used}
    if not draft:
        # Taken down among what has been read, so that the fingerprint of the whole model does not read them again.
        seen.theirs.update({other: pretrained.entries(other).reference(other) for other in pairing.lacking.values()})
    stand_ins = {
        name: _unread(pretrained, other) if draft else seen.theirs[other] for name, other in pairing.lacking.items()
    }
    relation = WIDEST if draft else seen.sums.relation()
    last = ["" if draft else unrelated(relation)]
    if without := longest_bandwidth_note(recipe.bandwidth, pairing.names) if draft else seen.stood_in:
        last.append(bandwidth_note(recipe.bandwidth, without))
    return Subnetwork(
        {},
        recipe,
        dict(fine_tuned.tied),
        {name: tuple(of.shape) for name, of in pretrained.tensors.items() if not {name, tied.get(name)} & used},
        fine_tuned.architecture,
        pairing.prefix or fine_tuned.prefix or pretrained.prefix,
        _provenance(fine_tuned, None if draft else seen.ours),
        _provenance(pretrained, None if draft else seen.theirs),
        FilesOnDisk(fine_tuned.files),
        dict(fine_tuned.shards),
        (*seen.notes, *filter(None, last)),
        stand_ins,
        relation,
    )


def _unread(model: Checkpoint, name: str) -> Reference:
    """A reference as wide as that of the tensor will be when it has been read."""
    entries = model.entries(name)
    return Reference(name, entries.shape, entries.dtype, "0" * 32)


def _provenance(model: Checkpoint, seen: Mapping[str, Reference] | None) -> Provenance:
    """The fingerprint covers all tensors of the model, also those that pruning had no need of."""
    tensors = {name: model.entries(name) for name in model.tensors if name not in model.tied}
    whole = [] if seen is None else [seen.get(name) or of.reference(name) for name, of in tensors.items()]
    entries = sum(of.count for of in tensors.values())
    return Provenance(model.source, len(tensors), entries, of_model(whole))


def planned(pairing: Pairing, name: str, reason: str) -> tuple[Outline, Reference | None]:
    """What is known of a tensor before it is read."""
    tensor, other = pairing.fine_tuned.tensors[name], pairing.names[name]
    there = None if other is None else _unread(pairing.pretrained, other)
    outline = Outline(tuple(tensor.shape), dtype_name(tensor.dtype), tensor.numel(), reason or None)
    return outline._replace(cut=pairing.cuts.get(name, "")), there


def versions() -> dict[str, str]:
    """Of everything that has a say in which entries are retained."""
    import numba
    import torch

    return {
        "kenviz": __version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
    }
