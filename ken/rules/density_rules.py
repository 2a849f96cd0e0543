"""Rules that estimate the density of a row: what is published, what its prose says, and the control without a density.

Mastromattei & Zanzotto, "Less is KEN", arXiv 2402.03142, sec. 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ken.density import KERNEL_CODES, NORMAL_REFERENCE, widths
from ken.rules.row_block import Mask, RowBlock
from ken.rules.sorted_order import sorted_order


def ken(block: RowBlock, k: int) -> Mask:
    """The published rule: grid points, visited by density level, claim the nearest unclaimed entry."""
    return _claims(block, k, KERNEL_CODES[block.settings.kernel])


def grid(block: RowBlock, k: int) -> Mask:
    """The same grid visited from left to right, without any KDE: the control that shows what the KDE adds."""
    return _claims(block, k, -1)


def _claims(block: RowBlock, k: int, kernel: int) -> Mask:
    # numba takes a second to import: only where it is used
    from ken.rules.nearest_unclaimed import claim_rows, claim_rows_of_other_kernels

    gaussian = kernel <= KERNEL_CODES["gaussian"]
    return _compiled(claim_rows if gaussian else claim_rows_of_other_kernels, block, k, kernel=kernel)


def density(block: RowBlock, k: int) -> Mask:
    """The k entries where the density is highest: how the paper's prose reads. Equal ones: those that come first."""
    from ken.rules.top_density import densest_rows

    return _compiled(densest_rows, block, k, kernel=KERNEL_CODES[block.settings.kernel])


def _compiled(loop: Callable[..., None], block: RowBlock, k: int, kernel: int) -> Mask:
    rows = np.ascontiguousarray(block.values)
    mask = np.zeros(rows.shape, dtype=bool)
    # Without a KDE the values are checked, and their bandwidths not used.
    bandwidths, stood_in = widths(rows, block.settings.bandwidth if kernel >= 0 else NORMAL_REFERENCE)
    block.stood_in.extend(block.first_row + int(row) for row in np.flatnonzero(stood_in))
    loop(rows, sorted_order(rows), bandwidths[:, 0], k, kernel, mask)
    return mask
