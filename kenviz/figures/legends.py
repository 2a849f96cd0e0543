"""What the marks in matrices of values mean, and how many there are of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.core.properties import value
from bokeh.core.property.vectorization import Value
from bokeh.models.annotations import Legend, LegendItem
from bokeh.plotting import figure

from kenviz import theme as themes
from kenviz.figures import lettering, matrix
from kenviz.tiles.tiles import Tiles


def items(shown: Sequence[Tiles], why_missing: str, most: int = matrix.MOST_MARKS) -> dict[str, tuple[bool, Value]]:
    """Whether a mark has to be explained, and how, by the name of its legend item; of one or more matrices together."""
    explained = {}
    for name in ("above", "below"):
        count = sum(int(getattr(tiles, name).sum()) for tiles in shown)
        drawn = sum(len(matrix.marks(tiles, most)[name]["x"]) for tiles in shown)
        some = "" if drawn == count else f" ({drawn:,} drawn)"
        explained[f"legend_{name}"] = (count > 0, value(f"{count:,} {name}{some}"))
    missing = sum(tiles.missing for tiles in shown)
    explained["legend_missing"] = (missing > 0, value(f"{missing:,} {why_missing}"))
    return explained


def build(plot: figure, shown: Sequence[Tiles], why_missing: str, most: int = matrix.MOST_MARKS) -> Legend:
    """The legend, of marks without a place in that plot: a legend draws none of another plot.

    Named models: legend; items legend_above, legend_below, legend_missing.
    """
    styles: dict[str, dict[str, Any]] = {
        "legend_above": {"marker": "triangle", **matrix.MARK},
        "legend_below": {"marker": "inverted_triangle", **matrix.MARK},
        "legend_missing": {"marker": "square", "size": 12, "fill_color": themes.MISSING, "line_color": "#777777"},
    }
    marks: dict[str, Any] = {name: plot.scatter([np.nan], [np.nan], **style) for name, style in styles.items()}
    explained = items(shown, why_missing, most)
    return lettering.legend(
        [
            LegendItem(name=name, label=words, visible=visible, renderers=[marks[name]])
            for name, (visible, words) in explained.items()
        ],
        name="legend",
        visible=any(visible for visible, _ in explained.values()),
        location="left",
        spacing=8,
    )
