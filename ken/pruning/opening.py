"""Two models opened, and what is asked for checked: what `ken.prune` and `ken.parts` begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ken import rules
from ken.models.checkpoints import other_files
from ken.models.checkpoints.checkpoint import Source, TunedSource
from ken.models.pairing.pairing import open_pair
from ken.models.pairing.pairs import Pair
from ken.models.pairing.rows import K
from ken.models.scalars import checked_seed
from ken.pruning.head import versions
from ken.pruning.prepared import Prepared
from ken.pruning.selection import Selection
from ken.subnetwork.subnetwork import Recipe


def opened(
    fine_tuned: TunedSource,
    pretrained: Source | None,
    k: K | None,
    *,
    rule: str,
    seed: int,
    on: str,
    bandwidth: str | float,
    kernel: str,
    scope: str,
    rescale: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
    layers_only: bool,
    rows: Mapping[str, str] | None,
    raw: bool,
) -> Prepared:
    """Both models, and what is asked for, checked; of files only headers have been read. See `prune`."""
    rules.check_k(rule, k)
    selection = Selection(k=k, include=include, exclude=exclude, layers_only=layers_only, rows=rows or {})
    seed = checked_seed(seed)
    settings = rules.Settings(on=on, bandwidth=bandwidth, kernel=kernel)
    rules.check_settings(rule, settings)
    rescale = rules.check_rescale(rule, rescale)
    rules.check_scope(rule, scope)
    pairing = open_pair(fine_tuned, pretrained, selection.rows)
    other_files.check(pairing.fine_tuned.files)
    recipe = Recipe(
        rule=rule,
        k=selection.k,
        seed=seed,
        include=tuple(selection.include),
        exclude=tuple(selection.exclude),
        layers_only=layers_only,
        rescale=rescale,
        rows=dict(selection.rows),
        versions=versions(),
        scope=scope,
        **asdict(settings),
    )
    return Prepared.from_pair(Pair(fine_tuned, pretrained), pairing, selection, recipe=recipe, raw=raw)
