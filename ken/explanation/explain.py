"""explain: why each entry of a row was retained or reset, step by step, so that it can be done again by hand.

row ──► bandwidth ──► grid ──► density ──► level ──► order of visiting ──► claims ──► mask
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.density import KERNEL_CODES, NORMAL_REFERENCE, density, grid, levels, widths
from ken.errors import SubnetworkError, ValuesError
from ken.explanation.row_explanation import RowExplanation
from ken.models.pairing.pairing import Pairing
from ken.models.scalars import checked_seed, plain
from ken.subnetwork.belonging import check_tensor, open_for

if TYPE_CHECKING:
    from ken.api import Subnetwork
    from ken.models.pairing.pairs import PairOfModels
    from ken.subnetwork.retained_tensor import RetainedTensor

Array = NDArray[np.float64]

#: Rules in which grid points claim entries.
CLAIMING = ("ken", "grid")


def explain_row(
    fine_tuned_row: NDArray[np.floating],
    k: int,
    pretrained_row: NDArray[np.floating] | None = None,
    rule: str = "ken",
    *,
    on: str = "weights",
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    tensor: str = "",
    row: int = 0,
    seed: int = 0,
) -> RowExplanation:
    """Decide about one row (n,) as `ken.prune` does, and keep every step of it.

    The arguments are those of `ken.rules.retain`; tensor, row and seed matter to random rules alone. Raises what that
    raises.

    >>> why = explain_row(np.array([0.0, 0.4, 0.5, 0.6, 1.0]), k=3)
    >>> why.claims()[["at", "entry", "distance", "taken"]].values.tolist()
    [[0.5, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 4.0, 0.0, 0.0]]
    >>> print(why.entry(3).text.splitlines()[0])
    Entry 3 is reset.
    """
    fine_tuned = np.asarray(fine_tuned_row, dtype=np.float64)
    if fine_tuned.ndim != 1:
        raise ValuesError(f"a row must have one dimension, got shape {fine_tuned.shape}")
    pretrained = None if pretrained_row is None else np.asarray(pretrained_row, dtype=np.float64)
    settings, k, seed = rules.Settings(on, bandwidth, kernel), plain(k), checked_seed(seed)
    bandwidth = settings.bandwidth
    mask = rules.retain(
        fine_tuned,
        k,
        rule,
        pretrained=pretrained,
        tensor=tensor,
        first_row=row,
        seed=seed,
        on=on,
        bandwidth=bandwidth,
        kernel=kernel,
        stood_in=[],
    )
    python = f"ken.explain_row(fine_tuned_row, {k}{_told(locals())})"
    values = fine_tuned - pretrained if on == "update" and pretrained is not None else fine_tuned
    return _explain(values, fine_tuned, pretrained, k, rule, settings, mask, python, tensor=tensor, row=row, seed=seed)


# Arguments of `explain_row` that a line of Python need not repeat.
_USUAL = {"rule": "ken", "on": "weights", "bandwidth": NORMAL_REFERENCE, "kernel": "gaussian"} | {
    "tensor": "",
    "row": 0,
    "seed": 0,
}


def _told(arguments: dict[str, Any]) -> str:
    """The arguments that are not the usual ones, as Python."""
    more = "" if arguments["pretrained"] is None else ", pretrained_row=pretrained_row"
    return more + "".join(f", {name}={arguments[name]!r}" for name in _USUAL if arguments[name] != _USUAL[name])


def _explain(
    values: Array,
    fine_tuned: Array,
    pretrained: Array | None,
    k: int,
    rule: str,
    settings: rules.Settings,
    mask: NDArray[np.bool_],
    python: str,
    **place: Any,
) -> RowExplanation:
    nothing = np.empty(0)
    found = RowExplanation(
        fine_tuned,
        pretrained,
        k,
        rule,
        settings,
        mask,
        values,
        *(0.0, nothing, nothing, nothing.astype(np.intp), nothing.astype(np.intp)),
        **place,
        python=python,
    )
    if rule not in (*CLAIMING, "density") or values.size == 0:
        return found
    h, stood_in = widths(values[None], settings.bandwidth)
    if not h[0, 0] > 0:
        return found
    found = replace(found, bandwidth=float(h[0, 0]), stood_in=bool(stood_in[0]) and rule != "grid")
    if rule not in CLAIMING or k >= len(values):
        return found
    points = grid(values[None], k)[0]
    level = _levels(np.sort(values), k, found.bandwidth, settings.kernel)
    order = np.argsort(-level, kind="stable") if rule == "ken" else np.arange(k)
    return replace(found, grid=points, level=level, order=order, claimed=claims_in_order(values, order))


def _levels(x: Array, k: int, h: float, kernel: str) -> Array:
    """As the compiled rule has them: a sum in another order could be rounded to the other side."""
    if k == 1:  # there is but one order
        return levels(density(x[None], x[None, :1], np.array([[h]]), kernel))[0]
    from ken.rules.fast_density import row_levels

    return np.asarray(row_levels(x, k, h, KERNEL_CODES[kernel]))


def claims_in_order(values: Array, order: NDArray[np.intp]) -> NDArray[np.intp]:
    """What each of the k grid points of a row (n,) claims when they are visited in that order (k,); k < n.

    >>> claims_in_order(np.array([0.0, 0.4, 0.5, 0.6, 1.0]), np.array([2, 1, 0])).tolist()
    [0, 2, 4]
    """
    from ken.rules.nearest_unclaimed import claim_row  # numba takes a second to import: only where it is used

    claimed = np.empty(len(order), np.int64)
    claim_row(np.ascontiguousarray(values), np.argsort(values), order.astype(np.int64), claimed)
    return claimed.astype(np.intp)


@overload
def explain(net: Subnetwork, pair: PairOfModels, tensor: str, row: int) -> RowExplanation: ...
@overload
def explain(net: Subnetwork, pair: PairOfModels, tensor: str) -> TensorExplanation: ...
def explain(
    net: Subnetwork, pair: PairOfModels, tensor: str, row: int | None = None
) -> RowExplanation | TensorExplanation:
    """Why a row of a pruned tensor came out as it did; without a row, a sequence of all, each made when asked for.

    Raises `KeyError` if that is no pruned tensor, and `SubnetworkError` if the models are not those that the subnetwork
    was made from.

    >>> import torch, ken
    >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> rows = explain(ken.prune(*pair, k=2), pair, "w")
    >>> len(rows), rows[1].entry(0).python
    (2, "ken.explain(net, pair, 'w', 1).entry(0)")
    """
    if tensor not in net.pruned():
        raise KeyError(f"{tensor!r} is no pruned tensor of the subnetwork")
    pairing, stored = open_for(net, pair), net.pruned()[tensor]
    check_tensor(tensor, stored, pairing)
    rows = TensorExplanation(net, pairing, tensor, stored)
    return rows if row is None else rows[row]


class TensorExplanation(Sequence[RowExplanation]):
    """The explanations of all rows of a tensor; each is computed when it is asked for."""

    def __init__(self, net: Subnetwork, pairing: Pairing, tensor: str, stored: RetainedTensor) -> None:
        self._net, self._pairing, self._name, self._stored = net, pairing, tensor, stored

    def __len__(self) -> int:
        return self._stored.row_shape[0]

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(f"row must be from {-len(self)} to {len(self) - 1} in {self._name}, got {row}")
        row = int(row) % len(self)
        wanted = slice(row, row + 1)
        fine_tuned, pretrained = (values[0] for values in self._pairing.rows(self._name, wanted))
        mask = self._stored.row_mask(wanted)[0]
        recipe = self._net.recipe
        # Entries without a pretrained value were not decided about; they are the last of a vector, or a whole row.
        common = len(fine_tuned) - int(np.isnan(pretrained).sum())
        settings = rules.Settings(recipe.on, recipe.bandwidth, recipe.kernel)
        k = int(mask[:common].sum())
        known = slice(0, common)
        again = np.ones(len(mask), bool)
        if common:
            again[known] = rules.retain(
                fine_tuned[known],
                k,
                recipe.rule,
                pretrained=pretrained[known],
                tensor=self._name,
                first_row=row,
                seed=recipe.seed,
                on=recipe.on,
                bandwidth=recipe.bandwidth,
                kernel=recipe.kernel,
                stood_in=[],
            )
        if (again != mask).any():
            raise SubnetworkError(
                f"these are not the models that the subnetwork was made from: in row {row} of {self._name} the rule "
                f"decides otherwise about {int((again != mask).sum())} of {len(mask)} entries"
            )
        values = fine_tuned - pretrained if recipe.on == "update" else fine_tuned
        found = _explain(
            values[known],
            fine_tuned[known],
            pretrained[known],
            k,
            recipe.rule,
            settings,
            mask[known],
            f"ken.explain(net, pair, {self._name!r}, {row})",
            tensor=self._name,
            row=row,
            seed=recipe.seed,
        )
        added = len(mask) - common
        if not added:
            return found
        more = {"fine_tuned": fine_tuned, "pretrained": pretrained, "mask": mask, "added": added}
        return replace(found, **more, values=np.append(values[known], np.full(added, np.nan)))
