"""All of a subnetwork but its tensors: drafted before they are read, to reserve room, and complete afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from ken import __version__
from ken.api import Subnetwork
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.pairing.mixups import unrelated
from ken.models.pairing.pairing import Pairing
from ken.models.pairing.relation import WIDEST, Sums
from ken.models.tensors.tensor_bytes import Reference, dtype_name, of_model
from ken.models.tensors.tensor_reader import Entries
from ken.rules import get
from ken.rules.bandwidth_notes import bandwidth_note, longest_bandwidth_note
from ken.rules.thresholds import Threshold
from ken.storage.model_files import FilesOnDisk
from ken.subnetwork.outline import Outline
from ken.subnetwork.subnetwork import Provenance, Recipe


@dataclass
class Seen:
    """What has been read so far of both models, and the notes that there were before.

    Attributes:
        notes: The notes.
        fine_tuned: References to tensors of the fine-tuned model, by name.
        pretrained: References to tensors of the pretrained model, by name.
        sums: What the relation of the two models follows from.
        stood_in: By tensor, how many of its rows had no bandwidth of their own.
    """

    notes: tuple[str, ...]
    fine_tuned: dict[str, Reference] = field(default_factory=dict)
    pretrained: dict[str, Reference] = field(default_factory=dict)
    sums: Sums = field(default_factory=Sums)
    stood_in: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, entries: Entries, fingerprint: str, *, counterpart: Reference | None) -> None:
        """A fine-tuned tensor has been read, and its counterpart."""
        self.fine_tuned[name] = Reference(name, entries.shape, entries.dtype, fingerprint=fingerprint)
        if counterpart is not None:
            self.pretrained[counterpart.name] = counterpart


def head(pairing: Pairing, recipe: Recipe, seen: Seen, draft: bool = False) -> Subnetwork:
    """A subnetwork with everything but its tensors; a draft, before they have been read, as wide as it can become."""
    fine_tuned, pretrained = pairing.fine_tuned, pairing.pretrained
    shapes = {name: tuple(tensor.shape) for name, tensor in pretrained.tensors.items()}
    tied = pretrained.tied
    used = {*pairing.names.values(), *pairing.namesakes.values(), *pairing.lacking.values()} - {None}
    used |= {tied.get(name or "", name) for name in used}
    if not draft:
        # Taken down among what has been read, so that the fingerprint of the whole model does not read them again.
        for other in pairing.lacking.values():
            if other not in seen.pretrained:
                seen.pretrained[other] = pretrained.entries(other).reference(other)
    stand_ins = {
        name: _unread(pretrained, other) if draft else seen.pretrained[other] for name, other in pairing.lacking.items()
    }
    relation = WIDEST if draft else seen.sums.relation()
    if draft:
        last = [longest_bandwidth_note(recipe.bandwidth, pairing.names)]
    else:
        last = [unrelated(relation), bandwidth_note(recipe.bandwidth, seen.stood_in) if seen.stood_in else ""]
    return Subnetwork(
        tensors={},
        recipe=recipe,
        tied=dict(fine_tuned.tied),
        only_pretrained={name: shape for name, shape in shapes.items() if not {name, tied.get(name)} & used},
        architecture=fine_tuned.architecture,
        prefix=pairing.prefix or fine_tuned.prefix or pretrained.prefix,
        fine_tuned=_provenance(fine_tuned, None if draft else seen.fine_tuned),
        pretrained=_provenance(pretrained, None if draft else seen.pretrained),
        files=FilesOnDisk(fine_tuned.files),
        shards=dict(fine_tuned.shards),
        notes=(*seen.notes, *filter(None, last)),
        lacking=stand_ins,
        relation=relation,
    )


def _unread(model: Checkpoint, name: str) -> Reference:
    """A reference as wide as that of the tensor will be when it has been read."""
    entries = model.entries(name)
    return Reference(name, entries.shape, entries.dtype, fingerprint="0" * 32)


def _provenance(model: Checkpoint, seen: Mapping[str, Reference] | None) -> Provenance:
    """The fingerprint covers all tensors of the model, also those that pruning had no need of."""
    tensors = {name: model.entries(name) for name in model.tensors if name not in model.tied}
    whole = [] if seen is None else [seen.get(name) or entries.reference(name) for name, entries in tensors.items()]
    count = sum(entries.count for entries in tensors.values())
    return Provenance(model.source, len(tensors), count, fingerprint=of_model(whole), **asdict(model.origin))


def fingerprint_of(model: Checkpoint, *, progress: bool) -> str:
    """The fingerprint of all tensors of a model, which are read; a bar appears if it takes longer than a second."""
    from tqdm.auto import tqdm

    names = [name for name in model.tensors if name not in model.tied]
    bar = tqdm(names, desc="fingerprint", unit="tensor", disable=not progress, delay=1.0, leave=False)
    return of_model(model.entries(name).reference(name) for name in bar)


def planned(pairing: Pairing, name: str, reason: str, *, recipe: Recipe) -> tuple[Outline, Reference | None]:
    """What is known of a tensor before it is read."""
    tensor, other = pairing.fine_tuned.tensors[name], pairing.names[name]
    shape, cut = tuple(tensor.shape), pairing.cuts.get(name, "")
    shared = not reason and recipe.scope != "row" and get(recipe.rule).score is not None
    outline = Outline(
        shape,
        dtype_name(tensor.dtype),
        tensor.numel(),
        reason=reason or None,
        cut=cut,
        threshold=Threshold(0, tensor.numel()) if shared else None,
    )
    return outline, None if other is None else _unread(pairing.pretrained, other)


def versions() -> dict[str, str]:
    """The versions of all packages on which it depends which entries are retained."""
    import numba
    import torch

    return {
        "kenviz": __version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
    }
