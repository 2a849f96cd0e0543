"""Columns of the retention table as measures to be shown: in words, in which unit, and how a value is written."""

from __future__ import annotations

import math
from typing import NamedTuple


class Measure(NamedTuple):
    """One column of the retention table.

    unit is empty for pure numbers. style says how a value is written: "share" in percent, "count" as a whole number,
    "real" with three digits, "signed" with its sign. A measure with a middle is coloured around 0.
    """

    label: str
    unit: str
    style: str
    middle: bool = False

    def written(self, value: float) -> str:
        """A value in full, for hovering and for sentences.

        >>> MEASURES["retained"].written(73728.0), MEASURES["share"].written(0.5), MEASURES["kurtosis"].written(1.25)
        ('73,728', '50.0%', '+1.25')
        """
        if math.isnan(value):
            return "not defined"
        if self.style == "share":
            return f"{value:.1%}"
        if self.style == "count":
            return f"{value:,.0f}"
        if self.style == "signed":
            return f"{value:+,.2f}"
        return f"{value:.3g}"

    def brief(self, value: float) -> str:
        """The same in at most six characters, for a cell; nothing for a value that is not defined.

        >>> [MEASURES["entries"].brief(value) for value in (384, 147456, 11720448, 2.5e9)]
        ['384', '147k', '11.7M', '2.50G']
        >>> MEASURES["neighbours_z"].brief(-3.14159), MEASURES["update_rms"].brief(0.000123)
        ('-3.1', '1e-04')
        >>> [MEASURES["head_gini"].brief(value) for value in (0.0277, 0.5)]
        ['0.028', '0.500']
        """
        if not math.isfinite(value):
            return ""
        if self.style == "share":
            return f"{value:.1%}"
        if self.style == "count":
            return _short(value)
        if self.style == "signed":
            if abs(value) < 99.95:
                return f"{value:+.1f}"
            return f"{value:+.0f}" if abs(value) < 9999.5 else f"{value:+.0e}"
        if value == 0 or 0.001 <= abs(value) < 999.5:
            return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"
        return f"{value:.0e}"

    def ticks(self, low: float, high: float) -> str:
        """How an axis from low to high writes its ticks, for a `NumeralTickFormatter`."""
        if self.style == "real" and max(abs(low), abs(high)) < 0.01:
            return "0.[0]e+0"
        return {"share": "0.[00]%", "count": "0.[0]a", "signed": "0.[00]"}.get(self.style, "0.[000]")


def _short(count: float) -> str:
    """A count in three digits and the letter of its thousands; whole numbers below ten thousand as they are."""
    if count < 9999.5:
        return f"{count:.0f}"
    thousands = min(int(math.log10(count * 1.0005)) // 3, 4)
    scaled = count / 1000**thousands
    return f"{scaled:.0f}{' kMGT'[thousands]}" if scaled >= 99.95 else f"{scaled:#.3g}{' kMGT'[thousands]}"


_WEIGHTS, _SQUARES = "in units of the weights", "in squared units of the weights"

#: Every numeric column of `ken.retention.table` but the layer, in the order in which they are offered.
MEASURES = {
    "share": Measure("share of entries retained", "%", "share"),
    "retained": Measure("entries retained", "entries", "count"),
    "entries": Measure("entries", "entries", "count"),
    "rows": Measure("rows", "rows", "count"),
    "row_length": Measure("entries of a row", "entries", "count"),
    "update_share": Measure("share of the update's energy retained", "%", "share"),
    "update_share_reset": Measure("share of the update's energy reset", "%", "share"),
    "update_rms": Measure("root mean square of the update", _WEIGHTS, "real"),
    "energy": Measure("energy of the update", _SQUARES, "real"),
    "energy_retained": Measure("energy of the update at retained entries", _SQUARES, "real"),
    "energy_reset": Measure("energy of the update at reset entries", _SQUARES, "real"),
    "changed": Measure("entries that fine-tuning changed", "entries", "count"),
    "retained_changed": Measure("entries that are retained and changed", "entries", "count"),
    "paired": Measure("entries with a pretrained value", "entries", "count"),
    "paired_retained": Measure("retained entries with a pretrained value", "entries", "count"),
    "tails_share": Measure("share of the tails retained", "%", "share"),
    "tails": Measure("entries in the tails, beyond 2σ of their row", "entries", "count"),
    "tails_retained": Measure("entries in the tails that are retained", "entries", "count"),
    "neighbours_z": Measure("z-score of retained neighbours", "standard deviations from chance", "signed", middle=True),
    "neighbours": Measure("retained neighbours of a retained entry, mean", "neighbours", "real"),
    "neighbours_expected": Measure("retained neighbours of a retained entry, mean by chance", "neighbours", "real"),
    "pairs": Measure("pairs of retained neighbours", "pairs", "count"),
    "pairs_expected": Measure("pairs of retained neighbours, expected by chance", "pairs", "count"),
    "pairs_variance": Measure("variance of the pairs of retained neighbours, by chance", "pairs²", "real"),
    "column_gini": Measure("Gini coefficient of retained entries by column", "", "real"),
    "column_entropy": Measure("entropy of retained entries by column", "of the highest", "share"),
    "head_gini": Measure("Gini coefficient of the retained energy by head", "", "real"),
    "head_entropy": Measure("entropy of the retained energy by head", "of the highest", "share"),
    "bandwidth": Measure("bandwidth of the published rule, mean over rows", _WEIGHTS, "real"),
    "kurtosis": Measure("excess kurtosis, mean over rows", "0: as the normal distribution", "signed", middle=True),
    "modes": Measure("modes of a row's density, mean", "modes", "real"),
}
