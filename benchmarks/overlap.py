"""What the subnetworks of two fine-tunings of one pretrained model share, exactly: behind docs/audit.md.

Usage: python benchmarks/overlap.py [--data FOLDER] [--out DIR]

All counts are of all entries: nothing is sampled, so that there is no interval to state. Beside the entries that both
retain stands what two yardsticks give, row by row with the counts that the masks have:

    chance              both masks drawn at random: a · b / n, where a and b are retained of n
    given pretrained    each mask drawn at random but for what it shares with the mask of the same rule on the
                        pretrained weights alone: a₁ · b₁ / m + a₀ · b₀ / (n − m), where that mask retains m, a₁ and b₁
                        of them are retained, and a₀ and b₀ of the others

and how many entries each shares with that mask (a_pretrained, b_pretrained). A third yardstick is a control: `shuffled`
is what both masks share once the updates of each row were dealt out anew within it, so that no task is left in them.

Rows that fine-tuning left as they were (word embeddings of words it never saw) are the same row in both models, and a
rule retains the same entries of it: what is shared there says nothing about tasks. Hence three parts: all rows, the
rows that both fine-tunings changed, and the matrices of the encoder.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import ken
from ken.models.tensors.tensor_roles import place
from ken.retention.comparison import counterparts
from ken.storage.atomic_files import write_text

DOCS = Path(__file__).resolve().parent.parent / "docs"
KS = (0.75, 0.5, 0.25)
RULES = ("ken", "update", "random")
ON_PRETRAINED = {"ken"}  # rules of which there is a mask on the pretrained weights alone
PARTS = ("all rows", "changed rows", "encoder")
COUNTS = ("entries", "a", "b", "both", "chance", "given_pretrained", "a_pretrained", "b_pretrained")
COLUMNS = ("pair", "rule", "part", "k", *COUNTS, "shuffled")


def counts(a: NDArray[np.bool_], b: NDArray[np.bool_], p: NDArray[np.bool_] | None) -> dict[str, float]:
    """Of masks (rows, n): entries, retained by each and by both, and what the yardsticks of this module expect of both.

    >>> a = np.array([[True, True, False, False]])
    >>> counts(a, a, a)["both"], counts(a, a, a)["chance"], counts(a, a, a)["given_pretrained"]
    (2, 1.0, 2.0)
    """
    n = a.shape[1]
    of_a, of_b = a.sum(axis=1), b.sum(axis=1)
    chance = float((of_a * of_b / n).sum())
    given = a_pretrained = b_pretrained = np.nan
    if p is not None:
        a_pretrained, b_pretrained = int((a & p).sum()), int((b & p).sum())
        given = 0.0
        for group in (p, ~p):
            size = group.sum(axis=1)
            given += float(((a & group).sum(axis=1) * (b & group).sum(axis=1) / np.maximum(size, 1)).sum())
    return {
        "entries": a.size,
        "a": int(of_a.sum()),
        "b": int(of_b.sum()),
        "both": int((a & b).sum()),
        "chance": chance,
        "given_pretrained": given,
        "a_pretrained": a_pretrained,
        "b_pretrained": b_pretrained,
    }


def shared(a: Any, b: Any, p: Any | None, states: tuple[Any, Any, Any]) -> dict[str, Counter[str]]:
    """`counts` of two subnetworks by part, summed over their tensors; p is that of the pretrained weights alone.

    states are the state dicts of both fine-tuned models and of the pretrained one.
    """
    sums: dict[str, Counter[str]] = {part: Counter() for part in PARTS}
    first, second = a.pruned(), b.pruned()
    for name, other in counterparts(first, second).items():
        masks = [first[name].row_mask(), second[other].row_mask()]
        masks.append(None if p is None else p.pruned()[name].row_mask())
        base = states[2][first[name].pretrained.name].numpy().reshape(masks[0].shape)
        tuned = (states[0][name].numpy(), states[1][other].numpy())
        changed = np.logical_and(*((values.reshape(base.shape) != base).any(axis=1) for values in tuned))
        chosen = {"all rows": slice(None), "changed rows": changed}
        if place(name).layer is not None and states[0][name].ndim == 2:
            chosen["encoder"] = slice(None)
        for part, rows in chosen.items():
            sums[part].update(counts(*(mask if mask is None else mask[rows] for mask in masks)))
    return sums


def lines(label: str, a: Any, b: Any, ks: Iterable[float] = KS) -> Iterator[tuple[Any, ...]]:
    """The lines of the table for two pairs of models with one pretrained model; random masks have two seeds."""
    states = (a.fine_tuned.state_dict(), b.fine_tuned.state_dict(), a.pretrained.state_dict())
    for k in ks:
        for rule in RULES:
            nets = [
                ken.prune(pair.fine_tuned, pair.pretrained, k, rule=rule, seed=seed, progress=False)
                for seed, pair in enumerate((a, b))
            ]
            alone, without_task = None, None
            if rule in ON_PRETRAINED:
                alone = ken.prune(a.fine_tuned, a.pretrained, k, rule=rule, on="pretrained", progress=False)
                moved = [shuffled(states[seed], states[2], net, seed) for seed, net in enumerate(nets)]
                others = [ken.prune(state, states[2], k, rule=rule, progress=False) for state in moved]
                without_task = shared(*others, None, states)
            for part, sums in shared(*nets, alone, states).items():
                elsewhere = np.nan if without_task is None else without_task[part]["both"]
                yield (label, rule, part, k, *(sums[name] for name in COUNTS), elsewhere)


def shuffled(state: dict[str, Any], base: dict[str, Any], net: Any, seed: int) -> dict[str, Any]:
    """A fine-tuned state whose updates have been dealt out anew within each row of the pruned tensors.

    It is as far from the pretrained one, row by row and update by update, as the true one; where is left to chance.
    """
    import torch

    rng, made = np.random.default_rng(seed), dict(state)
    for name, tensor in net.pruned().items():
        tuned, pretrained = (
            values.numpy().reshape(tensor.row_shape) for values in (state[name], base[tensor.pretrained.name])
        )
        moved = pretrained + rng.permuted(tuned - pretrained, axis=1)
        made[name] = torch.from_numpy(moved).reshape(state[name].shape)
    return made


def pairs(data: Path | None) -> Iterator[tuple[str, Any, Any]]:
    """Label, and two pairs of models with one pretrained model."""
    import fidelity
    import standard_tasks

    first, second = (ken.demo.pair(seed=seed) for seed in (0, 1))
    yield "demo task, seeds 0 and 1", first, second
    if data is not None:
        r8, newsgroups = (standard_tasks.pair(name, data) for name in standard_tasks.FILES)
        yield "demo task and R8", first, r8
        yield "R8 and 20 Newsgroups", r8, newsgroups
    yield "rxnfp, both fine-tunings", fidelity.models(), fidelity.other_models()


def main(data: Path | None, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    made: list[tuple[Any, ...]] = []
    for label, a, b in pairs(data):
        print(label, flush=True)
        made += lines(label, a, b)
    table = pd.DataFrame(made, columns=COLUMNS)
    write_text(out / "audit-overlap.csv", table.to_csv(index=False, float_format="%.8g", lineterminator="\n"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the texts of R8 and 20 Newsgroups (standard_tasks.py)")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the table goes")
    options = parser.parse_args()
    main(options.data, options.out)
