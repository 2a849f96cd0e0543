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


def lacking(fine_tuned: Checkpoint, pretrained: Checkpoint, names: Mapping[str, str | None], prefix: str) -> Lacking:
    """Which tensors that only the pretrained model has belong to the fine-tuned model, too.

    If its class is known, that is what the class needs. Else the names must tell: all belong to it if every name of the
    checkpoint is one of the pretrained model's, else those that begin like one of its own. names has the pretrained
    counterpart of every fine-tuned tensor; prefix is what the names of one side alone begin with, and may be empty.

    >>> import torch
    >>> whole = {name: torch.ones(2) for name in ("h.0.w", "h.1.w", "head")}
    >>> part = {"h.1.w": torch.zeros(2)}
    >>> lacking(Checkpoint(part), Checkpoint(whole), {"h.1.w": "h.1.w"}, prefix="").given
    {'h.0.w': 'h.0.w', 'head': 'head'}
    """
    used = {other: name for name, other in names.items() if other is not None}
    free = [other for other in pretrained.tensors if other not in used]
    if fine_tuned.live or not fine_tuned.tensors or not free:
        return Lacking()
    counted = {pretrained.tied.get(other, other) for other in used}
    unnamed = [other for other in free if pretrained.tied.get(other) not in counted]
    needs = weight_names.needs(fine_tuned, pretrained, unnamed)
    if needs is not None:
        return Lacking(needs.given, {}, _absent(needs.absent))

    prefix = prefix or fine_tuned.prefix or pretrained.prefix
    renamed = {other: name for other, name in used.items() if other != name}
    shorter = any(other == f"{prefix}.{name}" for other, name in renamed.items())
    longer = any(name == f"{prefix}.{other}" for other, name in renamed.items())
    begins = {name.partition(".")[0] for name in fine_tuned.tensors}
    a_part = not renamed and all(name in pretrained.tensors for name in fine_tuned.tensors)
    given, tied = {}, {}
    for other in free:
        if shorter and not other.startswith(f"{prefix}."):
            continue  # a head on the body that the checkpoint is
        name = other.removeprefix(f"{prefix}.") if shorter else f"{prefix}.{other}" if longer else other
        if name in fine_tuned.tensors or not (a_part or name.partition(".")[0] in begins):
            continue
        owner = used.get(pretrained.tied.get(other, ""))
        if owner is not None:
            tied[name] = fine_tuned.tied.get(owner, owner)
        else:
            given[name] = other
    return Lacking(given, tied)


def _absent(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        return ()
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    which = ", ".join(map(repr, names[:_SHOWN]))
    return (f"neither checkpoint has {which}{more}, which the class needs: from_pretrained will make them up",)
