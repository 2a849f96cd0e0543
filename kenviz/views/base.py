"""What all views share: a state with its controls, a pane, a caption, one lock, and a way out of the notebook."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets
from bokeh.models import LayoutDOM

from ken.storage import CSV, check_outputs, target, write_text
from kenviz.hosts.displayed import Displayed
from kenviz.pane.bokeh_pane import BokehPane
from kenviz.views.closing import close_all, parts
from kenviz.views.files import Filed, with_still
from kenviz.views.unhindered import uncollected

if TYPE_CHECKING:
    import pandas as pd


class Phase:
    """A part of a change, during which it is true: whoever hears of the change then waits for its end.

    >>> moving = Phase(threading.RLock())
    >>> with moving:
    ...     bool(moving)
    True
    >>> bool(moving)
    False
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock, self._depth = lock, 0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        self._lock.release()

    def __bool__(self) -> bool:
        return self._depth > 0


@contextmanager
def refusal() -> Iterator[None]:
    """Turn a `ValueError` into a `traitlets.TraitError`: what a trait raises that refuses a value."""
    try:
        yield
    except ValueError as error:
        raise traitlets.TraitError(str(error)) from None


class Stateful(Displayed, ipywidgets.VBox):
    """A widget with a state, which is some of its traits, and with controls that follow it.

    Widget callbacks may run in another thread than the cell that is executing, so every change of state holds the
    lock. Widgets that follow one another share a lock: with several, two threads could wait for each other.
    """

    #: Traits that are the state, in the order in which they are set.
    STATE: tuple[str, ...] = ()

    def __init__(self, lock: threading.RLock | None = None, **traits: Any) -> None:
        self._lock = lock or threading.RLock()
        self._syncing = Phase(self._lock)  # controls follow the state, and do not change it in turn
        super().__init__(**traits)

    @property
    def lock(self) -> threading.RLock:
        """Held during every change of state; a widget that moves this one shares it."""
        return self._lock

    @property
    def state(self) -> dict[str, Any]:
        """The state as plain values: as keyword arguments of its class they make the same view again."""
        return {name: getattr(self, name) for name in self.STATE}

    def close(self) -> None:
        """Close the widget, and all that it is made of: it is shown nowhere any longer, and can be forgotten."""
        if self.comm is None:  # closed already, or never made: the collector closes, too
            return
        with self._lock:
            held = [*parts(self), *self._unseen()]
            super().close()
            close_all(*held)

    def _unseen(self) -> list[ipywidgets.Widget]:
        """What belongs to the widget and is not among its children, or not now."""
        return []

    def _assign(self, **values: Any) -> None:
        """Set traits, one after another; what is None stays as it is."""
        for name, value in values.items():
            if value is not None:
                self.set_trait(name, value)

    def _bind(self, control: ipywidgets.Widget, trait: str) -> None:
        """Keep a control and a trait equal. `traitlets.link` would raise if two threads moved them at once."""

        def from_control(_: object) -> None:
            with self._lock:  # held while another thread is in the middle of a change
                if not self._syncing:
                    setattr(self, trait, control.value)

        def from_trait(_: object) -> None:
            with self._syncing:
                control.value = getattr(self, trait)

        control.observe(from_control, "value")
        self.observe(from_trait, trait)
        from_trait(None)


class Exported(Filed, Stateful):
    """Figures in one theme, which can be written into files of their own."""

    theme = traitlets.Enum(["auto", "light", "dark"], "auto", help="Colours; auto follows the page of the figures.")

    @property
    def colours(self) -> str:
        """The theme for what is drawn away from any page: "auto" is light there."""
        return "dark" if self.theme == "dark" else "light"

    @property
    def in_sight(self) -> list[Any]:
        """What is shown now, each with a pane and a page: itself, if it is not made of views."""
        return [self]

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        with self._lock, uncollected():
            panes = [view.pane for view in self.in_sight]
            for pane in panes:
                pane.announce()
            return with_still(super()._repr_mimebundle_(**kwargs), panes)


