"""Which rules, over which range, on which tasks; and the table of what they cost: behind docs/evidence-scopes.csv.

An arm is a rule, the values it looks at, and its scope: whether the budget is spent in every row, in every tensor or
over the whole model. Outcomes are kept by task, arm, share and fine-tuning, so that a comparison is made over the
fine-tunings that both sides have.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from equivalence import equivalence, verdict
from evidence_statistics import Estimate, estimate, holm
from numpy.typing import NDArray


class Arm(NamedTuple):
    """A rule, the values it looks at (empty if that makes no difference to it), and its scope."""

    rule: str
    on: str = ""
    scope: str = "row"

    @property
    def label(self) -> str:
        """As the page says it.

        >>> Arm("ken", "pretrained").label, Arm("update", scope="model").label
        ('`ken` on pretrained', '`update`, model')
        """
        looks = f" on {self.on}" if self.on not in {"", "weights"} else ""
        return f"`{self.rule}`{looks}" + ("" if self.scope == "row" else f", {self.scope}")


UNPRUNED, PRETRAINED = Arm("unpruned", scope=""), Arm("pretrained", scope="")
KEN, KEN_ON_UPDATE, KEN_ON_PRETRAINED = (Arm("ken", on) for on in ("weights", "update", "pretrained"))
RANDOM, UPDATE, MAGNITUDE, SMALLEST = map(Arm, ("random", "update", "magnitude", "smallest_update"))
UPDATE_TENSOR, UPDATE_MODEL = (Arm("update", scope=scope) for scope in ("tensor", "model"))
MAGNITUDE_MODEL = Arm("magnitude", scope="model")
ARMS = (
    *(KEN, RANDOM, KEN_ON_PRETRAINED, MAGNITUDE, MAGNITUDE_MODEL),
    *(KEN_ON_UPDATE, UPDATE, UPDATE_TENSOR, UPDATE_MODEL, SMALLEST),
)
# Chosen before this was measured. Each answers one question.
COMPARISONS = {
    (KEN, RANDOM): "can the rule be told from chance?",
    (KEN, KEN_ON_PRETRAINED): "does it matter to the rule what was learned?",
    (MAGNITUDE, RANDOM): "are the largest weights worth more?",
    (RANDOM, SMALLEST): "are the smallest updates worth less?",
    (KEN_ON_UPDATE, KEN): "what does looking at the update change?",
    (UPDATE, KEN_ON_UPDATE): "is the largest update enough?",
    (UPDATE_TENSOR, UPDATE): "one budget a tensor instead of a row?",
    (UPDATE_MODEL, UPDATE): "one budget for the whole model?",
    (MAGNITUDE_MODEL, MAGNITUDE): "and if the rule looks at the weights?",
}

#: By task, arm and share: for each fine-tuning, whether each text was labelled correctly, (seeds, texts).
Outcomes = Mapping[tuple[str, Arm, float], Mapping[int, NDArray[np.bool_]]]
_ARM, _AGAINST = ("rule", "on", "scope"), ("against_rule", "against_on", "against_scope")
_NUMBERS = ("estimate", "low", "high", "error_fine_tunings", "error_seeds", "error_texts", "df", "p", "p_equivalent")
COLUMNS = ["task", "quantity", *_ARM, *_AGAINST, "k", *_NUMBERS, "fine_tunings", "seeds", "texts"]
ADJUSTED = {"p": "p_holm", "p_equivalent": "p_equivalent_holm"}


def table(outcomes: Outcomes) -> pd.DataFrame:
    """Every number of the page, a line each, in accuracy (0 to 1): what is there, in the order of `ARMS`.

    quantity is "accuracy", "loss" (an arm less the unpruned model) or "comparison" (one of `COMPARISONS`). p is of no
    difference, p_equivalent of one of `MARGIN` or more; both are judged together over the comparisons of all tasks and
    shares (`p_holm`, `p_equivalent_holm`), and verdict is what that allows to say.
    """
    made = pd.DataFrame(_lines(outcomes), columns=COLUMNS)
    compared = made["quantity"] == "comparison"
    for name, adjusted in ADJUSTED.items():
        made[adjusted] = math.nan
        made.loc[compared, adjusted] = holm(made.loc[compared, name].to_numpy())
    made["verdict"] = [
        verdict(line.p_holm, line.p_equivalent_holm) if line.quantity == "comparison" else ""
        for line in made.itertuples()
    ]
    return made


def _lines(outcomes: Outcomes) -> Iterator[tuple[object, ...]]:
    tasks = list(dict.fromkeys(task for task, _, _ in outcomes))
    ks = sorted({k for _, _, k in outcomes if 0 < k < 1}, reverse=True)
    nothing = Arm("", scope="")
    for task in tasks:
        bounds = [(UNPRUNED, 1.0), (PRETRAINED, 0.0)]
        for arm, k in (*bounds, *((arm, k) for arm in ARMS for k in ks)):
            if (task, arm, k) in outcomes:
                values = np.array(list(outcomes[task, arm, k].values()))
                yield _line(task, "accuracy", arm, nothing, k=k, values=values)
        pairs = [("loss", arm, UNPRUNED) for arm in ARMS] + [("comparison", a, b) for a, b in COMPARISONS]
        for quantity, arm, against in pairs:
            for k in ks:
                other = 1.0 if against == UNPRUNED else k
                values = _difference(outcomes.get((task, arm, k), {}), outcomes.get((task, against, other), {}))
                if values is not None:
                    yield _line(task, quantity, arm, against, k=k, values=values)


def _line(task: str, quantity: str, arm: Arm, against: Arm, *, k: float, values: NDArray) -> tuple[object, ...]:
    measured: Estimate = estimate(values)
    ps = (math.nan, math.nan) if quantity == "accuracy" else (measured.p, equivalence(measured, values.shape))
    numbers = (measured.mean, measured.low, measured.high, *measured.errors, measured.df, *ps)
    return (task, quantity, *arm, *against, k, *numbers, *values.shape)


def _difference(a: Mapping[int, NDArray], b: Mapping[int, NDArray]) -> NDArray[np.int8] | None:
    """Over the fine-tunings that both have; one seed stands beside all seeds of the other. None if there are none."""
    both = [tuning for tuning in a if tuning in b]
    return np.array([a[t].astype(np.int8) - b[t].astype(np.int8) for t in both]) if both else None


def to_csv(made: pd.DataFrame) -> str:
    """The table as text, six digits each."""
    return made.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def from_csv(text: str) -> pd.DataFrame:
    """The table back from `to_csv`: what the page is made of, so that the file alone gives the same page."""
    words = (*_ARM, *_AGAINST, "verdict")
    return pd.read_csv(io.StringIO(text), dtype=dict.fromkeys(words, str)).fillna(dict.fromkeys(words, ""))


def one(made: pd.DataFrame, task: str, quantity: str, arm: Arm, *, k: float, against: Arm | None = None):
    """The line of a table, or None if that was not measured."""
    chosen = (made["task"] == task) & (made["quantity"] == quantity) & (made["k"] == k)
    for names, wanted in ((_ARM, arm), (_AGAINST, against)):
        for name, value in zip(names, wanted or (), strict=False):
            chosen &= made[name] == value
    lines = made[chosen]
    if len(lines) > 1:
        raise ValueError(f"{quantity} of {arm} at {k} on {task} is in the table {len(lines)} times")
    return None if lines.empty else lines.iloc[0]
