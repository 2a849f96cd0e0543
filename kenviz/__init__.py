"""Views over `ken`: what a subnetwork retains, in a notebook or in one HTML file.

Every view is an ipywidget around one Bokeh figure, needs no ``output_notebook`` and no network, and can say what it
shows in words (`caption`) and in numbers (`numbers()`).
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from ken import __version__ as __version__

if TYPE_CHECKING:
    from kenviz._explore import explore as explore
    from kenviz._show import show as show
    from kenviz.pane.bokeh_pane import BokehPane as BokehPane
    from kenviz.reporting import check_thresholds as check_thresholds
    from kenviz.reporting import report as report
    from kenviz.reporting import report_data as report_data
    from kenviz.views.compare import CompareView as CompareView
    from kenviz.views.effects import EffectView as EffectView
    from kenviz.views.explorer import Explorer as Explorer
    from kenviz.views.layers import LayersView as LayersView
    from kenviz.views.lesson import Lesson as Lesson
    from kenviz.views.matrix import MatrixView as MatrixView
    from kenviz.views.neighbours import NeighbourView as NeighbourView
    from kenviz.views.retention import RetentionView as RetentionView
    from kenviz.views.row import RowView as RowView
    from kenviz.views.side_by_side import SideBySideView as SideBySideView
    from kenviz.views.sweep import SweepView as SweepView
    from kenviz.views.texts import TextView as TextView

_PUBLIC = {
    "BokehPane": "pane.bokeh_pane",
    "CompareView": "views.compare",
    "EffectView": "views.effects",
    "LayersView": "views.layers",
    "Lesson": "views.lesson",
    "MatrixView": "views.matrix",
    "Explorer": "views.explorer",
    "NeighbourView": "views.neighbours",
    "RetentionView": "views.retention",
    "RowView": "views.row",
    "SideBySideView": "views.side_by_side",
    "SweepView": "views.sweep",
    "TextView": "views.texts",
    "check_thresholds": "reporting",
    "explore": "_explore",
    "report": "reporting",
    "report_data": "reporting",
    "show": "_show",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'kenviz' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"kenviz.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext kenviz``: a subnetwork at the end of a cell is HTML. Importing kenviz in IPython does the same."""
    from kenviz._show import register

    register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext kenviz``: a subnetwork is text again."""
    from kenviz._show import unregister

    unregister(shell)


if "IPython" in sys.modules and (_shell := sys.modules["IPython"].get_ipython()) is not None:
    load_ipython_extension(_shell)
