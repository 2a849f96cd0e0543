"""Two subnetworks of one pair: what they have in common, beside what chance would give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken.api import Subnetwork
from ken.errors import SubnetworkError, at_tensor, warn
from ken.models.pairing.pairing import Pairing
from ken.models.pairing.pairs import PairOfModels
from ken.models.tensors.tensor_roles import place, role
from ken.retention.neighbour_chance import Chance, z_score
from ken.retention.same_draw import alike, same_draw
from ken.subnetwork.belonging import check_shape, check_tensor, open_for
from ken.subnetwork.retained_tensor import RetainedTensor
from ken.subnetwork.threads import in_order

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = [
    *("tensor", "layer", "kind", "role", "paired", "retained_a", "retained_b", "both", "both_expected", "both_z"),
    *("jaccard", "jaccard_expected", "overlap", "overlap_expected"),
    *("energy", "update_share_a", "update_share_b", "update_share_both", "same_draw"),
]
# What chance has no say in if both are one draw.
_BY_CHANCE = ["both_expected", "both_z", "jaccard_expected", "overlap_expected"]
_BLOCK = 1 << 17


class _Block(NamedTuple):
    """Some rows of a tensor, both masks of it, and how to read them."""

    name: str
    a: RetainedTensor
    b: RetainedTensor
    read: Callable[[slice], tuple[NDArray[np.float64], NDArray[np.float64]]]
    wanted: slice


class _Sums(NamedTuple):
    """What is added up of two masks: counts, the chance value of both and its variance, sums of squares."""

    paired: int = 0
    a: int = 0
    b: int = 0
    both: int = 0
    mean: float = 0.0
    variance: float = 0.0
    energy: float = 0.0
    energy_a: float = 0.0
    energy_b: float = 0.0
    energy_both: float = 0.0


def compare(a: Subnetwork, b: Subnetwork, pair: PairOfModels) -> pd.DataFrame:
    """One row for every tensor that both subnetworks have pruned, in model order.

    Columns: tensor (index), layer, kind, role, as in `ken.retention.table`; paired (entries that have a pretrained
    value: only these are counted); retained_a, retained_b, both (retained by each, and by both); both_expected and
    both_z (its mean if both masks were drawn at random, row by row with the counts they have, and how many standard
    deviations it is away from that; NaN if chance has no choice); jaccard (both / retained by either), overlap (both /
    the smaller of the two); the same two with both_expected for both; energy (sum of squares of the update), and
    the shares of it that a, b and both retain; same_draw, whether both were drawn with the same random numbers (one
    rule, one seed): then what they share says nothing, a `KenWarning` says so, and what chance would give is NaN.
    Shares of nothing are NaN.

    Raises `SubnetworkError` if a tensor has another shape, or was cut into rows in another way, and if the pretrained
    model of the pair is not that of both, or the fine-tuned one that of neither.

    >>> import torch
    >>> from ken import Pair
    >>> from ken import prune
    >>> pair = Pair({"w": torch.tensor([[-3.0, 0.0, 1.0, 2.0]])}, {"w": torch.zeros(1, 4)})
    >>> nets = prune(*pair, k=1), prune(*pair, k=2)
    >>> compare(*nets, pair)[["both", "both_expected", "jaccard", "overlap"]].values.tolist()
    [[1.0, 0.5, 0.5, 1.0]]
    """
    if a is not b and same_draw(a, b):
        warn(alike(a, b))
    return in_common(a, b, pair)


def in_common(a: Subnetwork, b: Subnetwork, pair: PairOfModels) -> pd.DataFrame:
    """What `compare` gives, for those who say themselves that both are the same draw."""
    import pandas as pd

    pairing = _opened(a, b, pair)
    ours, others = a.pruned(), b.pruned()
    names = [name for name in ours if name in others]
    cuts_of_b = b.cuts

    def blocks() -> Iterator[_Block]:
        for name in names:
            first, second = ours[name], others[name]
            check_shape(name, second.shape, pairing)
            if first.row_shape != second.row_shape:
                ways = [repr(cuts.get(name, "")) for cuts in (pairing.cuts, cuts_of_b)]
                raise SubnetworkError(f"{name}: rows were cut as {ways[0]} in one, as {ways[1]} in the other")
            if first.pretrained.fingerprint != second.pretrained.fingerprint:
                raise SubnetworkError(f"{name}: the pretrained tensor of one is another than that of the other")
            check_tensor(name, first, pairing, also=[second.fine_tuned])
            read, (rows, n) = pairing.reader(name), first.row_shape
            step = max(1, _BLOCK // n)
            for start in range(0, rows, step):
                yield _Block(name, first, second, read, slice(start, min(start + step, rows)))

    def work(block: _Block) -> tuple[str, _Sums]:
        with at_tensor(block.name):
            fine_tuned, pretrained = block.read(block.wanted)
            masks = (tensor.row_mask(block.wanted) for tensor in (block.a, block.b))
            return block.name, _sums(fine_tuned - pretrained, *masks)

    found = dict.fromkeys(names, _Sums())
    for name, sums in in_order(work, blocks()):
        found[name] = _Sums._make(x + y for x, y in zip(found[name], sums, strict=True))
    lines = [_line(name, sums) for name, sums in found.items()]
    table = pd.DataFrame(lines, columns=_COLUMNS).astype({"layer": "Int64"}).set_index("tensor")
    table["same_draw"] = same_draw(a, b)
    if same_draw(a, b):
        table[_BY_CHANCE] = math.nan
    return table


def _opened(a: Subnetwork, b: Subnetwork, pair: PairOfModels) -> Pairing:
    """The pair, which may be that of either: two fine-tunings of one pretrained model can be compared."""
    try:
        return open_for(a, pair)
    except SubnetworkError:
        with suppress(SubnetworkError):
            return replace(open_for(b, pair), cuts=a.cuts)
        raise


def _sums(update: NDArray[np.float64], a: NDArray[np.bool_], b: NDArray[np.bool_]) -> _Sums:
    """Those of a few rows: update (m, n) float64, NaN where there is none, and two masks."""
    paired = ~np.isnan(update)
    a, b = a & paired, b & paired
    both = a & b
    squares = np.where(paired, update, 0.0) ** 2
    n, of_a, of_b = (part.sum(axis=1).astype(np.float64) for part in (paired, a, b))
    some = np.maximum(n, 1)
    mean = of_a * of_b / some
    variance = mean * (n - of_a) * (n - of_b) / some / np.maximum(n - 1, 1)  # hypergeometric
    of_all, of_masks = float(squares.sum()), [float(squares[part].sum()) for part in (a, b, both)]
    counts = [int(part.sum()) for part in (paired, a, b, both)]
    return _Sums._make([*counts, float(mean.sum()), float(variance.sum()), of_all, *of_masks])


def _line(name: str, of: _Sums) -> dict[str, object]:
    def jaccard(both: float) -> float:
        either = of.a + of.b - both
        return both / either if either else math.nan

    def overlap(both: float) -> float:
        return both / min(of.a, of.b) if min(of.a, of.b) else math.nan

    def share(energy: float) -> float:
        return energy / of.energy if of.energy > 0 else math.nan

    where = place(name)
    return {
        "tensor": name,
        "layer": where.layer,
        "kind": where.kind,
        "role": role(name),
        "paired": of.paired,
        "retained_a": of.a,
        "retained_b": of.b,
        "both": of.both,
        "both_expected": of.mean,
        "both_z": z_score(of.both, Chance(of.mean, of.variance)),
        "jaccard": jaccard(of.both),
        "jaccard_expected": jaccard(of.mean),
        "overlap": overlap(of.both),
        "overlap_expected": overlap(of.mean),
        "energy": of.energy,
        "update_share_a": share(of.energy_a),
        "update_share_b": share(of.energy_b),
        "update_share_both": share(of.energy_both),
    }
