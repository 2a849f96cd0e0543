"""sweep: k × rule × seed against an evaluation, beside the two models that bound it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ken.errors import RuleError
from ken.injection import inject
from ken.pairing import open_pair
from ken.pairs import PairOfModels
from ken.pruning import prune
from ken.retained import RetainedTensor
from ken.rows import K, check_k
from ken.rules import get
from ken.subnetwork import Subnetwork

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["model", "rule", "k", "seed", "retained", "entries", "share", "metric", "standard_error"]


def sweep(
    pair: PairOfModels,
    ks: Iterable[K],
    rules: Sequence[str] = ("ken", "random"),
    *,
    evaluate: Callable[[Any], Any],
    seeds: Iterable[int] = (0,),
    exclude: Sequence[str] = (),
    progress: bool = True,
) -> pd.DataFrame:
    """Prune the pair with every k, rule and seed, inject, evaluate; one line for each, and two to compare with.

    evaluate takes a model (of the kind `ken.inject` makes of pair.pretrained) and returns a number, or an object that
    is a number by `float()` and may have a `standard_error`, such as `ken.training.Evaluation`. Only rules that draw
    at random are repeated for every seed.

    Columns: model ("fine-tuned", "pretrained" with all that is carried, or "pruned"), rule, k, seed, retained,
    entries, share (retained / entries), metric, standard_error (NaN if the evaluation gives none). The lines of the
    two models have no rule, and no k.

    >>> import torch
    >>> from ken.pairs import Pair
    >>> pair = Pair({"w": torch.ones(2, 8)}, {"w": torch.zeros(2, 8)})
    >>> table = sweep(pair, [0.5], ["ken"], evaluate=lambda state: state["w"].mean())
    >>> table[["model", "metric"]].values.tolist()
    [['fine-tuned', 1.0], ['pretrained', 0.0], ['pruned', 0.5]]
    """
    import pandas as pd
    from tqdm.auto import tqdm

    ks, seeds = list(ks), list(seeds)
    for k in ks:
        check_k(k)
    for rule in rules:
        get(rule)
    if not seeds:
        raise RuleError("seeds must name at least one seed, got none")
    jobs = [(k, rule, seed) for k in ks for rule in rules for seed in (seeds if rule == "random" else seeds[:1])]
    lines = []
    with tqdm(total=len(jobs) + 2, desc="evaluate", unit="model", disable=not progress, leave=False) as bar:
        whole = prune(pair.fine_tuned, pair.pretrained, 1.0, exclude=exclude, progress=False)
        bounds = (("fine-tuned", whole), ("pretrained", nothing_retained(whole, pair)))
        for label, net in bounds:
            bar.set_postfix_str(label)
            lines.append(_line(label, net, None, evaluate(inject(net, pair.pretrained))))
            bar.update()
        for k, rule, seed in jobs:
            bar.set_postfix_str(f"{rule}, k = {k}")
            net = prune(pair.fine_tuned, pair.pretrained, k, rule, seed=seed, exclude=exclude, progress=False)
            lines.append(_line("pruned", net, k, evaluate(inject(net, pair.pretrained))))
            bar.update()
    return pd.DataFrame(lines, columns=COLUMNS)


def nothing_retained(net: Subnetwork, pair: PairOfModels) -> Subnetwork:
    """The same subnetwork with every pruned tensor reset: what is carried, on a pretrained body.

    Rows that the pretrained tensor does not have stay as they are.
    """
    pairing = open_pair(pair.fine_tuned, pair.pretrained)
    tensors = dict(net.items())
    for name in net.pruned():
        ours, other = pairing.fine_tuned.tensors[name], str(pairing.names[name])
        theirs = pairing.pretrained.tensors[other]
        mask = np.zeros(tuple(ours.shape), bool)
        if theirs.shape != ours.shape:
            mask[len(theirs) :] = True
        tensors[name] = RetainedTensor.of(ours, mask, theirs, other)
    return replace(net, tensors=tensors)


def _line(label: str, net: Subnetwork, k: K | None, result: Any) -> tuple[Any, ...]:
    pruned = label == "pruned"
    return (
        label,
        net.recipe.rule if pruned else "",
        k if pruned else np.nan,
        net.recipe.seed if pruned else -1,
        net.retained,
        net.entries,
        net.share,
        float(result),
        float(getattr(result, "standard_error", np.nan)),
    )
