"""What is said of effects: whether the map is true, first; then what the groups do; and of the one that is chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

import ken
from kenviz.study.effects import LEVEL, MOST_DRAWN, SORTS, Effects
from kenviz.text.labels import label, visible
from kenviz.text.numbers import in_digits

_WORDS = {"without": "without", "only": "with only"}
_BASES = {"without": "fine-tuned", "only": "pretrained"}


def unit(quantity: str) -> str:
    """The unit of a quantity."""
    return "nats" if quantity == "loss" else "units of the metric"


def first(effects: Effects) -> str:
    """How far the attribution can be trusted: what is poor stands before everything else; empty without one."""
    said = []
    for way, answer in effects.agreements.items():
        if isinstance(answer, ken.Agreement):
            text = str(answer)
            said.append((answer.poor, f"{text[0].upper()}{text[1:]}."))
        else:
            said.append((True, f"Whether attribution is true {_WORDS[way]} a group cannot be told: {answer}."))
    return " ".join(text for _, text in sorted(said, key=lambda pair: not pair[0]))


def by_words(effects: Effects) -> str:
    """How the groups were made, in words."""
    return effects.by if isinstance(effects.by, str) else "groups of your own"


def hidden(shown: int, matching: int, count: int) -> str:
    """How many groups are not shown, and why; empty if all are."""
    parts = []
    if matching < count:
        parts.append(f"{count - matching:,} do not match the search")
    if shown < matching:
        why = f"at most {MOST_DRAWN} are drawn" if shown == MOST_DRAWN else f"these are the top {shown:,}"
        parts.append(f"{why} of {matching:,}" if matching < count else why)
    return f"Of {count:,} groups, {count - shown:,} are not shown: {'; '.join(parts)}." if parts else ""


def sentences(effects: Effects, shown: pd.DataFrame, quantity: str, *, sort: str, left_out: str = "") -> list[str]:
    """What is to be said of groups that are shown: whether the map is true, first. left_out: what `hidden` says."""
    said = [
        first(effects),
        f"Effects by {by_words(effects)}: {len(shown):,} groups, sorted by {SORTS[sort].format(quantity=quantity)}.",
        left_out or hidden(len(shown), len(effects.groups), len(effects.groups)),
        *(_way(effects, shown, way, quantity=quantity) for way in effects.ways),
        _controls(shown),
        _map(effects),
        _retained(shown),
    ]
    return [visible(sentence) for sentence in said if sentence]


def significance(table: pd.DataFrame, way: str) -> str:
    """How many groups differ from nothing, all of a way judged together; empty where nothing was compared."""
    p = table[f"{way}_p_holm"].dropna()
    if p.empty:
        return ""
    return f"judged together (Holm), {int((p <= LEVEL).sum()):,} of {len(p):,} differ from 0 at {LEVEL:.0%}"


def _way(effects: Effects, shown: pd.DataFrame, way: str, *, quantity: str) -> str:
    values = shown[way].dropna()
    base = effects.model(_BASES[way], quantity)
    start = f"{_BASES[way]} model: {quantity} {in_digits(base)} {unit(quantity)}" if math.isfinite(base) else ""
    if values.empty:
        return ""
    ends = f"from {signed(values.min())} to {signed(values.max())} {unit(quantity)}"
    judged = significance(effects.table(quantity), way)
    bounds = "bars hold for all groups at once" if shown[f"{way}_low"].notna().any() else ""
    more = "; ".join(filter(None, [start, judged, bounds]))
    what = "Without a group" if way == "without" else "With a group alone"
    return f"{what}, the {quantity} changes {ends}" + (f" ({more})." if more else ".")


def _controls(shown: pd.DataFrame) -> str:
    drawn = shown["controls"]
    if not drawn.any():
        return "No control was made."
    missing = int((drawn == 0).sum())
    gaps = f"; {missing:,} {'group has' if missing == 1 else 'groups have'} none" if missing else ""
    times = "once" if drawn.max() == 1 else f"{int(drawn.max())} times"
    return f"Controls: as many entries, drawn elsewhere, are reset, {times} a group{gaps}."


def _map(effects: Effects) -> str:
    one = effects.attribution
    if one is None:
        return ""
    return (
        f"Attribution shares out a change of the loss of {signed(one.change)} nats over {one.item_count:,} items; "
        f"its sum misses that by {one.error:.1%}."
    )


def _retained(shown: pd.DataFrame) -> str:
    if "retained_absolute" not in shown:
        return ""
    more = int((shown["retained_absolute"] > shown["chance"]).sum())
    return (
        f"Of {more:,} of these {len(shown):,} groups the subnetwork retains more of the attribution (absolute values) "
        "than chance would."
    )


def signed(value: float) -> str:
    """A change, with its sign."""
    return ("+" if value > 0 else "") + in_digits(value)


def with_interval(line: pd.Series, way: str, quantity: str) -> str:
    """What one group does in one way: the difference, its interval, and how it was judged."""
    if math.isnan(line[way]):
        return "not measured"
    text = f"{signed(line[way])} {unit(quantity)}"
    if math.isfinite(line[f"{way}_low"]):
        text += f" ({signed(line[f'{way}_low'])} to {signed(line[f'{way}_high'])})"
    p = line[f"{way}_p_holm"]
    return text if math.isnan(p) else f"{text}, p = {p:.2g} judged together"


def card(effects: Effects, group: str, line: pd.Series, *, quantity: str, tensors: Sequence[str]) -> str:
    """Of the chosen group all that is known, in lines."""
    lines = [f"{visible(group)}: {int(line['entries']):,} entries, {line['share']:.2%} of all that is pruned"]
    for way in effects.ways:
        what = "without it" if way == "without" else "with it alone"
        lines.append(f"{quantity} {what}: {with_interval(line, way, quantity)}")
    if line["controls"]:
        lines.append(
            f"control, as many entries elsewhere reset: {signed(line['control'])} {unit(quantity)} "
            f"(mean of {int(line['controls'])}, {signed(line['control_low'])} to {signed(line['control_high'])})"
        )
    if "attribution" in line:
        lines.append(
            f"attribution: {signed(line['attribution'])} nats, {line['attribution_share']:.2%} of the change; "
            f"lowering {signed(line['lowering'])}, raising {signed(line['raising'])}"
        )
    if "retained_absolute" in line:
        lines.append(
            f"retained: {line['retained_absolute']:.1%} of the attribution (absolute), {line['chance']:.1%} by chance; "
            f"with signs {signed(line['retained'])} nats"
        )
    if tensors:
        names = ", ".join(label(name, 80) for name in tensors[:4])
        lines.append(f"tensors: {names}" + (f" and {len(tensors) - 4} more" if len(tensors) > 4 else ""))
    return "\n".join(lines)


def shares_said(shown: pd.DataFrame) -> list[str]:
    """What hovering says of the share retained."""
    pairs = zip(shown["retained_absolute"], shown["chance"], strict=True)
    return ["–" if np.isnan(share) else f"{share:.1%}, by chance {chance:.1%}" for share, chance in pairs]
