"""The drawings of a report: numbers in, an SVG out; and masks as pictures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from kenviz.figures.effects import Panel, columns, ends
from kenviz.figures.retention import short_kinds
from kenviz.reporting.results import Results
from kenviz.reporting.svg import Plot
from kenviz.study.row_density import RowDensity
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
    plot = Plot(440, 230, x=shown.ends, y=(0, shown.highest), left=46, top=18)
    plot.axes(shown.axis.partition(":")[0], "density, 1 / unit of weight", y_ticks=3)
    for left, right, inside, everything in zip(shown.edges[:-1], shown.edges[1:], *shown.bars(), strict=True):
        if everything:
            plot.rect(left, right, y0=0, y1=inside, kind="retained")
            plot.rect(left, right, y0=inside, y1=everything, kind="reset")
    if len(shown.points):
        plot.line(shown.points, shown.density, "density")
    return plot.markup(words)


def words_of_row(shown: RowDensity, count: str) -> str:
    """What the drawing of a row shows, in numbers; count says how many of its entries are retained."""
    h = shown.bandwidth
    width = f"bandwidth {in_digits(h)}" if h > 0 else "no density, as all its values are equal"
    return f"{count} entries are retained; {width}"


def sweep(results: Results, metric: str, words: str) -> Markup:
    """The metric against the share of entries retained, a line a rule, the fine-tuned model as a dashed one."""
    series, fine_tuned = results.series, results.fine_tuned
    values = [line.metric + sign * np.nan_to_num(line.standard_error) for line in results.lines for sign in (-1, 1)]
    values += [] if fine_tuned is None else [fine_tuned.value]
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    room = 0.06 * (max(finite) - min(finite))
    y = (min(finite) - room, max(finite) + room)
    top = 24 + 17 * (len(series) + (fine_tuned is not None))
    plot = Plot(470, 260 + 17 * len(series), x=(0, 1), y=y, left=58, right=14, top=top)
    plot.axes("share of all entries that are retained", metric, x_ticks=5, percent=results.shares)
    if fine_tuned is not None:
        plot.line((0, 1), (fine_tuned.value,) * 2, "unpruned")
        below = 14.0 + 17 * len(series)
        plot.text(58, below, "- -", kind="dashes")
        plot.text(80, below, "fine-tuned model, unpruned")
    for i, (name, lines) in enumerate(series.items()):
        kind, drawn = f"c{i % 6}", [line for line in lines if math.isfinite(line.metric)]
        for line in drawn:
            error = line.standard_error
            if error > 0:
                plot.line((line.share,) * 2, (line.metric - error, line.metric + error), f"{kind} error")
            plot.mark(line.share, line.metric, kind, shape=i)
        if drawn:
            plot.line([line.share for line in drawn], [line.metric for line in drawn], kind)
        plot.sign(66, 10.0 + 17 * i, kind, shape=i)
        plot.text(80, 14.0 + 17 * i, label(name, 50))
    return plot.markup(words)


def effects(panel: Panel, names: Sequence[str], words: str) -> Markup:
    """A quantity of groups, line by line: full discs are sure, hollow ones not; upright is what to compare with."""
    count = len(names)
    plot = Plot(470, 52 + 18 * count, x=ends(panel), y=(-0.5, count - 0.5), left=176, right=14)
    plot.axes(panel.unit, "", y_ticks=0)
    plot.line((0, 0), (-0.5, count - 0.5), "zero")
    data = {name: np.asarray(values) for name, values in columns(panel, names).items()}
    for i, name in enumerate(names):
        at = count - 1 - i
        _, y = plot.at(0, at)
        plot.text(168, y + 4, name, anchor="end")
        value, low, high, other = (float(data[part][i]) for part in ("value", "low", "high", "other"))
        if panel.stems and math.isfinite(value):
            plot.rect(min(0.0, value), max(0.0, value), y0=at - 0.2, y1=at + 0.2, kind="retained")
        if math.isfinite(low) and math.isfinite(high):
            plot.line((low, high), (at, at), "c0 error")
        if math.isfinite(other):
            plot.line((other, other), (at - 0.36, at + 0.36), "chance")
        spread = float(data["other_low"][i]), float(data["other_high"][i])
        if all(map(math.isfinite, spread)):
            plot.line(spread, (at, at), "spread")
        if math.isfinite(value):
            plot.mark(value, at, "c0" if data["full"][i] else "hollow")
    return plot.markup(words)


def overlap(by_role: pd.DataFrame, words: str) -> Markup:
    """By role (index): jaccard as a disc, jaccard_expected, what chance would give, as a bar."""
    values = by_role[["jaccard", "jaccard_expected"]].to_numpy(dtype=float)
    highest = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    count = len(by_role)
    x = (0, min(1.0, highest * 1.1) or 1.0)
    plot = Plot(470, 50 + 22 * count, x=x, y=(-0.5, count - 0.5), left=150, right=14)
    plot.axes("both retained / either retained", "", y_ticks=0)
    for i, (name, (seen, chance)) in enumerate(zip(by_role.index, values, strict=True)):
        at = count - 1 - i
        _, y = plot.at(0, at)
        plot.text(142, y + 4, label(str(name), 22), anchor="end")
        if np.isfinite(chance):
            plot.line((chance, chance), (at - 0.36, at + 0.36), "chance")
        if np.isfinite(seen):
            plot.mark(seen, at, "c0")
    return plot.markup(words)


def layers(matrices: pd.DataFrame, words: str) -> Markup:
    """Matrices of a retention table by layer and kind, coloured by update_share: for paper."""
    order = sorted({int(layer) for layer in matrices["layer"].dropna()})
    outside: list[int | None] = [None] if matrices["layer"].isna().any() else []
    across = {layer: i for i, layer in enumerate([*outside, *order])}
    kinds = short_kinds(list(dict.fromkeys(matrices["kind"])))
    values = matrices["update_share"].to_numpy(dtype=float)
    low, high = _limits(values)
    plot = Plot(660, 40 + 18 * len(kinds), x=(0, len(across)), y=(0, len(kinds)), left=236, right=4, top=4)
    rows = {kind: len(kinds) - 1 - i for i, kind in enumerate(kinds)}
    written = len(across) <= 14
    for value, layer, kind in zip(values, matrices["layer"], matrices["kind"], strict=True):
        finite = math.isfinite(value)
        bright = (value - low) / (high - low) if finite else 0.7
        colour = SEQUENTIAL[round(255 * bright)][:7] if finite else MISSING
        x, text = across[None if pd.isna(layer) else int(layer)], in_percent(value) if written else ""
        plot.cell(x, rows[kind], colour, text=text, kind="on-light" if bright > 0.5 else "on-dark")
    for kind, y in rows.items():
        _, middle = plot.at(0, y + 0.5)
        plot.text(230, middle + 4, kinds[kind], anchor="end")
    for layer, x in across.items():
        if len(across) <= 30 or x % 5 == 0:
            middle, bottom = plot.at(x + 0.5, 0)
            plot.text(middle, bottom + 14, _OUTSIDE if layer is None else str(layer), anchor="middle")
    middle, bottom = plot.at(len(across) / 2, 0)
    plot.text(middle, bottom + 30, "layer (– : outside of layers)", anchor="middle")
    return plot.markup(words)


def scale(matrices: pd.DataFrame) -> str:
    """What the colours of `layers` run from and to."""
    low, high = _limits(matrices["update_share"].to_numpy(dtype=float))
    return f"{100 * low:.1f} % to {100 * high:.1f} %"


def _limits(values: np.ndarray) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
