"""Tidy tables of what was retained: by tensor, place, attention head, row and column, all from one pass.

Every column is defined in docs/statistics.md. Counts and sums that have to do with the update or with a row's values
are over entries that have a pretrained value ("paired"); only pruned tensors are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ken.api import Subnetwork
from ken.models.pairing.pairs import PairOfModels
from ken.retention.attention_heads import heads as heads_of
from ken.retention.summary_columns import COLUMNS, SUMS, divided, head_lines, line, with_shares
from ken.retention.tally import Tally, tallies

if TYPE_CHECKING:
    import pandas as pd

# What `by_place` adds up.
_ADDED = [
    *("entries", "retained", "changed", "paired", "paired_retained", "energy", "energy_retained", "energy_reset"),
    *("retained_changed", "tails", "tails_retained", "pairs", "pairs_expected", "pairs_variance"),
]
_WHERE = ["tensor", "layer", "stack", "role", "head", "axis"]
_SHARES = ["entries", "retained", "share", "changed", "retained_changed"]
_SHARES += ["energy", "energy_retained", "energy_reset", "update_share"]


class Retention:
    """All statistics of a subnetwork: what one pass over its tensors has counted, and the tables made of it.

    In memory are some 100 bytes for every row and 40 for every column of the pruned tensors, and nothing else.
    """

    def __init__(self, net: Subnetwork, pair: PairOfModels) -> None:
        self._of = {tally.name: tally for tally in tallies(net, pair)}
        config = None if net.architecture is None else net.architecture.config
        whole = {name: of for name, of in self._of.items() if len(of.shape) < 2 or of.row_shape == of.shape}
        found = {name: heads_of(name, of.shape, config) for name, of in whole.items()}
        self._heads = {name: of for name, of in found.items() if of is not None}

    def table(self) -> pd.DataFrame:
        """One row for every pruned tensor; see `ken.retention.table`."""
        import pandas as pd

        lines = [line(of, self._heads.get(name)) for name, of in self._of.items()]
        return pd.DataFrame(lines, columns=COLUMNS).astype({"layer": "Int64"}).set_index("tensor")

    def heads(self) -> pd.DataFrame:
        """One row for every attention head of every tensor that has any; see `ken.retention.heads`."""
        import pandas as pd

        lines = [line for name, of in self._heads.items() for line in head_lines(self._of[name], of)]
        table = pd.DataFrame(lines, columns=[*_WHERE, "entries", *SUMS]).astype({"layer": "Int64"})
        return with_shares(table)[[*_WHERE, *_SHARES]]

    def rows(self, tensor: str) -> pd.DataFrame:
        """One row for every row of a tensor; see `ken.retention.rows`."""
        import pandas as pd

        of = self._tally(tensor)
        names = ["paired", "tails", "tails_retained", "bandwidth", "kurtosis"]
        table = pd.DataFrame({name: of.rows[name] for name in [*SUMS, *names]}).rename_axis("row")
        table = with_shares(table.assign(entries=of.row_shape[1]))
        table["tails_share"] = divided(table["tails_retained"], table["tails"])
        return table[[*_SHARES, *names[:3], "tails_share", *names[3:]]]

    def columns(self, tensor: str) -> pd.DataFrame:
        """One row for every column of a tensor's rows; see `ken.retention.columns`."""
        import pandas as pd

        of = self._tally(tensor)
        table = pd.DataFrame({name: of.columns[name] for name in SUMS}).rename_axis("column")
        return with_shares(table.assign(entries=of.row_shape[0]))[_SHARES]

    def _tally(self, tensor: str) -> Tally:
        if tensor not in self._of:
            raise ValueError(f"tensor must be a pruned one, got {tensor!r}")
        return self._of[tensor]


