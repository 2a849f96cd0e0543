"""Displayed: what shows a tree of ipywidgets in a host that knows only anywidgets."""

from __future__ import annotations

from typing import Any

from kenviz.hosts.portable import Portable


class Displayed:
    """Of a widget: shown by marimo as one anywidget, and by others as it is."""

    def portable(self) -> Portable:
        """Make one anywidget of the view, controls included, for a host that knows anywidgets and no ipywidgets.

        Returns:
            The anywidget. View and anywidget stay in step; closing the view closes it, too.
        """
        return Portable(self)

    def _display_(self) -> Any:
        """What marimo shows in place of the view; no other host asks for it."""
        import marimo

        return marimo.ui.anywidget(self.portable())
