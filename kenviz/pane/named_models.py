"""The models of a Bokeh document by the names that figures gave them."""

from __future__ import annotations

from typing import Any, TypeVar

from bokeh.document import Document
from bokeh.model import Model
from bokeh.models import ColumnDataSource

M = TypeVar("M", bound=Model)


class UnknownNameError(KeyError):
    """No model, or no column, has the name that was asked for."""

    __str__ = Exception.__str__  # KeyError would show the quoted repr of the sentence


class NamedModels:
    """Finds models by name, and remembers them: looking through all of a document takes a millisecond."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._models: dict[tuple[str, type[Model]], Any] = {}

    def find(self, name: str, kind: type[M]) -> M:
        """The one model of that kind with that name. Raises `UnknownNameError` if there is none, or are several."""
        model = self._models.get((name, kind))
        if model is not None and model.name == name and model.document is self._document:
            return model
        models = [model for model in self._document.models if isinstance(model, kind)]
        namesakes = [model for model in models if model.name == name]
        if len(namesakes) == 1:
            self._models[name, kind] = namesakes[0]
            return namesakes[0]
        noun = "source" if kind is ColumnDataSource else "model"
        if namesakes:
            kinds = ", ".join(sorted(type(model).__name__ for model in namesakes))
            raise UnknownNameError(f"several models are named {name!r}: {kinds}")
        names = ", ".join(map(repr, sorted({model.name for model in models if model.name}))) or "none"
        raise UnknownNameError(f"no {noun} is named {name!r}; known names: {names}")

    def forget(self) -> None:
        """Look for all of them again: one may have got another name."""
        self._models.clear()


def columns_of(source: Model) -> dict[str, Any]:
    """The columns of a ColumnDataSource, by name."""
    return dict(source.data)  # type: ignore[attr-defined]


def require_column(source: ColumnDataSource, column: str) -> None:
    """Raise `UnknownNameError` unless the source has that column."""
    if column not in source.data:
        known = ", ".join(map(repr, source.data)) or "none"
        raise UnknownNameError(f"source {source.name!r} has no column {column!r}; its columns: {known}")


def require_free(root: Model) -> None:
    """Raise `ValueError` if the figure, or anything in it, is in a document already."""
    taken = [model for model in root.references() if model.document is not None]
    if taken:
        model = root if root in taken else max(taken, key=lambda model: model.name is not None)
        label = type(model).__name__ + (f" {model.name!r}" if model.name else "")
        raise ValueError(f"{label} is in a document already; a model can be in one pane only")
