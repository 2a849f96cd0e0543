"""Notes about a pair of models and about what is asked for, before any value is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    idle = ""
    if reasons and not pruned:
        idle = f"nothing is pruned: all {len(reasons)} tensors are carried whole"
    elif pruned and selection.k not in (None, 1.0) and (longest := _longest_row_kept(pairing, pruned, selection)):
        idle = f"k = {selection.k} retains every entry, as no row is longer than {longest}: nothing is reset"
    left = f"{fine_tuned.source}: {other_files.left_behind(fine_tuned.left)}" if fine_tuned.left else ""
    every = (*fine_tuned.notes, left, *pretrained.notes, *pairing.notes, mixed_up, idle)
    return tuple(dict.fromkeys(filter(None, every)))


def _longest_row_kept(pairing: Pairing, names: Sequence[str], selection: Selection) -> int:
    """The length of the longest row of these tensors if every entry of every row is retained; 0 if one is reset."""
    kept = [kept_of_row(pairing, name, selection) for name in names]
    return max(n for _, n in kept) if all(k is not None and k >= n for k, n in kept) else 0


def kept_of_row(pairing: Pairing, name: str, selection: Selection) -> tuple[int | None, int]:
    """How many entries of a row of a tensor that is pruned are retained, of how many that a rule decides about.

    None: the rule itself says how many.
    """
    _, n = row_shape(pairing.pretrained.tensors[str(pairing.names[name])].shape, selection.cut_of(name))
    k = selection.k_of(name)
    return (None if k is None else row_budget(k, n) if n else 0), n
