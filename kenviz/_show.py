"""show: the view that fits an object. And what IPython shows of a subnetwork at the end of a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ken
from ken.retention import PairOfModels

if TYPE_CHECKING:
    import pandas as pd

    from ken.explanation import RowExplanation
    from kenviz.pane.bokeh_pane import BokehPane

_CAN = "a Subnetwork, a subnetwork with its pair, two subnetworks with their pair, the explanation of a row, or a table"


def show(obj: Any, pair: PairOfModels | None = None, **options: Any) -> Any:
    """Make the view that fits an object; at the end of a cell it is shown.

    | obj | |
    |---|---|
    | a subnetwork | a summary, static and small |
    | a subnetwork and its pair, as two arguments or as a tuple | `explore` |
    | two subnetworks and their pair, as a tuple (a, b, pair) | `CompareView` |
    | what `ken.explain_row` or `ken.explain` gives | its figure |
    | the table of `ken.sweep`, or of `ken.results.read` | `SweepView` |
    | the table of `ken.retention.table` | its map; the option measure names the column |

    Args:
        obj: What is to be shown.
        pair: The models, if obj is a subnetwork.
        **options: Those of the view.

    Returns:
        The view, a widget or a `Summary`.

    Raises:
        TypeError: No view fits the object.
        ValueError: Its view cannot show it.

    Example:
        >>> import torch
        >>> models = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> net = ken.prune(*models, k=2)
        >>> show(net)
        Summary(rule ken, k = 2: 4 of 8 entries (50.0 %) are retained.)
        >>> show(net, models), show((net, models))
        (Explorer('w': 1 pruned tensors), Explorer('w': 1 pruned tensors))
    """
    match obj:
        case ken.Subnetwork() if pair is not None:
            from kenviz._explore import explore

            return explore(obj, pair, **options)
        case ken.Subnetwork():
            from kenviz.reporting.inline_html import Summary

            return Summary(obj, **options)
        case (ken.Subnetwork() as a, ken.Subnetwork() as b, models) if pair is None:
            from kenviz.views.compare import CompareView

            return CompareView(a, b, models, **options)
        case (ken.Subnetwork() as net, models) if pair is None and not isinstance(models, ken.Subnetwork):
            return show(net, models, **options)
    if type(obj).__name__ == "DataFrame":
        return _table(obj, options)
    from ken.explanation import RowExplanation

    if isinstance(obj, RowExplanation):
        return _explanation(obj, **options)
    raise TypeError(f"show takes {_CAN}; got {_kind(obj)}")


def _kind(obj: Any) -> str:
    if isinstance(obj, tuple):
        return f"a tuple of {', '.join(type(one).__name__ for one in obj) or 'nothing'}"
    return type(obj).__name__


def _table(table: pd.DataFrame, options: dict[str, Any]) -> Any:
    columns = set(table.columns)
    if {"model", "rule", "metric"} & columns:  # with a column missing, SweepView says which
        from kenviz.views.sweep import SweepView

        return SweepView(table, **options)
    if {"layer", "kind", "rows", "row_length", "entries", "retained"} <= columns:
        return _retention(table, **options)
    some = ", ".join(map(repr, list(table.columns)[:6])) or "none"
    raise TypeError(f"show takes the table of ken.sweep or of ken.retention.table; got one with the columns {some}")


def _retention(table: pd.DataFrame, measure: str = "", theme: str = "auto") -> BokehPane:
    from kenviz.figures import retention
    from kenviz.pane.bokeh_pane import BokehPane
    from kenviz.text.measures import MEASURES

    measures = [name for name in MEASURES if name in table]
    measure = measure or next(iter(measures), "")
    if measure not in measures:
        raise ValueError(f"measure must be one of {', '.join(measures) or 'none that is there'}, got {measure!r}")
    if table.empty:
        raise ValueError("the table has no tensor to show")
    words = f"Retention by layer and kind: {MEASURES[measure].label}, of {len(table):,} tensors."
    return BokehPane(retention.build(table, measure), words, theme=theme)


def _explanation(why: RowExplanation, theme: str = "auto") -> BokehPane:
    from ken.explanation import CLAIMING
    from kenviz.figures import row
    from kenviz.pane.bokeh_pane import BokehPane
    from kenviz.text.labels import label, rule_in_words

    settings, scope = why.settings, "row" if why.shared is None else why.shared.scope
    picture = row.picture(
        why.fine_tuned,
        why.mask,
        why.pretrained,
        settings=settings,
        claiming=why.rule in CLAIMING,
        rule=why.rule,
        scope=scope if why.shared and why.shared.threshold else "row",
    )
    rule = rule_in_words(why.rule, settings.on, bandwidth=settings.bandwidth, kernel=settings.kernel, scope=scope)
    name = f"row {why.row} of {why.tensor}" if why.tensor else "a row"
    words = f"{name[0].upper()}{label(name[1:])}: rule {rule} retains {int(why.mask.sum()):,} of {why.n:,} entries."
    return BokehPane(row.build(picture, name), words, theme=theme)


# ---- IPython

_WHERE = "ken.api", "Subnetwork"


def register(shell: Any) -> None:
    """Have IPython show HTML for a subnetwork at the end of a cell; its text form stays."""
    _formatter(shell).for_type_by_name(*_WHERE, _html)


def unregister(shell: Any) -> None:
    """Take back what `register` did."""
    _formatter(shell).pop(".".join(_WHERE), None)


def _formatter(shell: Any) -> Any:
    return shell.display_formatter.formatters["text/html"]


def _html(net: ken.Subnetwork) -> str:
    from kenviz.reporting.inline_html import html_of

    return html_of(net)
