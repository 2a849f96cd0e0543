"""What a pane sends ahead, when it is displayed: the figure as it is then, and BokehJS, once for all panes.

A kernel that goes on computing in the cell that displays a figure cannot answer the page. So both come as state of
widgets, which the page has without asking: each pane has its figure (`opening`), one `BokehLibrary` has BokehJS.
Both are gzipped, which makes them a third as large in the page, and in a notebook that stores the state of widgets.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import anywidget
import traitlets

from kenviz.pane.encoding import bokehjs


@cache
def _packed_bokehjs() -> bytes:
    """The text of BokehJS, gzipped: 350 kB of 1.3 MB."""
    return gzip.compress(bokehjs()[1], 6, mtime=0)


class BokehLibrary(anywidget.AnyWidget):
    """BokehJS of the installed bokeh, as the state of a widget that is nowhere to be seen.

    >>> library = BokehLibrary()
    >>> gzip.decompress(library.get_state("script")["script"]) == bokehjs()[1]
    True
    """

    _esm = "export default {};"

    version = traitlets.Unicode(help="Version of BokehJS.").tag(sync=True)
    script = traitlets.Any(help="Its text, gzipped.").tag(sync=True, to_json=lambda _script, _: _packed_bokehjs())

    def __init__(self) -> None:
        super().__init__(version=bokehjs()[0])


_lock = threading.Lock()
_shared: list[BokehLibrary] = []


def library() -> BokehLibrary:
    """The library of this process, made when it is first asked for, and again if it was closed.

    >>> library() is library()
    True
    """
    with _lock:
        if not _shared or _shared[0].comm is None:
            _shared[:] = [BokehLibrary()]
        return _shared[0]


class Shipped(anywidget.AnyWidget):
    """A widget with a figure that the page has as soon as it is displayed, and from which it can save.

    Subclasses say what is sent (`_drawing`). `announce` is called by whatever displays the widget.
    """

    opening = traitlets.Any(help="The figure when it was displayed, gzipped JSON.").tag(
        sync=True, to_json=lambda _opening, pane: pane._packed()
    )
    # Not the widget itself: that would be closed with the first pane.
    library = traitlets.Unicode(help="Id of the `BokehLibrary`; empty before the first display.").tag(sync=True)
    stem = traitlets.Unicode(help="Name, without an ending, of what is saved; empty offers nothing.").tag(sync=True)

    #: Gives the table of the figure as CSV.
    table: Callable[[], str] | None = None
    _announced = False

    def _drawing(self) -> dict[str, Any]:
        """All that a view needs to draw the figure as it is now."""
        raise NotImplementedError

    def _packed(self) -> bytes | None:
        """The figure as it is now, once it has been announced; asked for whenever a page is sent the state."""
        if not self._announced:
            return None
        return gzip.compress(json.dumps(self._drawing(), separators=(",", ":")).encode(), 1, mtime=0)

    def announce(self) -> None:
        """Send ahead what a view needs, because one is about to be displayed."""
        self._announced = True
        self.library = library().model_id
        self.send_state("opening")

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        self.announce()
        return super()._repr_mimebundle_(**kwargs)
