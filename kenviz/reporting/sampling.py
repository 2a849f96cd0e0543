"""Which tensors and rows a report shows: by stated statistics, never by eye; and what is drawn of such a row."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ken
from ken.explanation import CLAIMING
from ken.rules import Settings
from kenviz.study.row_density import RowDensity, row_density
from kenviz.study.study import Study
from kenviz.text.labels import row_count

if TYPE_CHECKING:
    import pandas as pd

#: Tensors that the map can be brushed for, and tiles of all of them together.
MOST_TENSORS, MOST_TILES = 400, 1_000_000
#: Tiles along a side of a matrix in the map: as the budget allows, between these.
SIDES = (32, 128)
#: Quantiles of the root mean square of a row's update, at which rows are shown.
QUANTILES = (0.05, 0.5, 0.95)

# Heights of an embedded curve are shares of its peak, so many steps from 0 to it: finer than any screen.
_STEPS = np.iinfo(np.uint16).max


class SampledRow(NamedTuple):
    """A row of a tensor, at which quantile of its rows' update it stands, and the root mean square of its update.

    rule is the one that decided about it, scope over what its k is counted.
    """

    row: int
    quantile: float
    rms: float
    density: RowDensity
    rule: str
    scope: str = "row"

    @property
    def count_in_words(self) -> str:
        """How many of its entries are retained, in words."""
        return row_count(self.density.k, self.density.n, self.rule, scope=self.scope)

    def embedded(self) -> dict[str, Any]:
        """What the page holds of the row; `spread` in report.js makes bars and curve of it again.

        Bars and points are evenly spaced between two ends. The curve, empty if there is none, is base64 of
        little-endian uint16, which take a quarter of the room of numbers as text: from 0 to `peak`.
        """
        shown = self.density
        retained, everything = shown.counts()
        peak = float(shown.density.max(initial=0))
        heights = np.rint(shown.density / (peak or 1.0) * _STEPS).astype("<u2")
        return {
            "row": self.row,
            "quantile": self.quantile,
            "rms": self.rms,
            "k": shown.k,
            "n": shown.n,
            "count": self.count_in_words,
            "bandwidth": shown.bandwidth,
            "edges": [float(shown.edges[0]), float(shown.edges[-1])],
            "retained": retained.tolist(),
            "all": everything.tolist(),
            "points": list(shown.ends),
            "peak": peak,
            "density": base64.b64encode(heights.tobytes()).decode("ascii"),
        }

    def record(self) -> dict[str, Any]:
        """What the data of the report has of the row: its histogram, without the curve."""
        retained, everything = self.density.counts()
        return {
            "row": self.row,
            "quantile": self.quantile,
            "update_rms": self.rms,
            "k": self.density.k,
            "entries": self.density.n,
            "bandwidth": self.density.bandwidth,
            "lowest": float(self.density.edges[0]),
            "highest": float(self.density.edges[-1]),
            "bars_all": everything.tolist(),
            "bars_retained": retained.tolist(),
        }


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
    chosen: dict[int, tuple[int, float, float]] = {}
    for quantile in quantiles:
        row = int(order[round(quantile * (len(order) - 1))])
        chosen.setdefault(row, (row, float(quantile), float(rms[row])))
    return list(chosen.values())


def sampled(study: Study, name: str, tensor: ken.RetainedTensor, quantiles: Sequence[float]) -> list[SampledRow]:
    """The rows of a tensor that are shown, each as its rule saw it. Nothing but those rows is read from the models."""
    recipe = study.net.recipe
    settings = Settings(recipe.on, recipe.bandwidth, recipe.kernel)
    rows = []
    for row, quantile, rms in rows_of(study.retention.rows(name), quantiles):
        wanted = slice(row, row + 1)
        fine_tuned, pretrained = (values[0] for values in study.rows(name, wanted))
        mask = tensor.row_mask(wanted)[0]
        claiming = recipe.rule in CLAIMING and recipe.scope == "row"  # else no row has a grid of its own
        density = row_density(fine_tuned, mask, pretrained, settings=settings, claiming=claiming)
        rows.append(SampledRow(row, quantile, rms, density=density, rule=recipe.rule, scope=recipe.scope))
    return rows
