"""What is known of a row once a rule has decided about it: claims, tables, cards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.cards import Card, reason
from ken.density import density

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


class Claim(NamedTuple):
    """What one grid point did when its turn came: step counts from 1, point and entry from 0."""

    step: int
    point: int
    at: float
    entry: int
    distance: float
    taken: tuple[int, ...]  #: nearer entries, which earlier points had claimed, nearest first


@dataclass(frozen=True, eq=False)
class RowExplanation:
    """A row, what a rule decided about it, and why.

    All arrays are float64 of length n, or k for what grid points have; `claimed` and `order` say which entry each grid
    point claimed, and in which order the points were visited. They are empty where no point claims: for other rules,
    constant rows, k >= n. values are those the rule looked at. The last `added` entries have no pretrained value and
    are retained whole. stood_in: the bandwidth rule found none for this row, so that it has that of the normal
    reference. python is the line that makes this again.
    """

    fine_tuned: Array
    pretrained: Array | None
    k: int
    rule: str
    settings: rules.Settings
    mask: NDArray[np.bool_]
    values: Array
    bandwidth: float
    grid: Array
    level: Array
    order: NDArray[np.intp]
    claimed: NDArray[np.intp]
    tensor: str = ""
    row: int = 0
    seed: int = 0
    added: int = 0
    python: str = ""
    stood_in: bool = False

    @property
    def n(self) -> int:
        """Entries of the row."""
        return len(self.fine_tuned)

    def claim(self, step: int) -> Claim:
        """The claim of that step, from 1."""
        if not 1 <= step <= len(self.order):
            raise IndexError(f"step must be from 1 to {len(self.order)}, got {step}")
        point = int(self.order[step - 1])
        entry = int(self.claimed[point])
        far = np.abs(self.values - self.grid[point])
        nearer = np.flatnonzero((far < far[entry]) | ((far == far[entry]) & (np.arange(self.n) < entry)))
        nearest_first = nearer[np.argsort(far[nearer], kind="stable")]
        return Claim(step, point, float(self.grid[point]), entry, float(far[entry]), tuple(map(int, nearest_first)))

    @cached_property
    def density(self) -> Array:
        """The density at each grid point, (k,)."""
        if not len(self.grid):
            return np.empty(0)
        known = self.values[None, : self.n - self.added]
        return density(known, self.grid[None], np.array([[self.bandwidth]]), self.settings.kernel)[0]

    @property
    def steps(self) -> NDArray[np.intp]:
        """The step in which each entry was claimed, from 1; 0 if in none."""
        steps = np.zeros(self.n, np.intp)
        steps[self.claimed[self.order]] = np.arange(1, len(self.order) + 1)
        return steps

    @cached_property
    def entry_density(self) -> Array:
        """The density at each entry; NaN where there is none: for constant rows, other rules, added entries."""
        found = np.full(self.n, np.nan)
        if self.bandwidth > 0:
            known = self.values[: self.n - self.added]
            found[: len(known)] = density(known[None], known[None], np.array([[self.bandwidth]]), self.settings.kernel)[
                0
            ]
        return found

    @cached_property
    def ranks(self) -> NDArray[np.intp]:
        """Rank of each entry by its density, from 1, the densest; of equal ones the first. 0 if there is no density."""
        ranks = np.zeros(self.n, np.intp)
        known = int((~np.isnan(self.entry_density)).sum())
        ranks[np.argsort(-self.entry_density, kind="stable")[:known]] = np.arange(1, known + 1)
        return ranks

    def claims(self) -> pd.DataFrame:
        """One line a step: point, at (the grid point), density, level, entry, distance, taken (how many nearer)."""
        import pandas as pd

        lines = [self.claim(step) for step in range(1, len(self.order) + 1)]
        table = pd.DataFrame(lines, columns=list(Claim._fields)).set_index("step")
        points = table["point"].to_numpy(dtype=int)
        table.insert(2, "density", self.density[points])
        table.insert(3, "level", self.level[points])
        return table.assign(taken=[len(line.taken) for line in lines])

    def table(self) -> pd.DataFrame:
        """One line an entry, by column.

        fine_tuned, pretrained, update, value (what the rule saw), density, rank, step, retained, reason. pretrained and
        update are NaN where they are not known, density where there is none; step and rank are 0 then.
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
        """The decision card of one entry, counted from 0 (from the end, if below)."""
        if not -self.n <= i < self.n:
            raise IndexError(f"entry must be from {-self.n} to {self.n - 1}, got {i}")
        return Card(self, i % self.n)
