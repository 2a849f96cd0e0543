"""Views over `ken`: what a subnetwork retains, in a notebook or in one HTML file.

Every view is an ipywidget around one Bokeh figure, needs no ``output_notebook`` and no network, and can say what it
shows in words (`caption`) and in numbers (`numbers()`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ken import __version__ as __version__

if TYPE_CHECKING:
    from kenviz.exploring import explore as explore
    from kenviz.pane import BokehPane as BokehPane
    from kenviz.reporting import report as report
    from kenviz.views.explorer import Explorer as Explorer
    from kenviz.views.matrix import MatrixView as MatrixView
    from kenviz.views.retention import RetentionView as RetentionView
    from kenviz.views.row import RowView as RowView

_PUBLIC = {
    "BokehPane": "pane",
    "MatrixView": "views.matrix",
    "Explorer": "views.explorer",
    "RetentionView": "views.retention",
    "RowView": "views.row",
    "explore": "exploring",
    "report": "reporting",
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