def measure(net: Subnetwork, pair: PairOfModels) -> Retention:
    """Read a subnetwork and its pair once; the tables of the result cost next to nothing.

    Raises `SubnetworkError` if a tensor of the pair is missing or is not, bit for bit, the one that was pruned.

    >>> import torch, ken
    >>> pair = ken.Pair({"w": torch.tensor([[-3.0, 0.0, 1.0]])}, {"w": torch.zeros(1, 3)})
    >>> found = measure(ken.prune(*pair, k=1), pair)
    >>> found.columns("w")[["retained", "energy", "energy_retained"]].values.tolist()
    [[1.0, 9.0, 9.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return Retention(net, pair)


def table(net: Subnetwork, pair: PairOfModels) -> pd.DataFrame:
    """One row for every pruned tensor, in model order.

    Columns: tensor (index), layer (Int64, missing outside of layers), kind, rows, row_length, entries, retained,
    share (retained / entries), changed (entries whose update is not 0), update_rms (root mean square of the update,
    in units of the weights) and update_share (share of the update's energy, the sum of its squares, at retained
    entries; NaN if nothing changed). Entries without a pretrained value are left out of the last three.

    Behind them: stack and role (`ken.models.tensors.tensor_roles`); paired, paired_retained, update_share_reset,
    energy, energy_retained, energy_reset, retained_changed; tails, tails_retained, tails_share; column_gini,
    column_entropy, head_gini, head_entropy; neighbours, neighbours_expected, neighbours_z, pairs, pairs_expected,
    pairs_variance; bandwidth, kurtosis, modes. docs/statistics.md defines each.

    >>> import torch, ken
    >>> pair = ken.Pair({"a.0.w": torch.tensor([[-3.0, 0.0, 1.0]])}, {"a.0.w": torch.zeros(1, 3)})
    >>> table(ken.prune(*pair, k=1), pair)[["layer", "share", "changed", "update_share"]].round(3).values.tolist()
    [[0, 0.333, 2, 0.9]]
    """
    return measure(net, pair).table()


def by_place(table: pd.DataFrame, by: Sequence[str] = ("stack", "layer", "role")) -> pd.DataFrame:
    """The table of tensors added up by place, in the order in which places first occur; by may be ("layer", "kind").

    Counts, energies and pairs are added up; share, update_rms, update_share, update_share_reset, tails_share, and
    neighbours with its expected value and z-score follow from the sums. Other columns have no sum and are left out.
    Columns: those of by (index), tensors (how many), then those named.

    >>> import torch, ken
    >>> ours = {f"h.0.mlp.{name}.weight": torch.eye(3) for name in ("up_proj", "gate_proj")}
    >>> pair = ken.Pair(ours, {name: torch.zeros(3, 3) for name in ours})
    >>> found = table(ken.prune(*pair, k=1), pair)
    >>> by_place(found, ["layer"])[["tensors", "retained"]].values.tolist()
    [[2, 6]]
    """
    groups = table.groupby(list(by), sort=False, dropna=False)
    result = groups[_ADDED].sum()
    result.insert(0, "tensors", groups.size())
    result["share"] = divided(result["retained"], result["entries"])
    result["update_rms"] = np.sqrt(divided(result["energy"], result["paired"]))
    result["update_share"] = divided(result["energy_retained"], result["energy"])
    result["update_share_reset"] = divided(result["energy_reset"], result["energy"])
    result["tails_share"] = divided(result["tails_retained"], result["tails"])
    result["neighbours"] = divided(2 * result["pairs"], result["paired_retained"])
    result["neighbours_expected"] = divided(2 * result["pairs_expected"], result["paired_retained"])
    beyond = result["pairs"] - result["pairs_expected"]
    result["neighbours_z"] = divided(beyond, np.sqrt(result["pairs_variance"]))
    return result


def heads(net: Subnetwork, pair: PairOfModels) -> pd.DataFrame:
    """One row for every attention head of every tensor whose heads are known; empty if there is none.

    Those are outputs of query, key and value with their biases, and inputs of the attention output; sizes are read
    from the configuration of the fine-tuned module, so of a state dict no heads are known. Columns: tensor, layer,
    stack, role (that of the part, if query, key and value are one matrix), head, axis (whether its entries are "rows"
    or "columns" of the tensor's rows), entries, retained, share, changed, retained_changed, energy, energy_retained,
    energy_reset, update_share.
    """
    return measure(net, pair).heads()


def rows(net: Subnetwork, pair: PairOfModels, tensor: str) -> pd.DataFrame:
    """One row for every row of a pruned tensor. All tensors are read for it: for several tables use `measure`.

    Columns: row (index), entries, retained, share, changed, retained_changed, energy, energy_retained, energy_reset,
    update_share, paired, tails, tails_retained, tails_share, bandwidth, kurtosis.

    Raises `ValueError` if the tensor is not a pruned one.
    """
    return measure(net, pair).rows(tensor)


def columns(net: Subnetwork, pair: PairOfModels, tensor: str) -> pd.DataFrame:
    """One row for every column of a pruned tensor's rows. For several tables use `measure`.

    Columns: column (index), entries, retained, share, changed, retained_changed, energy, energy_retained, energy_reset,
    update_share.

    Raises `ValueError` if the tensor is not a pruned one.
    """
    return measure(net, pair).columns(tensor)
