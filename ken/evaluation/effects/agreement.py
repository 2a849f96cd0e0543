"""agreement: whether attribution ranks groups as interventions do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ken.errors import EffectsError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ken.evaluation.effects.attribution import Attribution

#: Below this rank correlation the map is said to be poor.
_POOR = 0.5
_DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Agreement:
    """The rank correlation (Spearman) of attribution with what interventions have measured, over groups.

    Attributes:
        way: "without" or "only": which intervention.
        rho: The correlation, -1 to 1.
        low: Where its interval begins: 95 %, by drawing groups anew (bootstrap).
        high: Where it ends.
        groups: How many groups there are.

    Example:
        >>> print(Agreement("without", 0.8, low=0.6, high=0.9, groups=42))
        attribution ranks 42 groups as resetting them does: rank correlation 0.80 (0.60 to 0.90)
    """

    way: str
    rho: float
    low: float
    high: float
    groups: int

    @property
    def poor(self) -> bool:
        """Whether the map is not to be trusted: the interval reaches below 0.5, or there is none."""
        return not self.low >= _POOR

    def __str__(self) -> str:
        does = "resetting them" if self.way == "without" else "retaining each alone"
        verdict = "attribution ranks" if not self.poor else "attribution is a poor map here: it should rank"
        return (
            f"{verdict} {self.groups} groups as {does} does: "
            f"rank correlation {self.rho:.2f} ({self.low:.2f} to {self.high:.2f})"
        )


def agreement(attribution: Attribution, ablation: pd.DataFrame, by: str = "place", way: str = "without") -> Agreement:
    """Compare an attribution with the interventions on the same groups.

    Args:
        attribution: What `ken.attribute` gives.
        ablation: What `ken.ablate` gives, with losses.
        by: The groups of the ablation.
        way: "without" or "only".

    Returns:
        The rank correlation of each group's share with what its entries have done to the loss: the rise without it,
        which is to be as large as the share is negative, or the fall with it alone.

    Raises:
        EffectsError: The groups are not the same, fewer than three, or have no losses.

    Example:
        >>> import torch, ken
        >>> _ = torch.manual_seed(0)
        >>> layers = lambda: torch.nn.Sequential(*[torch.nn.Linear(3, 3) for _ in range(4)])
        >>> pair = ken.Pair(layers(), layers())
        >>> task = ken.Task([torch.eye(3)], lambda model, batch: model(batch).square().mean(dim=1))
        >>> shares = ken.attribute(pair, task, progress=False)
        >>> table = ken.ablate(pair, evaluate=task.evaluate, by="tensor", progress=False)
        >>> agreement(shares, table, "tensor").groups
        8
    """
    from scipy import stats

    lines = ablation[ablation["way"] == way].set_index("group")
    shares = attribution.table(by)["attribution"]
    if set(lines.index) != set(shares.index):
        raise EffectsError(
            f"the ablation has {len(lines)} groups {way}, the attribution by {by!r} has {len(shares)}, and "
            f"{len(set(lines.index) & set(shares.index))} are in both; give by= as for the ablation"
        )
    measured = lines["loss_difference"].loc[shares.index].to_numpy(float)
    # Without a group the loss rises by what its entries had lowered it; with it alone it falls.
    mapped = shares.to_numpy(float) * (-1 if way == "without" else 1)
    if len(mapped) < 3 or not np.isfinite(measured).all():
        raise EffectsError("a rank correlation takes three groups at least, each with the loss that was measured")
    rho = float(stats.spearmanr(mapped, measured).statistic)
    random = np.random.default_rng(0)
    draws = random.integers(0, len(mapped), (_DRAWS, len(mapped)))
    draws = draws[(np.diff(np.sort(draws), axis=1) > 0).sum(axis=1) >= 2]  # three groups at least
    again = _correlations(stats.rankdata(mapped[draws], axis=1), stats.rankdata(measured[draws], axis=1))
    again = again[~np.isnan(again)]
    low, high = np.quantile(again, [0.025, 0.975]) if len(again) else (math.nan, math.nan)
    return Agreement(way, rho, low=float(low), high=float(high), groups=len(mapped))


def _correlations(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """The correlation of each line of a with that of b, NaN where one of them is constant."""
    a, b = (one - one.mean(axis=1, keepdims=True) for one in (a, b))
    with np.errstate(invalid="ignore"):
        correlations: NDArray[np.float64] = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return correlations
