"""The drawings of a report: numbers in, an SVG out; and masks as pictures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from kenviz.figures.retention import short_kinds
from kenviz.reporting.results import Line
from kenviz.reporting.svg import Plot
from kenviz.study.row_density import RowDensity
from kenviz.study.sweep_data import Level
from kenviz.text.labels import label
from kenviz.text.numbers import in_digits, in_percent
from kenviz.theme import MISSING, SEQUENTIAL

_OUTSIDE = "–"


def picture(shares: NDArray[np.float64], low: float, high: float) -> str:
    """The address of a picture of (rows, columns) float64, one pixel each; colours run from low to high.

    >>> picture(np.eye(2), 0, 1)[:30]
    'data:image/png;base64,iVBORw0K'
    """
    colours = np.clip(np.rint(255 * (shares - low) / (high - low)), 0, 255).astype(np.uint8)
    image = Image.fromarray(colours).convert("P")
    image.putpalette(b"".join(bytes.fromhex(colour[1:7]) for colour in SEQUENTIAL))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=9)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def row(shown: RowDensity, words: str) -> Markup:
    """The histogram of a row, split into retained and reset entries, and its density estimate."""
    plot = Plot(440, 230, shown.ends, (0, shown.highest), left=46, top=18)
    plot.axes(shown.axis.partition(":")[0], "density, 1 / unit of weight", y_ticks=3)
    for left, right, inside, everything in zip(shown.edges[:-1], shown.edges[1:], *shown.bars(), strict=True):
        if everything:
            plot.rect(left, right, 0, inside, "retained")
            plot.rect(left, right, inside, everything, "reset")
    if len(shown.points):
        plot.line(shown.points, shown.density, "density")
    return plot.markup(words)


def sweep(
    series: Mapping[str, Sequence[Line]], fine_tuned: Level | None, metric: str, shares: bool, words: str
) -> Markup:
    """The metric against the share of entries retained, a line a rule, the fine-tuned model as a dashed one."""
    lines = [line for of in series.values() for line in of]
    values = [v for line in lines for v in (line.value - _size(line.error), line.value + _size(line.error))]
    values += [] if fine_tuned is None else [fine_tuned.value]
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    room = 0.06 * (max(known) - min(known))
    height = 260 + 17 * len(series)
    top = 24 + 17 * (len(series) + (fine_tuned is not None))
    y = (min(known) - room, max(known) + room)
    plot = Plot(470, height, (0, 1), y, left=58, right=14, top=top)
    plot.axes("share of all entries that are retained", metric, x_ticks=5, percent=shares)
    if fine_tuned is not None:
        plot.line((0, 1), (fine_tuned.value,) * 2, "unpruned")
        _legend(plot, len(series), "unpruned", "fine-tuned model, unpruned")
    for i, (name, of) in enumerate(series.items()):
        kind, shape = f"c{i % 6}", i
        for line in of:
            if math.isfinite(line.value):
                if line.error > 0:
                    plot.line((line.share,) * 2, (line.value - line.error, line.value + line.error), f"{kind} error")
                plot.mark(line.share, line.value, kind, shape)
        points = [line for line in of if math.isfinite(line.value)]
        if points:
            plot.line([line.share for line in points], [line.value for line in points], kind)
        _legend(plot, i, kind, label(name, 50), shape)
    return plot.markup(words)


def _size(error: float) -> float:
    return error if math.isfinite(error) else 0.0


def _legend(plot: Plot, line: int, kind: str, text: str, shape: int | None = None) -> None:
    y = 10.0 + 17 * line
    if shape is None:
        plot.text(58, y + 4, "- -", kind="dashes")
    else:
        plot.sign(66, y, kind, shape)
    plot.text(80, y + 4, text)


def overlap(of: pd.DataFrame, words: str) -> Markup:
    """By role (index): jaccard as a disc, jaccard_expected, what chance would give, as a bar."""
    values = of[["jaccard", "jaccard_expected"]].to_numpy(dtype=float)
    highest = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    count = len(of)
    plot = Plot(470, 50 + 22 * count, (0, min(1.0, highest * 1.1) or 1.0), (-0.5, count - 0.5), left=150, right=14)
    plot.axes("both retained / either retained", "", y_ticks=0)
    for i, (name, (seen, chance)) in enumerate(zip(of.index, values, strict=True)):
        at = count - 1 - i
        _, y = plot.at(0, at)
        plot.text(142, y + 4, label(str(name), 22), "end")
        if np.isfinite(chance):
            plot.line((chance, chance), (at - 0.36, at + 0.36), "chance")
        if np.isfinite(seen):
            plot.mark(seen, at, "c0")
    return plot.markup(words)


def layers(of: pd.DataFrame, words: str) -> Markup:
    """Matrices of a retention table by layer and kind, coloured by update_share: for paper."""
    order = sorted({int(layer) for layer in of["layer"].dropna()})
    outside: list[int | None] = [None] if of["layer"].isna().any() else []
    across = {layer: i for i, layer in enumerate([*outside, *order])}
    kinds = short_kinds(list(dict.fromkeys(of["kind"])))
    values = of["update_share"].to_numpy(dtype=float)
    low, high = _limits(values)
    plot = Plot(660, 40 + 18 * len(kinds), (0, len(across)), (0, len(kinds)), left=236, right=4, top=4)
    rows = {kind: len(kinds) - 1 - i for i, kind in enumerate(kinds)}
    written = len(across) <= 14
    for value, layer, kind in zip(values, of["layer"], of["kind"], strict=True):
        known = math.isfinite(value)
        bright = (value - low) / (high - low) if known else 0.7
        colour, ink = SEQUENTIAL[round(255 * bright)][:7] if known else MISSING, "#000" if bright > 0.5 else "#fff"
        place = across[None if pd.isna(layer) else int(layer)], rows[kind]
        plot.cell(*place, colour, ink, in_percent(value) if written else "")
    for kind, y in rows.items():
        _, middle = plot.at(0, y + 0.5)
        plot.text(230, middle + 4, kinds[kind], "end")
    for layer, x in across.items():
        if len(across) <= 30 or x % 5 == 0:
            middle, bottom = plot.at(x + 0.5, 0)
            plot.text(middle, bottom + 14, _OUTSIDE if layer is None else str(layer), "middle")
    middle, bottom = plot.at(len(across) / 2, 0)
    plot.text(middle, bottom + 30, "layer (– : outside of layers)", "middle")
    return plot.markup(words)


def scale(of: pd.DataFrame) -> str:
    """What the colours of `layers` run from and to."""
    low, high = _limits(of["update_share"].to_numpy(dtype=float))
    return f"{100 * low:.1f} % to {100 * high:.1f} %"


def words_of_row(shown: RowDensity) -> str:
    """What the drawing of a row shows, in numbers."""
    width = (
        f"bandwidth {in_digits(shown.bandwidth)}" if shown.bandwidth > 0 else "no density, as all its values are equal"
    )
    return f"k = {shown.k:,} of {shown.n:,} entries are retained; {width}"


def _limits(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
