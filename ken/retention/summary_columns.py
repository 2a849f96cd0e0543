"""From what was counted of a tensor to the lines of the tables: sums, by attention head too, and ratios of sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.models.tensors.tensor_roles import place, role, stack
from ken.retention.attention_heads import Heads
from ken.retention.statistics import chance, entropy, gini
from ken.retention.tally import Tally

if TYPE_CHECKING:
    import pandas as pd

#: What is counted alike by tensor, head, row and column.
SUMS = ["retained", "changed", "retained_changed", "energy_retained", "energy_reset"]
#: The columns of `ken.retention.table`, in order.
COLUMNS = [
    *("tensor", "layer", "kind", "rows", "row_length", "entries", "retained", "share", "changed", "update_rms"),
    *("update_share", "stack", "role", "paired", "paired_retained", "update_share_reset", "energy"),
    *("energy_retained", "energy_reset", "retained_changed", "tails", "tails_retained", "tails_share"),
    *("column_gini", "column_entropy", "head_gini", "head_entropy", "neighbours", "neighbours_expected"),
    *("neighbours_z", "pairs", "pairs_expected", "pairs_variance", "bandwidth", "kurtosis", "modes"),
]
# Ratios: part and whole.
_RATIOS = {
    "share": ("retained", "entries"),
    "update_share": ("energy_retained", "energy"),
    "update_share_reset": ("energy_reset", "energy"),
    "tails_share": ("tails_retained", "tails"),
}


def line(tally: Tally, heads: Heads | None) -> dict[str, Any]:
    """The line of a tensor in `ken.retention.table`, less what `with_ratios` adds."""
    counts = {name: int(values.sum()) for name, values in tally.rows.items() if values.dtype == np.int64}
    retained_energy, reset_energy = (float(tally.rows[name].sum()) for name in ("energy_retained", "energy_reset"))
    (rows, n), paired = tally.row_shape, tally.rows["paired"]
    # Only a tensor of one row has rows that are paired in part.
    length = int(paired[0]) if rows == 1 else n
    expected = chance(tally.rows["paired_retained"][: np.count_nonzero(paired)], length)
    per_entry = 2.0 / counts["paired_retained"] if counts["paired_retained"] else math.nan
    by_head = None if heads is None else by_number(tally, heads, "energy_retained")
    return {
        "tensor": tally.name,
        "layer": place(tally.name).layer,
        "kind": place(tally.name).kind,
        "stack": stack(tally.name),
        "role": role(tally.name),
        "rows": rows,
        "row_length": n,
        "entries": rows * n,
        **counts,
        "energy": retained_energy + reset_energy,
        "energy_retained": retained_energy,
        "energy_reset": reset_energy,
        "column_gini": gini(tally.columns["retained"]),
        "column_entropy": entropy(tally.columns["retained"]),
        "head_gini": math.nan if by_head is None else gini(by_head),
        "head_entropy": math.nan if by_head is None else entropy(by_head),
        "neighbours": counts["pairs"] * per_entry,
        "neighbours_expected": expected.mean * per_entry,
        "pairs_expected": expected.mean,
        "pairs_variance": expected.variance,
        "bandwidth": mean(tally.rows["bandwidth"][paired > 0]),
        "kurtosis": mean(tally.rows["kurtosis"][paired > 0]),
        "modes": tally.modes,
    }


def head_lines(tally: Tally, heads: Heads) -> list[dict[str, Any]]:
    """The lines of a tensor in `ken.retention.heads`, less what `with_ratios` adds."""
    sums = {name: by_group(tally, heads, name) for name in SUMS}
    entries = math.prod(tally.row_shape) // len(heads.groups)
    cross = "cross " if role(tally.name).startswith("cross ") else ""
    bias = " bias" if role(tally.name).endswith(" bias") else ""
    where = {"tensor": tally.name, "layer": place(tally.name).layer, "stack": stack(tally.name)}
    return [
        where
        | {"role": f"{cross}{part}{bias}", "head": head, "axis": heads.axis, "entries": entries}
        | {name: sums[name][i] for name in SUMS}
        for i, (part, head) in enumerate(heads.groups)
    ]


def by_group(tally: Tally, heads: Heads, name: str) -> NDArray[Any]:
    """The sum of what was counted over each group of rows or columns, (groups,), dtype as counted."""
    values = (tally.rows if heads.axis == "rows" else tally.columns)[name]
    sums = np.zeros(len(heads.groups), values.dtype)
    np.add.at(sums, heads.group, values)
    return sums


def by_number(tally: Tally, heads: Heads, name: str) -> NDArray[Any]:
    """The same by head, over all the parts of a fused matrix."""
    sums = by_group(tally, heads, name)
    by_head = np.zeros(1 + max(head for _, head in heads.groups), sums.dtype)
    np.add.at(by_head, [head for _, head in heads.groups], sums)
    return by_head


def with_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """A table of sums, with its energy and every ratio whose two sums it has; a ratio to 0 is NaN."""
    if "energy" not in table:
        table = table.assign(energy=table["energy_retained"] + table["energy_reset"])
    ratios = {name: divided(table, *sums) for name, sums in _RATIOS.items() if {*sums} <= {*table.columns}}
    if "pairs_variance" in table:
        ratios["update_rms"] = divided(table, "energy", "paired").map(math.sqrt)
        beyond = (table["pairs"] - table["pairs_expected"]).astype(float)
        deviation = table["pairs_variance"].astype(float).map(math.sqrt)
        ratios["neighbours_z"] = beyond / deviation.where(deviation > 0)
    return table.assign(**ratios)


def divided(table: pd.DataFrame, part: str, whole: str) -> pd.Series:
    """One column over another, line by line; NaN where the other is 0."""
    wholes = table[whole].astype(float)
    return table[part].astype(float) / wholes.where(wholes > 0)


def mean(values: NDArray[np.float64]) -> float:
    """The mean of all values that are not NaN; NaN if there are none.

    >>> mean(np.array([1.0, np.nan, 2.0]))
    1.5
    """
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if len(numbers) else math.nan
