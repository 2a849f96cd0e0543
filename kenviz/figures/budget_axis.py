"""The axis of what is retained: as a share, or as a number of entries; linear or logarithmic."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

SCALES = ("linear", "log")
_SHARES = [0, 0.2, 0.4, 0.6, 0.8, 1]
_MOST = 7  # marks that have room in a narrow window
_SLACK = 1e-9


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

    ends are positions on the axis, as `position` gives them. There are two marks at least; of entries, which are whole,
    one where no more lie between the ends.

    >>> ticks((0, 1.1e6), scale="linear", budget="entries")
    {0.0: '0', 500000.0: '500 k', 1000000.0: '1 M'}
    >>> list(ticks((-0.55, -0.45), scale="log", budget="share").values())
    ['30 %', '32 %', '34 %']
    """
    low, high = (10.0 ** ends[0], 10.0 ** ends[1]) if scale == "log" else ends
    if scale == "linear":
        amounts = _SHARES if budget == "share" else _steps(0.0, high)
    else:
        amounts = _decades(low, high, least=1.0 if budget == "entries" else 0.0)
    if budget == "entries":
        amounts = [amount for amount in amounts if float(amount).is_integer()] or amounts  # half an entry is none
    words = in_thousands if budget == "entries" else _in_percent
    return {float(position(amount, scale)): words(amount) for amount in amounts}


def _decades(low: float, high: float, *, least: float) -> list[float]:
    """Amounts that are even on a logarithmic axis: 1, 2 and 5 of each power of ten, or fewer, or, within one, more."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    amounts = [m * 10.0**power for power in powers for m in (1, 2, 5)]
    # A power of ten at the very end of the axis is marked, whatever the logarithm rounds to.
    amounts = [amount for amount in amounts if max(low * (1 - _SLACK), least) <= amount <= high * (1 + _SLACK)]
    if len(amounts) > _MOST:
        whole = [amount for amount in amounts if round(math.log10(amount), 6).is_integer()]
        return whole[:: 1 + (len(whole) - 1) // _MOST]
    return amounts if len(amounts) > 1 else _steps(low, high)


def _steps(low: float, high: float) -> list[float]:
    """The multiples of a round number from low to high, both included: two to five."""
    power = math.floor(math.log10(high - low)) - 1
    for step in (m * 10.0**at for at in (power, power + 1) for m in (1, 2, 5)):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first <= 4:
            # In one rounding from whole numbers: 3 × 0.1 would be 0.30000000000000004.
            return [float(f"{step * at:.12g}") for at in range(first, last + 1)]
    raise AssertionError("a step of half the width is among them")


def _in_percent(share: float) -> str:
    return f"{100 * share:.12g} %"


def in_thousands(count: float) -> str:
    """A round number of entries as an axis has room for it.

    >>> in_thousands(500), in_thousands(20_000), in_thousands(2_500_000), in_thousands(1e9)
    ('500', '20 k', '2.5 M', '1 G')
    """
    unit, size = next(((unit, size) for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)) if count >= size), ("", 1))
    return f"{count / size:.12g} {unit}".strip()
