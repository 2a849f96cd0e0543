"""A row that a rule has decided about: claims, tables, cards."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.density import density
from ken.explanation.claims import Claim
from ken.explanation.shared_budget import SharedBudget
from ken.rules.registered import highest_first

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

# Nearer entries that a card names; more are counted.
_NAMED = 5


@dataclass(frozen=True, eq=False)
class RowExplanation:
    """A row, what a rule decided about it, and why.

    What grid points have is empty where no point claims: for other rules, for constant rows, for k >= n.

    Attributes:
        fine_tuned: The fine-tuned values, (n,) float64.
        pretrained: The pretrained values, likewise, NaN for added entries; None if they were not given.
        k: Entries that the rule retained.
        rule: Name of the rule.
        block: What it decided about: the entries with a pretrained value, with its settings and seed.
        mask: Which entries are retained, (n,) bool.
        values: The values that the rule looked at, (n,) float64, NaN for added entries.
        bandwidth: That of the density of the row, in units of the values; 0 if it has no density.
        grid: The grid points, (k,) float64.
        level: Their density, rounded to levels, (k,) float64.
        order: The grid points in the order in which they were visited, (k,).
        claimed: The entry that each grid point claimed, (k,).
        added: So many entries, the last ones, have no pretrained value, and are retained whole.
        python: The line of Python that makes this again.
        stood_in: The bandwidth rule found none for this row: it has that of the normal reference.
        stored: What injection gives, (n,) float64, if retained entries were rescaled; None if they are fine-tuned.
        shared: What decided if the row had no budget of its own (`Recipe.scope`); k is what came of it.
    """

    fine_tuned: Array
    pretrained: Array | None
    k: int
    rule: str
    block: rules.RowBlock
    mask: NDArray[np.bool_]
    values: Array
    bandwidth: float = 0.0
    grid: Array = field(default_factory=lambda: np.empty(0))
    level: Array = field(default_factory=lambda: np.empty(0))
    order: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    claimed: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    added: int = 0
    python: str = ""
    stood_in: bool = False
    stored: Array | None = None
    shared: SharedBudget | None = None

    def with_added(self, fine_tuned: Array, pretrained: Array, mask: NDArray[np.bool_]) -> RowExplanation:
        """The same with the whole row: the entries at its end that have no pretrained value (NaN), too."""
        added = len(mask) - len(self.mask)
        values = np.append(self.values, np.full(added, np.nan))
        return replace(self, fine_tuned=fine_tuned, pretrained=pretrained, mask=mask, values=values, added=added)

    @property
    def settings(self) -> rules.Settings:
        """The settings of the rule."""
        return self.block.settings

    @property
    def tensor(self) -> str:
        """Name of the tensor."""
        return self.block.tensor

    @property
    def row(self) -> int:
        """Number of the row in the tensor, from 0."""
        return self.block.first_row

    @property
    def seed(self) -> int:
        """Seed of random rules."""
        return self.block.seed

    @property
    def n(self) -> int:
        """Entries of the row."""
        return len(self.fine_tuned)

    def claim(self, step: int) -> Claim:
        """What happened in one step.

        Args:
            step: Number of the step, from 1.

        Returns:
            The claim.

        Raises:
            IndexError: There is no such step.
        """
        if not 1 <= step <= len(self.order):
            raise IndexError(f"step must be from 1 to {len(self.order)}, got {step}")
        point = int(self.order[step - 1])
        entry = int(self.claimed[point])
        far = np.abs(self.values - self.grid[point])
        nearer = np.flatnonzero((far < far[entry]) | ((far == far[entry]) & (np.arange(self.n) < entry)))
        taken = tuple(map(int, nearer[np.argsort(far[nearer], kind="stable")]))
        at, distance = float(self.grid[point]), float(far[entry])
        return Claim(step, point, at, entry=entry, distance=distance, taken=taken)

    @cached_property
    def density(self) -> Array:
        """The density at each grid point, (k,)."""
        return self._density_at(self.grid) if len(self.grid) else np.empty(0)

    def _density_at(self, points: Array) -> Array:
        seen = self.values[None, : self.n - self.added]
        return density(seen, points[None], np.array([[self.bandwidth]]), kernel=self.settings.kernel)[0]

    @property
    def steps(self) -> NDArray[np.intp]:
        """The step in which each entry was claimed, from 1; 0 if in none."""
        steps = np.zeros(self.n, np.intp)
        steps[self.claimed[self.order]] = np.arange(1, len(self.order) + 1)
        return steps

    @cached_property
    def entry_density(self) -> Array:
        """The density at each entry; NaN where there is none: for constant rows, other rules, added entries."""
        densities = np.full(self.n, np.nan)
        if self.bandwidth > 0:
            common = self.n - self.added
            densities[:common] = self._density_at(self.values[:common])
        return densities

    @cached_property
    def ranks(self) -> NDArray[np.intp]:
        """Rank of each entry by its density, from 1, the densest; of equal ones the first. 0 if there is no density."""
        ranks = np.zeros(self.n, np.intp)
        count = int((~np.isnan(self.entry_density)).sum())
        ranks[np.argsort(-self.entry_density, kind="stable")[:count]] = np.arange(1, count + 1)
        return ranks

    @cached_property
    def score_ranks(self) -> NDArray[np.intp]:
        """Rank of each entry by the score of its rule, from 1, the highest; of equal ones the first. Else 0."""
        score, ranks = rules.get(self.rule).score, np.zeros(self.n, np.intp)
        if score is not None:
            order = highest_first(score(self.block))[0]
            ranks[order] = np.arange(1, len(order) + 1)
        return ranks

    def claims(self) -> pd.DataFrame:
        """The claims as a table.

        Returns:
            One line a step, from 1: point, at (the grid point), density, level, entry, distance, taken (how many
            entries were nearer). No line where no grid point claims.
        """
        import pandas as pd

        lines = [self.claim(step) for step in range(1, len(self.order) + 1)]
        table = pd.DataFrame(lines, columns=list(Claim._fields)).set_index("step")
        points = table["point"].to_numpy(dtype=int)
        table.insert(2, "density", self.density[points])
        table.insert(3, "level", self.level[points])
        return table.assign(taken=[len(line.taken) for line in lines])

    def table(self) -> pd.DataFrame:
        """The entries as a table.

        Returns:
            One line an entry, by column: fine_tuned, pretrained, update, value (what the rule saw), density, rank,
            step, retained, reason. pretrained and update are NaN where they are not known, density where there is
            none; step and rank are 0 then.
        """
        import pandas as pd

        unknown = np.full(self.n, np.nan)
        pretrained = unknown if self.pretrained is None else self.pretrained
        return pd.DataFrame(
            {
                "fine_tuned": self.fine_tuned,
                "pretrained": pretrained,
                "update": self.fine_tuned - pretrained,
                "value": self.values,
                "density": self.entry_density,
                "rank": self.ranks,
                "step": self.steps,
                "retained": self.mask,
                "reason": [reason(self, i) for i in range(self.n)],
            }
        ).rename_axis("column")

    def entry(self, i: int) -> Card:
        """The decision card of one entry.

        Args:
            i: Number of the entry, from 0 (from the end, if below).

        Returns:
            The card.

        Raises:
            IndexError: There is no such entry.
        """
        if not -self.n <= i < self.n:
            raise IndexError(f"entry must be from {-self.n} to {self.n - 1}, got {i}")
        return Card(self, i % self.n)


class Card:
    """What became of one entry. `text` is for people, `as_dict` for programs; `python` makes the card again."""

    def __init__(self, row: RowExplanation, entry: int) -> None:
        self._row, self._entry = row, entry

    @property
    def python(self) -> str:
        """The line of Python that makes this card."""
        return f"{self._row.python}.entry({self._entry})"

    def as_dict(self) -> dict[str, Any]:
        """All that the card says, as numbers, strings and lists that JSON can hold; None where there is no value."""
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
            **({"scope": "row", "score": None, "threshold": None} if row.shared is None else row.shared.facts(i)),
            "fine_tuned": fine_tuned,
            "pretrained": pretrained,
            "update": None if pretrained is None else fine_tuned - pretrained,
            "retained": retained,
            "after": self._after(fine_tuned) if retained else pretrained,
            "rescaled": retained and row.stored is not None,
            "density": float(row.entry_density[i]) if dense else None,
            "density_rank": int(row.ranks[i]) if dense else None,
            "claim": None if claim is None else {**claim._asdict(), "taken": list(claim.taken)},
            "reason": reason(row, i),
            "python": self.python,
        }

    def _after(self, fine_tuned: float) -> float:
        return fine_tuned if self._row.stored is None else float(self._row.stored[self._entry])

    @property
    def text(self) -> str:
        """The card for people: a line that says what happened, one that says why, then the numbers."""
        card = self.as_dict()
        where = f" in row {card['row']} of {card['tensor']}" if card["tensor"] else ""
        lines = [f"Entry {card['column']}{where} is {'retained' if card['retained'] else 'reset'}."]
        lines.append(f"{card['reason'][0].upper()}{card['reason'][1:]}.")
        values = {"fine-tuned": card["fine_tuned"], "pretrained": card["pretrained"], "update": card["update"]}
        lines.append("; ".join(f"{name} {value:.6g}" for name, value in values.items() if value is not None))
        if card["rescaled"]:
            lines.append(f"the stored value {card['after']:.6g} is rescaled: it is not the fine-tuned one")
        if card["density"] is not None:
            lines.append(f"density {card['density']:.6g}, rank {card['density_rank']} of {card['n']} in its row")
        how_many = (
            f"{card['k']} of {card['n']} retained" if rules.counts(card["rule"]) else f"k = {card['k']} of {card['n']}"
        )
        how_many = how_many if self._row.shared is None else self._row.shared.count(card["k"], card["n"])
        lines.append(f"rule {card['rule']}, {how_many}, on {card['on']}")
        if self._row.stood_in:
            rule = self._row.settings.bandwidth
            lines.append(f"the bandwidth rule {rule} found none for this row: it has that of the normal reference")
        lines.append(card["python"])
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.text


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
