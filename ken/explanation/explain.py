"""explain: why each entry of a row was retained or reset, step by step, so that it can be done again by hand.

row ──► bandwidth ──► grid ──► density ──► level ──► order of visiting ──► claims ──► mask
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from inspect import signature
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.density import KERNEL_CODES, NORMAL_REFERENCE, density, grid, levels, widths
from ken.errors import RuleError, SubnetworkError, ValuesError
from ken.explanation.claims import claims_in_order
from ken.explanation.row_explanation import RowExplanation
from ken.explanation.shared_budget import SharedBudget
from ken.models.pairing.pairing import Pairing
from ken.models.scalars import plain
from ken.models.tensors.tensor_bytes import dtype_name
from ken.rules.registry import checked_block
from ken.rules.thresholds import sortable
from ken.subnetwork.belonging import check_tensor, open_for
from ken.subnetwork.injected_rows import injected_rows

if TYPE_CHECKING:
    from ken.api import Subnetwork
    from ken.models.pairing.pairs import PairOfModels
    from ken.subnetwork.retained_tensor import RetainedTensor
    from ken.subnetwork.subnetwork import Recipe

Array = NDArray[np.float64]

#: Rules in which grid points claim entries.
CLAIMING = ("ken", "grid")


def explain_row(
    fine_tuned_row: NDArray[np.floating],
    k: int | None,
    pretrained_row: NDArray[np.floating] | None = None,
    rule: str = "ken",
    *,
    on: str = "weights",
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    tensor: str = "",
    row: int = 0,
    seed: int = 0,
    dtype: str | None = None,
) -> RowExplanation:
    """Decide about one row as `ken.prune` does, and keep every step of it.

    The steps are those of Mastromattei & Zanzotto, "Less is KEN", arXiv 2402.03142, sec. 3.

    Args:
        fine_tuned_row: The fine-tuned values, (n,), of any floating dtype, finite.
        k: Entries to retain, at least 1; None for the rule `changed`, which has none.
        pretrained_row: The pretrained values, (n,). What looks at them or at the update needs them.
        rule: One of `ken.rules.names()`.
        on: The values that the rule looks at, "weights" (fine-tuned), "update" or "pretrained".
        bandwidth: One of `ken.density.BANDWIDTHS`, or a number above 0 in units of the values.
        kernel: One of `ken.density.KERNELS`.
        tensor: Name of the tensor. Tensor, row and seed matter to random rules alone.
        row: Number of the row in the tensor, from 0.
        seed: Seed of random rules.
        dtype: Name of the dtype in which the row is stored ("bfloat16"), for the rule `relative`; by default that of
            fine_tuned_row.

    Returns:
        The decision, its steps, and for each entry a card.

    Raises:
        BudgetError: k is no whole number, or below 1, or missing.
        RuleError: There is no such rule or setting, the seed is none, or the rule needs the pretrained values.
        ValuesError: A shape does not fit, or a value is not finite.

    Example:
        >>> why = explain_row(np.array([0.0, 0.4, 0.5, 0.6, 1.0]), k=3)
        >>> why.claims()[["at", "entry", "distance", "taken"]].values.tolist()
        [[0.5, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 4.0, 0.0, 0.0]]
        >>> print(why.entry(3).text.splitlines()[0])
        Entry 3 is reset.
    """
    if len(shape := np.asarray(fine_tuned_row).shape) != 1:
        raise ValuesError(f"a row must have one dimension, got shape {shape}")
    settings, k = rules.Settings(on=on, bandwidth=bandwidth, kernel=kernel), plain(k)
    block = checked_block(
        rule, settings, fine_tuned_row, pretrained=pretrained_row, tensor=tensor, first_row=row, seed=seed, dtype=dtype
    )
    mask = rules.mask_block(rule, block, k)[0]
    python = _call_text(block, k, rule, with_pretrained=pretrained_row is not None, dtype=dtype)
    why = _explained(block, int(mask.sum()) if k is None else k, rule, mask=mask, python=python)
    return replace(why, pretrained=None) if pretrained_row is None else why


def _call_text(block: rules.RowBlock, k: int | None, rule: str, *, with_pretrained: bool, dtype: str | None) -> str:
    """The line of Python that explains this row again: what is as by default is left out."""
    place = {"tensor": block.tensor, "row": block.first_row, "seed": block.seed, "dtype": dtype}
    arguments = {"rule": rule, **asdict(block.settings), **place}
    parameters = signature(explain_row).parameters
    texts = ["fine_tuned_row", str(k), *["pretrained_row=pretrained_row"] * with_pretrained]
    texts += [f"{name}={value!r}" for name, value in arguments.items() if value != parameters[name].default]
    return f"ken.explain_row({', '.join(texts)})"


def _explained(block: rules.RowBlock, k: int, rule: str, *, mask: NDArray[np.bool_], python: str) -> RowExplanation:
    """A row that a rule has decided about: the steps that led there."""
    values = block.values[0]
    why = RowExplanation(
        block.fine_tuned[0], block.pretrained[0], k, rule=rule, block=block, mask=mask, values=values, python=python
    )
    if rule not in (*CLAIMING, "density") or values.size == 0:
        return why
    widths_of_row, stood_in = widths(values[None], block.settings.bandwidth)
    width = float(widths_of_row[0, 0])
    if not width > 0:
        return why
    why = replace(why, bandwidth=width, stood_in=bool(stood_in[0]) and rule != "grid")
    if rule not in CLAIMING or k >= len(values):
        return why
    level = _levels(np.sort(values), k, width, kernel=block.settings.kernel)
    order = np.argsort(-level, kind="stable") if rule == "ken" else np.arange(k)
    claimed = claims_in_order(values, order)
    return replace(why, grid=grid(values[None], k)[0], level=level, order=order, claimed=claimed)


def _levels(x: Array, k: int, bandwidth: float, kernel: str) -> Array:
    """As the compiled rule has them: a sum in another order could be rounded to the other side."""
    if k == 1:  # there is but one order
        return levels(density(x[None], x[None, :1], np.array([[bandwidth]]), kernel=kernel))[0]
    from ken.rules.fast_density import row_levels

    return np.asarray(row_levels(x, k, bandwidth, KERNEL_CODES[kernel]))


@overload
def explain(net: Subnetwork, pair: PairOfModels, tensor: str, row: int) -> RowExplanation: ...
@overload
def explain(net: Subnetwork, pair: PairOfModels, tensor: str) -> TensorExplanation: ...
def explain(
    net: Subnetwork, pair: PairOfModels, tensor: str, row: int | None = None
) -> RowExplanation | TensorExplanation:
    """Why a row of a pruned tensor came out as it did.

    Args:
        net: The subnetwork.
        pair: The two models that it was made from.
        tensor: Name of a pruned tensor.
        row: Number of the row, from 0 (from the end, if below); without it all rows are explained. Of a subnetwork
            with scope "tensor" and a rule without a score, the whole tensor is row 0.

    Returns:
        The explanation of the row, or a sequence of those of all rows, each made when it is asked for.

    Raises:
        KeyError: That is no pruned tensor.
        IndexError: The tensor has no such row.
        RuleError: The rule has no score, and all tensors together were one row to it (scope "model").
        SubnetworkError: The models are not those that the subnetwork was made from. Where rows share a budget, the
            row is decided again by its scores and the threshold that the subnetwork has of its tensor.

    Example:
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
    rows = TensorExplanation(net.recipe, pairing, tensor, stored=stored)
    return rows if row is None else rows[row]


