"""Evaluations by the workers of an executor: each prunes, injects and evaluates one model, and sends its record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ken.evaluation.runner import Trials
from ken.models.checkpoints.as_data import source_as_data, source_of
from ken.models.pairing.pairs import Pair, PairOfModels, with_base
from ken.pruning.prune import prune
from ken.results import Key, Record, Results, _line, _record
from ken.storage.result_lines import Line
from ken.subnetwork.executors.calls import Asked, outcomes
from ken.subnetwork.executors.engines import engine_of
from ken.subnetwork.executors.link import say_link


def evaluate_by_workers(
    executor: Any,
    pair: PairOfModels,
    keys: Sequence[Key],
    *,
    evaluate: Callable[[Any], Any],
    settings: Mapping[str, Any],
    timeout: float | None,
    done: Callable[[Record], object],
) -> None:
    """Have what is asked for evaluated, each by one worker; done takes each record as it comes.

    settings are those of `ken.prune` that all have in common. evaluate goes to the workers by the executor's own means;
    all else is text.
    """
    engine = engine_of(executor)
    say_link(engine.link)
    models = [source_as_data(pair.fine_tuned, "the fine-tuned model")]
    models += [source_as_data(pair.pretrained, "the pretrained model")]
    asked = json.dumps({"models": models, "settings": dict(settings)})
    calls = {number: (asked, json.dumps(key._asdict()), evaluate) for number, key in enumerate(keys, 1)}
    for _, answer in outcomes(engine, Asked(worker_trial, "model", len(keys)), calls, timeout=timeout):
        done(_record(Line.model_validate_json(answer)))


def worker_trial(asked: str, key: str, evaluate: Callable[[Any], Any]) -> str:
    """What a worker does: the record of one key."""
    from tqdm.auto import tqdm

    said = json.loads(asked)
    pair = with_base(Pair(*map(source_of, said["models"])))
    wanted = Key(**json.loads(key))
    # Of a pruned model the recipe alone is looked at; for the two others values are.
    whole = prune(*pair, 1.0, **said["settings"], lazy=wanted.model == "pruned", progress=False)
    with tqdm(disable=True) as bar:
        return _line(Trials(pair, evaluate, whole, results=Results({}), bar=bar).record(wanted)).model_dump_json()
