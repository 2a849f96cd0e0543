"""Colours and the two themes. The palette of roles is Okabe & Ito's, which colour-blind readers can tell apart."""

from __future__ import annotations

from typing import Any

import bokeh.models
from bokeh.model import Model
from bokeh.palettes import PuOr11, cividis, interp_palette, viridis

RETAINED = "#0072b2"
RESET = "#8c8c8c"
DENSITY = "#d55e00"
GRID = "#009e73"
CLAIMED = "#e69f00"
TAKEN = "#cc79a7"
CHOSEN = "#d55e00"

#: Shares 0 … 100 %, one colour each: perceptually even, and the same for colour-blind readers.
SHARES: tuple[str, ...] = tuple(cividis(101))
SEQUENTIAL: tuple[str, ...] = tuple(cividis(256))
#: Signed values, 0 in the middle: from purple over white to orange, which colour-blind readers can tell apart.
DIVERGING: tuple[str, ...] = tuple(interp_palette(PuOr11, 255))
MISSING = "#b3b3b3"
#: Mean counts 0 … 4 in 201 steps; both ends can be told from light and from dark paper, on which the rest is blank.
COUNTS: tuple[str, ...] = tuple(viridis(256)[50:251])


def _theme(paper: str, ink: str, faint: str) -> dict[str, dict[str, Any]]:
    text = {"text_color": ink}
    return {
        "Plot": {"background_fill_color": paper, "border_fill_color": paper, "outline_line_color": faint},
        "Axis": {
            "axis_label_text_color": ink,
            "major_label_text_color": ink,
            "axis_line_color": faint,
            "major_tick_line_color": faint,
            "minor_tick_line_color": None,
        },
        "Grid": {"grid_line_color": faint, "grid_line_alpha": 0.5},
        "Title": text,
        "Legend": {"background_fill_color": paper, "border_line_color": None, "label_text_color": ink},
        "ColorBar": {"background_fill_color": paper, "major_label_text_color": ink, "title_text_color": ink},
    }


#: What each theme sets, by the name of the Bokeh model class; the report switches with the same table in the browser.
THEMES: dict[str, dict[str, dict[str, Any]]] = {
    "light": _theme("#ffffff", "#222222", "#cccccc"),
    "dark": _theme("#181a1b", "#e6e6e6", "#4a4a4a"),
}


def apply(root: Model, theme: str) -> None:
    """Colour a figure or layout and everything in it.

    >>> from bokeh.plotting import figure
    >>> plot = figure()
    >>> apply(plot, "dark")
    >>> plot.background_fill_color
    '#181a1b'
    """
    document = root.document
    # A document keeps a list of what is in it; to look through a figure takes longer than to colour it.
    models = root.references() if document is None or document.roots != [root] else list(document.models)
    for name, properties in THEMES[theme].items():
        for model in models:
            if isinstance(model, getattr(bokeh.models, name)):
                model.update(**properties)
