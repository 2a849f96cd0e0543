"""What a fine-tuned checkpoint lacks, because only what was trained was saved: it is the pretrained model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.pairing import weight_names

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Lacking:
    """Names of tensors that the fine-tuned checkpoint does not have and its model does.

    given maps them to the pretrained tensors that stand in, tied to tensors of the checkpoint that they are another
    name of. notes say what neither model has.
    """

    given: dict[str, str] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def lacking(ours: Checkpoint, theirs: Checkpoint, names: Mapping[str, str | None], prefix: str) -> Lacking:
    """Which tensors that only the pretrained model has belong to the fine-tuned model, too.

    If its class is known, that is what the class needs. Else the names must tell: all belong to it if every name of the
    checkpoint is one of the pretrained model's, else those that begin like one of its own.

    Args:
        ours: The fine-tuned model.
        theirs: The pretrained one.
        names: The pretrained counterpart of every fine-tuned tensor.
        prefix: What the names of one side begin with and those of the other do not; may be empty.

    Example:
        >>> import torch
        >>> whole = {name: torch.ones(2) for name in ("h.0.w", "h.1.w", "head")}
        >>> part = {"h.1.w": torch.zeros(2)}
        >>> lacking(Checkpoint(part), Checkpoint(whole), {"h.1.w": "h.1.w"}, "").given
        {'h.0.w': 'h.0.w', 'head': 'head'}
    """
    used = {other: name for name, other in names.items() if other is not None}
    free = [other for other in theirs.tensors if other not in used]
    if ours.live or not ours.tensors or not free:
        return Lacking()
    if ours.architecture is not None:
        counted = {theirs.tied.get(other, other) for other in used}
        found = weight_names.needs(ours, theirs, [other for other in free if theirs.tied.get(other) not in counted])
        if found is not None:
            return Lacking(found.given, {}, _absent(found.absent))
    return _by_names(ours, theirs, used, free, prefix)


def _by_names(ours: Checkpoint, theirs: Checkpoint, used: Mapping[str, str], free: list[str], prefix: str) -> Lacking:
    prefix = prefix or ours.prefix or theirs.prefix
    renamed = {other: name for other, name in used.items() if other != name}
    shorter = any(other == f"{prefix}.{name}" for other, name in renamed.items())
    longer = any(name == f"{prefix}.{other}" for other, name in renamed.items())
    begins = {name.partition(".")[0] for name in ours.tensors}
    a_part = not renamed and all(name in theirs.tensors for name in ours.tensors)
    given, tied = {}, {}
    for other in free:
        if shorter and not other.startswith(f"{prefix}."):
            continue  # a head on the body that the checkpoint is
        name = other.removeprefix(f"{prefix}.") if shorter else f"{prefix}.{other}" if longer else other
        if name in ours.tensors or not (a_part or name.partition(".")[0] in begins):
            continue
        owner = used.get(theirs.tied.get(other, ""))
        if owner is not None:
            tied[name] = ours.tied.get(owner, owner)
        else:
            given[name] = other
    return Lacking(given, tied)


def _absent(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        return ()
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    which = ", ".join(map(repr, names[:_SHOWN]))
    return (f"neither checkpoint has {which}{more}, which the class needs: from_pretrained will make them up",)
