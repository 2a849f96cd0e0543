"""The table of a sweep, short, as text for a terminal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def summary(results: pd.DataFrame, column: str = "metric", *, percent: bool = True) -> str:
    """The table of a sweep as text: one line a k, one column a rule, the two models below.

    Of several seeds the mean is shown; ± is one standard error of the evaluation, and is known of the metric alone.
    Another column may be shown in its place; a metric that is no share is not shown in percent.

    >>> import torch
    >>> from ken.retention import Pair
    >>> from ken import sweep
    >>> pair = Pair({"w": torch.ones(2, 8)}, {"w": torch.zeros(2, 8)})
    >>> print(summary(sweep(pair, [0.5], ["ken"], evaluate=lambda state: state["w"].mean())))
                         share   retained            ken
                          0.50          8         50.0 %
    fine-tuned model      1.00         16        100.0 %
    pretrained body       0.00          0          0.0 %
    """
    shown = partial(_number, column=column, percent=percent)
    pruned = results[results["model"] == "pruned"]
    series = list(dict.fromkeys(zip(pruned["rule"], pruned["on"], pruned["scope"], strict=True)))
    heads = [series_text(*names) for names in series]
    width = max(15, *(len(head) + 2 for head in heads))
    lines = [f"{'':18}{'share':>8} {'retained':>10}" + "".join(f"{head:>{width}}" for head in heads)]
    for _, of_k in pruned.groupby(pruned["k"].map(repr), sort=False):  # which tells 1 from 1.0
        k = of_k["k"].iloc[0]
        names = of_k[["rule", "on", "scope"]].apply(tuple, axis=1)
        cells = [shown(of_k[names == one]) for one in series]
        share = f"{k:>8.2f}" if isinstance(k, float) else f"{k!s:>8}"
        lines.append(f"{'':18}{share} {of_k['retained'].iloc[0]:>10,}" + "".join(f"{cell:>{width}}" for cell in cells))
    for model, label in (("fine-tuned", "fine-tuned model"), ("pretrained", "pretrained body")):
        line = results[results["model"] == model]
        share, retained = line["share"].iloc[0], line["retained"].iloc[0]
        lines.append(f"{label:18}{share:>8.2f} {retained:>10,}{shown(line):>{width}}")
    return "\n".join(lines)


def series_text(rule: str, on: str, scope: str) -> str:
    """What a column is called.

    >>> series_text("ken", "update", "row"), series_text("update", "", "model")
    ('ken on update', 'update, per model')
    """
    words = f"{rule} on {on}" if on not in ("", "weights") else rule
    return words if scope in ("row", "") else f"{words}, per {scope}"


def _number(lines: pd.DataFrame, column: str, *, percent: bool) -> str:
    error = lines["standard_error"].mean() if column == "metric" else float("nan")
    value = lines[column].mean()
    if percent:
        return f"{100 * value:.1f} %" if error != error else f"{100 * value:.1f} ± {100 * error:.1f} %"
    return f"{value:.4g}" if error != error else f"{value:.4g} ± {error:.2g}"
