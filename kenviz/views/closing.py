"""Closing a widget with all that it is made of: ipywidgets keeps every widget that is open, and all that it holds."""

from __future__ import annotations

import ipywidgets

from kenviz.hosts.tree import parts as parts


def close_all(*widgets: ipywidgets.Widget) -> None:
    """Close widgets, their children, and the layout and style of each.

    >>> box = ipywidgets.VBox([ipywidgets.Button(), ipywidgets.HBox([ipywidgets.HTML()])])
    >>> close_all(box)
    >>> box.children[1].children[0].comm is None, box.children[0].style.comm is None
    (True, True)
    """
    for widget in widgets:
        if widget.comm is not None:
            held = list(parts(widget))
            widget.close()
            close_all(*held)
