"""BokehPane: one Bokeh figure or layout as a Jupyter widget.

Python holds the truth. A view asks for the figure as it is now, draws it, and from then on is only told what changed;
what the user does there (zoom, select, tap) comes back as small messages. pane.js beside this file is the other half.

    a view sends {need: "figure", view}   ─► {figure, watch, themes, generation, view}; {current: view} if it `has` that
    a view sends {need: "bokehjs"}        ─► {bokehjs: version}, the library as a buffer
    a view sends {need: "table", view}    ─► {table: CSV, view}
    Python changes something              ─► {apply: [{id, columns, properties}], generation, origin}, buffers
    a view sends {events, view, seen}     ─► the same "apply", for the other views; with `answer`, {heard: view} behind
                                             all that follows from it, and until then the view sends no other

Every "apply" has the next generation. A view says which one it has seen, so that a report about a model that
has changed since then is known to be stale, and dropped. What a busy kernel cannot answer is sent ahead (shipping.py).
"""

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from bokeh.document import Document
from bokeh.embed import json_item
from bokeh.model import Model
from bokeh.models import ColumnDataSource, LayoutDOM

from kenviz import theme as themes
from kenviz.pane import encoding, events
from kenviz.pane.encoding import bokehjs
from kenviz.pane.events import Change
from kenviz.pane.named_models import NamedModels, columns_of, require_column, require_free
from kenviz.pane.shipping import Shipped

log = logging.getLogger(__name__)
_HERE = Path(__file__).parent
_PARTS = ("opening", "page_colours", "controls", "saving", "pane")  # of one module in the page

_UNSENT = math.inf  # generation of a change that no view has been told of yet: later than any a view can have seen


class _Held(threading.local):
    """Of one thread: how deep in `hold` it is, and the ids of the models it has changed there."""

    def __init__(self) -> None:
        self.depth = 0
        self.touched: dict[str, None] = {}


