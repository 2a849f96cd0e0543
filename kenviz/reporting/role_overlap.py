"""What two subnetworks of one pair have in common, by role and in all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

import ken
from ken.retention import alike, in_common
from kenviz.study.comparison import net_in_words

_ADDED = ["paired", "retained_a", "retained_b", "both", "both_expected", "energy"]
_ENERGIES = {f"energy_{which}": f"update_share_{which}" for which in ("a", "b", "both")}


@dataclass(frozen=True, eq=False)
class RoleOverlap:
    """by_tensor: `ken.retention.compare`; by_role: its sums, with jaccard and shares of the update made of the sums.

    net is the other subnetwork, other what it is in words. elsewhere: it was made of another fine-tuned model, such as
    one for another task. alike: why the two are alike whatever their models, as if they were one draw; empty if nothing
    says so. drawn: how chance would have drawn the entries of both, in words.
    """

    other: str
    net: ken.Subnetwork
    elsewhere: bool
    by_tensor: pd.DataFrame
    by_role: pd.DataFrame
    total: pd.Series
    alike: str = ""
    drawn: str = "row by row"

    @property
    def same_draw(self) -> bool:
        """Whether chance has no say in what the two share."""
        return bool(self.by_tensor["same_draw"].any())


def compared(net: ken.Subnetwork, other: ken.Subnetwork, pair: ken.retention.PairOfModels) -> RoleOverlap:
    """Read both models once more. Raises what `ken.retention.compare` does, and `ValueError` if nothing is common."""
    by_tensor = in_common(net, other, pair, progress=False)
    if by_tensor.empty:
        raise ValueError("the two subnetworks have no pruned tensor in common")
    energies = {name: (by_tensor[share] * by_tensor["energy"]).fillna(0.0) for name, share in _ENERGIES.items()}
    table = by_tensor.assign(**energies)
    added = [*_ADDED, *_ENERGIES]
    by_role = _shares(table.groupby("role", sort=False)[added].sum())
    total = _shares(table[added].sum().to_frame().T).iloc[0]
    if by_tensor["same_draw"].any():  # what is not known adds up to 0
        unknown = ["both_expected", "jaccard_expected"]
        by_role[unknown], total[unknown] = np.nan, np.nan
    return RoleOverlap(
        other=net_in_words(other),
        net=other,
        elsewhere=other.fine_tuned.fingerprint != net.fine_tuned.fingerprint,
        by_tensor=by_tensor,
        by_role=by_role,
        total=total,
        alike=alike(net, other),
        drawn="row by row" if "row" in (net.recipe.scope, other.recipe.scope) else "tensor by tensor",
    )


def _shares(sums: pd.DataFrame) -> pd.DataFrame:
    either = sums["retained_a"] + sums["retained_b"]
    ratios = {
        "jaccard": ("both", either - sums["both"]),
        "jaccard_expected": ("both_expected", either - sums["both_expected"]),
    }
    ratios |= {share: (name, sums["energy"]) for name, share in _ENERGIES.items()}
    return sums.assign(**{ratio: sums[part] / whole.where(whole > 0) for ratio, (part, whole) in ratios.items()})
