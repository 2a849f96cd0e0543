"""From texts of the command line to values."""

from __future__ import annotations

from ken.errors import BudgetError, KenError


def budget(k: str) -> int | float:
    """Entries of every row, or the share of a row: a share has a point, or a percent sign.

    Raises:
        BudgetError: It is neither.

    Example:
        >>> budget("1"), budget("1.0"), budget("50%"), budget("2.5 %")
        (1, 1.0, 0.5, 0.025)
    """
    if k.rstrip().endswith("%"):
        try:
            return _percent(k)
        except ValueError:
            raise BudgetError(f"k must be a number such as 100, 0.5 or 50%, got {k!r}") from None
    for kind in (int, float):
        try:
            return kind(k)
        except ValueError:
            continue
    raise BudgetError(f"k must be a number such as 100, 0.5 or 50%, got {k!r}")


def budget_text(k: int | float) -> str:
    """What a k was taken for, in words.

    Example:
        >>> budget_text(1), budget_text(1.0), budget_text(0.25)
        ('1 entry of every row', 'every entry of every row', '25 % of every row')
    """
    if isinstance(k, int):
        return f"{k:,} {'entry' if k == 1 else 'entries'} of every row"
    return "every entry of every row" if k == 1 else f"{100 * k:.10g} % of every row"


def tolerance_of(text: str) -> float:
    """A loss of accuracy, as a share of the texts: 0.01 or 1%.

    Raises:
        KenError: It is no number, or not a share: at least 0, below 1.

    Example:
        >>> tolerance_of("0.01"), tolerance_of("1%")
        (0.01, 0.01)
    """
    try:
        share = _percent(text) if text.rstrip().endswith("%") else float(text)
    except ValueError:
        raise KenError(f"tolerance must be a share of the texts such as 0.01 or 1%, got {text!r}") from None
    if not 0 <= share < 1:
        hint = f"; {text}% would be {share / 100:g}" if 1 <= share < 100 else ""
        raise KenError(f"tolerance is a share of the texts, from 0 to below 1, got {text}{hint}")
    return share


def _percent(text: str) -> float:
    """From 50% to 0.5: divided as a decimal number, so that 1.1% is 0.011."""
    return float(f"{text.rstrip().removesuffix('%').strip()}e-2")


def bandwidth_of(text: str) -> str | float:
    """A number if it is one, else the name of a rule.

    Example:
        >>> bandwidth_of("0.1"), bandwidth_of("scott")
        (0.1, 'scott')
    """
    try:
        return float(text)
    except ValueError:
        return text
