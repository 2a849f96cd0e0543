"""Which entries of a tensor are retained when its rows share their budget: within the tensor, or over the model.

ByRow          every row by itself: nothing is shared
ByThreshold    a rule that ranks entries by a score: a range's entries above its threshold, stretch by stretch
AsOneRow       any other rule: the range is one row to it, and in memory
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.errors import RuleError, at_tensor
from ken.models.tensors.tensor_bytes import dtype_name
from ken.pruning.paired_rows import PairedRows
from ken.rules.thresholds import Keys, Threshold, highest, keys_of
from ken.subnetwork.subnetwork import Recipe
from ken.subnetwork.threads import in_order

#: A rule without a score sees no more entries at a time: they, and what it computes of them, take some 90 bytes each.
LARGEST_ROW = 1 << 27


class Deciding(Protocol):
    """What tells the masks of tensors."""

    def retained(self, tensor: PairedRows) -> int:
        """How many entries are retained of what both models have of a tensor."""

    def mask(self, tensor: PairedRows, start: int, block: rules.RowBlock) -> NDArray[np.bool_]:
        """The mask of common rows from an entry on, flat; several threads may ask."""

    def shares(self, tensor: PairedRows, start: int, block: rules.RowBlock) -> NDArray[np.float64]:
        """How likely each of these entries was to be retained, (rows, n): what rescaling divides its update by."""

    def threshold(self, tensor: PairedRows) -> Threshold | None:
        """What decides about each entry of a tensor by itself; None if nothing does."""

    def done(self, tensor: PairedRows) -> None:
        """No more will be asked about a tensor."""


def deciding(
    tensors: Mapping[str, PairedRows], recipe: Recipe, progress: bool, *, stood_in: dict[str, int]
) -> Deciding:
    """What decides about the pruned tensors of a model.

    Args:
        tensors: All of them.
        recipe: How they are pruned.
        progress: Whether to show a bar for every pass over the models that goes before.
        stood_in: Takes in the tensors that as one row had no bandwidth of their own.

    Returns:
        What decides by the scope and the rule of the recipe.

    Raises:
        RuleError: A range is too large for a rule that must have it in memory.
    """
    if recipe.scope == "row":
        return ByRow(recipe.rule)
    # A module and its file have their tensors in different orders, and name them alike.
    # What is made of added rows alone has no part in any range.
    names = sorted(name for name, tensor in tensors.items() if tensor.pretrained.count)
    ranges: dict[str, tuple[PairedRows, ...]] = {name: (tensors[name],) for name in names}
    if recipe.scope == "model":
        ranges = dict.fromkeys(names, tuple(tensors[name] for name in names))
    if rules.get(recipe.rule).score is not None:
        return ByThreshold(ranges, recipe.rule, progress=progress)
    return AsOneRow(ranges, recipe, stood_in)


class ByRow:
    """Every row has a budget of its own, so there is nothing to do before."""

    def __init__(self, rule: str) -> None:
        self._rule = rule

    def retained(self, tensor: PairedRows) -> int:
        """As the budget says; what a rule retains that counts for itself is counted, and nothing is kept."""
        return self.retained_in(tensor, (0, tensor.fine_tuned.count))

    def retained_in(self, tensor: PairedRows, span: tuple[int, int]) -> int:
        """The same of the common entries of a span that is made of whole stretches."""
        if tensor.k is not None:
            (common,) = tensor.shapes_of(span)[1]
            return common // tensor.common[1] * tensor.k if common else 0
        with at_tensor(tensor.name):
            return sum(
                int(np.count_nonzero(self.mask(tensor, start, tensor.read(start, stop))))
                for start, stop in tensor.stretches(span)
            )

    def mask(self, tensor: PairedRows, start: int, block: rules.RowBlock) -> NDArray[np.bool_]:
        """What the rule says."""
        return rules.mask_block(self._rule, block, tensor.k).reshape(-1)

    def shares(self, tensor: PairedRows, start: int, block: rules.RowBlock) -> NDArray[np.float64]:
        """The share of every row, or what the rule says of each entry."""
        assert tensor.k is not None
        return _shares(self._rule, block, tensor.k)

    def threshold(self, tensor: PairedRows) -> None:
        """There is none: an entry's row decides."""

    def done(self, tensor: PairedRows) -> None:
        """Nothing is kept."""


