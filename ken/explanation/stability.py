"""stability: how much of a row's mask hangs on the bandwidth, and on the order in which grid points are visited."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.density import NORMAL_REFERENCE, bandwidth
from ken.explanation.claims import claims_in_order
from ken.explanation.explain import explain_row
from ken.explanation.row_explanation import RowExplanation

_LIMITS = np.finfo(np.float64)


def heeds_bandwidth(rule: str) -> bool:
    """Whether a rule may have a use for a bandwidth and a kernel; one of the user's may, unless it says fixed.

    >>> heeds_bandwidth("ken"), heeds_bandwidth("grid"), heeds_bandwidth("update"), heeds_bandwidth("somebody's")
    (True, False, False, True)
    """
    return rule != "grid" and not (rule in rules.names() and rules.get(rule).fixed)


class Flips(NamedTuple):
    """Entries that flip, from retained to reset or back: their share of the row, 0 to 1 or NaN, and their indices."""

    share: float
    entries: NDArray[np.intp]


class Stability(NamedTuple):
    """What flips when the bandwidth is halved, when it is doubled, and when grid points are visited in reverse."""

    halved: Flips
    doubled: Flips
    reversed: Flips


def stability(
    fine_tuned_row: NDArray[np.floating],
    k: int | None,
    pretrained_row: NDArray[np.floating] | None = None,
    rule: str = "ken",
    *,
    on: str = "weights",
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    tensor: str = "",
    row: int = 0,
    seed: int = 0,
) -> Stability:
    """Which entries of a row the rule decides otherwise about when one of its choices is changed.

    An entry flips if its bit in the mask differs. A flip never comes alone, since both masks have exactly k entries.
    The bandwidth that is halved and doubled is the one that `bandwidth` finds for this row. Reversed, the claims start
    at the grid point that was visited last.

    Args:
        fine_tuned_row: This and all others are as in `ken.explain_row`.
        k: Entries to retain.
        pretrained_row: The pretrained values, (n,).
        rule: Name of the rule.
        on: The values that it looks at.
        bandwidth: Its bandwidth.
        kernel: Its kernel.
        tensor: Name of the tensor.
        row: Number of the row.
        seed: Seed of random rules.

    Returns:
        For each change the entries that flip, and their share of n. The share is NaN, and no entry flips, where there
        is nothing to change: for rules that have no bandwidth or no grid, for a constant row, and for k >= n.

    Raises:
        KenError: As `ken.explain_row` does.

    Example:
        >>> flips = stability(np.array([0.1, 0.2, 0.6, 0.9, 1.0]), k=4)
        >>> flips.halved.share, flips.halved.entries.tolist(), flips.doubled.share
        (0.4, [1, 3], 0.0)
        >>> stability(np.array([0.1, 0.2, 0.6, 0.9, 1.0]), k=4, rule="magnitude").doubled.share
        nan
    """
    settings: dict[str, Any] = {"on": on, "bandwidth": bandwidth, "kernel": kernel}
    why = explain_row(fine_tuned_row, k, pretrained_row, rule=rule, **settings, tensor=tensor, row=row, seed=seed)
    return stability_of(why)


def stability_of(why: RowExplanation) -> Stability:
    """The same of a row that is explained already, and that has no added entries."""
    nothing = Flips(float("nan"), np.empty(0, np.intp))
    shared = why.shared is not None and why.shared.threshold is not None
    if shared or why.n == 0 or why.k >= why.n or np.ptp(why.values) == 0:
        return Stability(nothing, nothing, nothing)

    def flips(mask: NDArray[np.bool_]) -> Flips:
        entries = np.flatnonzero(mask != why.mask)
        return Flips(len(entries) / why.n, entries)

    def at(factor: float) -> Flips:
        width = factor * float(bandwidth(why.values[None], why.settings.bandwidth)[0, 0])
        width = min(max(width, float(_LIMITS.smallest_subnormal)), float(_LIMITS.max))
        block = replace(why.block, settings=replace(why.settings, bandwidth=width))
        return flips(rules.mask_block(why.rule, block, why.k)[0])

    backwards = nothing
    if len(why.order):
        mask = np.zeros(why.n, np.bool_)
        mask[claims_in_order(why.values, why.order[::-1])] = True
        backwards = flips(mask)
    if not heeds_bandwidth(why.rule):
        return Stability(nothing, nothing, backwards)
    return Stability(at(0.5), at(2.0), backwards)
