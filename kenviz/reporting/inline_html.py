"""A subnetwork as one small, static piece of HTML: what is retained of it, by kind and layer, in any notebook viewer.

Everything is in it, and nothing changes from run to run: notebooks store it, and compare it.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

import ken
from kenviz.figures.retention import short_kinds
from kenviz.reporting.templating import filled_line
from kenviz.study.comparison import net_in_words
from kenviz.study.study import Study
from kenviz.text.labels import label

# Shares in steps from light to dark: Okabe and Ito's blue in ever deeper steps, legible on light and dark pages.
_STEPS = ("#d6e6f2", "#a9cbe4", "#6fa8d2", "#3a86bf", "#0072b2", "#004a75")
_MOST_KINDS = 24
_MOST_CELLS = 1200
_SIDE = 12  # of a cell, in px
_WIDEST = 480
_ORDER = ("pruned", "unchanged", "carried", "tied", "from pretrained", "only in pretrained")


class Summary:
    """What `kenviz.show` gives of a subnetwork: HTML where there is a page, and one line of text where there is none.

    >>> import torch
    >>> summary = Summary(ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, k=1))
    >>> summary
    Summary(rule ken, k = 1: 4 of 16 entries (25.0 %) are retained.)
    """

    def __init__(self, net: ken.Subnetwork) -> None:
        self._net = net

    def _repr_html_(self) -> str:
        return html_of(self._net)

    def __repr__(self) -> str:
        return f"Summary({sentence(self._net)})"


def sentence(net: ken.Subnetwork) -> str:
    """How much a subnetwork retains, in a sentence."""
    share = f" ({100 * net.share:.1f} %)" if net.entries else ""
    return f"{net_in_words(net)}: {net.retained:,} of {net.entries:,} entries{share} are retained."


def html_of(net: ken.Subnetwork) -> str:
    """A subnetwork in HTML, of less than 30 kB whatever there is in it. Names in it are text."""
    table = Study(net).shares
    matrices = table[table["rows"] > 1]
    count = {status: int(n) for status, n in net.table()["status"].value_counts().items()}
    tensors = ", ".join(f"{count[status]:,} {status}" for status in _ORDER if status in count)
    notes = ["The two models do not differ in what was pruned."] if net.unchanged else []
    shown = table if matrices.empty else matrices
    layers = sorted({int(layer) for layer in shown["layer"].dropna()})
    every = list(dict.fromkeys(shown["kind"]))
    drawn = every[: max(1, min(_MOST_KINDS, _MOST_CELLS // max(1, len(layers))))]
    if len(drawn) < len(every):
        notes.append(f"{len(every) - len(drawn):,} more kinds are not shown.")
    if 0 < len(matrices) < len(table):
        notes.append(f"{len(table) - len(matrices):,} vectors are left out of the map.")
    names = short_kinds(drawn)
    return filled_line(
        "subnetwork.html",
        caption=f"Subnetwork: {label(sentence(net), 200)}",
        tensors=tensors,
        where=f"layers {layers[0]} to {layers[-1]}" if len(layers) > 1 else "layer",
        kinds=[_kind(names[kind], shown[shown["kind"] == kind], layers) for kind in drawn],
        side=_SIDE,
        notes=" ".join(notes),
    )


class _Kind(NamedTuple):
    """A kind of matrices: its shares in words, and a strip of cells, one a layer: (colour, path) of each step."""

    name: str
    words: str
    width: int
    steps: list[tuple[str, str]]
    entries: int


def _kind(name: str, group: pd.DataFrame, layers: list[int]) -> _Kind:
    places = [0 if pd.isna(layer) else layers.index(int(layer)) for layer in group["layer"]]
    shares = group["share"].dropna()
    words = _range(100 * shares.min(), 100 * shares.max()) if len(shares) else "no entries"
    side = min(_SIDE, max(1, _WIDEST // max(1, len(layers))))
    cells = list(zip(places, map(_step, group["share"]), strict=True))
    # One path a step, so that many cells take few bytes.
    paths = [
        "".join(f"M{at * side} 0h{side}v{_SIDE}h-{side}z" for at, share in cells if share == step)
        for step in range(len(_STEPS))
    ]
    steps = [(colour, path) for colour, path in zip(_STEPS, paths, strict=True) if path]
    return _Kind(name, words, side * (1 + max(places)), steps=steps, entries=int(group["entries"].sum()))


def _range(low: float, high: float) -> str:
    ends = f"{low:.1f}", f"{high:.1f}"
    return f"{ends[0]} %" if ends[0] == ends[1] else f"{ends[0]} – {ends[1]} %"


def _step(share: float) -> int:
    return min(int(share * len(_STEPS)), len(_STEPS) - 1) if share == share else 0
