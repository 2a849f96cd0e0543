"""What the tables of a subnetwork are made of, tensor by tensor: counted here, or by the workers of an executor.

Of a tensor that a worker has counted come its line and those of its heads, as text; never a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ken.api import Subnetwork
from ken.errors import hearing
from ken.models.checkpoints.as_data import source_as_data, source_of
from ken.models.pairing.pairs import Pair, PairOfModels
from ken.retention.attention_heads import heads_of
from ken.retention.summary_columns import head_lines, line
from ken.retention.tally import Tally, tallies
from ken.storage.shared_places import reopened
from ken.subnetwork.belonging import open_for
from ken.subnetwork.executors.groups import answers, spans


class Lines(NamedTuple):
    """The line of a tensor in `ken.retention.table`, and those of its heads in `ken.retention.heads`."""

    line: dict[str, Any]
    heads: list[dict[str, Any]]


def lines_of(tally: Tally, net: Subnetwork) -> Lines:
    """What a tensor's tally comes to. The heads are those that the configuration of the fine-tuned model tells."""
    config = None if net.architecture is None else net.architecture.config
    as_stored = len(tally.shape) < 2 or tally.row_shape == tally.shape
    heads = heads_of(tally.name, tally.shape, config) if as_stored else None
    return Lines(line(tally, heads), [] if heads is None else head_lines(tally, heads))


def sizes(net: Subnetwork) -> dict[str, int]:
    """The entries of every pruned tensor, in model order."""
    return {name: outline.entries for name, outline in net.outlines.items() if outline.reason is None}


def lines_by_workers(
    net: Subnetwork, pair: PairOfModels, *, place: str, executor: Any, timeout: float | None, bar: Any
) -> dict[str, Lines]:
    """The lines of every pruned tensor, counted by the workers of an executor, some tensors each.

    place is where they find the subnetwork (`ken.storage.shared_places`), bar is told how many entries are done. Raises
    what `tallies` does, `PairingError` for models that are in memory, and `ExecutorError`.
    """
    models = pair_as_text(pair)
    open_for(net, pair)  # a pair that is another one is told here, and at once
    entries = sizes(net)
    names, groups = list(entries), spans(entries.values())
    lines: dict[str, Lines] = {}
    calls = [(place, models, *group) for group in groups]
    for number, answer in answers(executor, worker_lines, calls, timeout=timeout):
        group = names[slice(*groups[number])]
        lines |= dict(zip(group, (Lines(*one) for one in answer), strict=True))
        bar.update(sum(entries[name] for name in group))
    return {name: lines[name] for name in names}


def worker_lines(place: str, models: str, start: int, stop: int) -> str:
    """What a worker does: the lines of some pruned tensors, in their order. Of what it hears the client is warned."""
    with hearing():
        net = reopened(place, Subnetwork)
        counted = tallies(net, pair_of(models), names=list(sizes(net))[start:stop])
        return json.dumps([lines_of(tally, net) for tally in counted], default=np.generic.item)


def pair_as_text(pair: PairOfModels) -> str:
    """Where both models of a pair lie. Raises `PairingError` if one is in memory."""
    models = (
        source_as_data(pair.fine_tuned, "the fine-tuned model"),
        source_as_data(pair.pretrained, "the pretrained model"),
    )
    return json.dumps(models)


def pair_of(models: str) -> PairOfModels:
    """The pair that `pair_as_text` has described."""
    return Pair(*map(source_of, json.loads(models)))


def counted_here(net: Subnetwork, pair: PairOfModels, bar: Any) -> Iterator[Tally]:
    """What this process counts of every pruned tensor; bar is told how many entries are done."""
    for tally in tallies(net, pair):
        yield tally
        bar.update(tally.row_shape[0] * tally.row_shape[1])
