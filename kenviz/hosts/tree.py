"""A tree of ipywidgets: which belong together, which can be drawn, what a page may set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ipywidgets

#: What portable.js draws, by the name of the view, and what the page may set of it.
SETTABLE: dict[str, tuple[str, ...]] = {
    "BoxView": (),
    "HBoxView": (),
    "VBoxView": (),
    "ButtonView": (),
    "CheckboxView": ("value",),
    "ComboboxView": ("value",),
    "DropdownView": ("index",),
    "FloatLogSliderView": ("value",),
    "FloatSliderView": ("value",),
    "FloatTextView": ("value",),
    "HTMLView": (),
    "IntRangeSliderView": ("value",),
    "IntSliderView": ("value",),
    "IntTextView": ("value",),
    "LabelView": (),
    "PlayView": ("value",),
    "ProgressView": (),
    "SelectMultipleView": ("index",),
    "SelectView": ("index",),
    "TextView": ("value",),
    "TextareaView": ("value",),
    "ToggleButtonView": ("value",),
}
#: The name of the view of every anywidget, whatever its class: it brings its own front end.
ANY = "AnyView"
_NO_STATE = {"layout", "tabbable", "tooltip"}


def parts(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    """The widgets that the browser is told of with this one: children, layout and style."""
    for name in widget.keys:
        value = getattr(widget, name)
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, ipywidgets.Widget):
                yield part


def whole(root: ipywidgets.Widget) -> dict[str, ipywidgets.Widget]:
    """A widget, its parts, theirs and so on, by model id.

    >>> box = ipywidgets.VBox([ipywidgets.IntSlider(), ipywidgets.HTML()])
    >>> sorted(type(widget).__name__ for widget in whole(box).values())
    ['HTML', 'HTMLStyle', 'IntSlider', 'Layout', 'Layout', 'Layout', 'SliderStyle', 'VBox']
    """
    known: dict[str, ipywidgets.Widget] = {}
    waiting = [root]
    while waiting:
        widget = waiting.pop()
        if widget.comm is not None and widget.model_id not in known:  # one that is closed is shown nowhere
            known[widget.model_id] = widget
            waiting += parts(widget)
    return known


def settable(widget: ipywidgets.Widget) -> set[str]:
    """What a page may set of that widget.

    >>> sorted(settable(ipywidgets.IntSlider())), settable(ipywidgets.VBox()), settable(ipywidgets.Layout())
    (['value'], set(), set())
    """
    if widget._view_name == ANY:
        return {name for name in widget.keys if not name.startswith("_")} - _NO_STATE
    return set(SETTABLE.get(widget._view_name, ()))


def described(widget: ipywidgets.Widget) -> dict[str, Any]:
    """A widget as portable.js has it: the name of its view, its class, its state without what is not set."""
    kept = {"_dom_classes", "_options_labels", "_esm", "_css"}
    state = widget.get_state()
    shown = {name: value for name, value in state.items() if name in kept or not name.startswith("_")}
    if not isinstance(widget, ipywidgets.DOMWidget):  # a layout has fifty properties, of which one or two are set
        shown = {name: value for name, value in shown.items() if value is not None}
    return {"name": widget._view_name, "class": type(widget).__name__, "state": shown}


def without_bytes(value: Any, path: list[Any], buffers: list[Any], *, paths: list[list[Any]]) -> Any:
    """A value without the bytes in it: these go into `buffers`, and where they were into `paths`.

    >>> buffers, paths = [], []
    >>> without_bytes({"a": [1, b"xy"]}, [], buffers, paths=paths), buffers, paths
    ({'a': [1, None]}, [b'xy'], [['a', 1]])
    """
    if isinstance(value, bytes | bytearray | memoryview):
        buffers.append(value)
        paths.append(path)
        return None
    if isinstance(value, dict):
        return {key: without_bytes(item, [*path, key], buffers, paths=paths) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_bytes(item, [*path, at], buffers, paths=paths) for at, item in enumerate(value)]
    return value
