"""The panels of effects: what each way of intervening does, attribution, and what of it is retained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kenviz.figures.effects import Panel
from kenviz.study import effect_words
from kenviz.study.effects import LEVEL, Effects

_TITLES = {
    "without": "without the group: change of the {quantity}\nfrom the fine-tuned model",
    "only": "with the group alone: change of the {quantity}\nfrom the pretrained model",
    "attribution": "attribution: share of the change of the loss\n(negative: lowers it); a map,\nno intervention",
    "retained": "share of its attribution retained\n(absolute values)\nupright line: what chance would retain",
}
_KEY = "\n● differs from 0 (Holm), ○ not\nbar: interval"


def panels(effects: Effects, shown: pd.DataFrame, quantity: str) -> list[Panel]:
    """The panels of all that is known of the groups in `shown`, which are some lines of the table of `effects`."""
    nothing = np.full(len(shown), np.nan)
    controls = "\nupright line: control, mean and ends" if effects.table(quantity)["controls"].any() else ""
    made = []
    for way in effects.ways:
        drawn = way == "without"
        said = [effect_words.with_interval(line, way, quantity) for _, line in shown.iterrows()]
        made.append(
            Panel(
                way,
                _TITLES[way].format(quantity=quantity) + _KEY + controls * drawn,
                effect_words.unit(quantity),
                value=_numbers(shown[way]),
                low=_numbers(shown[f"{way}_low"]),
                high=_numbers(shown[f"{way}_high"]),
                sure=(shown[f"{way}_p_holm"] <= LEVEL).to_numpy(bool),
                other=_numbers(shown["control"]) if drawn else nothing,
                other_low=_numbers(shown["control_low"]) if drawn else None,
                other_high=_numbers(shown["control_high"]) if drawn else None,
                said=said,
            )
        )
    everything = np.ones(len(shown), bool)
    usual: dict[str, Any] = {"low": nothing, "high": nothing, "sure": everything}
    if "attribution" in shown:
        values = _numbers(shown["attribution"])
        said = [f"{effect_words.signed(value)} nats" for value in values]
        made.append(
            Panel(
                *("attribution", _TITLES["attribution"], "nats"),
                **usual,
                value=values,
                other=nothing,
                said=said,
                stems=True,
            )
        )
    if "retained_absolute" in shown:
        made.append(
            Panel(
                *("retained", _TITLES["retained"], "share of the attribution"),
                **usual,
                value=_numbers(shown["retained_absolute"]),
                other=_numbers(shown["chance"]),
                said=effect_words.shares_said(shown),
                whole=True,
            )
        )
    return made


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    return column.to_numpy(dtype=float)
