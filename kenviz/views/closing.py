"""Closing a widget with all that it is made of: ipywidgets keeps every widget that is open, and all that it holds."""

from __future__ import annotations

from collections.abc import Iterator

import ipywidgets


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


def parts(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    """The widgets that the browser is told of with this one: children, layout and style."""
    for name in widget.keys:
        value = getattr(widget, name)
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, ipywidgets.Widget):
                yield part
