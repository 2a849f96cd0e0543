"""smallest_k: the smallest share of every row that costs no more than a tolerance, by bisection, and how sure it is."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ken.density import NORMAL_REFERENCE
from ken.errors import BudgetError, ResultsError
from ken.evaluation.runner import Evaluate, jobs, trials
from ken.evaluation.sweep import item_by_item
from ken.models.pairing.pairs import PairOfModels
from ken.results import Key, Record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class SmallestK:
    """The smallest share whose metric is within the tolerance, and between which shares it is with some confidence.

    Attributes:
        rule: The rule.
        on: What it looked at, as in `ken.prune`.
        k: The share.
        low: The smallest share for which the upper limit of the difference is within the tolerance; NaN if nothing is
            known of its error.
        high: The same of the lower limit.
        baseline: The metric of the fine-tuned model.
        metric: That of the share k.
        difference: metric − baseline.
        tolerance: In units of the metric.
        confidence: That of the limits.
        resolution: Step of the shares.
        monotone: False if the metric falls somewhere as k grows, by more than the errors explain; bisection may then
            have missed a smaller share.
        table: One line a share that was evaluated, from the smallest to 1.0 (the fine-tuned model), with the columns k,
            evaluations, metric (their mean), difference, difference_error, paired (whether its sampling error was
            taken item by item), lower and upper (the limits of the difference) and within (the tolerance).
        scope: Over what k is counted, as in `ken.prune`.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair({"w": torch.ones(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> smallest = smallest_k(pair, 0.25, evaluate=lambda state: state["w"].double().mean(), resolution=0.25)
        >>> smallest.k, smallest.baseline, smallest.difference, smallest.monotone
        (0.75, 1.0, -0.25, True)
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
    scope: str = "row"

    def __str__(self) -> str:
        rule = f"{self.rule} on {self.on}" if self.on not in ("", "weights") else self.rule
        over = {"row": "every row", "tensor": "every tensor", "model": "all pruned tensors together"}[self.scope]
        if self.k == 1:
            text = (
                f"{rule}: no share below 1 keeps the metric within {self.tolerance:g} of the unpruned model's "
                f"{self.baseline:.4g}"
            )
        else:
            text = (
                f"{rule}: {self.k:g} of {over} is the smallest share whose metric, {self.metric:.4g}, is no more "
                f"than {self.tolerance:g} below the unpruned model's {self.baseline:.4g}"
            )
        if math.isnan(self.low):
            text += "; how sure that is cannot be said, as the evaluation gives no standard error"
        else:
            text += f"; with {100 * self.confidence:g} % confidence it is between {self.low:g} and {self.high:g}"
        text += f" (in steps of {self.resolution:g})."
        if not self.monotone:
            text += " The metric falls somewhere as the share grows, so that a smaller share may do as well."
        return text


def smallest_k(
    pair: PairOfModels,
    tolerance: float,
    *,
    evaluate: Evaluate,
    rule: str = "ken",
    on: str = "weights",
    scope: str = "row",
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
    contradict that. k = 1 is the fine-tuned model itself, so there is always an answer.

    The metric of a share is the mean over seeds and repeats. The error of its difference from the unpruned model is put
    together from the sampling error (`difference_error` in `ken.sweep`, with outcomes averaged over seeds and repeats
    item by item; the same items come up each time, so it does not shrink with their number) and the spread over seeds,
    or of a single seed over repeats. With the two limits of a two-sided interval of that confidence (Student's t, its
    degrees of freedom after Satterthwaite 1946) the bisection is done twice more: `low` is the smallest share that may
    be within the tolerance, `high` the smallest that is so with confidence. The interval is of each share by itself,
    not of the search.

    Args:
        pair: The fine-tuned and the pretrained model.
        tolerance: How much may be lost, in units of the metric, of which more is better.
        evaluate: As in `ken.sweep`, and so exclude, bandwidth, kernel, evaluation, results and progress. The file of
            results may be the same, and nothing is evaluated twice.
        rule: Its name.
        on: As in `ken.prune`.
        scope: As in `ken.prune`.
        seeds: Of a rule that draws at random. One tells nothing of the spread over seeds: give several.
        repeats: How often each model is evaluated, for an evaluation that is itself random.
        resolution: Step of the shares.
        confidence: Of the interval, between 0 and 1.
        exclude: Patterns of tensors to carry whole.
        bandwidth: A rule's name, or a number in units of the values.
        kernel: Its name.
        evaluation: Your own name for what is evaluated.
        results: File that keeps every evaluation.
        progress: Whether to show a bar.

    Returns:
        The share, and how sure it is; as text, a sentence.

    Raises:
        BudgetError: A tolerance, resolution, confidence or number of repeats that makes no sense (such as a tolerance
            of 5 where the unpruned metric lies between 0 and 1, as soon as that is known).
        ResultsError: A metric that is NaN or infinite. Else what `ken.sweep` raises.

    Example:
        >>> import torch
        >>> from ken import Pair
        >>> pair = Pair({"w": torch.ones(2, 100)}, {"w": torch.zeros(2, 100)})
        >>> smallest = smallest_k(pair, 0.255, evaluate=lambda state: state["w"].double().mean())
        >>> print(smallest)
        ken: 0.75 of every row is the smallest share whose metric, 0.75, is no more than 0.255 below the unpruned
        model's 1; how sure that is cannot be said, as the evaluation gives no standard error (in steps of 0.01).
        >>> smallest.table["k"].tolist()
        [0.5, 0.63, 0.69, 0.72, 0.74, 0.75, 1.0]
    """
    import pandas as pd

    _check(tolerance=tolerance, resolution=resolution, confidence=confidence, repeats=repeats)
    shares = [share for i in range(1, math.ceil(1 / resolution) + 1) if (share := round(i * resolution, 12)) < 1]
    keys = jobs([rule], [on], [1.0], seeds=seeds, scope=[scope])
    with trials(
        pair,
        evaluate,
        exclude=exclude,
        bandwidth=bandwidth,
        kernel=kernel,
        evaluation=evaluation,
        results=results,
        progress=progress,
    ) as trial:

        def records(key: Key) -> list[Record]:
            repeated = []
            for repeat in range(repeats):
                record = trial.record(key._replace(repeat=repeat))
                if not math.isfinite(record.metric):
                    raise ResultsError(f"the metric must be finite, got {record.metric} of {key.model} {key.k}")
                repeated.append(record)
            return repeated

        unpruned = records(Key("fine-tuned"))
        baseline = _mean(unpruned)
        _check_scale(tolerance, baseline)
        lines: dict[float, _Line] = {}

        def line(share: float) -> _Line:
            if share not in lines:
                draws = [records(key._replace(k=share)) for key in keys] if share < 1 else [unpruned]
                lines[share] = _line(share, draws, unpruned, tolerance=tolerance, confidence=confidence)
            return lines[share]

        def first(within: Callable[[_Line], bool]) -> float:
            """The first share that is within, if all behind it are; 1.0, which always is, if none is."""
            return [*shares, 1.0][bisect_left(shares, True, key=lambda share: within(line(share)))]

        def error_is_known() -> bool:
            return not any(math.isnan(line.difference_error) for line in lines.values())

        whole = lines[1.0] = line(1.0)._replace(difference_error=0.0, lower=0.0, upper=0.0)
        k = first(lambda line: line.within)
        low = high = math.nan
        if error_is_known():
            low = first(lambda line: _is_within(line.upper, tolerance, baseline))
            high = first(lambda line: _is_within(line.lower, tolerance, baseline))
        if not error_is_known():
            low = high = math.nan
    return SmallestK(
        rule=rule,
        on=keys[0].on,
        k=k,
        low=low,
        high=high,
        baseline=whole.metric,
        metric=lines[k].metric,
        difference=lines[k].difference,
        tolerance=float(tolerance),
        confidence=float(confidence),
        resolution=float(resolution),
        monotone=_monotone(sorted(lines.values()), confidence),
        table=pd.DataFrame(sorted(lines.values())),
        scope=scope,
    )


class _Line(NamedTuple):
    """A line of `SmallestK.table`."""

    k: float
    evaluations: int
    metric: float
    difference: float
    difference_error: float
    paired: bool
    lower: float
    upper: float
    within: bool


def _check(**values: float) -> None:
    for name, allowed, limit in (
        ("tolerance", lambda value: 0 <= value < math.inf, "a finite number of at least 0"),
        ("resolution", lambda value: 1e-6 <= value <= 0.5, "from 0.000001 to 0.5"),
        ("confidence", lambda value: 0 < value < 1, "between 0 and 1"),
        ("repeats", lambda value: value >= 1 and value == int(value), "a whole number of at least 1"),
    ):
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value) or not allowed(value):
            raise BudgetError(f"{name} must be {limit}, got {value!r}")


def _check_scale(tolerance: float, baseline: float) -> None:
    """Of a metric that is a share, no more than 1 can be lost: whoever asks for 5 means 5 %."""
    if 0 <= baseline <= 1 < tolerance:
        meant = f"; a loss of {tolerance:g} % is {tolerance / 100:g}" if tolerance < 100 else ""
        raise BudgetError(
            f"tolerance must be at most 1 for a metric from 0 to 1, such as the unpruned model's {baseline:.4g}, "
            f"got {tolerance:g}{meant}"
        )


def _mean(records: Sequence[Record]) -> float:
    return math.fsum(record.metric for record in records) / len(records)


def _line(
    share: float, draws: Sequence[Sequence[Record]], unpruned: Sequence[Record], *, tolerance: float, confidence: float
) -> _Line:
    """One share: draws has a list of repeats for each seed."""
    records, baseline = [*chain.from_iterable(draws)], _mean(unpruned)
    error, degrees = _error(draws, unpruned)
    difference = _mean(records) - baseline
    margin = _quantile(confidence, degrees) * error
    return _Line(
        k=share,
        evaluations=len(records),
        metric=_mean(records),
        difference=difference,
        difference_error=error,
        paired=item_by_item(*records, *unpruned),
        lower=difference - margin,
        upper=difference + margin,
        within=_is_within(difference, tolerance, baseline),
    )


def _is_within(difference: float, tolerance: float, baseline: float) -> bool:
    """Whether a metric is no more than the tolerance below the baseline; 0.752 is within 0.01 of 0.762, as on paper."""
    return difference >= -tolerance - 1e-12 * max(1.0, abs(baseline))


def _error(draws: Sequence[Sequence[Record]], unpruned: Sequence[Record]) -> tuple[float, float]:
    """Standard error of the difference of two means, and its degrees of freedom; NaN if nothing is known of it."""
    parts = [_sampling([*chain.from_iterable(draws)], unpruned)]
    means = [_mean(draw) for draw in draws] if len(draws) > 1 else [record.metric for record in draws[0]]
    for values in (means, [record.metric for record in unpruned]):
        if len(values) > 1:
            parts.append((float(np.var(values, ddof=1)) / len(values), len(values) - 1))
    parts = [(variance, degrees) for variance, degrees in parts if not math.isnan(variance)]
    if not parts:
        return math.nan, math.nan
    total = math.fsum(variance for variance, _ in parts)
    spread = math.fsum(variance**2 / degrees for variance, degrees in parts)
    return math.sqrt(total), total**2 / spread if spread else math.inf


def _sampling(records: Sequence[Record], unpruned: Sequence[Record]) -> tuple[float, float]:
    """Variance of the difference for another draw of items, and its degrees of freedom."""
    if item_by_item(*records, *unpruned):
        pruned, whole = (
            np.mean([record.outcomes for record in side if record.outcomes is not None], axis=0)
            for side in (records, unpruned)
        )
        return float(np.var(pruned - whole)) / len(pruned), max(len(pruned) - 1, 1)
    return float(sum(np.mean([record.standard_error**2 for record in side]) for side in (records, unpruned))), math.inf


def _quantile(confidence: float, degrees: float) -> float:
    from scipy.stats import t

    return math.nan if math.isnan(degrees) else float(t.ppf(0.5 + confidence / 2, degrees))


def _monotone(lines: Sequence[_Line], confidence: float) -> bool:
    """Whether the metric nowhere falls as k grows by more than the errors explain, or at all where there are none."""
    for smaller, larger in combinations(lines, 2):
        error = math.hypot(smaller.difference_error, larger.difference_error)
        margin = 0.0 if math.isnan(error) else _quantile(confidence, math.inf) * error
        if smaller.metric - larger.metric > margin:
            return False
    return True