class BokehPane(Shipped):
    """One Bokeh figure or layout as a widget, in any Jupyter front end, offline, without `output_notebook`.

    Models are addressed by their Bokeh `name`. Change them through `patch` and `set`: a change made directly
    on `root` is only seen by views that are displayed later. Any thread may call any method.

    Args:
        root: The figure or layout. The pane puts it in a document of its own, so it must not be in one already.
        text: What the figure says, in plain language: its alternative text, and what is shown without a kernel.
        **kwargs: Other traits: theme, which is "light", "dark", or "auto", which follows the page (by default the
            figure keeps its own colours), and those of any ipywidget, such as layout.

    Raises:
        TypeError: `root` is not a Bokeh figure or layout.
        ValueError: `root`, or something in it, is in a document already: in another pane, say.

    Example:
        >>> from bokeh.models import ColumnDataSource
        >>> from bokeh.plotting import figure
        >>> source = ColumnDataSource({"x": [0, 1], "top": [2.0, 3.0]}, name="entries")
        >>> plot = figure(name="histogram", x_range=(0, 4))
        >>> plot.x_range.name = "x_range"
        >>> bars = plot.vbar(x="x", top="top", source=source)
        >>> pane = BokehPane(plot, text="Two entries.")
        >>> with pane.hold():
        ...     pane.patch("entries", x=[0, 1, 2], top=[2.0, float("nan"), 5.0])
        ...     pane.set("x_range", start=0.0, end=3.0)
        >>> pane.column("entries", "top")
        array([ 2., nan,  5.])
        >>> pane.on_event(print)
        >>> pane.json()["root_id"] == pane.root.id
        True
        >>> pane
        BokehPane('Two entries.')
    """

    # One module: some hosts have no place from which one could import another.
    _esm = "\n".join((_HERE / f"{name}.js").read_text("utf-8") for name in _PARTS)
    _css = (_HERE / "look.css").read_text(encoding="utf-8")

    text = traitlets.Unicode(help="The figure in plain language.").tag(sync=True)
    theme = traitlets.Enum(
        [None, "auto", "light", "dark"], None, help="Colours: auto follows the page; None leaves the figure's own."
    ).tag(sync=True)

    def __init__(self, root: LayoutDOM, text: str = "", **kwargs: Any) -> None:
        if not isinstance(root, LayoutDOM):
            raise TypeError(f"root must be a Bokeh figure or layout, got {type(root).__name__}")
        require_free(root)
        self._root = root
        self._document = Document()
        self._document.add_root(root)
        self._lock = threading.RLock()
        self._held = _Held()
        self._names = NamedModels(self._document)
        self._unsent: dict[str, Change] = {}
        self._generation = 0
        # By model id: generation of the latest change, and the view it came from ("" is Python).
        self._stamps: dict[str, tuple[float, str]] = {}
        self._asked_for = False  # before a view has asked, there is nobody to tell
        self._callbacks = ipywidgets.CallbackDispatcher()
        events.keep_resets(self._document)
        # Stretches beside other widgets in a box; never so narrow that a figure cannot be drawn.
        kwargs.setdefault("layout", {"flex": "1 1 auto", "min_width": "120px"})
        super().__init__(text=text, **kwargs)
        self.on_msg(self._receive)

    @traitlets.observe("theme")
    def _rethemed(self, _: object) -> None:
        # Views in a page paint themselves; this is for whoever takes the figure elsewhere.
        if self.theme is not None:
            with self._lock:
                themes.apply(self._root, "dark" if self.theme == "dark" else "light")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    @property
    def root(self) -> LayoutDOM:
        """The Bokeh model; always the current state, with the ranges and selections the user has made."""
        return self._root

    # ---- what Python changes

    def patch(self, source: str, /, **columns: Any) -> None:
        """Replace columns of a ColumnDataSource. Nothing is changed by a call that raises.

        Args:
            source: Name of the source.
            **columns: New values, all of one length n: an array or sequence of n numbers or strings; a list of n
                arrays (the lines of a multi-line, several images); or one 2-D array, which is a column with one
                image. Arrays are copied. float16 becomes float32; 64-bit integers become int32 where all fit, else
                float64. Columns that are not given stay, if n is their length.

        Raises:
            UnknownNameError: No source, or no column of it, has that name.
            TypeError: A column holds what a browser has no type for: complex numbers, times, objects.
            ValueError: Lengths differ.
        """
        with self.hold(), self._lock:
            model = self._names.find(source, ColumnDataSource)
            for name in columns:
                require_column(model, name)
            new = {name: encoding.column(values, f"{source}.{name}") for name, values in columns.items()}
            data = {**columns_of(model), **new}
            if len({len(values) for values in data.values()}) > 1:
                lengths = ", ".join(
                    f"{name}: {len(values)}" + ("" if name in new else " (not given)") for name, values in data.items()
                )
                raise ValueError(f"source {source!r}: columns must have equal length, got {lengths}")
            if new:
                model.data = data
                self._touch(model).columns |= dict.fromkeys(new)

    def set(self, name: str, /, **properties: Any) -> None:
        """Set properties of a model. Nothing is changed by a call that raises.

        Args:
            name: Name of the model: a range, a title, a renderer, a colour mapper, an axis.
            **properties: Values, which Bokeh checks. They must be plain (numbers, strings, sequences and mappings of
                them), not other Bokeh models: name a title, and set its `text`.

        Raises:
            UnknownNameError: No model has that name.
            AttributeError: Bokeh knows no such property.
            ValueError: Bokeh refuses the value.
            TypeError: The value is, or holds, a Bokeh model.
        """
        with self.hold(), self._lock:
            model = self._names.find(name, Model)
            if "data" in properties and isinstance(model, ColumnDataSource):
                raise TypeError(f"columns are changed with patch({name!r}, ...), not with set")
            for prop in properties:
                if prop not in model.properties():
                    raise AttributeError(f"{type(model).__name__} {name!r} has no property {prop!r}")
            before = {prop: getattr(model, prop) for prop in properties}
            try:
                model.update(**properties)
                for prop in properties:
                    encoding.encode(getattr(model, prop), [], f"{name}.{prop}")
            except Exception:
                model.update(**before)
                raise
            if "name" in properties:
                self._names.forget()  # it may be the name of another, too
            if properties:
                self._touch(model).properties |= dict.fromkeys(properties)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Send what this thread changes inside as one message, at the end: one redraw.

        It is a context manager.
        """
        self._held.depth += 1
        try:
            yield
        finally:
            self._held.depth -= 1
            if self._held.depth == 0:
                self._flush()

    # ---- what Python can ask

    def column(self, source: str, column: str) -> np.ndarray:
        """Give a column of a ColumnDataSource.

        Args:
            source: Name of the source.
            column: Name of the column.

        Returns:
            An array; read-only if it came through `patch`. A column with one image gives the image, a 2-D array;
            several images, or lines of a multi-line, give a 1-D array of arrays.

        Raises:
            UnknownNameError: No source, or no column of it, has that name.
        """
        with self._lock:
            model = self._names.find(source, ColumnDataSource)
            require_column(model, column)
            return encoding.as_array(columns_of(model)[column])

    def json(self) -> dict[str, Any]:
        """Give the figure as it is now.

        Returns:
            What `bokeh.embed.json_item` makes of it: plain values, which JSON has words for.
        """
        with self._lock:
            return dict(json_item(self._root))

    def on_event(self, callback: Callable[[dict[str, Any]], object], remove: bool = False) -> None:
        """Call a function for what the user does in a view.

        `{"kind": "tap", "figure": name, "x": x, "y": y}`: a click, in data coordinates; the name is None for
        a figure without one.
        `{"kind": "range", "name": name, "start": start, "end": end}`: a named Range1d was moved. Moves that
        follow each other within 80 ms are one event.
        `{"kind": "select", "name": name, "indices": [...]}`: entries of a named source were selected.

        `root` has the new state already, for all events of one message. What the callbacks change goes out as
        one message. An error in a callback is logged, as ipywidgets does, and stops nothing else.

        Args:
            callback: Called with each event.
            remove: Call it no longer.
        """
        self._callbacks.register_callback(callback, remove=remove)

    # ---- inside

    def _touch(self, model: Model) -> Change:
        """Note that this thread changes `model`: sent at the end of its hold."""
        self._stamps[model.id] = (_UNSENT, "")
        self._held.touched[model.id] = None
        return self._unsent.setdefault(model.id, Change(model))

    def _flush(self) -> None:
        """Send what this thread has changed.

        Of these models, that includes what other threads have changed and not sent yet: columns of one source
        must arrive together, or their lengths could differ in between.
        """
        with self._lock:
            touched, self._held.touched = self._held.touched, {}
            changes = [self._unsent.pop(id) for id in touched if id in self._unsent]
            if changes:
                self._publish(changes, origin="")

    def _publish(self, changes: list[Change], origin: str) -> None:
        """Tell the views of changes; the one they came from (`origin`) only learns the generation."""
        self._generation += 1
        for change in changes:
            self._stamps[change.model.id] = (self._generation, origin)
        if not self._asked_for:
            return
        buffers: list[bytes] = []
        apply = []
        for change in changes:
            columns = {name: columns_of(change.model)[name] for name in change.columns}
            properties = {name: getattr(change.model, name) for name in change.properties}
            op = {"columns": columns, "properties": properties}
            apply.append({"id": change.model.id, **{key: encoding.encode(op[key], buffers, key) for key in op}})
        # Inside the lock, so that messages leave in the order of their generations.
        self.send({"apply": apply, "generation": self._generation, "origin": origin}, buffers)

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        """Answer a message from a view, or ignore it: it may come from anywhere, and be malformed."""
        match content:
            case {"need": "bokehjs"}:
                version, library = bokehjs()
                self.send({"bokehjs": version}, [library])
            case {"need": "figure", "view": str(view), **more} if view:
                with self._lock:
                    current = self._asked_for and more.get("has") == self._generation
                    self.send({"current": view} if current else {**self._drawing(), "view": view})
            case {"need": "table", "view": str(view)} if view and self.table is not None:
                self.send({"table": self.table(), "view": view})
            case {"events": list(reports), "view": str(view), "seen": int(seen), **more} if view:
                try:
                    self._hear(reports, view, seen)
                finally:
                    if more.get("answer") is True:
                        self.send({"heard": view})
            case _:
                log.debug("ignored a message that is not of this protocol")

    def _drawing(self) -> dict[str, Any]:
        with self._lock:
            self._asked_for = True
            watched, generation = events.watch(self._document), self._generation
            return {"figure": self.json(), "watch": watched, "themes": themes.THEMES, "generation": generation}

    def _hear(self, reports: list[object], view: str, seen: int) -> None:
        """Take over what a view reports, tell the other views, then the callbacks."""
        with self._lock:
            taken = [
                events.take(self._document, report, lambda model: self._stale(model, view, seen)) for report in reports
            ]
            news = [one for one in taken if one is not None]
            changes = [change for _, change in news if change is not None]
            if changes:
                self._publish(changes, origin=view)
        # Callbacks run without the lock: they may wait for a lock whose owner is waiting for ours.
        with self.hold():
            for event, _ in news:
                self._callbacks(event)

    def _stale(self, model: Model, view: str, seen: int) -> bool:
        """Whether someone else has changed the model, and the view did not know it when it reported.

        A view's own reports never make its next one stale: it sends them faster than it is answered.
        """
        generation, origin = self._stamps.get(model.id, (0, ""))
        return generation > seen and origin != view
