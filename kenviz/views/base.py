"""What all views share: a pane, a caption, one lock, a text form, and a way out of the notebook."""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets
from bokeh.models import LayoutDOM

from ken.storage.file_kinds import PAGE
from ken.storage.outputs import check_outputs
from kenviz.figures import html_page
from kenviz.pane.bokeh_pane import BokehPane

if TYPE_CHECKING:
    import pandas as pd


class View(ipywidgets.VBox):
    """A figure with its controls and a caption in plain language, which is also its alternative text.

    Subclasses call `_start` once their state is complete, which makes `pane`, and keep `caption` current. STATE names
    the traits that make up the state; each is a keyword argument of the class, too, so that `code` can say how to get
    there. Widget callbacks may run in another thread than the cell that is executing, so every change of state holds
    the lock.
    """

    theme = traitlets.Enum(
        ["auto", "light", "dark"], "auto", help="Colours of the figure; auto follows the page it is shown in."
    )
    caption = traitlets.Unicode(help="What the figure shows, in plain language.")

    #: Traits that are the state, in the order in which they are set.
    STATE: tuple[str, ...] = ()

    pane: BokehPane

    def __init__(self, **kwargs: Any) -> None:
        self._lock = threading.RLock()
        self._syncing = False
        self._note = ipywidgets.HTML()
        super().__init__(**kwargs)

    def _start(self, controls: list[ipywidgets.Widget], root: LayoutDOM) -> None:
        self.pane = BokehPane(root, text=self.caption, theme=self.theme)
        self._listen()
        self._controls = ipywidgets.HBox(controls, layout={"flex_flow": "row wrap"})
        self._shown(None)
        self.children = [self._controls, self.pane, self._note]

    def _bind(self, control: ipywidgets.Widget, trait: str) -> None:
        """Keep a control and a trait equal. `traitlets.link` would raise if two threads moved them at once."""

        def from_control(_: object) -> None:
            with self._lock:  # held while another thread is in the middle of a change
                if not self._syncing:
                    setattr(self, trait, control.value)

        def from_trait(_: object) -> None:
            with self._sync():
                control.value = getattr(self, trait)

        control.observe(from_control, "value")
        self.observe(from_trait, trait)
        from_trait(None)

    @contextmanager
    def _sync(self) -> Iterator[None]:
        """Change controls to follow the state, without the controls changing the state in turn."""
        with self._lock:
            before, self._syncing = self._syncing, True
            try:
                yield
            finally:
                self._syncing = before

    @traitlets.observe("caption")
    def _shown(self, _: object) -> None:
        if hasattr(self, "pane"):
            self.pane.text = self.caption
        # Names come from files of strangers.
        self._note.value = f'<div class="kenviz-caption" style="line-height: 1.4">{html.escape(self.caption)}</div>'

    @traitlets.observe("theme")
    def _rethemed(self, _: object) -> None:
        if hasattr(self, "pane"):
            self.pane.theme = self.theme

    @property
    def colours(self) -> str:
        """The theme for what is drawn away from any page: "auto" is light there."""
        return "dark" if self.theme == "dark" else "light"

    @property
    def state(self) -> dict[str, Any]:
        """The state as plain values; give them to the class as keyword arguments to get the same view again."""
        return {name: getattr(self, name) for name in self.STATE}

    def code(self) -> str:
        """Python that makes this view as it is now, of a subnetwork `net` and a pair `pair`."""
        told = "".join(f", {name}={value!r}" for name, value in self.state.items())
        return f"kenviz.{type(self).__name__}(net, pair{told})"

    def _figure(self) -> LayoutDOM:
        """Build the figure anew from the current state."""
        raise NotImplementedError

    def _listen(self) -> None:
        """Attach the view to the events of its pane; most views hear none."""

    @property
    def figure(self) -> LayoutDOM:
        """The Bokeh figure as it is now. Change the view, not the figure."""
        return self.pane.root

    def numbers(self) -> pd.DataFrame:
        """The numbers that the figure shows, as a table."""
        raise NotImplementedError

    def to_html(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the figure, as it is now, into one HTML file that opens without a network or a kernel.

        Args:
            path: Where to. Another page is replaced, what the view looks at never.
            overwrite: Replace a file that holds something else, too.

        Returns:
            The path.

        Raises:
            OutputError: The view looks at that file, or there is one that holds something else.
            OSError: The file cannot be written.
        """
        check_outputs([(path, PAGE)], self._reads(), overwrite=overwrite)
        with self._lock:
            title = self.caption.split(":")[0] or type(self).__name__
            return html_page.write(path, title, [self.page()], self.colours)

    def _reads(self) -> Mapping[str, Any]:
        """What the view looks at, by what it is called."""
        study = getattr(self, "_study", None)
        return {} if study is None else study.reads()

    def page(self) -> tuple[LayoutDOM, str]:
        """The figure built anew, in no document, and its caption: what `to_html` writes."""
        with self._lock:
            return self._figure(), self.caption

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.caption!r})"