class ByThreshold:
    """Ranges of which the entries of highest score are retained; of equal ones the first, by name and place.

    A range is read a few times, some rows at a time, to find its threshold; then every stretch can be decided by
    itself.
    """

    def __init__(self, ranges: Mapping[str, tuple[PairedRows, ...]], rule: str, *, progress: bool) -> None:
        score = rules.get(rule).score
        assert score is not None
        self._ranges, self._score, self._progress = ranges, score, progress
        self._decided: dict[str, tuple[Threshold, int]] = {}

    def retained(self, tensor: PairedRows) -> int:
        """The threshold is known then."""
        return self._of_tensor(tensor)[1]

    def mask(self, tensor: PairedRows, start: int, block: rules.RowBlock) -> NDArray[np.bool_]:
        """Where the score is above the threshold, or equal to it and among the first."""
        return self.threshold(tensor).mask(keys_of(self._score, block), start)

    def shares(self, tensor: PairedRows, start: int, block: rules.RowBlock) -> NDArray[np.float64]:
        """The share of the range: a row may have much more of it, or nothing."""
        return np.broadcast_to(_share_of(self._ranges[tensor.name]), block.fine_tuned.shape)

    def threshold(self, tensor: PairedRows) -> Threshold:
        """That of its range, and which of the tensor's entries that equal it are among the first."""
        return self._of_tensor(tensor)[0]

    def done(self, tensor: PairedRows) -> None:
        """Nothing is kept but a threshold."""

    def _of_tensor(self, tensor: PairedRows) -> tuple[Threshold, int]:
        """The threshold, and how many entries are retained."""
        if tensor.name not in self._ranges:
            return Threshold(0, ties=0), 0
        if tensor.name not in self._decided:
            self._decide(self._ranges[tensor.name])
        return self._decided[tensor.name]

    def _decide(self, tensors: tuple[PairedRows, ...]) -> None:
        stretches = [(tensor, *span) for tensor in tensors for span in tensor.stretches()]
        sizes = [stop - start for _, start, stop in stretches]

        def keys(number: int) -> Keys:
            tensor, start, stop = stretches[number]
            with at_tensor(tensor.name):
                return keys_of(self._score, tensor.read(start, stop))

        cut = highest(keys, sizes, sum(tensor.budget for tensor in tensors), over=self._over)
        first = 0
        for tensor in tensors:
            last = first + sum(1 for _ in tensor.stretches())
            self._decided[tensor.name] = cut.threshold(sizes[first:last], first), sum(cut.retained[first:last])
            first = last

    def _over(self, work: Callable[[int], Any], numbers: Iterable[int]) -> Iterable[Any]:
        from tqdm.auto import tqdm

        items = list(numbers)
        yield from tqdm(
            in_order(work, items) if len(items) > 1 else map(work, items),
            total=len(items),
            desc="compare scores",
            unit="stretch",
            disable=not self._progress,
            delay=1.0,
            leave=False,
        )