class View(Exported):
    """A figure with its controls and a caption in plain language, which is also its alternative text.

    STATE names the traits that make up the state; each is a keyword argument of the class, too, so that `code` can say
    how to get there. A subclass sets them, makes its controls, and calls `_start`, which draws them; from then on
    `_update` is called for each change. `_read` keeps `caption` current.
    """

    caption = traitlets.Unicode(help="What the figure shows, in plain language.")

    pane: BokehPane

    def __init__(self, lock: threading.RLock | None = None, **traits: Any) -> None:
        super().__init__(lock, **traits)
        self._settling = Phase(self._lock)  # a change has others in its wake; all are drawn at its end
        self._note = ipywidgets.HTML()

    def _start(self, controls: Mapping[ipywidgets.Widget, str | None], *below: ipywidgets.Widget) -> None:
        """Draw the state, and follow it from now on; controls are bound to the traits that are named beside them."""
        self._read()
        self.pane = BokehPane(self._figure(), text=self.caption, theme=self.theme)
        self._controls = ipywidgets.HBox(list(controls), layout={"flex_flow": "row wrap"})
        for widget, look in ((self, "view"), (self._controls, "controls"), (self._note, "note")):
            widget.add_class(f"kenviz-{look}")
        self.children = [self._controls, self.pane, self._note, *below]
        self.pane.table = self._csv
        self._say(None)
        self.pane.on_event(self._heard)
        self.observe(self._say, "caption")
        self.observe(self._rethemed, "theme")
        self.observe(self._changed, list(self.STATE))
        for control, trait in controls.items():
            if trait is not None:
                self._bind(control, trait)

    # ---- what subclasses say

    def _read(self) -> None:
        """Work out what the state means: all that is drawn and said."""
        raise NotImplementedError

    def _figure(self) -> LayoutDOM:
        """Build the figure anew from the current state."""
        raise NotImplementedError

    def _update(self, name: str) -> None:
        """Draw what has changed with that trait. Called with the lock held; the browser is told at the end."""
        raise NotImplementedError

    def _heard(self, event: dict[str, Any]) -> None:
        """Take over what the user does in the figure; in most views that changes nothing."""

    # ---- what follows the state

    def _changed(self, change: dict[str, Any]) -> None:
        with self._lock:
            if not self._settling:
                with self.pane.hold():
                    self._update(change["name"])

    def _say(self, _: object) -> None:
        self.pane.text, self.pane.stem = self.caption, self.stem
        # Names come from files of strangers.
        self._note.value = f'<div class="kenviz-caption" style="line-height: 1.4">{html.escape(self.caption)}</div>'

    def _rethemed(self, _: object) -> None:
        self.pane.theme = self.theme

    # ---- what can be asked

    def code(self) -> str:
        """Write the Python that makes this view as it is now.

        Returns:
            One expression, of a subnetwork `net` and a pair `pair`.
        """
        return self._call("net", "pair")

    def _call(self, *objects: str, **options: Any) -> str:
        """The call that makes this view as it is now, of objects of these names; options come after the state."""
        named = [f"{name}={value!r}" for name, value in {**self.state, **options}.items()]
        return f"kenviz.{type(self).__name__}({', '.join([*objects, *named])})"

    @property
    def figure(self) -> LayoutDOM:
        """The Bokeh figure as it is now. Change the view, not the figure."""
        return self.pane.root

    def numbers(self) -> pd.DataFrame:
        """Give the numbers that the figure shows.

        Returns:
            A table of its own: what is done to it changes nothing in the view.
        """
        raise NotImplementedError

    def to_csv(self, path: str | Path, *, overwrite: bool = False) -> Path | str:
        """Write the numbers that the figure shows as a table, comma-separated, with a line of names.

        Args:
            path: Where to.
            overwrite: Replace a file that is there; by default that is refused.

        Returns:
            The path.

        Raises:
            OutputError: That file is looked at, or it is there already.
            OSError: The file cannot be written.
        """
        check_outputs([(path, CSV)], self._reads(), overwrite=overwrite)
        return write_text(target(path), self._csv())

    def _csv(self) -> str:
        with self._lock:
            return str(self.numbers().to_csv())

    @property
    def stem(self) -> str:
        """A name for files of the figure as it is now, without an ending: the view and its tensor, in plain letters.

        Letters, digits, and single signs between them; 100 characters at most.
        """
        shown = getattr(self, "tensor", "") or ""
        return re.sub(r"[^A-Za-z0-9_]+", "-", f"{type(self).__name__} {shown}")[:100].strip("-")

    def page(self) -> tuple[LayoutDOM, str]:
        """Build the figure anew, for another page than this one.

        Returns:
            The figure, which is in no document, and its caption.
        """
        with self._lock:
            return self._figure(), self.caption

    def _pages(self) -> tuple[str, list[tuple[LayoutDOM, str]]]:
        return self.caption.split(":")[0] or type(self).__name__, [self.page()]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.caption!r})"
