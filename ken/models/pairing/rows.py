"""How a tensor is cut into rows, and how many entries of a row are retained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TypeAlias

from ken.errors import BudgetError
from ken.models.scalars import plain

#: Entries per row (int), share of the row (float in (0, 1]), or a mapping from name pattern to either.
K: TypeAlias = "int | float | Mapping[str, int | float]"

#: A 3-D tensor whose last axis is shorter than this is a convolution's kernel, not stacked matrices.
SHORTEST_ROW_OF_3D = 16

#: Other ways to cut a tensor into rows than its shape would have it, and what a row then is.
CUTS = {
    "last": "a run along the last axis",
    "first": "everything of one index of the first axis",
    "whole": "the whole tensor",
}
#: Instead of a cut: rows were added behind those that the pretrained tensor has, as to a grown vocabulary.
GROWN = "grown"


def row_shape(shape: Iterable[int], cut: str = "") -> tuple[int, int]:
    """(rows, row length) of a tensor, by its shape alone, so that a module and its file give the same rows.

    0-D: one row of one entry. 1-D: one row. 2-D: along the last axis. 3-D: along the last axis (stacked
    matrices), unless that is shorter than 16 (the kernel of a 1-D convolution): then, as for 4-D and more,
    everything after axis 0 is one row. An empty tensor has no rows. cut is one of `CUTS`, or empty for these rules.

    >>> row_shape((768, 3072)), row_shape((64, 3, 7, 7)), row_shape(()), row_shape((8, 512, 64))
    ((768, 3072), (64, 147), (1, 1), (4096, 64))
    >>> [row_shape((8, 512, 64), cut) for cut in ("last", "first", "whole")]
    [(4096, 64), (8, 32768), (1, 262144)]
    """
    shape = tuple(shape)
    entries = math.prod(shape)
    if entries == 0:
        return 0, 0
    if len(shape) <= 1 or cut == "whole":
        return 1, entries
    if cut:
        length = shape[-1] if cut == "last" else entries // shape[0]
        return entries // length, length
    if len(shape) == 2 or (len(shape) == 3 and shape[-1] >= SHORTEST_ROW_OF_3D):
        return entries // shape[-1], shape[-1]
    return shape[0], entries // shape[0]


def row_budget(k: int | float, n: int) -> int:
    """How many entries of a row of n are retained: min(k, n), or the share k of n, at least 1.

    A share is rounded to the nearest whole number, half to even. An integer counts entries and a float is a
    share, so that 1 is one entry and 1.0 is all of them.

    >>> row_budget(500, 384), row_budget(0.5, 384), row_budget(0.01, 10), row_budget(1, 8), row_budget(1.0, 8)
    (384, 192, 1, 1, 8)
    """
    number = plain_k(k)
    assert not isinstance(number, dict)
    if isinstance(number, int):
        return min(number, n)
    return min(max(1, round(number * n)), n)


def plain_k(k: K) -> int | float | dict[str, int | float]:
    """A k in numbers of Python's own, whether it has numbers of numpy's or torch's or not.

    Raises `BudgetError` if it is no int >= 1, no float in (0, 1], and no mapping of patterns to these.

    >>> import numpy as np
    >>> plain_k(np.int64(5)), plain_k({"*.bias": 1.0, "*": np.float32(0.5)})
    (5, {'*.bias': 1.0, '*': 0.5})
    """
    if not isinstance(k, Mapping):
        return _plain_number(k)
    if not k:
        raise BudgetError("k must name at least one pattern, got an empty mapping")
    numbers = {}
    for pattern, value in k.items():
        check_pattern("k", pattern)
        if isinstance(value, Mapping):
            raise BudgetError(f"k of pattern {pattern!r} must be a number, got a mapping")
        try:
            numbers[pattern] = _plain_number(value)
        except BudgetError as error:
            error.add_note(f"in the budget for pattern {pattern!r}")
            raise
    return numbers


def _plain_number(k: object) -> int | float:
    number = plain(k)
    if isinstance(number, bool) or not isinstance(number, Real):
        raise BudgetError(f"k must be an int, a float or a mapping, got {k!r}{_without_quotes(number)}")
    if isinstance(number, Integral):
        if number < 1:
            raise BudgetError(f"k must be at least 1, got {number}")
        return int(number)
    share = float(number)
    if not 0 < share <= 1:
        raise BudgetError(f"k as a share of the row must be above 0 and at most 1, got {number}{_instead(share)}")
    return share


def _without_quotes(k: object) -> str:
    """What to write instead of a number in quotes."""
    try:
        number = float(k) if isinstance(k, str) else math.nan
    except ValueError:
        return ""
    return f"; write {k!s} without quotes" if math.isfinite(number) else ""


def _instead(share: float) -> str:
    """What may have been meant by a share above 1."""
    if not 1 < share < math.inf:
        return ""
    entries = f"; {int(share)} without a point counts entries" if share == int(share) else ""
    return entries + (f"{' and' if entries else ';'} {share / 100:g} is {share:g} %" if share <= 100 else "")


def check_pattern(argument: str, pattern: object) -> None:
    """Raise `BudgetError` unless a pattern of that argument is a text."""
    if not isinstance(pattern, str):
        raise BudgetError(f"a pattern of {argument} must be a text such as '*.query.weight', got {pattern!r}")
