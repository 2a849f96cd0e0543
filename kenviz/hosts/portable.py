"""Portable: a tree of ipywidgets as one anywidget.

A host that knows anywidgets and no ipywidgets shows a view by it. The tree stays as it is: what happens to its widgets
is passed on to the page, and what the user does there to them. portable.js beside this file is the other half, and
controls.js what it draws controls with.

    a view sends {need: "tree", view}        ─► {tree: {root, models}, view}
    Python changes something                 ─► {update: {id, state}, models, gone, origin}
    a widget sends a message                 ─► {custom: content, id}, with its buffers
    a view sends {sets: {id: state}, view}   ─► "update" for the other views, and {heard: view} behind all that follows
                                                from it; until then the view sends no other
    a view sends {custom: content, id}          the widget's callbacks are called
    the tree is closed                       ─► {closed: true}

`paths` beside these says where in a message its buffers belong; "custom" has them as the widget sent them.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets

from kenviz.hosts.tree import described, settable, whole, without_bytes

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent


class _Taking(threading.local):
    """Of one thread: what it is taking over from a view just now, and from which."""

    def __init__(self) -> None:
        self.view = ""
        self.sets: dict[str, Any] = {}


class Portable(anywidget.AnyWidget):
    """A tree of ipywidgets, with anywidgets in it, as one anywidget.

    Every view of it shows the same tree, as do the tree's own views; closing the tree closes it.

    Args:
        tree: The widget at the root.

    Raises:
        TypeError: That is no ipywidget.

    Example:
        >>> slider = ipywidgets.IntSlider(description="row")
        >>> portable = Portable(ipywidgets.VBox([slider]))
        >>> print(portable.text)
        VBox(children=(IntSlider(value=0, description='row'),))
        >>> portable.close()
    """

    _esm = "".join((_HERE / name).read_text(encoding="utf-8") for name in ("controls.js", "portable.js"))
    _css = (_HERE / "portable.css").read_text(encoding="utf-8")

    text = traitlets.Unicode(help="The tree in a line: what is shown before the kernel answers.").tag(sync=True)

    def __init__(self, tree: ipywidgets.Widget) -> None:
        if not isinstance(tree, ipywidgets.Widget):
            raise TypeError(f"tree must be an ipywidget, got {type(tree).__name__}")
        self._root, self._lock, self._taking = tree, threading.RLock(), _Taking()
        self._watched: dict[str, ipywidgets.Widget] = {}
        super().__init__(text=repr(tree))
        self.on_msg(self._receive)
        tree.observe(self._ended, "comm")
        self._watch()

    def close(self) -> None:
        """Close it; the tree stays."""
        if self.comm is None:
            return
        self._root.unobserve(self._ended, "comm")
        self._unwatch(list(self._watched))
        super().close()

    # ---- from Python to the page

    def _watch(self) -> tuple[list[ipywidgets.Widget], list[str]]:
        """Follow the tree as it is now; what is new in it, and what is gone."""
        present = whole(self._root)
        added = [widget for id, widget in present.items() if id not in self._watched]
        gone = [id for id in self._watched if id not in present]
        for widget in added:
            self._watched[widget.model_id] = widget
            widget.observe(self._changed, [*{*widget.keys}])
            widget.send = _Overheard(widget, self)
        self._unwatch(gone)
        return added, gone

    def _unwatch(self, ids: list[str]) -> None:
        for id in ids:
            widget = self._watched.pop(id)
            if isinstance(widget.send, _Overheard):
                widget.send.forget(self)
            widget.unobserve(self._changed, [*{*widget.keys}])

    def _changed(self, change: dict[str, Any]) -> None:
        widget, name = change["owner"], change["name"]
        with self._lock:
            if widget.comm is None or self.comm is None:  # being closed
                return
            state = widget.get_state(name)
            sets = self._taking.sets.get(widget.model_id, {})
            known = name in sets and _plain(state[name]) == _plain(sets[name])
            refers = _refers(change["new"]) or _refers(change["old"])
            added, gone = self._watch() if refers else ([], [])
            self._tell(
                {
                    "update": {"id": widget.model_id, "state": state},
                    "models": {one.model_id: described(one) for one in added},
                    "gone": gone,
                    "origin": self._taking.view if known else "",
                }
            )

    def overhear(self, widget: ipywidgets.Widget, content: Any, buffers: Any) -> None:
        """Pass on what a widget of the tree sends to its own views."""
        with self._lock:
            self._tell({"custom": content, "id": widget.model_id}, list(buffers or []))

    def _tell(self, message: dict[str, Any], buffers: list[Any] | None = None) -> None:
        # marimo closes what a cell has shown when it runs again, and says so nowhere else.
        if getattr(self.comm, "_closed", False) is True:
            self.close()
        if self.comm is None:
            return
        if buffers is None:
            paths: list[list[Any]] = []
            buffers = []
            message = {**without_bytes(message, [], buffers, paths=paths), "paths": paths}
        self.send(message, buffers)

    def _ended(self, change: dict[str, Any]) -> None:
        if change["new"] is None:
            with self._lock:
                self._tell({"closed": True})
                self.close()

    # ---- from the page to Python

    def _receive(self, _widget: object, content: object, buffers: Any) -> None:
        """Answer a view, or ignore it: a message may come from anywhere, and be malformed."""
        match content:
            case {"need": "tree", "view": str(view)} if view:
                with self._lock:
                    models = {id: described(widget) for id, widget in self._watched.items()}
                    self._tell({"tree": {"root": self._root.model_id, "models": models}, "view": view})
            case {"sets": dict(sets), "view": str(view)} if view:
                try:
                    self._take(sets, view)
                finally:
                    self._tell({"heard": view})
            case {"custom": content, "id": str(id)} if id in self._watched:
                data = {"method": "custom", "content": content}
                self._watched[id].comm.handle_msg({"content": {"data": data}, "buffers": buffers})
            case _:
                log.debug("ignored a message that is not of this protocol")

    def _take(self, sets: dict[str, Any], view: str) -> None:
        """Set what a view has set, as far as it may; what it then shows wrongly it is told."""
        self._taking.view, self._taking.sets = view, sets
        try:
            for id, state in sets.items():
                widget = self._watched.get(id)
                if widget is not None and isinstance(state, dict):
                    allowed = {name: value for name, value in state.items() if name in settable(widget)}
                    self._set(widget, allowed)
        finally:
            self._taking.view, self._taking.sets = "", {}

    def _set(self, widget: ipywidgets.Widget, state: dict[str, Any]) -> None:
        try:
            widget.set_state(state)
        except (traitlets.TraitError, TypeError, ValueError) as error:
            log.debug("refused what a page has set: %s", error)
        if widget.comm is None:
            return
        now = widget.get_state(list(state)) if state else {}
        if wrong := {name: value for name, value in now.items() if _plain(value) != _plain(state[name])}:
            update = {"id": widget.model_id, "state": wrong}
            self._tell({"update": update, "models": {}, "gone": [], "origin": ""})

    def _repr_keys(self) -> Any:
        return iter(["text"])


class _Overheard:
    """The `send` of a widget, which portables hear, too."""

    def __init__(self, widget: ipywidgets.Widget, portable: Portable) -> None:
        before = widget.send
        heard = isinstance(before, _Overheard)
        self._widget = widget
        self._send: Any = before._send if heard else before
        self._portables: list[Portable] = [*(before._portables if heard else []), portable]

    def __call__(self, content: Any, buffers: Any = None) -> None:
        self._send(content, buffers)
        for portable in self._portables:
            portable.overhear(self._widget, content, buffers)

    def forget(self, portable: Portable) -> None:
        """Let that one hear no more."""
        self._portables = [one for one in self._portables if one is not portable]


def _refers(value: Any) -> bool:
    """Whether a value is a widget, or has widgets in it."""
    return any(isinstance(one, ipywidgets.Widget) for one in (value if isinstance(value, list | tuple) else [value]))


def _plain(value: Any) -> Any:
    """A value as JSON has it, where tuples are lists."""
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
