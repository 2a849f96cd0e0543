"""Tidy tables of what was retained: by tensor, place, attention head, row and column, all from one pass.

Every column is defined in docs/statistics.md. Counts and sums that have to do with the update or with a row's values
are over entries that have a pretrained value ("paired"); only pruned tensors are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ken.api import Subnetwork
from ken.models.named_tables import named_table
from ken.models.pairing.pairs import PairOfModels
from ken.retention.measured import counted_here, lines_by_workers, lines_of, sizes
from ken.retention.summary_columns import COLUMNS, SUMS, divided, with_ratios
from ken.retention.tally import Tally, tallies
from ken.storage.shared_places import SubnetworkPlace, opened

if TYPE_CHECKING:
    import pandas as pd

# What `by_place` adds up, and what follows from that.
_ADDED = [
    *("entries", "retained", "changed", "paired", "paired_retained", "energy", "energy_retained", "energy_reset"),
    *("retained_changed", "tails", "tails_retained", "pairs", "pairs_expected", "pairs_variance"),
]
_FOLLOWING = [
    *("share", "update_rms", "update_share", "update_share_reset", "tails_share"),
    *("neighbours", "neighbours_expected", "neighbours_z"),
]
_WHERE = ["tensor", "layer", "stack", "role", "head", "axis"]
_SHARES = [
    *("entries", "retained", "share", "changed", "retained_changed"),
    *("energy", "energy_retained", "energy_reset", "update_share"),
]


class Retention:
    """All statistics of a subnetwork: what one pass over its tensors has counted, and the tables made of it.

    In memory are some 100 bytes for every row and 40 for every column of the pruned tensors, and nothing else. By the
    workers of an executor only what is in `table` and `heads` is counted; `rows` and `columns` read their tensor here.

    Args:
        net: The subnetwork, or its place, as `ken.load` takes it.
        pair: The two models that it was made of.
        executor: As `measure` takes it.
        timeout: As `measure` takes it.
        progress: As `measure` takes it.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair({"w": torch.tensor([[-3.0, 0.0, 1.0]])}, {"w": torch.zeros(1, 3)})
        >>> retention = Retention(ken.prune(*pair, k=1), pair)
        >>> retention.rows("w")[["retained", "energy", "energy_retained"]].values.tolist()
        [[1.0, 10.0, 9.0]]
        >>> retention.columns("w")["energy"].tolist(), retention.table()["changed"].tolist(), len(retention.heads())
        ([9.0, 0.0, 1.0], [2], 0)
    """

    def __init__(
        self,
        net: Subnetwork | SubnetworkPlace,
        pair: PairOfModels,
        *,
        executor: Any = None,
        timeout: float | None = None,
        progress: bool = True,
    ) -> None:
        from tqdm.auto import tqdm

        opened_net, place = opened(net, Subnetwork, executor)
        total = sum(sizes(opened_net).values())
        with tqdm(
            total=total, desc="measure", unit="entry", unit_scale=True, disable=not progress, delay=1.0, leave=False
        ) as bar:
            if executor is None:
                self._tallies = {tally.name: tally for tally in counted_here(opened_net, pair, bar)}
                self._lines = {name: lines_of(tally, opened_net) for name, tally in self._tallies.items()}
                self._elsewhere = None
            else:
                words: dict[str, Any] = {"executor": executor, "timeout": timeout, "bar": bar}
                self._tallies = {}
                self._lines = lines_by_workers(opened_net, pair, place=place, **words)
                self._elsewhere = opened_net, pair

    def table(self) -> pd.DataFrame:
        """One row for every pruned tensor.

        Returns:
            What `ken.retention.table` describes.
        """
        lines = [measured.line for measured in self._lines.values()]
        table = named_table(lines, COLUMNS).astype({"layer": "Int64"})
        return with_ratios(table).set_index("tensor")

    def heads(self) -> pd.DataFrame:
        """One row for every attention head of every tensor that has any.

        Returns:
            What `ken.retention.heads` describes.
        """
        lines = [line for measured in self._lines.values() for line in measured.heads]
        table = named_table(lines, [*_WHERE, "entries", *SUMS]).astype({"layer": "Int64"})
        return with_ratios(table)[[*_WHERE, *_SHARES]]

    def rows(self, tensor: str) -> pd.DataFrame:
        """One row for every row of a tensor.

        Args:
            tensor: Its name.

        Returns:
            What `ken.retention.rows` describes.
        """
        import pandas as pd

        tally, behind = self._tally(tensor), ["paired", "tails", "tails_retained", "bandwidth", "kurtosis"]
        table = pd.DataFrame({name: tally.rows[name] for name in [*SUMS, *behind]}).rename_axis("row")
        table = with_ratios(table.assign(entries=tally.row_shape[1]))
        return table[[*_SHARES, *behind[:3], "tails_share", *behind[3:]]]

    def columns(self, tensor: str) -> pd.DataFrame:
        """One row for every column of a tensor's rows.

        Args:
            tensor: Its name.

        Returns:
            What `ken.retention.columns` describes.
        """
        import pandas as pd

        tally = self._tally(tensor)
        table = pd.DataFrame({name: tally.columns[name] for name in SUMS}).rename_axis("column")
        return with_ratios(table.assign(entries=tally.row_shape[0]))[_SHARES]

    def _tally(self, tensor: str) -> Tally:
        if tensor not in self._lines:
            raise ValueError(f"tensor must be a pruned one, got {tensor!r}")
        if self._elsewhere is not None and tensor not in self._tallies:  # workers have sent sums over its rows alone
            (self._tallies[tensor],) = tallies(*self._elsewhere, names=[tensor])
        return self._tallies[tensor]


def measure(
    net: Subnetwork | SubnetworkPlace,
    pair: PairOfModels,
    *,
    executor: Any = None,
    timeout: float | None = None,
    progress: bool = True,
) -> Retention:
    """Read a subnetwork and its pair once; the tables of the result cost next to nothing.

    Args:
        net: The subnetwork, or its place, as `ken.load` takes it.
        pair: The two models that it was made of.
        executor: Whose workers count, some tensors each, as for `ken.prune`; net and both models are places then, which
            the workers open themselves. The tables are the same.
        timeout: Seconds that a worker may take for some tensors (at least one, or 67 million entries).
        progress: Show a bar if it takes longer than a second.

    Returns:
        What makes every table.

    Raises:
        SubnetworkError: A tensor of the pair is missing or is not, bit for bit, the one that was pruned.
        ExecutorError: Workers are gone, or hang.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair({"w": torch.tensor([[-3.0, 0.0, 1.0]])}, {"w": torch.zeros(1, 3)})
        >>> measure(ken.prune(*pair, k=1), pair).table().loc["w", ["retained", "update_share"]].tolist()
        [1.0, 0.9]
    """
    return Retention(net, pair, executor=executor, timeout=timeout, progress=progress)


def table(
    net: Subnetwork | SubnetworkPlace,
    pair: PairOfModels,
    *,
    executor: Any = None,
    timeout: float | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """One row for every pruned tensor, in model order.

    Args:
        net: The subnetwork, or its place.
        pair: The two models that it was made of.
        executor: As `measure` takes it.
        timeout: As `measure` takes it.
        progress: As `measure` takes it.

    Returns:
        Columns: tensor (index), layer (Int64, missing outside of layers), kind, rows, row_length, entries, retained,
        share (retained / entries), changed (entries whose update is not 0), update_rms (root mean square of the update,
        in units of the weights) and update_share (share of the update's energy, the sum of its squares, at retained
        entries; NaN if nothing changed). Entries without a pretrained value are left out of the last three.

        Behind them: stack and role (`ken.models.tensors.tensor_roles`); paired, paired_retained, update_share_reset,
        energy, energy_retained, energy_reset, retained_changed; tails, tails_retained, tails_share; column_gini,
        column_entropy, head_gini, head_entropy; neighbours, neighbours_expected, neighbours_z, pairs, pairs_expected,
        pairs_variance; bandwidth, kurtosis, modes. docs/statistics.md defines each.

    Raises:
        SubnetworkError: As in `measure`.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair({"a.0.w": torch.tensor([[-3.0, 0.0, 1.0]])}, {"a.0.w": torch.zeros(1, 3)})
        >>> table(ken.prune(*pair, k=1), pair)[["layer", "share", "changed", "update_share"]].round(3).values.tolist()
        [[0, 0.333, 2, 0.9]]
    """
    return measure(net, pair, executor=executor, timeout=timeout, progress=progress).table()


def by_place(table: pd.DataFrame, by: Sequence[str] = ("stack", "layer", "role")) -> pd.DataFrame:
    """The table of tensors added up by place.

    Args:
        table: What `ken.retention.table` gives.
        by: The columns whose values make a place; may be ("layer", "kind").

    Returns:
        One row a place, in the order in which places first occur. Columns: those of by (index), tensors (how many);
        the sums of counts, energies and pairs; and share, update_rms, update_share, update_share_reset, tails_share,
        neighbours, neighbours_expected and neighbours_z, which follow from the sums. Other columns have no sum and are
        left out.

    Example:
        >>> import torch, ken
        >>> fine_tuned = {f"h.0.mlp.{name}.weight": torch.eye(3) for name in ("up_proj", "gate_proj")}
        >>> pair = ken.Pair(fine_tuned, {name: torch.zeros(3, 3) for name in fine_tuned})
        >>> retained = table(ken.prune(*pair, k=1), pair)
        >>> by_place(retained, ["layer"])[["tensors", "retained"]].values.tolist()
        [[2, 6]]
    """
    groups = table.groupby(list(by), sort=False, dropna=False)
    places = with_ratios(groups[_ADDED].sum())
    places.insert(0, "tensors", groups.size())
    places["neighbours"] = 2 * divided(places, "pairs", "paired_retained")
    places["neighbours_expected"] = 2 * divided(places, "pairs_expected", "paired_retained")
    return places[["tensors", *_ADDED, *_FOLLOWING]]


def heads(
    net: Subnetwork | SubnetworkPlace,
    pair: PairOfModels,
    *,
    executor: Any = None,
    timeout: float | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """One row for every attention head of every tensor whose heads are known.

    Those are outputs of query, key and value with their biases, and inputs of the attention output. Sizes are read
    from the configuration of the fine-tuned module, so of a state dict no heads are known.

    Args:
        net: The subnetwork, or its place.
        pair: The two models that it was made of.
        executor: As `measure` takes it.
        timeout: As `measure` takes it.
        progress: As `measure` takes it.

    Returns:
        Columns: tensor, layer, stack, role (that of the part, if query, key and value are one matrix), head, axis
        (whether its entries are "rows" or "columns" of the tensor's rows), entries, retained, share, changed,
        retained_changed, energy, energy_retained, energy_reset, update_share. Empty if there is no head.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair({"query.weight": torch.eye(4)}, {"query.weight": torch.zeros(4, 4)})
        >>> heads(ken.prune(*pair, k=1), pair).empty
        True
    """
    return measure(net, pair, executor=executor, timeout=timeout, progress=progress).heads()


def rows(net: Subnetwork, pair: PairOfModels, tensor: str) -> pd.DataFrame:
    """One row for every row of a pruned tensor. All tensors are read for it: for several tables use `measure`.

    Args:
        net: The subnetwork.
        pair: The two models that it was made of.
        tensor: A pruned tensor's name.

    Returns:
        Columns: row (index), entries, retained, share, changed, retained_changed, energy, energy_retained,
        energy_reset, update_share, paired, tails, tails_retained, tails_share, bandwidth, kurtosis.

    Raises:
        ValueError: The tensor is not a pruned one.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair({"w": torch.eye(2)}, {"w": torch.zeros(2, 2)})
        >>> rows(ken.prune(*pair, k=1), pair, "w")["changed"].tolist()
        [1, 1]
    """
    return measure(net, pair).rows(tensor)


def columns(net: Subnetwork, pair: PairOfModels, tensor: str) -> pd.DataFrame:
    """One row for every column of a pruned tensor's rows. For several tables use `measure`.

    Args:
        net: The subnetwork.
        pair: The two models that it was made of.
        tensor: A pruned tensor's name.

    Returns:
        Columns: column (index), entries, retained, share, changed, retained_changed, energy, energy_retained,
        energy_reset, update_share.

    Raises:
        ValueError: The tensor is not a pruned one.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair({"w": torch.eye(2)}, {"w": torch.zeros(2, 2)})
        >>> columns(ken.prune(*pair, k=1), pair, "w")["entries"].tolist()
        [2, 2]
    """
    return measure(net, pair).columns(tensor)
