"""The properties of a glyph as arrays: a value for all, a column of its source, or that through a scale of colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.core.property.vectorization import Field, Value
from bokeh.models import FactorRange, LinearColorMapper
from bokeh.util.dataclasses import Unspecified
from numpy.typing import NDArray

from kenviz.printing.known import UnprintableError
from kenviz.printing.paper import Ink

Colours = NDArray[np.float64]


class Data:
    """What a glyph draws: its properties, for some entries of a source."""

    def __init__(self, glyph: Any, source: Any, ink: Ink, *, some: NDArray[np.int64] | None = None) -> None:
        self.glyph, self.ink, self._some, self._source = glyph, ink, some, source
        count = max((len(column) for column in source.data.values()), default=0)
        self.count = count if some is None else len(some)

    def raw(self, name: str) -> list[Any]:
        """A property of each entry as it is."""
        spec, column = self._spec(name)
        return [spec] * self.count if column is None else list(column)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A property of each entry as a number; NaN where there is none."""
        return np.array([np.nan if value is None else value for value in self.raw(name)], dtype=float)

    def places(self, name: str, span: Any) -> NDArray[np.float64]:
        """Where each entry stands on an axis: a number, or the middle of its factor."""
        if isinstance(span, FactorRange):
            at = {factor: i + 0.5 for i, factor in enumerate(span.factors)}
            return np.array([at[value] for value in self.raw(name)], dtype=float)
        return self.numbers(name)

    def colours(self, kind: str) -> Colours:
        """The "fill", "line", "hatch" or "text" colour of each entry with its opacity, (entries, 4); zeros for none."""
        colours = self.mapped(self.numbers(f"{kind}_color")) if self._mapper(kind) else None
        opaque = self.numbers(f"{kind}_alpha")
        if colours is None:
            raw = self.raw(f"{kind}_color")
            return np.array([self.ink.rgba(c, float(a)) for c, a in zip(raw, opaque, strict=True)]).reshape(-1, 4)
        colours[:, 3] *= opaque
        return colours

    def one(self, name: str) -> Any:
        """A property that has to be the same for all entries."""
        values = self.raw(name) if self.count else []
        values = list(dict.fromkeys(tuple(value) if isinstance(value, list) else value for value in values))
        if len(values) > 1:
            raise UnprintableError(f"{name} of a {type(self.glyph).__name__} can be printed if it is the same for all")
        return values[0] if values else None

    def mapped(self, values: NDArray[np.float64]) -> Colours:
        """Numbers as colours, by the scale of the glyph's fill."""
        return mapped(values, self._mapper("fill"), self.ink)

    def _spec(self, name: str) -> tuple[Any, Any]:
        spec = self.glyph.lookup(name).get_value(self.glyph)  # as it is sent: a word may be a column, or not
        if isinstance(spec, Value):
            return spec.value, None
        if not isinstance(spec, Field):
            return spec, None
        column = self._source.data[spec.field]
        return None, column if self._some is None else [column[i] for i in self._some]

    def _mapper(self, kind: str) -> Any:
        spec = self.glyph.lookup(f"{kind}_color").get_value(self.glyph)
        transform = getattr(spec, "transform", Unspecified)
        if transform in (None, Unspecified):
            return None
        if not isinstance(transform, LinearColorMapper):
            raise UnprintableError(f"colours by a {type(transform).__name__} cannot be printed")
        return transform


def mapped(values: NDArray[Any], mapper: Any, ink: Ink) -> Colours:
    """Numbers of any shape as colours, with an axis of four at the end.

    >>> scale = LinearColorMapper(palette=["#000000", "#ffffff"], low=0, high=1, nan_color="#ff0000")
    >>> mapped(np.array([0.0, 1.0, np.nan]), scale, Ink("screen"))[:, :3].tolist()
    [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    """
    ink.check(tuple(mapper.palette))
    values = np.asarray(values, dtype=float)
    palette = np.array([ink.rgba(colour) for colour in mapper.palette])
    last = len(palette) - 1
    at = np.nan_to_num((values - mapper.low) / (mapper.high - mapper.low) * (last + 1))
    colours = palette[np.clip(np.floor(at), 0, last).astype(int)]
    for beyond, colour in ((values > mapper.high, mapper.high_color), (values < mapper.low, mapper.low_color)):
        if colour is not None:
            colours[beyond] = ink.rgba(colour)
    colours[np.isnan(values)] = ink.rgba(mapper.nan_color)
    return colours
