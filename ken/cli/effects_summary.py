"""What an ablation and an attribution say, short, as text for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ken.cli.questions import Asking
    from ken.evaluation.effects.attribution import Attribution

_SIGNIFICANT = 0.05
_HEADS = {"without": "without it", "only": "it alone"}


def of_ablation(table: pd.DataFrame, asking: Asking, *, top: int, of_net: bool) -> str:
    """The table of `ken.ablate` as text: both models, then the groups of the largest effect.

    The loss is told where there is one, as it says more than right and wrong; else the metric.
    """
    number = "metric" if table["loss"].isna().all() else "loss"
    tuned, base = (table[table["way"] == way].iloc[0] for way in ("fine-tuned", "pretrained"))
    first = "subnetwork" if of_net else "fine-tuned"
    lines = [f"{asking.metric}: {first} {_metric(tuned, asking)}, pretrained {_metric(base, asking)}."]
    if number == "loss":
        lines.append(f"Loss ({asking.loss}) in nats: {first} {tuned['loss']:.4g}, pretrained {base['loss']:.4g}.")
    ways = [way for way in _HEADS if (table["way"] == way).any()]
    groups = _widest(table, ways[0], number, top=top)
    columns = [[f"change of the {number}", *groups]]
    for way in ways:
        lines_by_group = {line["group"]: line for _, line in table[table["way"] == way].iterrows()}
        columns.append([_HEADS[way], *(_cell(lines_by_group[group], number) for group in groups)])
    if (table["way"] == "control").any():
        drawn = table[table["way"] == "control"].groupby("group")[f"{number}_difference"].mean()
        columns.append(["as many at random", *(f"{drawn[group]:+.3g}" for group in groups)])
    lines += ["", *_aligned(columns), "", *_notes(table, ways, number, shown=len(groups), of_net=of_net)]
    return "\n".join(lines)


def _aligned(columns: list[list[str]]) -> list[str]:
    """Columns side by side, the first one to the left and the others to the right."""
    names, *others = columns
    widths = [max(map(len, column)) + 3 for column in others]
    left = max(map(len, names))
    lines = [
        f"{name:{left}}" + "".join(f"{column[line]:>{width}}" for column, width in zip(others, widths, strict=True))
        for line, name in enumerate(names)
    ]
    return [line.rstrip() for line in lines]


def _widest(table: pd.DataFrame, way: str, number: str, *, top: int) -> list[str]:
    chosen = table[table["way"] == way]
    order = chosen[f"{number}_difference"].abs().sort_values(ascending=False, kind="stable").index
    return [str(group) for group in chosen.loc[order, "group"][:top]]


def _metric(line: pd.Series, asking: Asking) -> str:
    error = line["standard_error"]
    scale, unit = (100, " %") if asking.percent else (1, "")
    digits = f"{scale * line['metric']:.1f}" if asking.percent else f"{line['metric']:.4g}"
    return digits + ("" if math.isnan(error) else f" ± {scale * error:.2g}") + unit


def _cell(line: pd.Series, number: str) -> str:
    mean, low, high = (line[f"{number}_{name}"] for name in ("difference", "low", "high"))
    text = f"{mean:+.3g}"
    if not math.isnan(low):
        text += f" ({low:+.2g} to {high:+.2g})"
    return text + (" *" if line[f"{number}_p_holm"] < _SIGNIFICANT else "  ")


def _notes(table: pd.DataFrame, ways: list[str], number: str, *, shown: int, of_net: bool) -> list[str]:
    whole = "subnetwork" if of_net else "fine-tuned model"
    notes = []
    for way in ways:
        lines = table[table["way"] == way]
        several = int((lines[f"{number}_p_holm"] < _SIGNIFICANT).sum())
        side = {
            "without": f"Without it: the group reset, compared with the {whole}",
            "only": "It alone: all else reset, compared with the pretrained model",
        }
        notes.append(f"{side[way]}; {several} of {len(lines)} groups are told from nothing (*), judged together.")
    total = (table["way"] == ways[0]).sum()
    if shown < total:
        notes.append(f"The {shown} of {total} groups with the largest effect are shown; --top and -o give more.")
    if table.loc[table["way"].isin(ways), f"{number}_low"].isna().all():
        notes.append("There are no intervals: the evaluation tells of no single items.")
    else:
        notes.append("Intervals of one way hold all at once with 95 % confidence.")
    return notes


def of_attribution(attribution: Attribution, by: str, *, loss: str, top: int) -> str:
    """An attribution as text: how well the shares add up, then the groups of the largest share."""
    table = attribution.table(by)
    order = table["attribution"].abs().sort_values(ascending=False, kind="stable").index[:top]
    width = max(12, *(len(str(group)) for group in order)) + 2
    entries = table["entries"].sum()
    lines = [
        f"Loss ({loss}) of {attribution.item_count:,} texts, in nats: pretrained {attribution.pretrained_loss:.4g}, "
        f"fine-tuned {attribution.fine_tuned_loss:.4g}.",
        f"The shares of all entries add up to {attribution.total:.4g}, which is the change within "
        f"{100 * attribution.error:.2g} % ({attribution.steps} points).",
        "",
        f"{'':{width}}{'share, nats':>14}{'of the change':>16}{'of the entries':>16}",
    ]
    for group, line in table.loc[order].iterrows():
        lines.append(
            f"{group!s:{width}}{line['attribution']:>+14.4g}{100 * line['share']:>14.1f} %"
            f"{100 * line['entries'] / entries:>14.1f} %"
        )
    lines += ["", *(f"note: {note}" for note in attribution.notes)]
    if len(order) < len(table):
        lines.append(f"The {len(order)} of {len(table)} groups with the largest share are shown; --top gives more.")
    lines.append("This is a map, not a measurement: ken ablate measures, and ken report compares both.")
    return "\n".join(lines)
