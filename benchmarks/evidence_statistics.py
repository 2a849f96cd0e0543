"""Means with intervals, comparisons and what they allow to say: the statistics of `evidence.py`.

Everything is computed from outcomes, arrays (fine-tunings, seeds, texts) of 0 and 1: whether a model labelled a text
correctly. A difference of two models is taken text by text, fine-tuning by fine-tuning and, where both rules draw at
random, seed by seed. All three are samples, so the interval of a mean must cover another draw of each:

    variance of the mean = v(fine-tunings) + v(seeds) + v(texts)

where v of a factor is the variance of its levels' means over the number of its levels. What two factors share is in
more than one of the terms, which makes the variance rather too large than too small. The quantile is that of
Student's t with the degrees of freedom of Satterthwaite (1946): close to 2, and the interval wide, where three
fine-tunings differ by more than texts do; close to the normal one where the texts decide. In simulations with small
and large effects of each, an interval holds the truth in 92 to 99 of 100 cases: 95 if the texts decide, fewer where
fine-tunings differ by two or three times what texts do, more where models have little in common. A factor of one level
(a rule that does not draw, or a single fine-tuning) has no term: the interval says nothing about other levels. Where
all texts fare alike, none of n differing, the interval is that of Clopper and Pearson: 1 − 0.025^(1/n) to both sides.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
MARGIN = 0.01  # of accuracy: a larger loss counts as one


class Rule(NamedTuple):
    """A rule and the values it looks at; empty if that makes no difference to it."""

    name: str
    on: str = ""

    @property
    def label(self) -> str:
        return f"{self.name} on update" if self.on == "update" else self.name


UNPRUNED, PRETRAINED = Rule("unpruned"), Rule("pretrained")
KEN, GRID, DENSITY = (Rule(name, "weights") for name in ("ken", "grid", "density"))
KEN_ON_UPDATE, GRID_ON_UPDATE, DENSITY_ON_UPDATE = (Rule(name, "update") for name in ("ken", "grid", "density"))
RANDOM, MAGNITUDE, UPDATE, DELLA = map(Rule, ("random", "magnitude", "update", "della"))

RULES = (
    *(KEN, GRID, DENSITY, RANDOM, MAGNITUDE),
    *(KEN_ON_UPDATE, GRID_ON_UPDATE, DENSITY_ON_UPDATE, UPDATE, DELLA),
)
# Chosen before this was measured. Each answers one question.
COMPARISONS = {
    (KEN, RANDOM): "can the rule be told from chance?",
    (KEN, GRID): "what does the density add?",
    (DENSITY, RANDOM): "are the densest entries worth more than others?",
    (MAGNITUDE, RANDOM): "are the largest weights?",
    (KEN_ON_UPDATE, KEN): "what does looking at the update change?",
    (UPDATE, KEN_ON_UPDATE): "is the largest update enough?",
    (DELLA, UPDATE): "does chance help the largest updates?",
}

Outcomes = Mapping[tuple[Rule, float], NDArray[np.bool_]]
COLUMNS = [
    *("quantity", "rule", "on", "against", "against_on", "k", "estimate", "low", "high"),
    *("error_fine_tunings", "error_seeds", "error_texts", "df", "p", "p_holm", "fine_tunings", "seeds", "texts"),
]


class Estimate(NamedTuple):
    """A mean, its interval at `CONFIDENCE`, and where the interval comes from."""

    mean: float
    low: float
    high: float
    errors: tuple[float, float, float]  # standard errors by fine-tunings, seeds, texts; NaN for a factor of one level
    df: float
    p: float  # two-sided, of the hypothesis that the true mean is 0


def estimate(values: NDArray) -> Estimate:
    """Mean of (fine-tunings, seeds, texts), with an interval that covers other levels of each, as this module says.

    >>> found = estimate(np.array([1.0, 0.0, 1.0, 1.0]).reshape(1, 1, 4))
    >>> found.mean, found.errors[2], found.df
    (0.75, 0.25, 3.0)
    """
    values = np.asarray(values, np.float64)
    mean, terms = float(values.mean()), []
    for axis, levels in enumerate(values.shape):
        means = values.mean(axis=tuple({0, 1, 2} - {axis}))
        terms.append((float(means.var(ddof=1)) / levels, levels - 1) if levels > 1 else (math.nan, 0))
    known = [(variance, df) for variance, df in terms if df]
    variance = sum(variance for variance, _ in known)
    if variance < 1e-30:  # every text alike, to rounding: as many as may differ although none of these does
        half = 1 - ((1 - CONFIDENCE) / 2) ** (1 / values.shape[2])
        return Estimate(mean, mean - half, mean + half, _roots(terms), math.nan, float(abs(mean) < 1e-12))
    df = variance**2 / sum(part**2 / degrees for part, degrees in known)
    half = math.sqrt(variance) * float(stats.t.ppf((1 + CONFIDENCE) / 2, df))
    p = 2 * float(stats.t.sf(abs(mean) / math.sqrt(variance), df))
    return Estimate(mean, mean - half, mean + half, _roots(terms), df, p)


def _roots(terms: Sequence[tuple[float, int]]) -> tuple[float, float, float]:
    first, second, third = (math.sqrt(variance) for variance, _ in terms)
    return first, second, third


def holm(ps: Sequence[float]) -> NDArray[np.float64]:
    """p-values adjusted for their number (Holm 1979): all below α are true with probability 1 − α, whatever they share.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(ps, kind="stable")
    raised = np.asarray(ps)[order] * np.arange(len(ps), 0, -1)
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return adjusted


