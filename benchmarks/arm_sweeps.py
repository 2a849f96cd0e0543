"""Arms swept one group after the other into one file of results, and read back from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from scope_statistics import PRETRAINED, UNPRUNED, Arm

import ken


def sweep_arms(
    pair: Any,
    arms: Iterable[Arm],
    ks: Sequence[float],
    *,
    evaluate: Callable[[Any], Any],
    seeds: Sequence[int],
    evaluation: str,
    results: Path,
) -> None:
    """Evaluate every arm at every share, unless the file has it. Interrupted, the same call goes on where it was."""
    for on, scope, rules in groups(arms):
        ken.sweep(
            pair,
            ks,
            rules,
            evaluate=evaluate,
            on=(on or "weights",),
            scope=(scope,),
            seeds=seeds,
            evaluation=evaluation,
            results=results,
        )


def groups(arms: Iterable[Arm]) -> Iterator[tuple[str, str, list[str]]]:
    """Values looked at, scope, and the rules that go with them in one sweep.

    >>> list(groups([Arm("ken", "weights"), Arm("update"), Arm("random"), Arm("update", scope="model")]))
    [('weights', 'row', ['ken']), ('', 'row', ['update', 'random']), ('', 'model', ['update'])]
    """
    rules: dict[tuple[str, str], list[str]] = {}
    for arm in arms:
        rules.setdefault((arm.on, arm.scope), []).append(arm.rule)
    yield from ((on, scope, names) for (on, scope), names in rules.items())


def by_arm(file: Path) -> dict[tuple[Arm, float], list[Any]]:
    """The lines of a file of results by arm and share, a line a seed; the two models have shares 1 and 0."""
    lines: dict[tuple[Arm, float], list[Any]] = {}
    table = ken.results.read(file)
    for line in table[table["repeat"] == 0].sort_values("seed", kind="stable").itertuples():
        if line.model == "pruned":
            key = Arm(line.rule, line.on, line.scope), float(line.k)
        else:
            key = (UNPRUNED, 1.0) if line.model == "fine-tuned" else (PRETRAINED, 0.0)
        lines.setdefault(key, []).append(line)
    return {key: found for key, found in lines.items() if not pd.isna(key[1])}
