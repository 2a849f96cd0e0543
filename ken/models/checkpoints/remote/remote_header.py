"""The header of a safetensors file, checked as strictly as its library does, without the blobs behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ken.errors import FormatError

LONGEST_HEADER = 100_000_000  # that of the safetensors library
_METADATA = "__metadata__"
#: Bits of an entry, by the library's name of its dtype.
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
_KEYS = {"dtype", "shape", "data_offsets"}


class Blob(NamedTuple):
    """dtype by safetensors' name, shape, and the first byte of a blob in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int


class Header(NamedTuple):
    """Blobs by name, in the order of their bytes, and the texts."""

    blobs: dict[str, Blob]
    metadata: dict[str, str]
    raw: bytes


def read_header(read: Callable[[int, int], bytearray], size: int, where: str) -> Header:
    """The header of a file of so many bytes, read(start, length) of which are at hand.

    Raises `FormatError` if it is none, or does not fit the length of the file.

    >>> text = b'{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    >>> data = len(text).to_bytes(8, "little") + text + b"ab"
    >>> read_header(lambda at, length: bytearray(data[at : at + length]), len(data), "a").blobs
    {'w': Blob(dtype='U8', shape=(2,), begin=61)}
    """
    try:
        return _checked(read, size)
    except _NoneError as error:
        raise FormatError(f"{where} is not a whole safetensors file: {error}") from None


class _NoneError(ValueError):
    """What is wrong with a header."""


def _checked(read: Callable[[int, int], bytearray], size: int) -> Header:
    if size < 8:
        raise _NoneError(f"header too small: the file has {size} bytes")
    front = bytes(read(0, 8))
    length = int.from_bytes(front, "little")
    if length > LONGEST_HEADER:
        raise _NoneError(f"header too large: {length} bytes, of at most {LONGEST_HEADER}")
    if 8 + length > size:
        raise _NoneError(f"invalid header length: {length} bytes, in a file of {size}")
    text = bytes(read(8, length))
    if not text.startswith(b"{"):
        raise _NoneError("invalid header: it does not begin with {")
    try:
        content = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _NoneError(f"invalid header: {error}") from None
    metadata = content.pop(_METADATA, None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _NoneError(f"invalid header: {_METADATA} must be a map of texts")
    spans = sorted((_span(name, blob), name) for name, blob in content.items())
    end = 0
    for (begin, stop), name in spans:
        if begin != end:
            raise _NoneError(f"{name!r} begins at {begin}, and the blob before it ends at {end}")
        end = stop
    if 8 + length + end != size:
        raise _NoneError(f"the blobs end at byte {8 + length + end}, and the file has {size}")
    blobs = {
        name: Blob(content[name]["dtype"], tuple(content[name]["shape"]), 8 + length + begin)
        for (begin, _), name in spans
    }
    return Header(blobs, metadata, front + text)


def _span(name: str, blob: Any) -> tuple[int, int]:
    """Where a blob begins and ends, if its dtype and shape are of that length."""
    if not isinstance(blob, dict) or not blob.keys() >= _KEYS:
        raise _NoneError(f"{name[:200]!r} must have {', '.join(sorted(_KEYS))}")
    bits = _BITS.get(blob["dtype"]) if isinstance(blob["dtype"], str) else None
    if bits is None:
        raise _NoneError(f"{name[:200]!r} is of the unknown dtype {str(blob['dtype'])[:40]!r}")
    shape, offsets = blob["shape"], blob["data_offsets"]
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise _NoneError(f"{name[:200]!r} has a shape or a place that is none")
    begin, stop = offsets
    if math.prod(shape) * bits != (stop - begin) * 8:
        raise _NoneError(f"{name[:200]!r} has {stop - begin} bytes, which is not the length of its dtype and shape")
    return begin, stop


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 1 << 63 for number in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name is there twice")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
