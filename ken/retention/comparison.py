"""Two subnetworks of one pair: what they have in common, beside what chance would give."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ken import rules
from ken.api import Subnetwork
from ken.errors import RuleError, warn
from ken.models.named_tables import named_table
from ken.models.pairing.pairs import PairOfModels
from ken.models.tensors.tensor_roles import place, role
from ken.retention.common_sums import Sums, shared, sums_by_workers, sums_here
from ken.retention.common_sums import counterparts as counterparts
from ken.retention.measured import pair_as_text, sizes
from ken.retention.statistics import Chance, z_score
from ken.storage.shared_places import SubnetworkPlace, opened

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = [
    *("tensor", "layer", "kind", "role", "paired", "retained_a", "retained_b", "both", "both_expected", "both_z"),
    *("jaccard", "jaccard_expected", "overlap", "overlap_expected"),
    *("energy", "update_share_a", "update_share_b", "update_share_both", "same_draw"),
]
# What chance has no say in if both are one draw.
_BY_CHANCE = ["both_expected", "both_z", "jaccard_expected", "overlap_expected"]


def compare(
    a: Subnetwork | SubnetworkPlace,
    b: Subnetwork | SubnetworkPlace,
    pair: PairOfModels,
    *,
    executor: Any = None,
    timeout: float | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """One row for every tensor that both subnetworks have pruned, in model order, under its name in a.

    A tensor has the same name in both, or relies on the same pretrained tensor: one of them may be of a body alone.

    If both were drawn with the same random numbers (one rule that draws, one seed), what they share says nothing: a
    `KenWarning` says so, and what chance would give is NaN.

    Args:
        a: One subnetwork, or its place, as `ken.load` takes it.
        b: The other, of the same pretrained model.
        pair: The two models that a, or b, was made of.
        executor: Whose workers count, some tensors each, as for `ken.prune`; a, b and both models are places then,
            which the workers open themselves. The same comes of it.
        timeout: Seconds that a worker may take for some tensors (at least one, or 67 million entries).
        progress: Show a bar if it takes longer than a second.

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
        ExecutorError: Workers are gone, or hang.

    Example:
        >>> import torch
        >>> from ken import Pair, prune
        >>> pair = Pair({"w": torch.tensor([[-3.0, 0.0, 1.0, 2.0]])}, {"w": torch.zeros(1, 4)})
        >>> nets = prune(*pair, k=1), prune(*pair, k=2)
        >>> compare(*nets, pair)[["both", "both_expected", "jaccard", "overlap"]].values.tolist()
        [[1.0, 0.5, 0.5, 1.0]]
    """
    nets, places = _both(a, b, executor)
    if nets[0] is not nets[1] and same_draw(*nets):
        warn(alike(*nets))
    return _table(nets, pair, places, executor=executor, timeout=timeout, progress=progress)


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


def in_common(
    a: Subnetwork | SubnetworkPlace,
    b: Subnetwork | SubnetworkPlace,
    pair: PairOfModels,
    *,
    executor: Any = None,
    timeout: float | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """What `compare` gives, without its warning, for those who say themselves that both are the same draw.

    Args:
        a: A subnetwork.
        b: Another one.
        pair: The models of `a`, as `compare` takes them.
        executor: As `compare` takes it.
        timeout: As `compare` takes it.
        progress: As `compare` takes it.

    Returns:
        The table that `compare` gives.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair({"w": torch.eye(4)}, {"w": torch.zeros(4, 4)})
        >>> net = ken.prune(*pair, k=2, rule="random")
        >>> in_common(net, net, pair)["jaccard"].tolist()
        [1.0]
    """
    nets, places = _both(a, b, executor)
    return _table(nets, pair, places, executor=executor, timeout=timeout, progress=progress)


def _both(
    a: Subnetwork | SubnetworkPlace, b: Subnetwork | SubnetworkPlace, executor: Any
) -> tuple[tuple[Subnetwork, Subnetwork], tuple[str, str]]:
    """Both subnetworks and, for workers, where each lies; one and the same if that is one place."""
    (one, place_of_one), (other, place_of_other) = (opened(net, Subnetwork, executor) for net in (a, b))
    same = place_of_one and place_of_one == place_of_other
    return (one, one if same else other), (place_of_one, place_of_other)


def _table(
    nets: tuple[Subnetwork, Subnetwork],
    pair: PairOfModels,
    places: tuple[str, str],
    *,
    executor: Any,
    timeout: float | None,
    progress: bool,
) -> pd.DataFrame:
    """What `compare` gives of both, counted here or by the workers of an executor."""
    from tqdm.auto import tqdm

    a, b = nets
    models = "" if executor is None else pair_as_text(pair)
    both = shared(a, b, pair)
    own, known = {name: own for name, (own, _) in both.names.items()}, sizes(a)
    total = sum(known[name] for name in own.values())
    with tqdm(
        total=total, desc="compare", unit="entry", unit_scale=True, disable=not progress, delay=1.0, leave=False
    ) as bar:
        if executor is None:
            sums = sums_here(both, both.names, bar=bar)
        else:
            sums = sums_by_workers(both, places, models, executor=executor, timeout=timeout, bar=bar)
    by_tensor = "row" not in (a.recipe.scope, b.recipe.scope)
    lines = [_line(own[name], _over_tensor(added) if by_tensor else added) for name, added in sums.items()]
    table = named_table(lines, _COLUMNS).astype({"layer": "Int64"}).set_index("tensor")
    table["same_draw"] = same_draw(a, b)
    if same_draw(a, b):
        table[_BY_CHANCE] = math.nan
    return table


def _over_tensor(sums: Sums) -> Sums:
    """The same, with what chance gives where no row of either has a number of entries to keep to."""
    n, of_a, of_b = float(sums.paired), float(sums.retained_a), float(sums.retained_b)
    mean = of_a * of_b / max(n, 1)
    variance = mean * (n - of_a) * (n - of_b) / max(n, 1) / max(n - 1, 1)  # hypergeometric
    return sums._replace(both_expected=mean, variance=variance)


def _line(name: str, sums: Sums) -> dict[str, object]:
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
