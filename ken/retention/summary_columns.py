"""From what was counted of a tensor to what is said of it: one line for the tensor, and sums by attention head."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.models.tensors.tensor_roles import place, role, stack
from ken.retention.attention_heads import Heads
from ken.retention.concentration import entropy, gini
from ken.retention.neighbour_chance import chance, z_score
from ken.retention.tally import Tally

if TYPE_CHECKING:
    import pandas as pd

#: What is counted alike by tensor, head, row and column.
SUMS = ["retained", "changed", "retained_changed", "energy_retained", "energy_reset"]


def line(of: Tally, heads: Heads | None) -> dict[str, Any]:
    """The line of a tensor in `ken.retention.table`."""
    name, (rows, n), entries = of.name, of.row_shape, math.prod(of.row_shape)
    count = {name: int(of.rows[name].sum()) for name in of.rows if of.rows[name].dtype == np.int64}
    inside, outside = (float(of.rows[name].sum()) for name in ("energy_retained", "energy_reset"))
    energy = inside + outside
    paired_rows = int(np.count_nonzero(of.rows["paired"]))
    # Only a tensor of one row has rows that are paired in part.
    length = int(of.rows["paired"][0]) if rows == 1 else n
    expected = chance(of.rows["paired_retained"][:paired_rows], length)
    per_entry = ratio(2.0, count["paired_retained"])
    by_head = None if heads is None else added(of, heads, "energy_retained")
    known = of.rows["paired"] > 0
    return {
        "tensor": name,
        "layer": place(name).layer,
        "kind": place(name).kind,
        "rows": rows,
        "row_length": n,
        "entries": entries,
        "retained": count["retained"],
        "share": ratio(count["retained"], entries),
        "changed": count["changed"],
        "update_rms": math.sqrt(energy / count["paired"]) if count["paired"] else math.nan,
        "update_share": ratio(inside, energy),
        "stack": stack(name),
        "role": role(name),
        "paired": count["paired"],
        "paired_retained": count["paired_retained"],
        "update_share_reset": ratio(outside, energy),
        "energy": energy,
        "energy_retained": inside,
        "energy_reset": outside,
        "retained_changed": count["retained_changed"],
        "tails": count["tails"],
        "tails_retained": count["tails_retained"],
        "tails_share": ratio(count["tails_retained"], count["tails"]),
        "column_gini": gini(of.columns["retained"]),
        "column_entropy": entropy(of.columns["retained"]),
        "head_gini": math.nan if by_head is None else gini(by_head),
        "head_entropy": math.nan if by_head is None else entropy(by_head),
        "neighbours": count["pairs"] * per_entry,
        "neighbours_expected": expected.mean * per_entry,
        "neighbours_z": z_score(count["pairs"], expected),
        "pairs": count["pairs"],
        "pairs_expected": expected.mean,
        "pairs_variance": expected.variance,
        "bandwidth": mean(of.rows["bandwidth"][known]),
        "kurtosis": mean(of.rows["kurtosis"][known]),
        "modes": of.modes,
    }


#: The columns of `line`, in order.
COLUMNS = [
    *("tensor", "layer", "kind", "rows", "row_length", "entries", "retained", "share", "changed", "update_rms"),
    *(
        "update_share",
        "stack",
        "role",
        "paired",
        "paired_retained",
        "update_share_reset",
        "energy",
        "energy_retained",
        "energy_reset",
    ),
    *("retained_changed", "tails", "tails_retained", "tails_share", "column_gini", "column_entropy", "head_gini"),
    *("head_entropy", "neighbours", "neighbours_expected", "neighbours_z", "pairs", "pairs_expected"),
    *("pairs_variance", "bandwidth", "kurtosis", "modes"),
]


def head_lines(of: Tally, heads: Heads) -> list[dict[str, Any]]:
    """The lines of a tensor in `ken.retention.heads`, less what follows from others."""
    sums = {name: by_group(of, heads, name) for name in SUMS}
    entries = math.prod(of.row_shape) // len(heads.groups)
    cross = "cross " if role(of.name).startswith("cross ") else ""
    bias = " bias" if role(of.name).endswith(" bias") else ""
    where = {"tensor": of.name, "layer": place(of.name).layer, "stack": stack(of.name)}
    return [
        where
        | {"role": f"{cross}{part}{bias}", "head": head, "axis": heads.axis, "entries": entries}
        | {name: sums[name][i] for name in SUMS}
        for i, (part, head) in enumerate(heads.groups)
    ]


def by_group(of: Tally, heads: Heads, name: str) -> NDArray[Any]:
    """The sum of what was counted over each group of rows or columns, (groups,), dtype as counted."""
    values = (of.rows if heads.axis == "rows" else of.columns)[name]
    sums = np.zeros(len(heads.groups), values.dtype)
    np.add.at(sums, heads.group, values)
    return sums


def added(of: Tally, heads: Heads, name: str) -> NDArray[Any]:
    """The same by head, over all the parts of a fused matrix."""
    sums = by_group(of, heads, name)
    by_head = np.zeros(1 + max(head for _, head in heads.groups), sums.dtype)
    np.add.at(by_head, [head for _, head in heads.groups], sums)
    return by_head


def with_shares(table: pd.DataFrame) -> pd.DataFrame:
    """A table of `SUMS` and entries with what follows from them: share, energy, update_share."""
    energy = table["energy_retained"] + table["energy_reset"]
    return table.assign(
        share=divided(table["retained"], table["entries"]),
        energy=energy,
        update_share=divided(table["energy_retained"], energy),
    )


def divided(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Part / whole, line by line; NaN where whole is 0."""
    whole = whole.astype(float)
    return part.astype(float) / whole.where(whole > 0)


def ratio(part: float, whole: float) -> float:
    """Part / whole; NaN if whole is 0.

    >>> ratio(1, 2), ratio(0, 0)
    (0.5, nan)
    """
    return part / whole if whole else math.nan


def mean(values: NDArray[np.float64]) -> float:
    """The mean of all values that are not NaN; NaN if there are none.

    >>> mean(np.array([1.0, np.nan, 2.0]))
    1.5
    """
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
