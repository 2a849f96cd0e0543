"""What two masks have in common, added up by tensor: here, or by the workers of an executor."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ken.api import Subnetwork
from ken.errors import SubnetworkError, at_tensor, hearing
from ken.models.pairing.pairing import Pairing
from ken.models.pairing.pairs import PairOfModels
from ken.retention.measured import pair_of, sizes
from ken.retention.tally import Block, blocks
from ken.storage.shared_places import reopened
from ken.subnetwork.belonging import check_shape, check_tensor, open_for
from ken.subnetwork.executors.groups import answers, spans
from ken.subnetwork.threads import in_order

if TYPE_CHECKING:
    from ken.subnetwork.retained_tensor import RetainedTensor


class Sums(NamedTuple):
    """What is added up of two masks: counts, the chance value of both and its variance, sums of squares."""

    paired: int = 0
    retained_a: int = 0
    retained_b: int = 0
    both: int = 0
    both_expected: float = 0.0
    variance: float = 0.0
    energy: float = 0.0
    energy_a: float = 0.0
    energy_b: float = 0.0
    energy_both: float = 0.0


class Shared(NamedTuple):
    """Two subnetworks, opened on a pair: of each tensor that both have its name in the pair, in a and in b."""

    a: Subnetwork
    b: Subnetwork
    pairing: Pairing
    names: dict[str, tuple[str, str]]


def shared(a: Subnetwork, b: Subnetwork, pair: PairOfModels) -> Shared:
    """What two subnetworks share. The pair may be that of either: two fine-tunings of one model can be compared."""
    pairing, own_names = _opened(a, b, pair), counterparts(a.pruned(), b.pruned())
    names = {own if own in pairing.names else other: (own, other) for own, other in own_names.items()}
    cuts = {name: cut for name, (own, _) in names.items() if (cut := a.cuts.get(own))}
    return Shared(a, b, replace(pairing, cuts=cuts), names=names)


def counterparts(a: Mapping[str, RetainedTensor], b: Mapping[str, RetainedTensor]) -> dict[str, str]:
    """For every pruned tensor of one subnetwork that of the other: of the same name, or of one pretrained tensor.

    Args:
        a: What one has pruned, by name.
        b: The same of the other.

    Returns:
        The name in b of each tensor of a that has a counterpart there.

    Example:
        >>> import torch, ken
        >>> base = {"w": torch.zeros(2, 4)}
        >>> a, b = ken.prune({"w": torch.ones(2, 4)}, base, 1), ken.prune({"bert.w": torch.ones(2, 4)}, base, 1)
        >>> counterparts(a.pruned(), b.pruned())
        {'w': 'bert.w'}
    """
    by_pretrained = {tensor.pretrained.name: name for name, tensor in b.items() if name not in a}
    names = {name: name if name in b else by_pretrained.get(tensor.pretrained.name) for name, tensor in a.items()}
    return {name: other for name, other in names.items() if other is not None}


def sums_here(both: Shared, names: Collection[str], bar: Any = None) -> dict[str, Sums]:
    """The sums of some tensors by their names in the pair; bar is told how many entries are done.

    Raises `SubnetworkError` if a tensor is not the one that was pruned, or was cut into rows in another way.
    """
    totals = dict.fromkeys(names, Sums())
    for name, entries, sums in in_order(_sums, _blocks(both, names)):
        totals[name] = Sums._make(x + y for x, y in zip(totals[name], sums, strict=True))
        if bar is not None:
            bar.update(entries)
    return totals


def sums_by_workers(
    both: Shared, places: tuple[str, str], models: str, *, executor: Any, timeout: float | None, bar: Any
) -> dict[str, Sums]:
    """The sums of all tensors, by the workers of an executor, some tensors each.

    places say where they find a and b (`ken.storage.shared_places`), models where the pair (`pair_as_text`).
    """
    known = sizes(both.a)
    entries = {name: known[own] for name, (own, _) in both.names.items()}
    names, groups = list(entries), spans(entries.values())
    sums: dict[str, Sums] = {}
    calls = [(*places, models, *group) for group in groups]
    for number, answer in answers(executor, worker_sums, calls, timeout=timeout):
        group = names[slice(*groups[number])]
        sums |= dict(zip(group, map(Sums._make, answer), strict=True))
        bar.update(sum(entries[name] for name in group))
    return {name: sums[name] for name in names}


def worker_sums(a: str, b: str, models: str, start: int, stop: int) -> str:
    """What a worker does: the sums of some tensors, in their order. Of what it hears the client is warned."""
    with hearing():
        both = shared(reopened(a, Subnetwork), reopened(b, Subnetwork), pair_of(models))
        return json.dumps([*sums_here(both, list(both.names)[start:stop]).values()])


def _opened(a: Subnetwork, b: Subnetwork, pair: PairOfModels) -> Pairing:
    """The pair, which may be that of either."""
    try:
        return open_for(a, pair)
    except SubnetworkError:
        with suppress(SubnetworkError):
            return open_for(b, pair)
        raise


def _blocks(both: Shared, names: Collection[str]) -> Iterator[Block]:
    """All rows of some tensors, each of which has been checked."""
    pairing, tensors_of_a, tensors_of_b = both.pairing, both.a.pruned(), both.b.pruned()
    for name in names:
        own, other = both.names[name]
        first, second = tensors_of_a[own], tensors_of_b[other]
        check_shape(name, second.shape, pairing)
        if first.row_shape != second.row_shape:
            ways = [repr(cuts.get(one, "")) for one, cuts in ((name, pairing.cuts), (other, both.b.cuts))]
            raise SubnetworkError(f"{name}: rows were cut as {ways[0]} in one, as {ways[1]} in the other")
        if first.pretrained.fingerprint != second.pretrained.fingerprint:
            raise SubnetworkError(f"{name}: the pretrained tensor of one is another than that of the other")
        check_tensor(name, first, pairing, also=[second.fine_tuned])
        yield from blocks(name, first, second, pairing=pairing)


def _sums(block: Block) -> tuple[str, int, Sums]:
    """Those of a few rows, (m, n), of which only the paired entries count, and how many entries there are."""
    with at_tensor(block.name):
        fine_tuned, pretrained = block.read(block.rows)
        paired = ~np.isnan(fine_tuned - pretrained)
        a, b = (tensor.row_mask(block.rows) & paired for tensor in block.tensors)
    masks = (paired, a, b, a & b)
    squares = np.where(paired, fine_tuned - pretrained, 0.0) ** 2
    n, of_a, of_b = (mask.sum(axis=1).astype(np.float64) for mask in masks[:3])
    some = np.maximum(n, 1)
    mean = of_a * of_b / some
    variance = mean * (n - of_a) * (n - of_b) / some / np.maximum(n - 1, 1)  # hypergeometric
    counts = [int(mask.sum()) for mask in masks]
    energies = [float(squares.sum()), *(float(squares[mask].sum()) for mask in masks[1:])]
    sums = Sums._make([*counts, float(mean.sum()), float(variance.sum()), *energies])
    return block.name, paired.size, sums
