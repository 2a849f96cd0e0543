"""A row in words and numbers: whose mask is shown, the claim that is shown, how stable the mask is; and the table."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ken.density import NORMAL_REFERENCE
from ken.explanation.row_explanation import reason
from ken.explanation.stability import WITHOUT_BANDWIDTH
from kenviz.study.row_decision import Decision
from kenviz.text.labels import label, rule_in_words, visible

# A card ranks all entries by their density, which takes the square of their number.
_MOST_RANKED = 16_384


def caption(found: Decision, bandwidth: str | float, factor: float, step: int, stability: bool) -> str:
    """Plain sentences about a decision, true for the step that is shown (0: all), and for the factor on a bandwidth."""
    return " ".join(filter(None, [_row(found, bandwidth, factor), _claim(found, step), _flips(found, stability)]))


def _row(found: Decision, bandwidth: str | float, factor: float) -> str:
    n, k, place = found.n, int(found.mask.sum()), f"Row {found.row} of {label(found.tensor)}"
    if found.added == n:
        return f"{place} was added in fine-tuning: there is nothing to reset it to, and all {n:,} entries are retained."
    if factor != 1:
        bandwidth = f"{factor:.3g} × {bandwidth}"
    settings = found.settings
    told = visible(found.rule)
    if settings and found.rule not in WITHOUT_BANDWIDTH:
        told = rule_in_words(found.rule, settings.on, bandwidth, settings.kernel)
    elif settings:
        told = rule_in_words(found.rule, settings.on, NORMAL_REFERENCE, "gaussian")
    what = (
        f"retains {k:,} of {n:,} entries ({k / n:.1%}) at their fine-tuned value and resets {n - k:,} to their "
        "pretrained value"
    )
    if not found.own and found.problem:
        return f"{place}: the subnetwork's own mask {what}. At these settings there is none: {visible(found.problem)}."
    added = f" The last {found.added:,} were added in fine-tuning and are retained whole." if found.added else ""
    whose = "the subnetwork's own mask" if found.own else "not the subnetwork's own mask, but decided anew"
    problem = f" No density is shown: {visible(found.problem)}." if found.problem else ""
    return f"{place}: rule {told} {what}; {whose}.{added}{problem}"


def _claim(found: Decision, step: int) -> str:
    if not step or found.explanation is None:
        return ""
    claim = found.explanation.claim(step)
    taken = len(claim.taken)
    before = "no nearer one had" if not taken else f"{taken:,} nearer {'one had' if taken == 1 else 'ones had'}"
    return (
        f"Step {step:,} of {found.steps:,}: grid point {claim.point} at {claim.at:.6g} claims entry {claim.entry}, "
        f"{claim.distance:.3g} away; {before} been claimed before."
    )


def _flips(found: Decision, stability: bool) -> str:
    flips: Any = found.stability if stability else None
    if flips is None:
        return ""
    cases = {
        "halving the bandwidth": flips.halved.share,
        "doubling it": flips.doubled.share,
        "visiting the grid in reverse": flips.reversed.share,
    }
    told = [f"{case} {share:.2%}" for case, share in cases.items() if share == share]
    return f"Mask stability, by the entries that would flip: {', '.join(told)}." if told else ""


class Words(NamedTuple):
    """A card that only has words."""

    text: str


def card(found: Decision, entry: int) -> Any:
    """The decision card of an entry, which has a `text`; in few words where there is none to be had."""
    why = found.explanation
    if why is not None and why.n <= _MOST_RANKED:
        return why.entry(entry)
    lines = [f"Entry {entry} of row {found.row} is {'retained' if found.mask[entry] else 'reset'}."]
    if why is None:
        return Words("\n".join([*lines, f"Why is not known: {found.unexplained}."]))
    if why.rule != "density":
        told = reason(why, entry)
        lines.append(f"{told[0].upper()}{told[1:]}.")
    lines.append(f"fine-tuned {found.fine_tuned[entry]:.6g}; pretrained {found.pretrained[entry]:.6g}")
    lines.append(f"The row has {why.n:,} entries, too many to rank them by their density here. In minutes, this does:")
    return Words("\n".join([*lines, f"{why.python}.entry({entry})"]))


def table(found: Decision, stability: bool) -> pd.DataFrame:
    """What is known of each entry of a row; see `RowView.numbers`."""
    lines = pd.DataFrame({"fine_tuned": found.fine_tuned, "pretrained": found.pretrained})
    why = found.explanation
    steps = np.zeros(found.n, int) if why is None else why.steps
    lines = lines.assign(update=found.fine_tuned - found.pretrained, retained=found.mask, step=steps)
    if stability and found.stability is not None:
        for name, flips in found.stability._asdict().items():
            lines[name] = np.isin(np.arange(found.n), flips.entries)
    return lines.rename_axis("column")
