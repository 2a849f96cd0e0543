"""The density of one row: bars, curve and grid points, the same in a notebook's figure and in the report."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken import density as kde
from ken.rules import Settings, values_on

Array = NDArray[np.float64]

#: Points of the curve: at 400 its straight pieces cannot be seen, even where a few values far out stretch the axis to
#: a hundred bandwidths. At 97, as the report once had, they were longer than a bandwidth there.
MOST_POINTS, _FEWEST_POINTS = 400, 100
# Of a very long row there are fewer: so many kernel values are computed at most, and its curve is smooth anyway.
_MOST_KERNELS = 1 << 24
#: Bars: as many as the row has entries to fill, between these.
BARS = (10, 80)
#: Above the highest bar and the curve there is room.
_ROOM = 1.08
#: What the values of a row are, by `Settings.on`.
AXIS = {
    "weights": "fine-tuned value",
    "update": "update: fine-tuned less pretrained value",
    "pretrained": "pretrained value",
}
_DEFAULT = Settings()


class RowDensity(NamedTuple):
    """What every figure of a row draws of the values that its rule looked at.

    Attributes:
        axis: What the values are, in words.
        values: (n,) float64; entries without a pretrained value are left out, unless there are no others.
        mask: (n,) bool, True where an entry is retained.
        bandwidth: Of the curve, in units of the values; 0 if there is none.
        ends: Where the axis of values begins and ends.
        edges: (bars + 1,) float64, evenly spaced.
        points: (p,) float64, evenly spaced from end to end; empty if there is no curve.
        density: (p,) float64, the curve at the points, in 1 / units of the values.
        grid: The grid points of the rule, (k,) float64; empty if it has none.
    """

    axis: str
    values: Array
    mask: NDArray[np.bool_]
    bandwidth: float
    ends: tuple[float, float]
    edges: Array
    points: Array
    density: Array
    grid: Array

    @property
    def n(self) -> int:
        """How many entries are shown."""
        return len(self.values)

    @property
    def k(self) -> int:
        """How many of them are retained."""
        return int(self.mask.sum())

    def counts(self, mask: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Entries in each bar that are in a mask (the row's own), and all of them: two arrays (bars,) int64."""
        inside = self.values[self.mask if mask is None else mask]
        return np.histogram(inside, self.edges)[0], np.histogram(self.values, self.edges)[0]

    def bars(self, mask: NDArray[np.bool_] | None = None) -> tuple[Array, Array]:
        """`counts` in the units of the density, so that bars and curve compare."""
        inside, everything = self.counts(mask)
        scale = 1.0 / (self.n * np.diff(self.edges))
        return inside * scale, everything * scale

    @property
    def highest(self) -> float:
        """Where the axis of densities ends."""
        return max(float(self.bars()[1].max(initial=0)), float(self.density.max(initial=0))) * _ROOM or 1.0


def row_density(
    fine_tuned: Array,
    mask: NDArray[np.bool_],
    pretrained: Array | None = None,
    settings: Settings | None = _DEFAULT,
    claiming: bool = True,
) -> RowDensity:
    """Compute what is drawn of a row.

    Args:
        fine_tuned: (n,) float64.
        mask: (n,) bool, True where an entry is retained.
        pretrained: (n,) float64, NaN at entries at the end that were added: no rule decided about them, and they are
            not drawn. A row of nothing else is, by its fine-tuned values.
        settings: Of the rule; its `on` says which values are drawn. Without settings there is no curve.
        claiming: Whether the rule has a grid.
    """
    values, on = fine_tuned, "weights"
    paired = len(values) if pretrained is None else len(values) - int(np.isnan(pretrained).sum())
    if paired and pretrained is not None:
        values = fine_tuned[:paired]
        if settings is not None:
            values, on = values_on(settings.on, values, pretrained[:paired]), settings.on
    mask = mask[: len(values)]
    n, k = len(values), int(mask.sum())
    low, high = float(values.min()), float(values.max())
    h = 0.0 if settings is None else float(kde.bandwidth(values[None], settings.bandwidth)[0, 0])
    room = min(3 * h, high - low) or 0.05 * (high - low) or max(1e-3, 0.1 * abs(low))
    ends = low - room, high + room
    points = curve = grid = np.empty(0)
    if settings is not None and h > 0:
        points = np.linspace(*ends, int(np.clip(_MOST_KERNELS // n, _FEWEST_POINTS, MOST_POINTS)))
        curve = kde.density(values[None], points[None], np.array([[h]]), kernel=settings.kernel)[0]
        if claiming and 0 < k < n:
            grid = kde.grid(values[None], k)[0]
    edges = np.unique(np.linspace(low, high, _bars(values, h > 0) + 1))  # float64 may not tell them apart
    edges = edges if len(edges) > 1 else np.linspace(*ends, 12)
    return RowDensity(
        axis=AXIS[on],
        values=values,
        mask=mask,
        bandwidth=h,
        ends=ends,
        edges=edges,
        points=points,
        density=curve,
        grid=grid,
    )


def _bars(values: Array, curved: bool) -> int:
    """√n bars; beside a curve more if they would be wider than the normal reference bandwidth.

    So it is where a few values are far out. At whatever bandwidth the curve is drawn, they stay.
    """
    narrow = np.ptp(values) / kde.bandwidth(values[None])[0, 0] if curved else 0.0
    return int(np.clip(max(np.sqrt(len(values)), narrow), *BARS))
