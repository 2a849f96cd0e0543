"""smallest_k: the smallest share of every row that costs no more than a tolerance, by bisection, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ken.density import NORMAL_REFERENCE
from ken.errors import BudgetError, ResultsError
from ken.evaluation.runner import Evaluate, jobs, trials
from ken.models.pairing.pairs import PairOfModels
from ken.rules import Settings

if TYPE_CHECKING:
    import pandas as pd

    from ken.results import Record

COLUMNS = ["k", "evaluations", "metric", "difference", "difference_error", "paired", "lower", "upper", "within"]


@dataclass(frozen=True, eq=False)
class SmallestK:
    """The smallest share whose metric is within the tolerance, and between which shares it is with some confidence.

    k: the share. metric: its metric, baseline: that of the fine-tuned model, difference: metric − baseline. low, high:
    the smallest shares for which the upper, and the lower, limit of the difference is within the tolerance; NaN if
    nothing is known of its error. monotone: False if the metric falls somewhere as k grows, by more than the errors
    explain; bisection may then have missed a smaller share. table: one line a share that was evaluated, from the
    smallest to 1.0 (the fine-tuned model), with the columns k, evaluations, metric (their mean), difference,
    difference_error, paired (whether its sampling error was taken item by item), lower and upper (the limits of the
    difference) and within (the tolerance).
    """

    rule: str
    on: str
    k: float
    low: float
    high: float
    baseline: float
    metric: float
    difference: float
    tolerance: float
    confidence: float
    resolution: float
    monotone: bool
    table: pd.DataFrame = field(repr=False)

    def __str__(self) -> str:
        rule = f"{self.rule} on {self.on}" if self.on == "update" else self.rule
        if self.k == 1:
            found = (
                f"{rule}: no share below 1 keeps the metric within {self.tolerance:g} of the unpruned model's "
                f"{self.baseline:.4g}"
            )
        else:
            found = (
                f"{rule}: {self.k:g} of every row is the smallest share whose metric, {self.metric:.4g}, is no more "
                f"than {self.tolerance:g} below the unpruned model's {self.baseline:.4g}"
            )
        if math.isnan(self.low):
            found += "; how sure that is cannot be said, as the evaluation gives no standard error"
        else:
            found += f"; with {100 * self.confidence:g} % confidence it is between {self.low:g} and {self.high:g}"
        found += f" (in steps of {self.resolution:g})."
        if not self.monotone:
            found += " The metric falls somewhere as the share grows, so that a smaller share may do as well."
        return found


def smallest_k(
    pair: PairOfModels,
    tolerance: float,
    *,
    evaluate: Evaluate,
    rule: str = "ken",
    on: str = "weights",
    seeds: Iterable[int] = (0,),
    repeats: int = 1,
    resolution: float = 0.01,
    confidence: float = 0.95,
    exclude: Sequence[str] = (),
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    evaluation: str = "",
    results: str | Path | None = None,
    progress: bool = True,
) -> SmallestK:
    """The smallest share of every row whose metric is not worse than the unpruned one by more than the tolerance.

    Shares are the multiples of resolution up to 1. They are searched by bisection, which assumes that the metric does
    not fall as k grows: seven to twenty shares are evaluated instead of a hundred, and `monotone` says if they
    contradict that. k = 1 is the fine-tuned model itself, so there is always an answer. tolerance is in units of the
    metric, of which more is better.

    The metric of a share is the mean over seeds (of a rule that draws at random) and over repeats, for an evaluation
    that is itself random. The error of its difference from the unpruned model is put together from the sampling error
    (`difference_error` in `ken.sweep`, with outcomes averaged over seeds and repeats item by item; the same items come
    up each time, so it does not shrink with their number) and the spread over seeds, or of a single seed over
    repeats. With the two limits of a two-sided interval of that confidence (Student's t, its degrees of freedom after
    Satterthwaite 1946) the bisection is done twice more: `low` is the smallest share that may be within the tolerance,
    `high` the smallest that is so with confidence. The interval is of each share by itself, not of the search. One
    seed of a random rule tells nothing of the spread over seeds: give several.

    The other arguments are those of `ken.sweep`; the file of results may be the same, and nothing is evaluated twice.

    Raises `BudgetError` for a tolerance, resolution, confidence or number of repeats that makes no sense (such as a
    tolerance of 5 where the unpruned metric lies between 0 and 1, as soon as that is known), `OutputError` for results
    that may not be written there, and `ResultsError` for a metric that is NaN or infinite; else as `ken.sweep`.

    >>> import torch
    >>> from ken import Pair
    >>> pair = Pair({"w": torch.ones(2, 100)}, {"w": torch.zeros(2, 100)})
    >>> found = smallest_k(pair, 0.255, evaluate=lambda state: state["w"].double().mean())
    >>> print(found)
    ken: 0.75 of every row is the smallest share whose metric, 0.75, is no more than 0.255 below the unpruned model's 1;
    how sure that is cannot be said, as the evaluation gives no standard error (in steps of 0.01).
    >>> found.table["k"].tolist()
    [0.5, 0.63, 0.69, 0.72, 0.74, 0.75, 1.0]
    """
    import pandas as pd
    from tqdm.auto import tqdm

    from ken.results import Key

    _check(tolerance, resolution, confidence, repeats)
    shares = [share for i in range(1, math.ceil(1 / resolution) + 1) if (share := round(i * resolution, 12)) < 1]
    settings = Settings(bandwidth=bandwidth, kernel=kernel)
    keys = jobs([rule], [on], [1.0], seeds, settings)
    with (
        trials(pair, evaluate, exclude=exclude, settings=settings, results=results, evaluation=evaluation) as trial,
        tqdm(desc="evaluate", unit="model", disable=not progress, leave=False) as bar,
    ):

        def records(key: Key) -> list[Record]:
            found = []
            for repeat in range(repeats):
                again = key._replace(repeat=repeat)
                new = trial.known(again) is None
                found.append(trial.record(again))
                bar.update(new)
                if not math.isfinite(found[-1].metric):
                    raise ResultsError(f"the metric must be finite, got {found[-1].metric} of {key.model} {key.k}")
            return found

        unpruned = records(Key("fine-tuned"))
        _check_scale(tolerance, _mean(unpruned))
        lines = {1.0: _Line(1.0, repeats, _mean(unpruned), 0.0, 0.0, _item_by_item([], unpruned), 0.0, 0.0, True)}

        def line(share: float) -> _Line:
            if share not in lines:
                bar.set_postfix_str(f"{rule}, k = {share}")
                found = [records(key._replace(k=share)) for key in keys]
                lines[share] = _line(share, found, unpruned, tolerance, confidence)
            return lines[share]

        def error_is_known() -> bool:
            return not any(math.isnan(line.error) for line in lines.values())

        k = _bisect(shares, lambda share: line(share).within)
        low = high = math.nan
        if error_is_known():
            low = _bisect(shares, lambda share: _is_within(line(share).upper, tolerance, lines[1.0].metric))
            high = _bisect(shares, lambda share: _is_within(line(share).lower, tolerance, lines[1.0].metric))
        if not error_is_known():
            low = high = math.nan
    table = pd.DataFrame(sorted(lines.values()), columns=COLUMNS)
    return SmallestK(
        rule,
        keys[0].on,
        k,
        low,
        high,
        lines[1.0].metric,
        lines[k].metric,
        lines[k].difference,
        float(tolerance),
        float(confidence),
        float(resolution),
        _monotone(sorted(lines.values()), confidence),
        table,
    )


class _Line(NamedTuple):
    k: float
    evaluations: int
    metric: float
    difference: float
    error: float
    paired: bool
    lower: float
    upper: float
    within: bool


def _check(tolerance: float, resolution: float, confidence: float, repeats: int) -> None:
    for name, value, fine, limit in (
        ("tolerance", tolerance, lambda of: 0 <= of < math.inf, "a finite number of at least 0"),
        ("resolution", resolution, lambda of: 1e-6 <= of <= 0.5, "from 0.000001 to 0.5"),
        ("confidence", confidence, lambda of: 0 < of < 1, "between 0 and 1"),
        ("repeats", repeats, lambda of: of >= 1 and of == int(of), "a whole number of at least 1"),
    ):
        if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value) or not fine(value):
            raise BudgetError(f"{name} must be {limit}, got {value!r}")


def _check_scale(tolerance: float, baseline: float) -> None:
    """Of a metric that is a share, no more than 1 can be lost: whoever asks for 5 means 5 %."""
    if 0 <= baseline <= 1 < tolerance:
        meant = f"; a loss of {tolerance:g} % is {tolerance / 100:g}" if tolerance < 100 else ""
        raise BudgetError(
            f"tolerance must be at most 1 for a metric from 0 to 1, such as the unpruned model's {baseline:.4g}, "
            f"got {tolerance:g}{meant}"
        )


def _bisect(shares: Sequence[float], within: Callable[[float], bool]) -> float:
    """The first share that is within, if all behind it are; 1.0, which always is, if none is."""
    first, last = 0, len(shares)
    while first < last:
        middle = (first + last) // 2
        if within(shares[middle]):
            last = middle
        else:
            first = middle + 1
    return shares[first] if first < len(shares) else 1.0


def _mean(records: Sequence[Record]) -> float:
    return math.fsum(record.metric for record in records) / len(records)


def _line(
    share: float, found: Sequence[Sequence[Record]], unpruned: Sequence[Record], tolerance: float, confidence: float
) -> _Line:
    """One share: found has a list of repeats for each seed."""
    every = [record for of_seed in found for record in of_seed]
    metric, baseline = _mean(every), _mean(unpruned)
    error, degrees = _error(found, unpruned)
    difference = metric - baseline
    margin = _quantile(confidence, degrees) * error
    return _Line(
        share,
        len(every),
        metric,
        difference,
        error,
        _item_by_item(found, unpruned),
        difference - margin,
        difference + margin,
        _is_within(difference, tolerance, baseline),
    )


def _is_within(difference: float, tolerance: float, baseline: float) -> bool:
    """Whether a metric is no more than the tolerance below the baseline; 0.752 is within 0.01 of 0.762, as on paper."""
    return difference >= -tolerance - 1e-12 * max(1.0, abs(baseline))


def _item_by_item(found: Sequence[Sequence[Record]], unpruned: Sequence[Record]) -> bool:
    return all(record.by_outcomes for of_seed in (*found, unpruned) for record in of_seed)


def _error(found: Sequence[Sequence[Record]], unpruned: Sequence[Record]) -> tuple[float, float]:
    """Standard error of the difference of two means, and its degrees of freedom; NaN if nothing is known of it."""
    parts = [_sampling([record for of_seed in found for record in of_seed], unpruned)]
    draws = [_mean(of_seed) for of_seed in found] if len(found) > 1 else [record.metric for record in found[0]]
    for values in (draws, [record.metric for record in unpruned]):
        if len(values) > 1:
            parts.append((float(np.var(values, ddof=1)) / len(values), len(values) - 1))
    known = [(variance, degrees) for variance, degrees in parts if not math.isnan(variance)]
    if not known:
        return math.nan, math.nan
    total = math.fsum(variance for variance, _ in known)
    spread = math.fsum(variance**2 / degrees for variance, degrees in known)
    return math.sqrt(total), total**2 / spread if spread else math.inf


def _sampling(found: Sequence[Record], unpruned: Sequence[Record]) -> tuple[float, float]:
    """Variance of the difference for another draw of items, and its degrees of freedom."""
    if _item_by_item([found], unpruned):
        ours, theirs = (
            np.mean([record.outcomes for record in of if record.outcomes is not None], axis=0)
            for of in (found, unpruned)
        )
        items = len(ours)
        return float(np.var(ours - theirs)) / items, max(items - 1, 1)
    variances = [np.mean([record.standard_error**2 for record in of]) for of in (found, unpruned)]
    return float(sum(variances)), math.inf


def _quantile(confidence: float, degrees: float) -> float:
    from scipy.stats import t

    return math.nan if math.isnan(degrees) else float(t.ppf(0.5 + confidence / 2, degrees))


def _monotone(lines: Sequence[_Line], confidence: float) -> bool:
    """Whether the metric nowhere falls as k grows by more than the errors explain, or at all where there are none."""
    for i, smaller in enumerate(lines):
        for larger in lines[i + 1 :]:
            error = math.hypot(smaller.error, larger.error)
            margin = 0.0 if math.isnan(error) else _quantile(confidence, math.inf) * error
            if smaller.metric - larger.metric > margin:
                return False
    return True
