"""A pruning by the workers of an executor: parts on a disk that all share, joined by one of them, or here.

Through the executor go the description of the plan, numbers of parts, and their names and checksums.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ken.api import Subnetwork, load
from ken.errors import ExecutorError, PartsError, ValuesError, hearing, warn
from ken.models.checkpoints.remote.urls import protocol_of
from ken.models.pairing.pairs import Pair
from ken.pruning.parts.folder import named_files
from ken.pruning.parts.joining import join
from ken.pruning.parts.part_plan import PartPlan, planned
from ken.pruning.parts.planned_parts import PlannedParts, plan_of
from ken.pruning.parts.running import run
from ken.pruning.parts.stamps import stamps
from ken.storage.atomic_files import being_written
from ken.storage.file_kinds import PART, SUBNETWORK
from ken.storage.outputs import check_outputs, models_of
from ken.subnetwork.executors.calls import Asked, outcomes
from ken.subnetwork.executors.engines import engine_of
from ken.subnetwork.executors.freed_memory import freed_memory_kept
from ken.subnetwork.executors.link import say_link

_LATEST = threading.local()


def worker_part(description: str, index: int, folder: str, copies: bool) -> str:
    """What a worker does: `ken.run_part`, with text in and out; what it warns of comes along."""
    with hearing() as said, freed_memory_kept():
        done = run(_plan(description), index, folder, copies=copies, progress=False)
    return json.dumps({**done._asdict(), "said": said})


def worker_join(folder: str, out: str, plan: str, overwrite: bool, copies: bool) -> str:
    """What one worker does in the end: `ken.join`; what it warns of comes back."""
    with hearing() as said, freed_memory_kept():
        join(folder, out, plan=plan, overwrite=overwrite, copies=copies, progress=False)
    return json.dumps(said)


def _plan(description: str) -> PlannedParts:
    """The plan; that of the latest part again, if it is the same and the files of the models are.

    To open 70,000 tensors takes longer than to decide about some of them. Each thread has its own.
    """
    data = json.loads(description)
    known = (description, json.dumps(stamps(data)))
    if getattr(_LATEST, "known", None) != known:
        _LATEST.known = None
        _LATEST.plan = plan_of(data)
        _LATEST.known = known
    return _LATEST.plan


def prune_by_executor(
    pair: Pair,
    settings: dict[str, Any],
    out: str | Path | None,
    *,
    executor: Any,
    parts: int | None = None,
    parts_folder: str | Path | None = None,
    timeout: float | None = None,
    overwrite: bool = False,
    copies: bool = False,
    progress: bool = True,
) -> Subnetwork:
    """Prune by the workers of an executor; see `ken.prune`. settings are the other words of that."""
    from tqdm.auto import tqdm

    engine = engine_of(executor)
    folder = _folder(out, parts_folder)
    assert out is not None
    plan = planned(*pair, settings, parts=parts)
    models = models_of(pair)
    check_outputs([(out, SUBNETWORK)], models, overwrite=overwrite)
    check_outputs([(folder / plan.name(1), PART)], models, new_folder=True)
    say_link(engine.link)
    text = json.dumps(plan.description)
    calls = {index: (text, index, str(folder.absolute()), copies) for index in range(1, len(plan) + 1)}
    with (
        tqdm(total=len(plan), desc="prune", unit="part", disable=not progress, delay=1.0, leave=False) as bar,
        _how_to_go_on(plan, folder),
    ):
        for index, answer in outcomes(engine, Asked(worker_part, "part", len(plan)), calls, timeout=timeout):
            _take(answer, folder / plan.name(index))
            bar.update()
        if by_worker := engine.joins and parts_folder is None:  # all of them write where the parts lie, beside out
            bar.set_postfix_str("join", refresh=False)
            words = str(folder.absolute()), str(Path(out).absolute()), plan.digest, overwrite, copies
            limit = None if timeout is None else timeout * len(plan)
            for _, answer in outcomes(engine, Asked(worker_join, "join", 1), {1: words}, timeout=limit):
                _repeat(json.loads(answer))
    if by_worker:
        net = load(out)
        written = Path(os.path.realpath(out))  # a link is followed by whoever writes
        for path in being_written(written.parent, written.name):
            warn(
                f"{path} is left of a worker that was killed, or hangs, while it joined: `ken clean {path.parent}` is "
                "for that"
            )
    else:
        net = join(folder, out, plan=plan.digest, overwrite=overwrite, copies=copies, progress=progress)
    if parts_folder is None:
        _remove(plan, folder)
    return net


def _folder(out: str | Path | None, parts_folder: str | Path | None) -> Path:
    """Where the parts lie."""
    if out is None:
        raise ExecutorError("an executor's workers write into files: give out, on a disk that all of them share")
    if parts_folder is not None:
        return Path(parts_folder)
    if protocol_of(out):
        raise ExecutorError(f"give parts_folder, too, on a disk that all workers share: beside the URL {out} is none")
    return Path(out).with_name(f"{Path(out).name}.parts")


def _take(answer: str, path: Path) -> None:
    """Look at what a worker says it has made."""
    done = json.loads(answer)
    _repeat(done["said"])
    if done["name"] != path.name or not path.is_file():
        raise PartsError(
            f"a worker has made {done['name']}, and it is not in {path.parent} here: the folder of parts must be on a "
            "disk that all workers and this process share, under the same path (parts_folder)"
        )


def _repeat(said: Iterable[str]) -> None:
    """Warn here of what a worker has warned of."""
    for text in said:
        warn(text)


@contextmanager
def _how_to_go_on(plan: PartPlan, folder: Path) -> Iterator[None]:
    """Whatever ends the block says how many parts are kept."""
    try:
        yield
    except ValuesError:
        raise  # of the models: no worker would do better
    except BaseException as error:
        made = sum((folder / plan.name(index)).is_file() for index in range(1, len(plan) + 1))
        error.add_note(
            f"{made} of {len(plan)} parts are in {folder}: the same call goes on from there, with these or other "
            f"workers; `ken clean {folder}` lists what is of no use any more"
        )
        raise


def _remove(plan: PartPlan, folder: Path) -> None:
    """Remove the parts that have been joined, and their folder if nothing else is in it."""
    for file in named_files(folder):
        if plan.digest[:12] in file.path.name:
            file.path.unlink(missing_ok=True)
    if remaining := sorted(path.name for path in folder.iterdir()):
        shown = ", ".join(remaining[:5])
        warn(f"{folder} has more in it than the parts that were joined, and stays (`ken clean {folder}`): {shown}")
    else:
        folder.rmdir()
