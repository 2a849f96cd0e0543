"""What a view reports of its user: what to ask it for, and how a report is checked and taken into the document.

Reports come from a browser. They may be malformed, or be about a model that has changed since.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bokeh.core.types import ID
from bokeh.document import Document
from bokeh.model import Model
from bokeh.models import ColumnDataSource, Plot, Range1d

from kenviz.pane import encoding


@dataclass(slots=True)
class Change:
    """What is to be sent of one model.

    Names only (the dictionaries are ordered sets): values are read when they are sent, so the latest go out.
    """

    model: Model
    columns: dict[str, None] = field(default_factory=dict)
    properties: dict[str, None] = field(default_factory=dict)


def watch(document: Document) -> dict[str, str]:
    """Model id -> what a view is to report about it: taps of plots, named ranges, selections in named sources."""
    watched: dict[str, str] = {}
    for model in document.models:
        if isinstance(model, Plot):
            watched[model.id] = "tap"
        elif isinstance(model, Range1d) and model.name:
            watched[model.id] = "range"
        elif isinstance(model, ColumnDataSource) and model.name:
            watched[model.selected.id] = "select"
    return watched


def keep_resets(document: Document) -> None:
    """Have ranges reset to where they begin.

    BokehJS would reset them to where they are when they are displayed: after a page reload, to what was zoomed to.
    """
    for model in document.models:
        if isinstance(model, Range1d):
            model.reset_start = model.start if model.reset_start is None else model.reset_start
            model.reset_end = model.end if model.reset_end is None else model.reset_end


def take(
    document: Document, content: object, stale: Callable[[Model], bool]
) -> tuple[dict[str, Any], Change | None] | None:
    """Take one report into the document: the event for callbacks and the change; None if there is no news in it.

    A report about a model that is `stale`, or of no known form, or of a value that cannot be, is no news.
    """
    match content:
        case {"id": str(id), "start": start, "end": end}:
            span = document.get_model_by_id(ID(id))
            start, end = encoding.finite(start), encoding.finite(end)
            if not isinstance(span, Range1d) or not span.name or start is None or end is None:
                return None
            if stale(span) or (span.start, span.end) == (start, end):
                return None
            span.update(start=start, end=end)
            event = {"kind": "range", "name": span.name, "start": start, "end": end}
            return event, Change(span, properties={"start": None, "end": None})
        case {"id": str(id), "indices": list(indices)}:
            source = _source_of_selection(document, id)
            if source is None or source.selected.indices == indices or stale(source) or stale(source.selected):
                return None
            length = len(next(iter(dict(source.data).values()), ()))
            if not all(type(index) is int and 0 <= index < length for index in indices):
                return None
            source.selected.indices = list(indices)
            event = {"kind": "select", "name": source.name, "indices": list(indices)}
            return event, Change(source.selected, properties={"indices": None})
        case {"id": str(id), "x": x, "y": y}:
            plot = document.get_model_by_id(ID(id))
            x, y = encoding.finite(x), encoding.finite(y)
            if not isinstance(plot, Plot) or x is None or y is None:
                return None
            return {"kind": "tap", "figure": plot.name, "x": x, "y": y}, None
    return None


def _source_of_selection(document: Document, id: str) -> ColumnDataSource | None:
    for model in document.models:
        if isinstance(model, ColumnDataSource) and model.name and model.selected.id == id:
            return model
    return None
