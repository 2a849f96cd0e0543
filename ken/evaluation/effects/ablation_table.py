"""The table of an ablation: what came out, beside the model that it is compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ken.evaluation.effects.groups import Group
from ken.evaluation.effects.outcomes import Outcome
from ken.evaluation.effects.paired import NOTHING_KNOWN, Difference, difference, holm, sign_test
from ken.models.named_tables import named_table

if TYPE_CHECKING:
    import pandas as pd

#: The columns of the table, before those of further metrics.
COLUMNS = [
    *("way", "group", "seed", "entries", "share", "metric", "standard_error"),
    *(f"metric_{name}" for name in ("difference", "error", "low", "high", "p", "p_holm")),
    "loss",
    *(f"loss_{name}" for name in ("difference", "error", "low", "high", "p", "p_holm")),
]
_BASE = {"without": "fine-tuned", "control": "fine-tuned", "only": "pretrained"}
_ORDER = ["fine-tuned", "pretrained", "without", "only", "control"]


def tabled(outcomes: Sequence[tuple[Outcome, Group | None]], entries: int, confidence: float) -> pd.DataFrame:
    """Outcomes as the table that `ken.ablate` describes.

    entries is how many all groups could have, confidence that of all intervals of one way at once.
    """
    bases = {outcome.of_what.way: outcome for outcome, group in outcomes if group is None}
    together = max(1, sum(outcome.of_what.way == "without" for outcome, _ in outcomes))
    together = max(together, sum(outcome.of_what.way == "only" for outcome, _ in outcomes))
    lines = []
    for outcome, group in sorted(outcomes, key=lambda pair: _ORDER.index(pair[0].of_what.way)):
        way, name, _, seed = outcome.of_what
        base = bases.get(_BASE.get(way, ""))
        size = entries if group is None else group.entries
        line: dict[str, Any] = {"way": way, "group": name, "seed": seed, "entries": size, "share": size / entries}
        line |= {"metric": outcome.metric, "standard_error": outcome.standard_error, "loss": outcome.loss}
        for kind, one in (("metric", _metric), ("loss", _loss)):
            mean, *rest = NOTHING_KNOWN if base is None else one(outcome, base, confidence, together=together)
            line |= {f"{kind}_difference": mean}
            line |= {f"{kind}_{name}": value for name, value in zip(("error", "low", "high", "p"), rest, strict=True)}
        lines.append({**line, **outcome.metrics, "metric_p_holm": math.nan, "loss_p_holm": math.nan})
    further = list(dict.fromkeys(name for outcome, _ in outcomes for name in outcome.metrics if name not in COLUMNS))
    table = named_table(lines, [*COLUMNS, *further])
    for way in ("without", "only"):
        chosen = table["way"] == way
        for kind in ("metric", "loss"):
            table.loc[chosen, f"{kind}_p_holm"] = holm(table.loc[chosen, f"{kind}_p"].tolist())
    return table


def _metric(outcome: Outcome, base: Outcome, confidence: float, *, together: int) -> Difference:
    """The difference of two metrics: item by item where the outcomes tell it, else from their own errors."""
    by_items = [
        one.outcomes is not None and math.isclose(one.metric, one.outcomes.mean(), abs_tol=1e-9)
        for one in (outcome, base)
    ]
    if all(by_items):
        assert outcome.outcomes is not None
        assert base.outcomes is not None
        gained = int((outcome.outcomes & ~base.outcomes).sum())
        lost = int((base.outcomes & ~outcome.outcomes).sum())
        changes = outcome.outcomes.astype(np.float64) - base.outcomes
        return difference(changes, confidence, together)._replace(p=sign_test(gained, lost))
    mean, error = outcome.metric - base.metric, math.hypot(outcome.standard_error, base.standard_error)
    return NOTHING_KNOWN._replace(mean=mean, error=error)


def _loss(outcome: Outcome, base: Outcome, confidence: float, *, together: int) -> Difference:
    if outcome.losses is None or base.losses is None:
        return NOTHING_KNOWN
    return difference(outcome.losses - base.losses, confidence, together)
