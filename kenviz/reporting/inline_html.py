"""A subnetwork as one small, static piece of HTML: what is retained of it, by kind and layer, in any notebook viewer.

Everything is in it, and nothing changes from run to run: notebooks store it, and compare it.
"""

from __future__ import annotations

import html
from typing import NamedTuple

import pandas as pd

import ken
from kenviz.figures.retention import short_kinds
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
_TEXT = "var(--jp-content-font-color1, currentColor)"
_FAINT = "var(--jp-border-color2, currentColor)"


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
    kinds = _kinds(table if matrices.empty else matrices)
    count = {status: int(n) for status, n in net.table()["status"].value_counts().items()}
    tensors = ", ".join(f"{count[status]:,} {status}" for status in _ORDER if status in count)
    notes = ["The two models do not differ in what was pruned."] if net.unchanged else []
    if kinds is not None:
        notes += kinds.notes
        if left := len(table) - len(matrices):
            notes += [f"{left:,} vectors are left out of the map."] if len(matrices) else []
    caption = f"Subnetwork: {label(sentence(net), 200)}"
    parts = [
        f'<div role="group" aria-label="{html.escape(caption)}" style="color:{_TEXT};max-width:100%;overflow-x:auto">',
        f"<p><strong>{html.escape(caption)}</strong><br>Tensors: {html.escape(tensors)}.</p>",
        "" if kinds is None else kinds.table,
        f"<p>{html.escape(' '.join(notes))}</p>" if notes else "",
        "<p>Look closer with <code>kenviz.explore(net, pair)</code>.</p></div>",
    ]
    return "".join(parts)


class _Map(NamedTuple):
    table: str
    notes: list[str]


def _kinds(table: pd.DataFrame) -> _Map | None:
    """Layer × kind, a line a kind: its shares in a strip of cells, one a layer, and in words."""
    if table.empty:
        return None
    layers = sorted({int(layer) for layer in table["layer"].dropna()})
    column = {layer: at for at, layer in enumerate(layers)}
    every = list(dict.fromkeys(table["kind"]))
    drawn = every[: max(1, min(_MOST_KINDS, _MOST_CELLS // max(1, len(layers))))]
    names = short_kinds(drawn)
    side = min(_SIDE, max(1, _WIDEST // max(1, len(layers))))
    lines = []
    for kind in drawn:
        group = table[table["kind"] == kind]
        cells = [
            (0 if pd.isna(layer) else column[int(layer)], share)
            for layer, share in zip(group["layer"], group["share"], strict=True)
        ]
        known = group["share"].dropna()
        words = _range(100 * known.min(), 100 * known.max()) if len(known) else "no entries"
        entries = int(group["entries"].sum())
        lines.append(
            f'<tr><th scope="row" style="text-align:left;font-weight:normal">{html.escape(names[kind])}</th>'
            f'<td style="white-space:nowrap">{words}</td><td>{_strip(cells, side, words)}</td><td>{entries:,}</td></tr>'
        )
    notes = []
    if len(drawn) < len(every):
        notes.append(f"{len(every) - len(drawn):,} more kinds are not shown.")
    where = f"layers {layers[0]} to {layers[-1]}" if len(layers) > 1 else "layer"
    heads = [f'<th scope="col">{text}</th>' for text in ("kind", "retained", where, "entries")]
    head = f"<tr>{''.join(heads)}</tr>"
    caption = '<caption style="text-align:left">Share of entries retained, a cell a layer: the darker, the more.'
    caption += "</caption>"
    return _Map(f"<table>{caption}<thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>", notes)


def _range(low: float, high: float) -> str:
    ends = f"{low:.1f}", f"{high:.1f}"
    return f"{ends[0]} %" if ends[0] == ends[1] else f"{ends[0]} – {ends[1]} %"


def _strip(cells: list[tuple[int, float]], side: int, words: str) -> str:
    """Cells side by side: one path a step, so that many cells take few bytes."""
    width = side * (1 + max(at for at, _ in cells))
    paths = []
    for step, colour in enumerate(_STEPS):
        squares = "".join(f"M{at * side} 0h{side}v{_SIDE}h-{side}z" for at, share in cells if _step(share) == step)
        if squares:
            paths.append(f'<path fill="{colour}" stroke="{_FAINT}" stroke-width=".5" d="{squares}"/>')
    return (
        f'<svg role="img" aria-label="{words}" width="{width}" height="{_SIDE}" viewBox="0 0 {width} {_SIDE}" '
        f'style="max-width:none">{"".join(paths)}</svg>'
    )


def _step(share: float) -> int:
    return min(int(share * len(_STEPS)), len(_STEPS) - 1) if share == share else 0
