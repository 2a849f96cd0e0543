"""Decision cards: what became of one entry and why, as text, as data, and as the Python that finds it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ken.explanation import RowExplanation

# Nearer entries that a card names; more are counted.
_NAMED = 5


class Card:
    """What became of one entry. `text` is for people, `as_dict` for programs, `python` finds it again."""

    def __init__(self, row: RowExplanation, entry: int) -> None:
        self._row, self._entry = row, entry

    @property
    def python(self) -> str:
        """The line of Python that makes this card."""
        return f"{self._row.python}.entry({self._entry})"

    def as_dict(self) -> dict[str, Any]:
        """All that the card says, as numbers, strings and lists that JSON can hold; None for what there is not."""
        row, i = self._row, self._entry
        step = int(row.steps[i])
        claim = row.claim(step) if step else None
        pretrained = None if row.pretrained is None or np.isnan(row.pretrained[i]) else float(row.pretrained[i])
        fine_tuned = float(row.fine_tuned[i])
        retained = bool(row.mask[i])
        dense = row.ranks[i] > 0
        return {
            "tensor": row.tensor or None,
            "row": row.row,
            "column": i,
            "rule": row.rule,
            "k": row.k,
            "n": row.n,
            "on": row.settings.on,
            "fine_tuned": fine_tuned,
            "pretrained": pretrained,
            "update": None if pretrained is None else fine_tuned - pretrained,
            "retained": retained,
            "after": fine_tuned if retained else pretrained,
            "density": float(row.entry_density[i]) if dense else None,
            "density_rank": int(row.ranks[i]) if dense else None,
            "claim": None if claim is None else {**claim._asdict(), "taken": list(claim.taken)},
            "reason": reason(row, i),
            "python": self.python,
        }

    @property
    def text(self) -> str:
        """The card for people: a line what, a line why, then the numbers."""
        of = self.as_dict()
        where = f" in row {of['row']} of {of['tensor']}" if of["tensor"] else ""
        lines = [f"Entry {of['column']}{where} is {'retained' if of['retained'] else 'reset'}."]
        lines.append(f"{of['reason'][0].upper()}{of['reason'][1:]}.")
        known = [("fine-tuned", of["fine_tuned"]), ("pretrained", of["pretrained"]), ("update", of["update"])]
        lines.append("; ".join(f"{name} {value:.6g}" for name, value in known if value is not None))
        if of["density"] is not None:
            lines.append(f"density {of['density']:.6g}, rank {of['density_rank']} of {of['n']} in its row")
        lines.append(f"rule {of['rule']}, k = {of['k']} of {of['n']}, on {of['on']}")
        if self._row.stood_in:
            told = self._row.settings.bandwidth
            lines.append(f"the bandwidth rule {told} found none for this row: it has that of the normal reference")
        lines.append(of["python"])
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.text


def reason(row: RowExplanation, i: int) -> str:
    """Why an entry was retained or reset, in a clause."""
    if i >= row.n - row.added:
        return "it has no pretrained value to be reset to: it was added"
    if row.k >= row.n - row.added:
        return f"the row has {row.n - row.added} entries, and k = {row.k} retains them all"
    if len(row.order):
        return _claimed(row, i) if row.mask[i] else _left_over(row, i)
    kept = "among" if row.mask[i] else "not among"
    if row.rule in ("ken", "grid", "density") and not row.bandwidth > 0:
        return f"all values of the row are equal; the first {row.k} are retained, and it is {kept} them"
    if row.rule == "density":
        return f"it is {kept} the {row.k} entries of highest density: rank {row.ranks[i]} of {row.n}"
    if row.rule in ("magnitude", "update"):
        size = row.fine_tuned if row.rule == "magnitude" or row.pretrained is None else row.fine_tuned - row.pretrained
        order = np.argsort(-np.abs(size), kind="stable")
        what = "absolute value" if row.rule == "magnitude" else "absolute update"
        return f"it is {kept} the {row.k} entries of largest {what}: rank {int(np.flatnonzero(order == i)[0]) + 1}"
    if row.rule in ("random", "della"):
        return f"it was {'' if row.mask[i] else 'not '}drawn at random, with seed {row.seed}"
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
    """Whoever came past it found another one that was at least as near."""
    far = np.abs(row.grid - row.values[i])
    point = int(far.argmin())
    other = int(row.claimed[point])
    at = row.grid[point]
    return (
        f"each of the {row.k} grid points found another entry at least as near; the nearest, point {point} at "
        f"{at:.6g}, claimed entry {other} at a distance of {abs(at - row.values[other]):.3g}; "
        f"it is {far[point]:.3g} away"
    )