class AsOneRow:
    """Ranges that a rule without a score decides about as a whole, as if each were one row.

    A range of several tensors is their entries one after the other, in the order of their names.
    """

    def __init__(self, ranges: Mapping[str, tuple[PairedRows, ...]], recipe: Recipe, stood_in: dict[str, int]) -> None:
        self._ranges, self._recipe, self._stood_in = ranges, recipe, stood_in
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._likely: dict[str, NDArray[np.float64]] = {}
        for name, tensors in ranges.items():
            entries = sum(tensor.pretrained.count for tensor in tensors)
            if entries > LARGEST_ROW:
                smaller = "scope='row'" if len(tensors) == 1 else "scope='tensor'"
                raise RuleError(
                    f"rule {recipe.rule!r} has no score to compare entries by: with scope={recipe.scope!r} it decides "
                    f"about {entries:,} entries in memory{f' of {name!r}' if len(tensors) == 1 else ''}, and at most "
                    f"{LARGEST_ROW:,} are possible; take {smaller}, or a rule with a score, such as 'update'"
                )

    def retained(self, tensor: PairedRows) -> int:
        """The mask is known then."""
        return int(np.count_nonzero(self._mask(tensor))) if tensor.name in self._ranges else 0

    def mask(self, tensor: PairedRows, start: int, block: rules.RowBlock) -> NDArray[np.bool_]:
        """A part of the mask."""
        return self._mask(tensor)[start : start + block.fine_tuned.size]

    def shares(self, tensor: PairedRows, start: int, block: rules.RowBlock) -> NDArray[np.float64]:
        """The share of the range, or what the rule says of each entry of that one row."""
        shape = block.fine_tuned.shape
        likely = self._likely.get(tensor.name)
        if likely is None:
            return np.broadcast_to(_share_of(self._ranges[tensor.name]), shape)
        return likely[start : start + block.fine_tuned.size].reshape(shape)

    def threshold(self, tensor: PairedRows) -> None:
        """There is none: the row as a whole decides."""

    def done(self, tensor: PairedRows) -> None:
        """Its mask is not needed any more."""
        self._masks.pop(tensor.name, None)
        self._likely.pop(tensor.name, None)

    def _mask(self, tensor: PairedRows) -> NDArray[np.bool_]:
        if tensor.name not in self._masks:
            tensors, rule = self._ranges[tensor.name], self._recipe.rule
            block, k = one_row(tensors), sum(other.budget for other in tensors)
            by_entry = self._recipe.rescale == "share" and rules.get(rule).probability is not None
            with at_tensor(block.tensor) if block.tensor else nullcontext():
                mask = rules.mask_block(rule, block, k).reshape(-1)
                likely = _shares(rule, block, k).reshape(-1) if by_entry else None
            if block.stood_in:
                self._stood_in[block.tensor] = 1
            ends = np.cumsum([other.pretrained.count for other in tensors])
            for other, end in zip(tensors, ends, strict=True):
                part = slice(end - other.pretrained.count, end)
                self._masks[other.name] = mask[part]
                if likely is not None:
                    self._likely[other.name] = likely[part]
        return self._masks[tensor.name]


def _share_of(tensors: tuple[PairedRows, ...]) -> float:
    """The share of a range that is retained."""
    return sum(tensor.budget for tensor in tensors) / sum(tensor.pretrained.count for tensor in tensors)


def _shares(rule: str, block: rules.RowBlock, k: int) -> NDArray[np.float64]:
    """How likely each entry of rows that have a budget of their own was to be retained."""
    shape, probability = block.fine_tuned.shape, rules.get(rule).probability
    if probability is None or k >= shape[1]:
        return np.broadcast_to(k / shape[1], shape)
    return probability(block, k)


def one_row(tensors: tuple[PairedRows, ...]) -> rules.RowBlock:
    """All common entries of tensors as a single row, in that order.

    Args:
        tensors: One, whose name and number 0 then seed random rules; or several, for which the empty name does.

    Returns:
        The row. Its dtype is that of the tensors, or float64 if they have several.
    """
    entries = sum(tensor.pretrained.count for tensor in tensors)
    fine_tuned, pretrained = np.empty((2, 1, entries))
    at = 0
    for tensor in tensors:
        with at_tensor(tensor.name):
            for span in tensor.stretches():
                block = tensor.read(*span)
                stop = at + block.fine_tuned.size
                fine_tuned[0, at:stop] = block.fine_tuned.reshape(-1)
                pretrained[0, at:stop] = block.pretrained.reshape(-1)
                at = stop
    recipe, dtypes = tensors[0].recipe, {dtype_name(tensor.fine_tuned.dtype) for tensor in tensors}
    return rules.RowBlock(
        fine_tuned,
        pretrained,
        tensor=tensors[0].name if len(tensors) == 1 else "",
        seed=recipe.seed,
        settings=recipe.settings,
        dtype=dtypes.pop() if len(dtypes) == 1 else "float64",
    )