def table(outcomes: Outcomes, ks: Sequence[float]) -> pd.DataFrame:
    """Every number of the page, a line each; `COLUMNS`, in accuracy (0 to 1), not in percent.

    quantity is "accuracy", "loss" (a rule less the unpruned model) or "comparison" (one of `COMPARISONS`);
    p_holm is over all comparisons at all ks.
    """
    lines = []

    def add(quantity: str, rule: Rule, against: Rule, *, k: float, values: NDArray) -> None:
        estimated = estimate(values)
        p = math.nan if quantity == "accuracy" else estimated.p
        numbers = (estimated.mean, estimated.low, estimated.high, *estimated.errors, estimated.df, p, math.nan)
        lines.append((quantity, *rule, *against, k, *numbers, *values.shape))

    nothing = Rule("")
    unpruned = outcomes[UNPRUNED, 1.0]
    for rule, k in ((UNPRUNED, 1.0), (PRETRAINED, 0.0), *((rule, k) for rule in RULES for k in ks)):
        add("accuracy", rule, nothing, k=k, values=outcomes[rule, k])
    for rule in RULES:
        for k in ks:
            add("loss", rule, UNPRUNED, k=k, values=_difference(outcomes[rule, k], unpruned))
    for rule, against in COMPARISONS:
        for k in ks:
            add("comparison", rule, against, k=k, values=_difference(outcomes[rule, k], outcomes[against, k]))
    made = pd.DataFrame(lines, columns=COLUMNS)
    compared = made["quantity"] == "comparison"
    made.loc[compared, "p_holm"] = holm(made.loc[compared, "p"].to_numpy())
    return made


def to_csv(table: pd.DataFrame) -> str:
    """The table as text, six digits each."""
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def from_csv(text: str) -> pd.DataFrame:
    """The table back from `to_csv`: what everything else is made of, so that the file alone gives the same page."""
    return pd.read_csv(io.StringIO(text)).fillna({"on": "", "against": "", "against_on": ""})


def _difference(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.int8]:
    return a.astype(np.int8) - b.astype(np.int8)  # one seed stands beside all seeds of the other


def smallest_match(table: pd.DataFrame, rule: Rule) -> float | None:
    """The smallest k at which, and at all larger ones, the loss is surely below `MARGIN`; None if there is none.

    Surely: the interval of the difference from the unpruned model lies above −`MARGIN`. The ks are tested from the
    largest downwards, up to the first that fails: in that order the chance that any k passes wrongly is
    (1 − `CONFIDENCE`) / 2 for each rule, however many ks there are.
    """
    losses = table[(table["quantity"] == "loss") & (table["rule"] == rule.name) & (table["on"] == rule.on)]
    smallest = None
    for line in losses.sort_values("k", ascending=False).itertuples():
        if line.low <= -MARGIN:
            break
        smallest = line.k
    return smallest
