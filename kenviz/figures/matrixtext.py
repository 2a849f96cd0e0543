"""A matrix in words: what is shown, what one tile stands for, what the colours mean, and what lies beyond them."""

from __future__ import annotations

from kenviz.figures.labels import label
from kenviz.figures.matrix import MOST_MARKS, Shown
from kenviz.levels import Lattice
from kenviz.quantities import FIXED, QUANTITIES
from kenviz.rasters import Tiles


def lines(tiles: Shown, place: Lattice, show: str, clip: float) -> str:
    """Three short lines for the figure, which fit a narrow window."""
    rows, n = place.shape
    what = "exact: one tile is one entry" if place.exact else f"each tile: {_pooled(show)} of {_tile(place)} entries"
    steps = f"steps: {_count(place.tile_rows, 'row')}, {_count(place.tile_columns, 'column')}"
    return "\n".join(
        [f"{QUANTITIES[show].title}; {what}", f"{rows:,} × {n:,}; marginals in {steps}", _colours(tiles, show, clip)]
    )


def caption(
    tiles: Shown,
    place: Lattice,
    show: str,
    clip: float,
    tensor: str,
    retained: int,
    entry: tuple[int, int] | None,
) -> str:
    """Plain sentences about all that is shown."""
    rows, n = place.shape
    entries = rows * n
    told = [
        f"{QUANTITIES[show].words} of {label(tensor)}: {retained:,} of {entries:,} entries are retained "
        f"({retained / entries:.1%}).",
        f"Matrix of {rows:,} rows × {n:,} columns; " + _resolution(place, show),
        beyond(tiles, show, clip),
    ]
    if entry is not None:
        told.append(f"Marked: the entry in row {entry[0]:,}, column {entry[1]:,}.")
    return " ".join(filter(None, told))


def beyond(tiles: Shown, show: str, clip: float) -> str:
    """The scale of the colours, the tiles beyond it, and those without a value, in sentences."""
    if isinstance(tiles, Tiles):
        return ""
    told = []
    count = tiles.codes.size
    if show in FIXED:
        told.append("Colours from −1, where the update is negative, to 1, where it is positive.")
    else:
        told.append(
            f"Colours within ±{tiles.limit:.3g}, the quantile {clip:g} of the absolute tile values that are not 0."
        )
    above, below = int(tiles.above.sum()), int(tiles.below.sum())
    if above or below:
        thinned = f", at most {MOST_MARKS} of each" if max(above, below) > MOST_MARKS else ""
        told.append(f"Of {count:,} tiles, {above:,} lie above and {below:,} below; triangles mark them{thinned}.")
    if tiles.missing:
        told.append(f"{tiles.missing:,} of {count:,} tiles have no value ({QUANTITIES[show].missing}): grey.")
    return " ".join(told)


def _colours(tiles: Shown, show: str, clip: float) -> str:
    if isinstance(tiles, Tiles):
        return "colours: 0 to 100 % in steps of 1 %"
    quantile = "" if show in FIXED else f" (quantile {clip:g})"
    return f"colours: ±{tiles.limit:.3g}{quantile}, steps of {tiles.step:.2g}"


def _resolution(place: Lattice, show: str) -> str:
    if place.exact:
        return "exact: one tile is one entry."
    return f"each tile is the {_pooled(show)} of {_tile(place)} entries: zoom in for single ones."


def _pooled(show: str) -> str:
    return {"mask": "share", "retained": "mean of the retained"}.get(show, "mean")


def _tile(place: Lattice) -> str:
    return f"{place.tile_rows:,} × {place.tile_columns:,}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("s" if number > 1 else "")
