"""What the fields of a report's data are made of: numbers that may be missing, and what is said of each field.

A missing number is NaN in Python and null in JSON, which has no NaN; why it is missing says the field.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema, create_model


def _number(value: Any) -> Any:
    return math.nan if value is None else value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(value: Any) -> Any:
    """Half a pair of surrogates, as file names that are no UTF-8 have them, is no character: it is spelled out."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def plain(value: Any) -> Any:
    """Any value as JSON has it: numbers that are not finite are null, what JSON has no word for is text.

    >>> plain({"a": (1, math.inf), "b": {3}})
    {'a': [1, None], 'b': '{3}'}
    """
    if isinstance(value, dict):
        return {_text(str(key)): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return _finite(value)
    return value if value is None or isinstance(value, bool | int) else _text(str(value))


#: A number; NaN if it is missing, and then null in JSON.
Number: TypeAlias = Annotated[
    float,
    BeforeValidator(_number),
    PlainSerializer(_finite, when_used="json"),
    WithJsonSchema({"type": ["number", "null"]}),
]
Text: TypeAlias = Annotated[str, BeforeValidator(_text)]
#: Whatever JSON can hold.
Json: TypeAlias = Annotated[Any, BeforeValidator(plain)]


class Part(BaseModel):
    """A part of the data of a report; fields that a later minor version adds are passed over."""

    model_config = ConfigDict(frozen=True)


def said(says: str, unit: str = "", null: str = "", **more: Any) -> Any:
    """A field with what it says, its unit, and why it is null where it is."""
    notes: Any = {name: text for name, text in (("unit", unit), ("null", null)) if text}
    return Field(description=says, json_schema_extra=notes, **more)


def columns(name: str, says: str, fields: dict[str, tuple[Any, Any]]) -> Any:
    """The class of the lines of a table, from its columns: type and `said` of each."""
    make: Any = create_model
    return make(name, __base__=Part, __doc__=says, **fields)


def parts_of(annotation: Any) -> Iterator[type[Part]]:
    """The parts that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    elif get_origin(annotation) in (list, dict, Union, UnionType, Annotated):
        for inner in get_args(annotation):
            yield from parts_of(inner)
