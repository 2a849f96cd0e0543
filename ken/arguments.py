"""What is typed on the command line, as values."""

from __future__ import annotations

from ken.errors import BudgetError


def budget(k: str) -> int | float:
    """A number with a point is a share, one without counts entries, as in Python.

    Raises `BudgetError` for anything else.

    >>> budget("1"), budget("1.0")
    (1, 1.0)
    """
    for kind in (int, float):
        try:
            return kind(k)
        except ValueError:
            continue
    raise BudgetError(f"k must be a number such as 100 or 0.5, got {k!r}")


def bandwidth_of(text: str) -> str | float:
    """A number if it is one, else the name of a rule.

    >>> bandwidth_of("0.1"), bandwidth_of("scott")
    (0.1, 'scott')
    """
    try:
        return float(text)
    except ValueError:
        return text
