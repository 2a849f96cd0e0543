"""Notes about a pair of models and about what is asked for, before any value is read."""

from __future__ import annotations

from collections.abc import Mapping

from ken.errors import warn
from ken.models.checkpoints import other_files
from ken.models.pairing.mixups import signs_of_turning, turned
from ken.models.pairing.pairing import Pairing
from ken.models.pairing.rows import row_budget, row_shape
from ken.pruning.selection import Selection


def remarks(pairing: Pairing, selection: Selection, reasons: Mapping[str, str]) -> tuple[str, ...]:
    """Notes for the subnetwork to keep. Models that look as if they were the wrong way round are warned of at once.

    Args:
        pairing: The two models.
        selection: What is asked for.
        reasons: Why each fine-tuned tensor is carried, empty for those that are pruned.

    Returns:
        What was noted when the models were read, what they look like, and what is asked for in vain.
    """
    fine_tuned, pretrained = pairing.fine_tuned, pairing.pretrained
    if mixed_up := turned(signs_of_turning(fine_tuned, pretrained, {**pairing.names, **pairing.namesakes})):
        warn(mixed_up)
    pruned = [name for name, reason in reasons.items() if not reason]
    kept = [kept_of_row(pairing, name, selection) for name in pruned]
    idle = ""
    if reasons and not pruned:
        idle = f"nothing is pruned: all {len(reasons)} tensors are carried whole"
    elif pruned and selection.k != 1.0 and all(kept >= n for kept, n in kept):
        longest = max(n for _, n in kept)
        idle = f"k = {selection.k} retains every entry, as no row is longer than {longest}: nothing is reset"
    left = f"{fine_tuned.source}: {other_files.left_behind(fine_tuned.left)}" if fine_tuned.left else ""
    every = (*fine_tuned.notes, left, *pretrained.notes, *pairing.notes, mixed_up, idle)
    return tuple(dict.fromkeys(filter(None, every)))


def kept_of_row(pairing: Pairing, name: str, selection: Selection) -> tuple[int, int]:
    """How many entries of a row of a tensor that is pruned are retained, of how many that a rule decides about."""
    _, n = row_shape(pairing.pretrained.tensors[str(pairing.names[name])].shape, selection.cut_of(name))
    k = selection.k_of(name)
    assert k is not None  # Selection.reason_to_carry has seen to it
    return (row_budget(k, n) if n else 0), n
