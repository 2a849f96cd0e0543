"""Scores by the size of a value or of its update, and what differs at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ken.errors import RuleError
from ken.rules.row_block import Mask, RowBlock

Array = NDArray[np.float64]

# Of each dtype: the bits of a mantissa, and the exponent of the smallest normal number. That of float64 is not followed
# below that of float32: no weight lies there but zero, and an update over the true spacing would overflow.
_FORMATS = {
    "float64": (52, -126),
    "float32": (23, -126),
    "float16": (10, -14),
    "bfloat16": (7, -126),
    "float8_e4m3fn": (3, -6),
    "float8_e4m3fnuz": (3, -7),
    "float8_e5m2": (2, -14),
    "float8_e5m2fnuz": (2, -15),
}


def magnitude(block: RowBlock) -> Array:
    """The absolute fine-tuned value."""
    return np.abs(block.fine_tuned)


def smallest_magnitude(block: RowBlock) -> Array:
    """Highest where the fine-tuned value is smallest: the negative control of `magnitude`."""
    return -np.abs(block.fine_tuned)


def pretrained_magnitude(block: RowBlock) -> Array:
    """The absolute pretrained value: `magnitude` before there was a task."""
    return np.abs(block.pretrained)


def update(block: RowBlock) -> Array:
    """How much fine-tuning changed an entry.

    The "trim" of TIES: Yadav et al. 2023 (arXiv 2306.01708), algorithm 1, step 1; there over a whole task vector.
    """
    return np.abs(block.fine_tuned - block.pretrained)


def smallest_update(block: RowBlock) -> Array:
    """Highest where fine-tuning changed least: the negative control of `update`."""
    return -np.abs(block.fine_tuned - block.pretrained)


def relative(block: RowBlock) -> Array:
    """The update in units in the last place (ulp) of the pretrained value, in the dtype of the fine-tuned tensor.

    The ulp of p is the distance of neighbouring numbers where p lies: 2^(e - m) for 2^e <= |p| < 2^(e + 1) and m bits
    of mantissa; below the smallest normal number, at zero too, it is that of the smallest (IEEE 754; Goldberg 1991).
    This is a relative change, to within the factor of 2 by which |p| varies in a binade, but finite at p = 0.
    """
    if block.dtype not in _FORMATS:
        raise RuleError(f"rule 'relative' knows the spacing of {', '.join(_FORMATS)}, not of {block.dtype!r}")
    mantissa, smallest = _FORMATS[block.dtype]
    # frexp: |p| = f 2^e with 1/2 <= f < 1, so that the binade is e - 1; of zero e is 0.
    exponents = np.where(block.pretrained == 0, smallest, np.frexp(block.pretrained)[1] - 1)
    with np.errstate(over="ignore"):
        return np.ldexp(np.abs(block.fine_tuned - block.pretrained), mantissa - np.maximum(exponents, smallest))


def changed(block: RowBlock, k: int) -> Mask:
    """The entries that differ from their pretrained ones by so much as a bit, -0.0 from 0.0 as well; k is not heeded.

    Values of both models come here as float64, which holds those of every dtype apart.
    """
    bits = (np.ascontiguousarray(values).view(np.uint64) for values in (block.fine_tuned, block.pretrained))
    return np.not_equal(*bits)
