"""A row in words and numbers: whose mask is shown, the claim that is shown, how stable the mask is; and the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import ken
from ken.density import NORMAL_REFERENCE
from ken.explanation import heeds_bandwidth
from kenviz.study.row_decision import Decision
from kenviz.text.labels import label, rule_in_words, visible


def caption(decision: Decision, bandwidth: str | float, factor: float, step: int, stability: bool) -> str:
    """Plain sentences about a decision, true for the step that is shown (0: all), and for the factor on a bandwidth."""
    return " ".join(
        filter(None, [_row(decision, bandwidth, factor), _claim(decision, step), _flips(decision, stability)])
    )


def _row(decision: Decision, bandwidth: str | float, factor: float) -> str:
    n, k, place = decision.n, int(decision.mask.sum()), f"Row {decision.row} of {label(decision.tensor)}"
    if decision.added == n:
        return f"{place} was added in fine-tuning: there is nothing to reset it to, and all {n:,} entries are retained."
    if factor != 1:
        bandwidth = f"{factor:.3g} × {bandwidth}"
    settings = decision.settings
    rule = visible(decision.rule)
    if settings and heeds_bandwidth(decision.rule):
        rule = rule_in_words(decision.rule, settings.on, bandwidth=bandwidth, kernel=settings.kernel)
    elif settings:
        rule = rule_in_words(decision.rule, settings.on, bandwidth=NORMAL_REFERENCE, kernel="gaussian")
    at = "at their fine-tuned value" if decision.stored is None else "with their update rescaled"
    outcome = f"retains {k:,} of {n:,} entries ({k / n:.1%}) {at} and resets {n - k:,} to their pretrained value"
    if not decision.own and decision.problem:
        problem = f"At these settings there is none: {visible(decision.problem)}."
        return f"{place}: the subnetwork's own mask {outcome}. {problem}"
    added = f" The last {decision.added:,} were added in fine-tuning and are retained whole." if decision.added else ""
    whose = _whose(decision)
    problem = f" No density is shown: {visible(decision.problem)}." if decision.problem else ""
    return f"{place}: rule {rule} {outcome}; {whose}.{added}{problem}"


def _whose(decision: Decision) -> str:
    """Whose mask is shown, and over what its k was counted."""
    if decision.own:
        shared = f", of which k is counted over {ken.rules.SCOPES[decision.scope]}: the row has no budget of its own"
        return "the subnetwork's own mask" + (shared if decision.shared else "")
    alone = "" if decision.scope == "row" else ", for this row by itself"
    return f"not the subnetwork's own mask, but decided anew{alone}"


def _claim(decision: Decision, step: int) -> str:
    if not step or decision.explanation is None:
        return ""
    claim = decision.explanation.claim(step)
    taken = len(claim.taken)
    before = "no nearer one had" if not taken else f"{taken:,} nearer {'one had' if taken == 1 else 'ones had'}"
    return (
        f"Step {step:,} of {decision.steps:,}: grid point {claim.point} at {claim.at:.6g} claims entry {claim.entry}, "
        f"{claim.distance:.3g} away; {before} been claimed before."
    )


def _flips(decision: Decision, stability: bool) -> str:
    flips: Any = decision.stability if stability else None
    if flips is None:
        return ""
    cases = {
        "halving the bandwidth": flips.halved.share,
        "doubling it": flips.doubled.share,
        "visiting the grid in reverse": flips.reversed.share,
    }
    shares = [f"{case} {share:.2%}" for case, share in cases.items() if share == share]
    return f"Mask stability, by the entries that would flip: {', '.join(shares)}." if shares else ""


def table(decision: Decision, stability: bool) -> pd.DataFrame:
    """What is known of each entry of a row; see `RowView.numbers`."""
    lines = pd.DataFrame({"fine_tuned": decision.fine_tuned, "pretrained": decision.pretrained})
    why = decision.explanation
    steps = np.zeros(decision.n, int) if why is None else why.steps
    lines = lines.assign(update=decision.fine_tuned - decision.pretrained, retained=decision.mask, step=steps)
    if stability and decision.stability is not None:
        for name, flips in decision.stability._asdict().items():
            lines[name] = np.isin(np.arange(decision.n), flips.entries)
    return lines.rename_axis("column")
