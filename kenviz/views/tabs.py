"""Tabs and the button for the full screen, as widgets of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

_HERE = Path(__file__).parent


class FullScreen(anywidget.AnyWidget):
    """The button that gives the Explorer the whole screen (full_screen.js)."""

    _esm = (_HERE / "full_screen.js").read_text(encoding="utf-8")


class Tabs(anywidget.AnyWidget):
    """Tabs, one of which is chosen: options are (value, words) each (tabs.js)."""

    _esm = (_HERE / "tabs.js").read_text(encoding="utf-8")

    options: Any = traitlets.List(help="(value, words) of each tab.").tag(sync=True)
    value = traitlets.Unicode(help="The tab that is chosen.").tag(sync=True)
