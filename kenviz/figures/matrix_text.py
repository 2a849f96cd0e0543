"""A matrix in words: what is shown, what one tile stands for, what the colours mean, and what lies beyond them."""

from __future__ import annotations

from collections.abc import Sequence

from kenviz.figures.matrix import MOST_MARKS, Shown
from kenviz.study.quantities import FIXED, QUANTITIES
from kenviz.text.labels import label
from kenviz.tiles.mask_tiles import Tiles
from kenviz.tiles.pyramid import Lattice
from kenviz.tiles.value_tiles import ValueTiles


def lines(tiles: Shown, place: Lattice, show: str, clip: float) -> str:
    """Three short lines for the figure, which fit a narrow window."""
    rows, n = place.shape
    what = tile_in_words(place, show)
    steps = f"steps: {_count(place.tile_rows, 'row')}, {_count(place.tile_columns, 'column')}"
    return "\n".join(
        [f"{QUANTITIES[show].title}; {what}", f"{rows:,} × {n:,}; marginals in {steps}", colours(tiles, show, clip)]
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
        f"Matrix of {rows:,} rows × {n:,} columns; {resolution(place, show)}",
        beyond([tiles], show, clip),
    ]
    if entry is not None:
        told.append(f"Marked: the entry in row {entry[0]:,}, column {entry[1]:,}.")
    return " ".join(filter(None, told))


def beyond(shown: Sequence[Shown], show: str, clip: float, most_marks: int = MOST_MARKS) -> str:
    """The scale of the colours, which all that is shown shares, the tiles beyond it, and those without a value."""
    signed = [tiles for tiles in shown if isinstance(tiles, ValueTiles)]
    if not signed:
        return ""
    told = []
    count = sum(tiles.values.size for tiles in signed)
    if show in FIXED:
        told.append("Colours from −1, where the update is negative, to 1, where it is positive.")
    else:
        told.append(
            f"Colours within ±{signed[0].limit:.3g}, the quantile {clip:g} of the absolute tile values that are not 0."
        )
    above, below = (sum(int(getattr(tiles, name).sum()) for tiles in signed) for name in ("above", "below"))
    missing = sum(tiles.missing for tiles in signed)
    if above or below:
        most = max(int(there.sum()) for tiles in signed for there in (tiles.above, tiles.below))
        thinned = f", at most {most_marks} of each in a matrix" if most > most_marks else ""
        told.append(f"Of {count:,} tiles, {above:,} lie above and {below:,} below; triangles mark them{thinned}.")
    if missing:
        told.append(f"{missing:,} of {count:,} tiles have no value ({QUANTITIES[show].missing}): grey.")
    return " ".join(told)


def colours(tiles: Shown, show: str, clip: float) -> str:
    """The scale in a few words."""
    if isinstance(tiles, Tiles):
        return "colours: 0 to 100 % in steps of 1 %"
    quantile = "" if show in FIXED else f" (quantile {clip:g})"
    return f"colours: ±{tiles.limit:.3g}{quantile}, steps of {tiles.step:.2g}"


def tile_in_words(place: Lattice, show: str) -> str:
    """What one tile stands for, in a few words."""
    return "exact: one tile is one entry" if place.exact else f"each tile: {_pooled(show)} of {_tile(place)} entries"


def resolution(place: Lattice, show: str) -> str:
    """What one tile stands for, to the end of a sentence."""
    if place.exact:
        return "exact: one tile is one entry."
    return f"each tile is the {_pooled(show)} of {_tile(place)} entries: zoom in for single ones."


def _pooled(show: str) -> str:
    return {"mask": "share", "retained": "mean of the retained"}.get(show, "mean")


def _tile(place: Lattice) -> str:
    return f"{place.tile_rows:,} × {place.tile_columns:,}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("s" if number > 1 else "")
