"""A matrix in words: what is shown, what one tile stands for, what the colours mean, and what lies beyond them."""

from __future__ import annotations

from collections.abc import Sequence

from kenviz.figures import axes
from kenviz.figures.matrix import MOST_MARKS
from kenviz.study.quantities import FIXED, QUANTITIES
from kenviz.text.labels import label
from kenviz.tiles.pyramid import Lattice
from kenviz.tiles.tiles import Tiles


def lines(tiles: Tiles, show: str, clip: float) -> str:
    """Three short lines for the figure, which fit a narrow window."""
    place = tiles.place
    rows, n = place.shape
    steps = f"steps: {_count(place.tile_rows, 'row')}, {_count(place.tile_columns, 'column')}"
    return "\n".join(
        [
            f"{QUANTITIES[show].title}; {tile_in_words(place, show)}",
            f"{rows:,} × {n:,}; marginals in {steps}",
            colours(tiles, show, clip),
        ]
    )


def caption(tiles: Tiles, show: str, clip: float, *, tensor: str, retained: int, entry: tuple[int, int] | None) -> str:
    """Plain sentences about all that is shown."""
    rows, n = tiles.place.shape
    entries = rows * n
    sentences = [
        f"{QUANTITIES[show].words} of {label(tensor)}: {retained:,} of {entries:,} entries are retained "
        f"({retained / entries:.1%}).",
        f"Matrix of {axes.matrix_size(tiles.place)}; {resolution(tiles.place, show)}",
        beyond([tiles], show, clip),
    ]
    if entry is not None:
        sentences.append(f"Marked: the entry in row {entry[0]:,}, column {entry[1]:,}.")
    return " ".join(filter(None, sentences))


def sampled(every: int) -> str:
    """Which rows have been decided, if not all, in a sentence.

    >>> sampled(4)
    'Every 4th row has been decided so far: shares, and tiles of the mask over many rows, are estimates from these.'
    """
    if every == 1:
        return ""
    return (
        f"Every {_ordinal(every)} row has been decided so far: shares, and tiles of the mask over many rows, are "
        "estimates from these."
    )


def sampled_in_words(every: int) -> str:
    """The same in a few words, to the end of a line."""
    return "" if every == 1 else f"; every {_ordinal(every)} row decided so far"


def _ordinal(number: int) -> str:
    """Of a power of 2."""
    return f"{number}{'nd' if number % 10 == 2 and number % 100 != 12 else 'th'}"


def beyond(shown: Sequence[Tiles], show: str, clip: float, most_marks: int = MOST_MARKS) -> str:
    """The scale of the colours, which all that is shown shares, the tiles beyond it, and those without a value."""
    if not shown[0].signed:
        return ""
    count, limit = sum(tiles.values.size for tiles in shown), shown[0].limits[1]
    if show in FIXED:
        sentences = ["Colours from −1, where the update is negative, to 1, where it is positive."]
    else:
        sentences = [f"Colours within ±{limit:.3g}, the quantile {clip:g} of the absolute tile values that are not 0."]
    above, below = (sum(int(getattr(tiles, name).sum()) for tiles in shown) for name in ("above", "below"))
    missing = sum(tiles.missing for tiles in shown)
    if above or below:
        most = max(int(marked.sum()) for tiles in shown for marked in (tiles.above, tiles.below))
        thinned = f", at most {most_marks} of each in a matrix" if most > most_marks else ""
        sentences.append(f"Of {count:,} tiles, {above:,} lie above and {below:,} below; triangles mark them{thinned}.")
    if missing:
        sentences.append(f"{missing:,} of {count:,} tiles have no value ({QUANTITIES[show].missing}): grey.")
    return " ".join(sentences)


def colours(tiles: Tiles, show: str, clip: float) -> str:
    """The scale in a few words."""
    if not tiles.signed:
        return "colours: 0 to 100 % in steps of 1 %"
    quantile = "" if show in FIXED else f" (quantile {clip:g})"
    return f"colours: ±{tiles.limits[1]:.3g}{quantile}, steps of {tiles.step:.2g}"


def tile_in_words(place: Lattice, show: str) -> str:
    """What one tile stands for, in a few words."""
    return "exact: one tile is one entry" if place.exact else f"each tile: {_pooled(show)} of {axes.tile_size(place)}"


def resolution(place: Lattice, show: str) -> str:
    """What one tile stands for, to the end of a sentence."""
    if place.exact:
        return "exact: one tile is one entry."
    return f"each tile is the {_pooled(show)} of {axes.tile_size(place)}: zoom in for single ones."


def _pooled(show: str) -> str:
    return {"mask": "share", "retained": "mean of the retained"}.get(show, "mean")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("s" if number > 1 else "")
