"""Thresholds: what a pipeline refuses, written as NAME OP NUMBER, such as "share_retained < 20%".

Names are those of numbers in the summary of a report's data, and of metrics; nothing is evaluated as code.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ken.errors import ReportError
from kenviz.reporting.results import Results
from kenviz.reporting.schema import ReportData
from kenviz.reporting.summary import Summary
from kenviz.reporting.table_lines import EvaluationLine

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_FORM = re.compile(rf"\s*([^\W\d]\w*)\s*(<=|>=|==|!=|<|>)\s*({_NUMBER})\s*(%?)\s*")


class Threshold(NamedTuple):
    """A number of the summary, or a metric, and which values of it are refused."""

    name: str
    operator: str
    limit: float
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Read one. Raises `ReportError` if it has another form.

        >>> Threshold.parse("update_retained < 50 %")
        Threshold(name='update_retained', operator='<', limit=0.5, percent=True)
        """
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None or not math.isfinite(float(match[3])):
            raise ReportError(f'a threshold must be NAME OP NUMBER, such as "share_retained < 0.2", got {text!r}')
        name, sign, digits, percent = match.groups()
        mantissa, _, exponent = digits.lower().partition("e")
        limit = float(f"{mantissa}e{int(exponent or 0) - 2}" if percent else digits)  # as a decimal: 1.1% is 0.011
        return cls(name, sign, limit, percent=bool(percent))

    def crossed_by(self, value: float) -> bool:
        """Whether a value is one that is refused."""
        return _OPERATORS[self.operator](value, self.limit)

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.limit!r}"


class Crossed(NamedTuple):
    """A threshold that was crossed, and the value that crossed it."""

    threshold: Threshold
    value: float | int

    def __str__(self) -> str:
        return f"{self.threshold.name} is {self.value!r}, and {self.threshold} was to fail"


def check_thresholds(data: ReportData, thresholds: Sequence[str]) -> list[Crossed]:
    """Which thresholds a report crosses.

    Args:
        data: What `kenviz.report_data` gives.
        thresholds: Each "NAME OP NUMBER": NAME a number of data.summary, the name of the metric, or that of a further
            metric in the results; OP one of <, <=, >, >=, ==, !=; NUMBER also in percent where it is a share. What
            it says is what must not be.

    Returns:
        Those that hold, each with the value, in the order in which they were given.

    Raises:
        ReportError: A threshold has another form, its name is not known, its limit cannot be meant, or its value is
            missing: of that nobody can say that it passes.

    Example:
        >>> import torch, ken
        >>> from kenviz import report_data
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> data = report_data(ken.prune(*pair, k=2), pair, progress=False)
        >>> [str(crossed) for crossed in check_thresholds(data, ["share_retained < 60%", "tensors_pruned < 1"])]
        ['share_retained is 0.5, and share_retained < 0.6 was to fail']
    """
    parsed = [Threshold.parse(text) for text in thresholds]
    names, values = units(), data.summary.model_dump()
    if data.evaluation is not None:
        names = units(data.evaluation.metric_name, data.evaluation.lines, share=data.evaluation.metric_is_share)
        own = {} if data.evaluation.own is None else data.evaluation.own.further_metrics
        values = {data.evaluation.metric_name: data.summary.metric} | own | values
    crossed = []
    for threshold in parsed:
        check_name(threshold, names)
        value = values.get(threshold.name)
        if value is None or not math.isfinite(value):
            null = (Summary.model_fields.get(threshold.name) or Summary.model_fields["metric"]).json_schema_extra
            why = null.get("null", "it is not finite") if isinstance(null, dict) else "it is not finite"
            raise ReportError(f"{threshold} cannot be checked: {threshold.name} is missing ({why})")
        if threshold.crossed_by(value):
            crossed.append(Crossed(threshold, value))
    return crossed


def units(metric: str = "metric", lines: Sequence[EvaluationLine] = (), *, share: bool = False) -> dict[str, str]:
    """The names that thresholds may have, each with its unit. Those of the summary come before those of metrics."""
    extra = {name: field.json_schema_extra for name, field in Summary.model_fields.items()}
    named = {name: str(notes.get("unit", "")) if isinstance(notes, dict) else "" for name, notes in extra.items()}
    del named["metric_difference_paired"]
    named = {name: "share of items" if unit == "metric" and share else unit for name, unit in named.items()}
    further = {}
    for name in lines[0].further_metrics if lines else ():
        of_items = all(0 <= line.further_metrics[name] <= 1 for line in lines)
        further[name] = "share of items" if of_items else "metric"
    return {metric: named["metric"]} | further | named


def check_name(threshold: Threshold, names: Mapping[str, str]) -> None:
    """Raise `ReportError` if a threshold has another name, or a limit that cannot be meant."""
    if threshold.name not in names:
        raise ReportError(f"{threshold}: there is no number {threshold.name!r}; there are {', '.join(names)}")
    unit = names[threshold.name]
    if threshold.percent and not unit.startswith("share"):
        raise ReportError(f"{threshold}: {threshold.name} is no share, so that percent cannot be meant")
    if unit == "share" and not 0 <= threshold.limit <= 1:
        raise ReportError(f"{threshold}: {threshold.name} is a share, from 0 to 1; percent need their sign (20%)")


def check_early(thresholds: Sequence[str], results: Results | None) -> None:
    """Raise what can be told before anything is measured."""
    names = units() if results is None else units(results.metric, results.lines, share=results.shares)
    for text in thresholds:
        check_name(Threshold.parse(text), names)
