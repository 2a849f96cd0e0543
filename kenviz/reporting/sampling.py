"""Which tensors and rows a report shows: by stated statistics, never by eye; and the fit of such a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import ken
from ken.rules import Settings
from kenviz.study.study import Study

if TYPE_CHECKING:
    import pandas as pd

#: Tensors that the map can be brushed for, and tiles of all of them together.
MOST_TENSORS, MOST_TILES = 400, 1_000_000
#: Tiles along a side of a matrix in the map: as the budget allows, between these.
SIDES = (32, 128)
#: Quantiles of the root mean square of a row's update, at which rows are shown.
QUANTILES = (0.05, 0.5, 0.95)

_BINS, _POINTS = 40, 97


class Fit(NamedTuple):
    """The density estimate of a row beside its histogram.

    Of the values that the rule saw: edges (bins + 1,), how many of them are retained and how many there are in each
    bin, (bins,); points and density, (points,), empty if the row has no density. k of n entries are retained, n being
    those with a pretrained value.
    """

    k: int
    n: int
    bandwidth: float
    edges: NDArray[np.float64]
    retained: NDArray[np.int64]
    all: NDArray[np.int64]
    points: NDArray[np.float64]
    density: NDArray[np.float64]


class SampledRow(NamedTuple):
    """A row of a tensor, at which quantile of its rows' update it stands, and the root mean square of its update."""

    row: int
    quantile: float
    rms: float
    fit: Fit


def detailed(retained: pd.DataFrame) -> dict[str, str]:
    """The tensors that are shown in detail, of a retention table, and why those."""
    matrices = retained[retained["rows"] > 1]
    if matrices.empty:
        return dict.fromkeys(map(str, retained.nlargest(1, "entries").index), "the largest tensor")
    chosen = {str(matrices["entries"].idxmax()): "the largest matrix"}
    inside = matrices[matrices["layer"].notna()].dropna(subset="update_share")
    if not inside.empty:
        chosen.setdefault(str(inside["update_share"].idxmin()), "the matrix of a layer that keeps least of its update")
        chosen.setdefault(str(inside["update_share"].idxmax()), "the matrix of a layer that keeps most of its update")
    return chosen


def brushed(retained: pd.DataFrame, first: Sequence[str] = ()) -> tuple[list[str], int]:
    """The matrices whose tiles and rows are put into the report, and how many tiles a side each may have.

    All of them if they are no more than `MOST_TENSORS`; else those whose update has the largest energy, those in
    first before all others.
    """
    matrices = retained[retained["rows"] > 1]
    order = matrices["energy"].fillna(0).sort_values(ascending=False, kind="stable").index
    chosen = [*(name for name in first if name in matrices.index), *(name for name in order if name not in set(first))]
    chosen = chosen[:MOST_TENSORS]
    side = int(np.sqrt(MOST_TILES / max(1, len(chosen))))
    return [str(name) for name in matrices.index if name in set(chosen)], int(np.clip(side, *SIDES))


def rows_of(rows: pd.DataFrame, quantiles: Sequence[float] = QUANTILES) -> list[tuple[int, float, float]]:
    """Rows at quantiles of the root mean square of their update: (row, quantile, root mean square), each row once.

    rows: `ken.retention.rows`. Of m rows with a pretrained value, in rising order, quantile q is number q (m − 1),
    rounded. Without such a row it is the first one.
    """
    rms = np.sqrt(rows["energy"].to_numpy() / np.maximum(rows["paired"].to_numpy(), 1))
    known = np.flatnonzero(rows["paired"].to_numpy() > 0)
    if not len(known):
        return [(0, float("nan"), float("nan"))]
    order = known[np.argsort(rms[known], kind="stable")]
    found: dict[int, tuple[int, float, float]] = {}
    for quantile in quantiles:
        row = int(order[round(quantile * (len(order) - 1))])
        found.setdefault(row, (row, float(quantile), float(rms[row])))
    return list(found.values())


def sampled(study: Study, name: str, quantiles: Sequence[float], tensor: ken.RetainedTensor) -> list[SampledRow]:
    """The rows of a tensor that are shown, with their fits. Nothing but those rows is read from the models."""
    found = []
    for row, quantile, rms in rows_of(study.retention.rows(name), quantiles):
        wanted = slice(row, row + 1)
        fine_tuned, pretrained = (values[0] for values in study.rows(name, wanted))
        found.append(SampledRow(row, quantile, rms, fit(study.net.recipe, fine_tuned, pretrained, tensor, row)))
    return found


def fit(recipe: Any, fine_tuned: NDArray[Any], pretrained: NDArray[Any], tensor: ken.RetainedTensor, row: int) -> Fit:
    """The fit of a row (n,) as the rule of the recipe saw it: entries without a pretrained value are left out.

    A row of nothing else is shown by its fine-tuned values.
    """
    mask = tensor.row_mask(slice(row, row + 1))[0]
    known = len(pretrained) - int(np.isnan(pretrained).sum())
    values = fine_tuned[: known or None]
    if known and recipe.on == "update":
        values = values - pretrained[:known]
    mask = mask[: len(values)]
    settings = Settings(recipe.on, recipe.bandwidth, recipe.kernel)
    h = float(ken.density.bandwidth(values[None], settings.bandwidth)[0, 0])
    low, high = float(values.min()), float(values.max())
    pad = min(3 * h, high - low)
    points = np.linspace(low - pad, high + pad, _POINTS) if h > 0 else np.empty(0)
    density = points
    if h > 0:
        density = ken.density.density(values[None], points[None], np.array([[h]]), settings.kernel)[0]
    room = 0.05 * (high - low) or max(1e-3, 0.1 * abs(low))
    edges = np.linspace(low, high, _BINS + 1) if high > low else np.linspace(low - room, high + room, _BINS + 1)
    if not (np.diff(edges) > 0).all():  # closer together than float64 can tell
        edges = np.linspace(low - room, high + room, _BINS + 1)
    whole, inside = (np.histogram(part, edges)[0] for part in (values, values[mask]))
    return Fit(int(mask.sum()), len(values), h, edges, inside, whole, points, density)
