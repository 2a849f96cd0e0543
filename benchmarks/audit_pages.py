"""What docs/audit.md and docs/evidence.md say of chance, of overlaps, and of fidelity: tables from the CSV files."""

from __future__ import annotations

import math
from typing import Any

import evidence_page
import pandas as pd
from equivalence import verdict
from evidence_statistics import KEN as FIRST_KEN
from evidence_statistics import MARGIN
from evidence_statistics import RANDOM as FIRST_RANDOM
from marked_pages import head, row, signed
from scope_statistics import KEN, RANDOM, Arm, one

FIRST_TASK = "demo task, first table"


def against_chance(first: pd.DataFrame, scopes: pd.DataFrame) -> str:
    """`ken` less `random`, on every task and at every share, with both tests and what they allow to say."""
    columns = ["share", "difference", "95 % interval", "p of no difference", f"p of {100 * MARGIN:g} point or more"]
    lines = [*head("task", [*columns, "verdict"])]
    counted: dict[str, int] = {}
    found = [(FIRST_TASK, evidence_page.line_of(first, "comparison", FIRST_KEN, k, FIRST_RANDOM)) for k in _ks(first)]
    for task in dict.fromkeys(scopes["task"]):
        found += [(task, one(scopes, task, "comparison", KEN, k=k, against=RANDOM)) for k in _ks(scopes)]
    for task, line in found:
        if line is None:
            continue
        words = verdict(line["p_holm"], line["p_equivalent_holm"])
        counted[words] = counted.get(words, 0) + 1
        estimate, low, high = (signed(100 * line[name], 2) for name in ("estimate", "low", "high"))
        ps = [_p(line[name]) for name in ("p_holm", "p_equivalent_holm")]
        lines.append(row(task, [f"{line['k']:.2f}", estimate, f"{low} to {high}", *ps, words]))
    verdicts = [
        f"{number} {'differ' if words == 'differs' and number > 1 else words}"
        for words, number in sorted(counted.items(), key=lambda item: -item[1])
    ]
    return "\n".join([f"Of {sum(counted.values())} comparisons: {', '.join(verdicts)}.", "", *lines]) + "\n"


def overlap_table(table: pd.DataFrame) -> str:
    """What both masks retain, in percent of what one retains, beside the yardsticks."""
    columns = ["share", "shared", "chance", "given pretrained", "shuffled", "each with pretrained"]
    lines: list[str] = []
    for pair in dict.fromkeys(table["pair"]):
        of_pair = table[table["pair"] == pair]
        lines += ["", f"### {pair[0].upper()}{pair[1:]}", "", *head("rule and entries", columns)]
        for (rule, part), chosen in of_pair.groupby(["rule", "part"], sort=False):
            for line in chosen.sort_values("k", ascending=False).itertuples():
                label = f"`{rule}`, {part} ({line.entries / 1e6:.1f} million)"
                lines.append(row(label, [f"{line.k:.2f}", *_shares(line)]))
    return "\n".join(lines[1:]) + "\n"


def _shares(line: Any) -> list[str]:
    smaller = min(line.a, line.b)
    both = [f"**{100 * line.both / smaller:.1f}**", f"{100 * line.chance / smaller:.1f}"]
    if math.isnan(line.given_pretrained):
        return [*both, "", "", ""]
    each = f"{100 * line.a_pretrained / line.a:.1f}, {100 * line.b_pretrained / line.b:.1f}"
    return [*both, *(f"{100 * value / smaller:.1f}" for value in (line.given_pretrained, line.shuffled)), each]


def fidelity_table(table: pd.DataFrame) -> str:
    """Reactions named as before and divergence, an arm a line, a share two columns."""
    table = table.fillna({"on": "", "scope": ""})
    ks = sorted({k for k in table["k"] if k > 0}, reverse=True)
    reactions = int(table["reactions"].max())
    body = table[table["rule"] == "pretrained"].iloc[0]
    lines = [
        f"Pretrained body with the fine-tuned head: {body['alike']:.0f} of {reactions} reactions named as before, "
        f"divergence {_kl(body)} nats. By the share that is retained: how many of {reactions} are named as before, and "
        "the divergence in nats with its 95 % interval over the eleven schemes. Bold: the 95 % interval of the "
        "difference from `random`, scheme by scheme, leaves out 0 (not adjusted for the number of comparisons).",
        "",
        *head("rule", [f"{k:.2f}" for k in ks]),
    ]
    for keys, of_arm in table[table["k"] > 0].groupby(["rule", "on", "scope"], sort=False):
        cells = []
        for k in ks:
            found = of_arm[of_arm["k"] == k]
            cells.append("not run" if found.empty else f"{found.iloc[0]['alike']:.0f}; {_kl(found.iloc[0])}")
        lines.append(row(Arm(*keys).label, cells))
    return "\n".join(lines) + "\n"


def _kl(line: pd.Series) -> str:
    text = f"{line['kl']:.3g} ({max(line['low'], 0):.3g} to {line['high']:.3g})"
    return f"**{text}**" if line["less_low"] > 0 or line["less_high"] < 0 else text


def _ks(table: pd.DataFrame) -> list[float]:
    return sorted({k for k in table["k"] if 0 < k < 1}, reverse=True)


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
