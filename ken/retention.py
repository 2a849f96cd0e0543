"""Tidy tables of what was retained: per tensor, with its place in the model and what became of the update."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from ken.checkpoint import Source
from ken.pairing import open_pair
from ken.subnetwork import Subnetwork

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = [
    "tensor",
    "layer",
    "kind",
    "rows",
    "row_length",
    "entries",
    "retained",
    "share",
    "changed",
    "update_rms",
    "update_share",
]

# Rows are read a few at a time: at most this many entries.
_BLOCK = 1 << 20


class PairOfModels(Protocol):
    """Anything with the two models as attributes, such as `ken.demo.pair()` or `Pair`."""

    @property
    def fine_tuned(self) -> Source:
        """The fine-tuned model."""

    @property
    def pretrained(self) -> Source:
        """The pretrained model it came from."""


class Pair(NamedTuple):
    """Two models that belong together, for everything that takes a pair.

    >>> Pair(fine_tuned={}, pretrained={}).pretrained
    {}
    """

    fine_tuned: Source
    pretrained: Source


class Place(NamedTuple):
    """Where a tensor stands: its layer number, None outside of layers, and its kind, the name less the number."""

    layer: int | None
    kind: str


def place(name: str) -> Place:
    """Layer and kind of a tensor, read from its name: the first component that is a number is the layer.

    Two tensors of one model never share a place.

    >>> place("bert.encoder.layer.3.attention.self.query.weight")
    Place(layer=3, kind='bert.encoder.layer.*.attention.self.query.weight')
    >>> place("embeddings.word_embeddings.weight")
    Place(layer=None, kind='embeddings.word_embeddings.weight')
    """
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part.isascii() and part.isdigit():
            return Place(int(part), ".".join([*parts[:i], "*", *parts[i + 1 :]]))
    return Place(None, name)


def table(net: Subnetwork, pair: PairOfModels) -> pd.DataFrame:
    """One row for every pruned tensor, in model order.

    Columns: tensor (index), layer (Int64, missing outside of layers), kind, rows, row_length, entries, retained,
    share (retained / entries), changed (entries whose update is not 0), update_rms (root mean square of the update,
    in units of the weights) and update_share (share of the update's energy, the sum of its squares, at retained
    entries; NaN if nothing changed). Entries without a pretrained value are left out of the last three.

    >>> import torch
    >>> from ken.pruning import prune
    >>> pair = Pair({"a.0.w": torch.tensor([[-3.0, 0.0, 1.0]])}, {"a.0.w": torch.zeros(1, 3)})
    >>> table(prune(*pair, k=1), pair)[["layer", "share", "changed", "update_share"]].round(3).values.tolist()
    [[0, 0.333, 2, 0.9]]
    """
    import pandas as pd

    pairing = replace(open_pair(pair.fine_tuned, pair.pretrained), cuts=net.cuts)
    lines = []
    for name, tensor in net.pruned().items():
        rows, n = tensor.row_shape
        mask = tensor.row_mask()
        energy = kept = 0.0
        changed = counted = 0
        step = max(1, _BLOCK // n)
        for start in range(0, rows, step):
            wanted = slice(start, start + step)
            fine_tuned, pretrained = pairing.rows(name, wanted)
            update = fine_tuned - pretrained
            known = ~np.isnan(update)
            squares = np.where(known, update, 0.0) ** 2
            energy += float(squares.sum())
            kept += float(squares[mask[wanted]].sum())
            changed += int(np.count_nonzero(squares))
            counted += int(known.sum())
        where = place(name)
        lines.append(
            {
                "tensor": name,
                "layer": where.layer,
                "kind": where.kind,
                "rows": rows,
                "row_length": n,
                "entries": tensor.entries,
                "retained": tensor.retained,
                "share": tensor.retained / tensor.entries,
                "changed": changed,
                "update_rms": math.sqrt(energy / counted) if counted else math.nan,
                "update_share": kept / energy if energy > 0 else math.nan,
            }
        )
    result = pd.DataFrame(lines, columns=_COLUMNS).astype({"layer": "Int64"})
    return result.set_index("tensor")
