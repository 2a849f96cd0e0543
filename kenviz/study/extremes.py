"""Where the update was retained least, or most: of all layers, tensors, rows of a tensor, entries of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kenviz.study.study import Study
from kenviz.text.labels import label
from kenviz.tiles.pyramid import stretches


class Spot(NamedTuple):
    """A place worth a look, (tensor, row, column; -1 for no column), and why it is, in a sentence."""

    tensor: str
    row: int
    column: int
    words: str


class Jump(NamedTuple):
    """What can be jumped to: its title in a list, and the function (study, tensor, row) that finds it."""

    title: str
    find: Callable[[Study, str, int], Spot]


def layer(study: Study, most: bool) -> Spot:
    """The layer that retained least of its update's energy over all its tensors; of it, the tensor that did."""
    table = study.table(["energy"])
    table = table[table["layer"].notna()]
    sums = table.groupby("layer")[["energy_retained", "energy"]].sum()
    shares = _shares(sums["energy_retained"], sums["energy"], "no layer was changed by fine-tuning")
    number, share = _end(shares, most)
    inside = table[table["layer"] == number]
    tensor, own = _end(_shares(inside["energy_retained"], inside["energy"], ""), most)
    return Spot(
        str(tensor),
        row=0,
        column=-1,
        words=f"Layer {number} retained {_word(most)} of its update: {share:.1%} of the energy, "
        f"{_span(shares, 'layer')}. Its tensor with {_word(most)}: {label(str(tensor))}, {own:.1%}.",
    )


def tensor(study: Study, most: bool) -> Spot:
    """The tensor that retained least of its update's energy."""
    table = study.table(["energy"])
    shares = _shares(table["energy_retained"], table["energy"], "no tensor was changed by fine-tuning")
    name, share = _end(shares, most)
    return Spot(
        str(name),
        row=0,
        column=-1,
        words=f"{label(str(name))} retained {_word(most)} of its update: {share:.1%} of the energy, "
        f"{_span(shares, 'tensor')}.",
    )


def row(study: Study, name: str, most: bool) -> Spot:
    """The row of a tensor that retained least of its update's energy; nothing is read but that tensor."""
    shape = study.shape(name)
    retained, energy = np.zeros(shape[0]), np.zeros(shape[0])
    for rows in stretches(shape, slice(0, shape[0]), 1):
        squares = _update(study, name, rows) ** 2
        energy[rows] = squares.sum(axis=1)
        retained[rows] = np.where(study.mask(name, rows), squares, 0.0).sum(axis=1)
    shares = _shares(pd.Series(retained), pd.Series(energy), f"no row of {name} was changed by fine-tuning")
    number, share = _end(shares, most)
    words = f"Row {number:,} of {label(name)} retained {_word(most)} of its update: {share:.1%} of the energy, "
    return Spot(name, int(number), column=-1, words=f"{words}{_span(shares, 'row')}.")


def entry(study: Study, name: str, at: int, *, retained: bool) -> Spot:
    """The entry of a row whose update is largest, among those that are retained, or reset."""
    rows = slice(at, at + 1)
    size = np.abs(_update(study, name, rows)[0])
    size[study.mask(name, rows)[0] != retained] = -1.0
    became = "retained" if retained else "reset"
    column = int(size.argmax())
    if size[column] <= 0:
        raise ValueError(f"row {at} of {name} has no {became} entry that fine-tuning changed")
    words = f"Entry {column:,} of row {at:,} has the largest update of those that are {became}: {size[column]:.4g}."
    return Spot(name, at, column=column, words=words)


#: What can be jumped to, by name.
JUMPS = {
    "layer least": Jump("layer with least of its update retained", lambda study, *_: layer(study, most=False)),
    "layer most": Jump("layer with most of its update retained", lambda study, *_: layer(study, most=True)),
    "tensor least": Jump("tensor with least of its update retained", lambda study, *_: tensor(study, most=False)),
    "tensor most": Jump("tensor with most of its update retained", lambda study, *_: tensor(study, most=True)),
    "row least": Jump("row, here, with least of its update", lambda study, name, _: row(study, name, most=False)),
    "row most": Jump("row, here, with most of its update", lambda study, name, _: row(study, name, most=True)),
    "entry retained": Jump(
        "entry, in this row, of largest retained update", lambda study, name, at: entry(study, name, at, retained=True)
    ),
    "entry reset": Jump(
        "entry, in this row, of largest reset update", lambda study, name, at: entry(study, name, at, retained=False)
    ),
}


def spot(study: Study, jump: str, *, tensor: str, row: int) -> Spot:
    """The place of that name (`JUMPS`), from the tensor and row that are looked at.

    Raises `ValueError` where there is none: no such name, no pair of models, nothing that fine-tuning changed.

    >>> import torch, ken
    >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> study = Study(ken.prune(*pair, k=2), pair)
    >>> print(spot(study, "row least", tensor="w", row=0).words)
    Row 1 of w retained least of its update: 51.6% of the energy, where 2 changed rows range from 51.6% to 64.3%.
    >>> spot(study, "entry reset", tensor="w", row=0)[:3]
    ('w', 0, 2)
    """
    if jump not in JUMPS:
        raise ValueError(f"jump must be one of {', '.join(JUMPS)}; got {jump!r}")
    if study.pair is None:
        raise ValueError("where the update was retained is known with the pair of models: kenviz.explore(net, pair)")
    return JUMPS[jump].find(study, study.check(tensor), row)


def _update(study: Study, name: str, rows: slice) -> NDArray[np.float64]:
    """The update of some rows, (rows, n) float64; 0 where there is no pretrained value."""
    fine_tuned, pretrained = study.rows(name, rows)
    with np.errstate(over="ignore"):
        return np.nan_to_num(fine_tuned - pretrained, nan=0.0)


def _shares(retained: pd.Series, energy: pd.Series, problem: str) -> pd.Series:
    changed = energy > 0
    if not changed.any():
        raise ValueError(f"{problem}: there is no update to retain")
    return retained[changed] / energy[changed]


def _end(shares: pd.Series, most: bool) -> tuple[Any, float]:
    """The first label with the highest, or the lowest, share, and that share."""
    at = int(np.argmax(shares)) if most else int(np.argmin(shares))
    return shares.index[at], float(shares.iloc[at])


def _span(shares: pd.Series, noun: str) -> str:
    if len(shares) == 1:
        return f"the only changed {noun}"
    return f"where {len(shares):,} changed {noun}s range from {shares.min():.1%} to {shares.max():.1%}"


def _word(most: bool) -> str:
    return "most" if most else "least"
