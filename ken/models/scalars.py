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

    Args:
        value: Anything.

    Returns:
        The same number as an int, a float or a bool, else the value itself.

    Example:
        >>> import numpy as np
        >>> plain(np.int64(5)), plain(np.float32(0.5)), plain(np.array(3)), plain("0.5")
        (5, 0.5, 3, '0.5')
    """
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def checked_seed(
    seed: Any, least: int = LEAST_SEED, largest: int = LARGEST_SEED, error: type[KenError] = RuleError
) -> int:
    """A seed as an int of Python's.

    Args:
        seed: What was given; numpy's and torch's whole numbers are whole numbers, True and 1.0 are none.
        least: The smallest that may be.
        largest: The largest that may be.
        error: What is raised if it is none.

    Returns:
        The seed.

    Raises:
        KenError: It is no whole number, or out of range; a `RuleError` unless error says otherwise.

    Example:
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
