"""Numbers that a user gives, whether Python's, numpy's or torch's, as Python's own."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from ken.errors import KenError, RuleError

#: What a seed may be: the range of torch's own, and what a subnetwork file has room for.
LEAST_SEED, LARGEST_SEED = -(2**63), 2**64 - 1
#: The largest that numpy's global generator takes, which training seeds.
LARGEST_OF_TRAINING = 2**32 - 1


def plain(value: Any) -> Any:
    """A number of numpy's or torch's, or an array of one number without a dimension, as Python's; all else as it is.

    >>> import numpy as np
    >>> plain(np.int64(5)), plain(np.float32(0.5)), plain(np.array(3)), plain("0.5")
    (5, 0.5, 3, '0.5')
    """
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def checked_seed(
    seed: Any, least: int = LEAST_SEED, largest: int = LARGEST_SEED, error: type[KenError] = RuleError
) -> int:
    """A seed as an int of Python's. True and 1.0 are none; numpy's and torch's whole numbers are.

    Raises `RuleError`, unless error says otherwise, if it is no whole number from least to largest.

    >>> import numpy as np
    >>> checked_seed(np.uint8(7))
    7
    """
    number = plain(seed)
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise error(f"a seed must be a whole number, got {seed!r}")
    whole = int(number)
    if not least <= whole <= largest:
        raise error(f"a seed must be from {least} to {largest}, got {whole}")
    return whole