class TensorExplanation(Sequence[RowExplanation]):
    """The explanations of all rows of a tensor; each is computed when it is asked for.

    Where rows share a budget, the tensor's own threshold decides about each. To a rule without a score the whole tensor
    was one row, and is here; all tensors of a model as one row are refused with `RuleError`.
    """

    def __init__(self, recipe: Recipe, pairing: Pairing, tensor: str, stored: RetainedTensor) -> None:
        self._recipe, self._pairing, self._name, self._stored = recipe, pairing, tensor, stored
        self._whole = recipe.scope != "row" and stored.threshold is None
        if self._whole and recipe.scope == "model":
            raise RuleError(
                f"rule {recipe.rule!r} has no score: with scope='model' all pruned tensors were one row to it, which "
                "is not explained; what was pruned with scope='tensor', or by a rule with a score, is"
            )

    def __len__(self) -> int:
        return 1 if self._whole else self._stored.row_shape[0]

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            one = ": to this rule the whole tensor was one row" if self._whole else ""
            raise IndexError(f"row must be from {-len(self)} to {len(self) - 1} in {self._name}, got {row}{one}")
        row = int(row) % len(self)
        wanted = slice(None) if self._whole else slice(row, row + 1)
        recipe, mask = self._recipe, self._stored.row_mask(wanted).reshape(-1)
        fine_tuned, pretrained = (values.reshape(1, -1) for values in self._pairing.rows(self._name, wanted))
        # Entries without a pretrained value were not decided about; they are the last of a vector, or whole rows.
        common = len(mask) - int(np.isnan(pretrained).sum())
        block = rules.RowBlock(
            fine_tuned[:, :common],
            pretrained[:, :common],
            tensor=self._name,
            first_row=row,
            seed=recipe.seed,
            settings=recipe.settings,
            dtype=dtype_name(self._stored.dtype),
        )
        shared = self._shared(block, row * len(mask))
        k = int(mask[:common].sum())
        again = np.ones(len(mask), bool)
        if common and shared is not None and shared.threshold is not None:
            again[:common] = shared.threshold.mask(sortable(shared.scores), shared.start)
        elif common:
            asked = None if recipe.k is None else k
            again[:common] = rules.mask_block(recipe.rule, block, asked)[0]
        if (again != mask).any():
            own = rules.get(recipe.rule).own
            or_scores = f", or rule {recipe.rule!r} has other scores than then" if own else ""
            raise SubnetworkError(
                f"these are not the models that the subnetwork was made from{or_scores}: in row {row} of {self._name} "
                f"the rule decides otherwise about {int((again != mask).sum())} of {len(mask)} entries"
            )
        python = f"ken.explain(net, pair, {self._name!r}, {row})"
        why = _explained(block, k, recipe.rule, mask=mask[:common], python=python)
        if recipe.rescale != "none":
            why = replace(why, stored=injected_rows(self._stored, pretrained, wanted).reshape(-1))
        why = replace(why, shared=shared)
        return why.with_added(fine_tuned[0], pretrained[0], mask) if common < len(mask) else why

    def _shared(self, block: rules.RowBlock, start: int) -> SharedBudget | None:
        """What decided about a row that has no budget of its own; None of one that has."""
        if self._recipe.scope == "row":
            return None
        if self._whole:
            return SharedBudget(self._recipe.scope)
        score = rules.get(self._recipe.rule).score
        if score is None:
            raise RuleError(f"rule {self._recipe.rule!r} had a score when it pruned, and here it has none")
        return SharedBudget(self._recipe.scope, self._stored.threshold, score(block)[0], start=start)
