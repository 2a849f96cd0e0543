"""The figure and the words of `scaling.py`, made of its points alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from marked_pages import head, row, signed
from whole.machine import Machine

DOCS = Path(__file__).resolve().parent.parent / "docs"
TABLE, FIGURE = DOCS / "scaling.csv", DOCS / "scaling.png"
COLUMNS = {"series": str, "x": int, "wall": float, "cpu": float, "peak": int, "others": float}
SERIES = {
    "entries": "entries of the pair, from disk to a file",
    "n": "entries of a row, k = n/2",
    "k": "k, of rows of 1,024",
    "threads": "threads",
}
# Okabe & Ito's colours, and a second cue: the marker.
_TIME, _CPU, _MEMORY = ("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^")
Points = Sequence[dict[str, Any]]


def to_csv(machine: Machine, points: Points) -> str:
    """The points, after a line about the machine."""
    text = io.StringIO()
    text.write("# " + json.dumps(machine.as_dict()) + "\n")
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    for point in points:
        writer.writerow({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in point.items()})
    return text.getvalue()


def from_csv(text: str) -> tuple[Machine, list[dict[str, Any]]]:
    """Both again."""
    first, body = text.split("\n", 1)
    points = [{name: COLUMNS[name](value) for name, value in one.items()} for one in csv.DictReader(io.StringIO(body))]
    return Machine(**json.loads(first.removeprefix("# "))), points


def of_series(points: Points, series: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Places on the axis, and what was measured there."""
    own = [point for point in points if point["series"] == series]
    columns = {name: np.array([point[name] for point in own]) for name in ("wall", "cpu", "peak")}
    return np.array([point["x"] for point in own]), columns


def exponent(x: Iterable[float], y: Iterable[float]) -> float:
    """The slope of a straight line through the logarithms: 1 where y grows as x does.

    >>> round(exponent([1, 2, 4], [3, 6, 12]), 6)
    1.0
    """
    return float(np.polyfit(np.log(np.fromiter(x, float)), np.log(np.fromiter(y, float)), 1)[0])


def markdown(machine: Machine, points: Points) -> str:
    """The part of the page."""
    entries, against = of_series(points, "entries")
    upper = entries >= 4 << 20  # below, what a call costs at all is seen
    slope = exponent(entries[upper], against["cpu"][upper])
    growth = (against["peak"][-1] - against["peak"][0]) / 1e9
    n, by_n = of_series(points, "n")
    k, by_k = of_series(points, "k")
    bend, level = np.polyfit(k, by_k["cpu"], 1)
    straight = 1 - np.var(by_k["cpu"] - (bend * k + level)) / max(np.var(by_k["cpu"]), 1e-30)
    busy = float(np.median([point["others"] for point in points]))
    lines = [
        "![Time and memory against entries, row length, k and threads](scaling.png)",
        "",
        f"{machine.text()}; medians, but one run of more than 67 million entries, which takes up to minutes; other "
        f"processes used {busy:.0%} of the processors (median of the points)"
        + (": wall times do not count." if busy > 0.05 else "."),
        "",
        f"- **Entries**, {entries[0] / 1e6:.0f} to {entries[-1] / 1e6:,.0f} million in bfloat16: processor time grows "
        f"as entries to the power {slope:.2f} (from 4 million on), {1e9 * against['cpu'][-1] / entries[-1]:.0f} ns an "
        f"entry at the end. Memory: {against['peak'][0] / 1e9:.2f} GB at the first point, {signed(growth, 2)} GB at "
        "the last: what is in memory is some rows, and the mask of a tensor, and not the models.",
        f"- **Row length**, {n[0]} to {n[-1]:,} at the same 4 million entries: the power "
        f"{signed(exponent(n, by_n['cpu']), 2)} ({by_n['cpu'][0]:.2f} s to {by_n['cpu'][-1]:.2f} s). A sort alone "
        "would give n log n, a row at a time.",
        f"- **k**, {k[0]} to {k[-1]:,} of 1,024: a straight line explains {straight:.1%} of the variance: "
        f"{1e9 * level / (4 << 20):.0f} ns an entry whatever k is, and {1e9 * bend * 1024 / (4 << 20):.0f} ns a claim.",
        "",
        *head("", ("x", "wall, s", "CPU, s", "memory, GB")),
    ]
    for series, words in SERIES.items():
        for x, columns in zip(*of_series_rows(points, series), strict=True):
            lines.append(row(words, (f"{x:,}", *columns)))
            words = ""
    return "\n".join(lines) + "\n"


def of_series_rows(points: Points, series: str) -> tuple[list[int], list[tuple[str, str, str]]]:
    """The same as cells."""
    own = [point for point in points if point["series"] == series]
    return [point["x"] for point in own], [
        (f"{point['wall']:.3g}", f"{point['cpu']:.3g}", f"{point['peak'] / 1e9:.2f}") for point in own
    ]


def figure(points: Points) -> Any:
    """Four small panels: time, and in the first memory beside it."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9.6, 6.2), layout="constrained")
    for axes, (series, words) in zip(drawing.subplots(2, 2).flat, SERIES.items(), strict=True):
        x, columns = of_series(points, series)
        for name, label, (colour, marker) in (("wall", "wall, s", _TIME), ("cpu", "processors, s", _CPU)):
            axes.plot(x, columns[name], color=colour, marker=marker, markersize=4, label=label)
        if series == "entries":
            axes.plot(x, columns["peak"] / 1e9, color=_MEMORY[0], marker=_MEMORY[1], markersize=4, label="memory, GB")
            linear = columns["cpu"][-1] / x[-1] * x
            axes.plot(x, linear, color="#8c8c8c", linestyle=":", label="as entries")
        if series in ("entries", "n"):
            axes.set_xscale("log", base=2)
        if series == "entries":
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.1 * max(columns["wall"].max(), columns["cpu"].max()))
        if series == "threads":
            axes.set_xticks(x)
        axes.set_xlabel(words)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, frameon=False)
    return drawing
