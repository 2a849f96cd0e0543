"""Which properties of Bokeh's models can be printed. What cannot is an error: nothing is left out without a word."""

from __future__ import annotations

from bokeh.model import Model

#: Of any model: what says nothing about how it looks on paper.
_SILENT = {"name", "tags", "subscribed_events", "js_event_callbacks", "js_property_callbacks", "syncable", "level"}


class UnprintableError(NotImplementedError):
    """A figure has something that this room does not know how to print."""


def require(model: Model, known: set[str]) -> None:
    """Refuse a model of which a property was set that is not among those known.

    >>> from bokeh.models import Title
    >>> require(Title(text="a", text_color="red"), {"text"})
    Traceback (most recent call last):
    kenviz.printing.known.UnprintableError: text_color of a Title cannot be printed
    """
    unknown = sorted(model.properties_with_values(include_defaults=False).keys() - known - _SILENT)
    if unknown:
        raise UnprintableError(f"{', '.join(unknown)} of a {type(model).__name__} cannot be printed")
