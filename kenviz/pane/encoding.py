"""What goes to the browser: columns as typed arrays, properties as JSON with the arrays apart, in buffers."""

import math
from functools import cache
from typing import Any

import bokeh
import numpy as np
from bokeh.core.property.vectorization import Field, Value
from bokeh.model import Model
from bokeh.resources import Resources
from bokeh.util.dataclasses import entries

# What BokehJS has typed arrays for. All else is converted (`typed`) or refused.
_TYPED = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


def finite(value: object) -> float | None:
    """A finite number from JSON as a float, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON integers have no limit
        return None
    return number if math.isfinite(number) else None


def column(values: Any, where: str) -> np.ndarray | list[Any]:
    """A column as the pane keeps it: a typed 1-D array, a list of typed arrays, or a list of plain values."""
    if isinstance(values, str | bytes | dict):
        raise TypeError(f"{where}: a column must be a sequence of values, got {type(values).__name__}")
    if not hasattr(values, "__array__"):
        values = list(values)
        if not values:  # of which type is not known: BokehJS refuses an empty array of numbers for colours
            return values
        if any(isinstance(value, np.ndarray) for value in values):
            if not all(isinstance(value, np.ndarray) and value.ndim in (1, 2) for value in values):
                raise TypeError(f"{where}: in a list of arrays, all must be 1-D or 2-D arrays")
            return [typed(value, where) for value in values]
        if not all(isinstance(value, bool | int | float | np.number | np.bool_) for value in values):
            encode(values, [], where)
            return values
    array = np.asarray(values)
    if array.ndim not in (1, 2):
        raise ValueError(f"{where}: a column must be 1-D, or 2-D for one image, got shape {array.shape}")
    if array.ndim == 1 and array.dtype.kind in "OUT":
        plain = array.tolist()
        encode(plain, [], where)
        return plain
    return typed(array, where) if array.ndim == 1 else [typed(array, where)]


def as_array(values: Any) -> np.ndarray:
    """What `column` makes, as an array: one image as such, several arrays as a 1-D array of them."""
    if not (isinstance(values, list) and any(isinstance(value, np.ndarray) for value in values)):
        return np.asarray(values)
    if len(values) == 1 and values[0].ndim == 2:
        return values[0]
    nested = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        nested[i] = value
    return nested


def typed(array: np.ndarray, where: str) -> np.ndarray:
    """A read-only copy, C order, native bytes, of a type that BokehJS has."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "biuf":
        raise TypeError(f"{where}: cannot show values of type {array.dtype}")
    dtype = array.dtype.newbyteorder("=")
    if dtype.name not in _TYPED:
        if kind == "f":
            dtype = np.dtype(np.float32 if size < 4 else np.float64)
        else:
            limits = np.iinfo(np.int32)
            fits = array.size == 0 or (array.min() >= limits.min and array.max() <= limits.max)
            dtype = np.dtype(np.int32 if fits else np.float64)
    copy = np.array(array, dtype=dtype, order="C")
    copy.flags.writeable = False
    return copy


def encode(value: Any, buffers: list[bytes], where: str) -> Any:
    """A value as JSON, with arrays in `buffers`; `decode` in pane.js is the inverse.

    What JSON has no word for is an object with a `kind`: "array", "map", and "number" for NaN and infinities.
    """
    match value:
        case None | bool() | str():
            return value
        case np.ndarray() if value.dtype.kind not in "biuf":
            return encode(value.tolist(), buffers, where)
        case np.ndarray():
            array = typed(value, where)
            buffers.append(array.tobytes())
            return {
                "kind": "array",
                "dtype": array.dtype.name,
                "shape": list(array.shape),
                "buffer": len(buffers) - 1,
            }
        case np.generic():
            return encode(value.item(), buffers, where)
        case int() | float():
            if isinstance(value, float) and not math.isfinite(value):
                return {
                    "kind": "number",
                    "text": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity",
                }
            return value
        case dict():
            return {
                "kind": "map",
                "entries": [[encode(v, buffers, where) for v in pair] for pair in value.items()],
            }
        case list() | tuple():
            return [encode(item, buffers, where) for item in value]
        case Field() | Value():  # a property of a glyph: {"field": name} or {"value": value}
            return encode(dict(entries(value)), buffers, where)
        case Model():
            raise TypeError(f"{where}: a Bokeh model ({type(value).__name__}) cannot be sent; set its own properties")
    raise TypeError(f"{where}: cannot send a {type(value).__name__}")


@cache
def bokehjs() -> tuple[str, bytes]:
    """Version and text of the BokehJS of the installed bokeh; figures need no other component."""
    # Behind the library comes a line that sets the log level of window.Bokeh, which may be another version.
    library, *_ = Resources(mode="inline", components=["bokeh"]).js_raw
    return bokeh.__version__, library.encode()
