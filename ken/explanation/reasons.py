"""Why an entry of a row was retained or reset, in a clause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ken import rules

if TYPE_CHECKING:
    from ken.explanation.row_explanation import RowExplanation

# Nearer entries that a reason names; more are counted.
_NAMED = 5


def reason(row: RowExplanation, i: int) -> str:
    """Why an entry was retained or reset, in a clause."""
    if i >= row.n - row.added:
        return "it has no pretrained value to be reset to: it was added"
    if row.shared is not None and row.shared.threshold is not None:
        return row.shared.reason(i, row.rule)
    if row.rule == "changed":
        return "fine-tuning changed it" if row.mask[i] else "fine-tuning left it as it was, bit for bit"
    if row.k >= row.n - row.added:
        return f"the row has {row.n - row.added} entries, and k = {row.k} retains them all"
    if len(row.order):
        return _claimed(row, i) if row.mask[i] else _left_over(row, i)
    kept = "among" if row.mask[i] else "not among"
    if row.rule in ("ken", "grid", "density") and not row.bandwidth > 0:
        return f"all values of the row are equal; the first {row.k} are retained, and it is {kept} them"
    if row.rule == "density":
        return f"it is {kept} the {row.k} entries of highest density: rank {row.ranks[i]} of {row.n}"
    known = rules.get(row.rule) if row.rule in rules.names() else None
    if known is not None and known.seeded:
        return f"it was {'' if row.mask[i] else 'not '}drawn at random, with seed {row.seed}"
    if known is not None and known.words:
        rank = f": rank {row.score_ranks[i]}" if known.score else ""
        return f"it is {kept} the {row.k} entries of {known.words}{rank}"
    return f"rule {row.rule!r} {'retains' if row.mask[i] else 'does not retain'} it"


def _claimed(row: RowExplanation, i: int) -> str:
    claim = row.claim(int(row.steps[i]))
    point = f"grid point {claim.point} at {claim.at:.6g}"
    line = f"{point} claimed it in step {claim.step}, at a distance of {claim.distance:.3g}"
    if not claim.taken:
        return f"{line}; no entry was nearer"
    named = ", ".join(map(str, claim.taken[:_NAMED]))
    more = f" and {len(claim.taken) - _NAMED} more" if len(claim.taken) > _NAMED else ""
    return f"{line}; nearer entries ({named}{more}) had been claimed before"


def _left_over(row: RowExplanation, i: int) -> str:
    """Each grid point found another entry that was at least as near."""
    far = np.abs(row.grid - row.values[i])
    point = int(far.argmin())
    other = int(row.claimed[point])
    at = row.grid[point]
    return (
        f"each of the {row.k} grid points found another entry at least as near; the nearest, point {point} at "
        f"{at:.6g}, claimed entry {other} at a distance of {abs(at - row.values[other]):.3g}; "
        f"it is {far[point]:.3g} away"
    )
