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
from kenviz.figures import matrix
from kenviz.tiles.value_tiles import ValueTiles


def items(
    shown: Sequence[matrix.Shown], why_missing: str, most: int = matrix.MOST_MARKS
) -> dict[str, tuple[bool, Value]]:
    """Whether a mark has to be explained, and how, by the name of its legend item; of one or more matrices together."""
    signed = [tiles for tiles in shown if isinstance(tiles, ValueTiles)]
    found = {}
    for name in ("above", "below"):
        count = sum(int(getattr(tiles, name).sum()) for tiles in signed)
        drawn = sum(len(matrix.marks(tiles, most)[name]["x"]) for tiles in signed)
        some = "" if drawn == count else f" ({drawn:,} drawn)"
        found[f"legend_{name}"] = (count > 0, value(f"{count:,} {name}{some}"))
    missing = sum(tiles.missing for tiles in signed)
    found["legend_missing"] = (missing > 0, value(f"{missing:,} {why_missing}"))
    return found


def build(plot: figure, shown: Sequence[matrix.Shown], why_missing: str, most: int = matrix.MOST_MARKS) -> Legend:
    """The legend, of marks without a place in that plot: a legend draws none of another plot.

    Named models: legend; items legend_above, legend_below, legend_missing.
    """
    nowhere: dict[str, Any] = {"x": [np.nan], "y": [np.nan]}
    keys: dict[str, Any] = {
        "legend_above": plot.scatter(**nowhere, marker="triangle", **matrix.MARK),
        "legend_below": plot.scatter(**nowhere, marker="inverted_triangle", **matrix.MARK),
        "legend_missing": plot.scatter(
            **nowhere, marker="square", size=12, fill_color=themes.MISSING, line_color="#777777"
        ),
    }
    told = items(shown, why_missing, most)
    return Legend(
        items=[
            LegendItem(name=name, label=words, visible=there, renderers=[keys[name]])
            for name, (there, words) in told.items()
        ],
        name="legend",
        visible=any(there for there, _ in told.values()),
        orientation="horizontal",
        location="left",
        padding=2,
        margin=2,
        spacing=8,
        label_text_font_size="12px",
    )
