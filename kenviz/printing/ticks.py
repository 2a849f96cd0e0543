"""Where an axis is marked, and how: the same places and words as BokehJS makes of a ticker and a formatter."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    CategoricalTicker,
    CategoricalTickFormatter,
    CustomJSTickFormatter,
    FactorRange,
    FixedTicker,
    NumeralTickFormatter,
    PrintfTickFormatter,
)

from kenviz.figures import compare
from kenviz.printing.known import UnprintableError

_MINUS = "\N{MINUS SIGN}"


def places(ticker: Any, low: float, high: float) -> list[float]:
    """Where a ticker marks an axis from low to high.

    >>> places(BasicTicker(desired_num_ticks=4), -0.35, 0.31)
    [-0.2, 0.0, 0.2]
    """
    if isinstance(ticker, FixedTicker):
        return sorted(float(tick) for tick in ticker.ticks if low <= tick <= high)
    if isinstance(ticker, BasicTicker):
        return _basic(ticker, low, high)
    raise UnprintableError(f"where a {type(ticker).__name__} marks an axis is not known")


def factors(ticker: Any, span: FactorRange) -> dict[str, float]:
    """Where the factors of a range stand, each in the middle of a unit."""
    if not isinstance(ticker, CategoricalTicker) or not all(isinstance(factor, str) for factor in span.factors):
        raise UnprintableError("of factors, only names in one level can be printed")
    return {str(factor): at + 0.5 for at, factor in enumerate(span.factors)}


def _basic(ticker: BasicTicker, low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, or of the smallest interval: about as many as are desired."""
    if not high > low:
        return []
    desired, unit = ticker.desired_num_ticks, float(ticker.min_interval or 0) or 1.0
    magnitude = unit * 10.0 ** math.floor(math.log10((high - low) / desired / unit))
    candidates = [m * magnitude for m in (0.5, 1, 2, 5, 10)]
    interval = min(candidates, key=lambda step: abs(desired - (high - low) / step))
    interval = max(interval, float(ticker.min_interval or 0))
    first, last = math.floor(low / interval), math.ceil(high / interval)
    # In one rounding from whole numbers: 3 × 0.1 would be 0.30000000000000004.
    ticks = [float(f"{interval * at:.12g}") for at in range(first, last + 1)]
    return [tick for tick in ticks if low <= tick <= high]


def words(formatter: Any, ticks: Sequence[float], overrides: dict[Any, Any]) -> list[str]:
    """What stands at ticks; overrides are by place.

    >>> words(PrintfTickFormatter(format="%.3g"), [0.5, 1.0], {1: "all"})
    ['0.5', 'all']
    """
    known = {float(place): str(text) for place, text in overrides.items()}
    return [known.get(tick, text) for tick, text in zip(ticks, _written(formatter, ticks), strict=True)]


def _written(formatter: Any, ticks: Sequence[float]) -> list[str]:
    match formatter:
        case CategoricalTickFormatter():
            return [str(tick) for tick in ticks]
        case BasicTickFormatter():
            return basic(ticks, scientific=formatter.use_scientific)
        case PrintfTickFormatter():
            if not re.fullmatch(r"%\.\d+g", formatter.format):
                raise UnprintableError(f"ticks in the format {formatter.format!r} cannot be printed")
            return [formatter.format % tick for tick in ticks]
        case NumeralTickFormatter():
            write = numeral(formatter.format)
            return [write(tick) for tick in ticks]
        case CustomJSTickFormatter() if formatter.code == compare.UNIT:
            return [compare.written(tick, **formatter.args) for tick in ticks]
    raise UnprintableError(f"how a {type(formatter).__name__} writes ticks is not known")


def basic(ticks: Sequence[float], *, scientific: bool = True) -> list[str]:
    """Numbers with as few digits as tell neighbours apart; very large and small ones in powers of ten.

    >>> basic([-0.2, 0.0, 0.2]), basic([0, 2e6]), basic([1000.0, 2000.0])
    (['−0.2', '0', '0.2'], ['0', '2.000e+6'], ['1000', '2000'])
    """
    if not ticks:
        return []
    nothing = abs(ticks[1] - ticks[0]) / 10_000 if len(ticks) > 1 else 0.0
    powers = scientific and any(abs(t) > nothing and not 1e-3 < abs(t) < 1e5 for t in ticks)
    for precision in range(16):
        texts = [_digits(t, precision, powers=powers and t != 0) for t in ticks]
        if all(one != other for one, other in itertools.pairwise(texts)):
            break
    return [text.replace("-", _MINUS, 1) if text.startswith("-") else text for text in texts]


def _digits(value: float, precision: int, *, powers: bool) -> str:
    if not powers:
        text = f"{value:.{precision}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    mantissa, exponent = f"{value:.{max(precision, 3)}e}".split("e")
    return f"{mantissa}e{'+' if int(exponent) >= 0 else '-'}{abs(int(exponent))}"


def numeral(form: str) -> Callable[[float], str]:
    """What writes numbers in one of the formats of numbro that the measures have.

    >>> numeral("0.[00]%")(0.125), numeral("0 %")(0.25), numeral("0,0")(12345.0)
    ('12.5%', '25 %', '12,345')
    >>> numeral("0.[0]a")(12345.0), numeral("0.[0]a")(500.0), numeral("0.[0]e+0")(0.0015)
    ('12.3k', '500', '1.5e-3')
    """
    match = re.fullmatch(r"0(?P<thousands>,0)?(?:\.(?P<fixed>0*)(?:\[(?P<free>0+)\])?)?(?P<unit> ?%|a|e\+0)?", form)
    if match is None:
        raise UnprintableError(f"numbers in the format {form!r} cannot be printed")
    fixed, free = len(match["fixed"] or ""), len(match["free"] or "")
    grouped, unit = "," if match["thousands"] else "", match["unit"] or ""

    def digits(value: float) -> str:
        whole, _, part = f"{value:{grouped}.{fixed + free}f}".partition(".")
        part = part[:fixed] + part[fixed:].rstrip("0")
        text = f"{whole}.{part}" if part else whole
        return "0" if text == "-0" else text

    def write(value: float) -> str:
        if unit == "a":
            letter, size = next((pair for pair in _THOUSANDS if abs(value) >= pair[1]), ("", 1.0))
            return digits(value / size) + letter
        if unit == "e+0":
            mantissa, exponent = f"{value:.15e}".split("e")
            return f"{digits(float(mantissa))}e{int(exponent):+d}"
        return digits(100 * value) + unit if unit else digits(value)

    return write


_THOUSANDS = (("t", 1e12), ("b", 1e9), ("m", 1e6), ("k", 1e3))
