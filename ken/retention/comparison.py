"""Two subnetworks of one pair: what they have in common, beside what chance would give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ken import rules
from ken.api import Subnetwork
from ken.errors import RuleError, SubnetworkError, at_tensor, warn
from ken.models.named_tables import named_table
from ken.models.pairing.pairing import Pairing
from ken.models.pairing.pairs import PairOfModels
from ken.models.tensors.tensor_roles import place, role
from ken.retention.statistics import Chance, z_score
from ken.retention.tally import Block, blocks
from ken.subnetwork.belonging import check_shape, check_tensor, open_for
from ken.subnetwork.threads import in_order

if TYPE_CHECKING:
    import pandas as pd

    from ken.subnetwork.retained_tensor import RetainedTensor

_COLUMNS = [
    *("tensor", "layer", "kind", "role", "paired", "retained_a", "retained_b", "both", "both_expected", "both_z"),
    *("jaccard", "jaccard_expected", "overlap", "overlap_expected"),
    *("energy", "update_share_a", "update_share_b", "update_share_both", "same_draw"),
]
# What chance has no say in if both are one draw.
_BY_CHANCE = ["both_expected", "both_z", "jaccard_expected", "overlap_expected"]


class _Sums(NamedTuple):
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


def compare(a: Subnetwork, b: Subnetwork, pair: PairOfModels) -> pd.DataFrame:
    """One row for every tensor that both subnetworks have pruned, in model order, under its name in a.

    A tensor has the same name in both, or relies on the same pretrained tensor: one of them may be of a body alone.

    If both were drawn with the same random numbers (one rule that draws, one seed), what they share says nothing: a
    `KenWarning` says so, and what chance would give is NaN.

    Args:
        a: One subnetwork.
        b: The other, of the same pretrained model.
        pair: The two models that a, or b, was made of.

    Returns:
        Columns: tensor (index), layer, kind, role, as in `ken.retention.table`; paired (entries that have a pretrained
        value: only these are counted); retained_a, retained_b, both (retained by each, and by both); both_expected and
        both_z (its mean if both masks were drawn at random, row by row with the counts they have, and how many standard
        deviations it is away from that; NaN if chance has no choice; if in both rows share their budget, with the
        counts that the tensor has instead); jaccard (both / retained by either), overlap
        (both / the smaller of the two); the same two with both_expected for both; energy (sum of squares of the
        update), and the shares of it that a, b and both retain; same_draw. Shares of nothing are NaN.

    Raises:
        SubnetworkError: A tensor has another shape, or was cut into rows in another way; the pretrained model of the
            pair is not that of both, or the fine-tuned one that of neither.

    Example:
        >>> import torch
        >>> from ken import Pair, prune
        >>> pair = Pair({"w": torch.tensor([[-3.0, 0.0, 1.0, 2.0]])}, {"w": torch.zeros(1, 4)})
        >>> nets = prune(*pair, k=1), prune(*pair, k=2)
        >>> compare(*nets, pair)[["both", "both_expected", "jaccard", "overlap"]].values.tolist()
        [[1.0, 0.5, 0.5, 1.0]]
    """
    if a is not b and same_draw(a, b):
        warn(alike(a, b))
    return in_common(a, b, pair)


def same_draw(a: Subnetwork, b: Subnetwork) -> bool:
    """Whether both were drawn with the same random numbers: by one rule that draws, with one seed.

    The numbers depend on the seed, on the tensor's name and on the row alone. So the entries that `random` retains
    are the same whatever the models are or, with another k, those of the one are among those of the other. A rule that
    is not registered here may draw.

    Args:
        a: A subnetwork.
        b: Another one.

    Returns:
        Whether they were.

    Example:
        >>> import torch
        >>> from ken import prune
        >>> pair = {"w": torch.eye(4)}, {"w": torch.zeros(4, 4)}
        >>> a, b, c = (prune(*pair, 2, "random", seed=seed) for seed in (1, 1, 2))
        >>> same_draw(a, b), same_draw(a, c)
        (True, False)
    """
    same = (a.recipe.rule, a.recipe.seed) == (b.recipe.rule, b.recipe.seed) and _draws(a)
    # What a rule with a score draws for an entry is the same whatever is compared with it; any other draws by its rows.
    return same and (a.recipe.scope == b.recipe.scope or _scored(a.recipe.rule))


def _scored(rule: str) -> bool:
    """Whether a rule is registered here and has a score."""
    return rule in rules.names() and rules.get(rule).score is not None


def _draws(net: Subnetwork) -> bool:
    """Whether the rule of a subnetwork draws random numbers; one that is not registered here may."""
    try:
        return rules.get(net.recipe.rule).seeded
    except RuleError:
        return True


def alike(a: Subnetwork, b: Subnetwork) -> str:
    """Why two subnetworks are alike whatever their models: one draw of random numbers, or one recipe twice.

    Args:
        a: A subnetwork.
        b: Another one.

    Returns:
        A sentence without its full stop; empty if nothing says so.

    Example:
        >>> import torch, ken
        >>> a, b = (ken.prune({"w": torch.eye(4)}, {"w": torch.zeros(4, 4)}, 2, "random", seed=seed) for seed in (0, 1))
        >>> alike(a, b), alike(a, a).startswith("both are the same draw")
        ('', True)
    """
    if same_draw(a, b):
        return (
            f"both are the same draw: rule {a.recipe.rule} with seed {a.recipe.seed} takes the same random numbers for "
            "both, so that what they share is no finding and no matter of chance; prune one of them with another seed"
        )
    if a.fine_tuned.fingerprint and _made(a) == _made(b):
        return "both were made by one recipe of the same models: they are the same subnetwork twice"
    return ""


def _made(net: Subnetwork) -> tuple[object, ...]:
    """What determines a subnetwork: its recipe, of which the seed counts only if the rule draws, and both models."""
    settings = {field.name: getattr(net.recipe, field.name) for field in fields(net.recipe)}
    del settings["versions"]
    if not _draws(net):
        del settings["seed"]
    return settings, net.fine_tuned.fingerprint, net.pretrained.fingerprint


def in_common(a: Subnetwork, b: Subnetwork, pair: PairOfModels) -> pd.DataFrame:
    """What `compare` gives, without its warning, for those who say themselves that both are the same draw.

    Args:
        a: A subnetwork.
        b: Another one.
        pair: The models of `a`, as `compare` takes them.

    Returns:
        The table that `compare` gives.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair({"w": torch.eye(4)}, {"w": torch.zeros(4, 4)})
        >>> net = ken.prune(*pair, k=2, rule="random")
        >>> in_common(net, net, pair)["jaccard"].tolist()
        [1.0]
    """
    pairing = _opened(a, b, pair)
    tensors_of_a, tensors_of_b, cuts_of_b = a.pruned(), b.pruned(), b.cuts
    names_in_b = counterparts(tensors_of_a, tensors_of_b)
    # Under the names of the pair, which may be that of either.
    names = {own if own in pairing.names else other: own for own, other in names_in_b.items()}
    pairing = replace(pairing, cuts={name: cut for name, own in names.items() if (cut := a.cuts.get(own))})

    def parts() -> Iterator[Block]:
        for name, own in names.items():
            first, second = tensors_of_a[own], tensors_of_b[names_in_b[own]]
            check_shape(name, second.shape, pairing)
            if first.row_shape != second.row_shape:
                ways = [repr(cuts.get(one, "")) for one, cuts in ((name, pairing.cuts), (names_in_b[own], cuts_of_b))]
                raise SubnetworkError(f"{name}: rows were cut as {ways[0]} in one, as {ways[1]} in the other")
            if first.pretrained.fingerprint != second.pretrained.fingerprint:
                raise SubnetworkError(f"{name}: the pretrained tensor of one is another than that of the other")
            check_tensor(name, first, pairing, also=[second.fine_tuned])
            yield from blocks(name, first, second, pairing=pairing)

    by_tensor = "row" not in (a.recipe.scope, b.recipe.scope)
    totals = dict.fromkeys(names, _Sums())
    for name, sums in in_order(_sums, parts()):
        totals[name] = _Sums._make(x + y for x, y in zip(totals[name], sums, strict=True))
    lines = [_line(names[name], _over_tensor(sums) if by_tensor else sums) for name, sums in totals.items()]
    table = named_table(lines, _COLUMNS).astype({"layer": "Int64"}).set_index("tensor")
    table["same_draw"] = same_draw(a, b)
    if same_draw(a, b):
        table[_BY_CHANCE] = math.nan
    return table


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


def _opened(a: Subnetwork, b: Subnetwork, pair: PairOfModels) -> Pairing:
    """The pair, which may be that of either: two fine-tunings of one pretrained model can be compared."""
    try:
        return open_for(a, pair)
    except SubnetworkError:
        with suppress(SubnetworkError):
            return open_for(b, pair)
        raise


def _sums(block: Block) -> tuple[str, _Sums]:
    """Those of a few rows, (m, n), of which only the paired entries count."""
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
    return block.name, _Sums._make([*counts, float(mean.sum()), float(variance.sum()), *energies])


def _over_tensor(sums: _Sums) -> _Sums:
    """The same, with what chance gives where no row of either has a number of entries to keep to."""
    n, of_a, of_b = float(sums.paired), float(sums.retained_a), float(sums.retained_b)
    mean = of_a * of_b / max(n, 1)
    variance = mean * (n - of_a) * (n - of_b) / max(n, 1) / max(n - 1, 1)  # hypergeometric
    return sums._replace(both_expected=mean, variance=variance)


def _line(name: str, sums: _Sums) -> dict[str, object]:
    smaller = min(sums.retained_a, sums.retained_b)

    def jaccard(both: float) -> float:
        either = sums.retained_a + sums.retained_b - both
        return both / either if either else math.nan

    def overlap(both: float) -> float:
        return both / smaller if smaller else math.nan

    def share(energy: float) -> float:
        return energy / sums.energy if sums.energy > 0 else math.nan

    return {
        "tensor": name,
        "layer": place(name).layer,
        "kind": place(name).kind,
        "role": role(name),
        **sums._asdict(),
        "both_z": z_score(sums.both, Chance(sums.both_expected, sums.variance)),
        "jaccard": jaccard(sums.both),
        "jaccard_expected": jaccard(sums.both_expected),
        "overlap": overlap(sums.both),
        "overlap_expected": overlap(sums.both_expected),
        "update_share_a": share(sums.energy_a),
        "update_share_b": share(sums.energy_b),
        "update_share_both": share(sums.energy_both),
    }
