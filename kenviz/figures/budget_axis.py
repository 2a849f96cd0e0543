"""The axis of what is retained: as a share, or as a number of entries; linear or logarithmic."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

SCALES = ("linear", "log")
_TICKS = {
    "linear": [0, 0.2, 0.4, 0.6, 0.8, 1],
    "log": [m * 10.0**e for e in range(-6, 1) for m in (1, 2, 5)],
}


class Budget(NamedTuple):
    """What can go along the horizontal axis: the column of it, and what it is."""

    column: str
    words: str


BUDGETS = {
    "share": Budget("share", "share of entries retained"),
    "entries": Budget("retained", "entries retained (the budget)"),
}


def position(amount: Any, scale: str) -> Any:
    """Where a share or a number of entries stands on the axis: itself, or the logarithm to base 10 of it."""
    return np.log10(amount) if scale == "log" else np.asarray(amount, dtype=float)


def ticks(ends: tuple[float, float], *, scale: str, budget: str) -> dict[float, str]:
    """Where the horizontal axis is marked, and how: round amounts, not more than have room in a narrow window.

    >>> ticks((0, 1.1e6), scale="linear", budget="entries")
    {0.0: '0', 500000.0: '500 k', 1000000.0: '1 M'}
    """
    if budget == "entries":
        return _counts(ends, scale)
    chosen = [share for share in _TICKS[scale] if ends[0] <= position(share or 1e-9, scale) <= ends[1] or share == 0]
    chosen = [share for share in chosen if scale == "linear" or share > 0]
    if len(chosen) > 7:
        chosen = [share for share in chosen if round(math.log10(share), 6).is_integer()]
    return {float(position(share, scale)): f"{100 * share:g} %" for share in chosen}


def _counts(ends: tuple[float, float], scale: str) -> dict[float, str]:
    """Round numbers of entries, not more than have room in a narrow window."""
    if scale == "log":
        powers = range(math.ceil(ends[0]), math.floor(ends[1]) + 1)
        counts = [m * 10.0**power for power in range(-1, 16) for m in (1, 2, 5)]
        counts = [count for count in counts if count >= 1 and ends[0] <= math.log10(count) <= ends[1]]
        if len(counts) > 7:
            counts = [10.0**power for power in powers if power >= 0][:: 1 + len(powers) // 6]
    else:
        steps = (m * 10.0**power for power in range(16) for m in (1, 2, 5))
        step = next(step for step in steps if ends[1] / step <= 4)
        counts = [step * i for i in range(int(ends[1] / step) + 1)]
    return {float(position(count, scale)): in_thousands(count) for count in counts}


def in_thousands(count: float) -> str:
    """A round number of entries as an axis has room for it.

    >>> in_thousands(500), in_thousands(20_000), in_thousands(2_500_000), in_thousands(1e9)
    ('500', '20 k', '2.5 M', '1 G')
    """
    unit, size = next(((unit, size) for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)) if count >= size), ("", 1))
    return f"{count / size:g} {unit}".strip()
