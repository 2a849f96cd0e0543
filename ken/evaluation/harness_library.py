"""lm-evaluation-harness as it is used here: its tasks loaded, run on a live model that stays as it is, and quiet.

What this hides of it: it ties the model's weights, gives the tokenizer a padding token, sets the seeds of the whole
process, draws a bar for each step, and looks up models on the hub for its records.
"""

from __future__ import annotations

import copy
import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ken.errors import TrainingError, in_brief, warn
from ken.evaluation.effects.asking import check_live, evaluating

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_INSTALL = "to ask tasks of lm-evaluation-harness takes lm-eval, which is not installed: pip install 'kenviz[lmeval]'"
#: What it says of every live model and of every short task, in part.
_EXPECTED = (
    "model kwarg is not of type `str`",
    "Passed an already-initialized model",
    "using default aggregation",
    "using default higher_is_better",
)


def require() -> None:
    """Check that the library is installed.

    Raises:
        TrainingError: It is not.
    """
    try:
        import accelerate  # noqa: F401
        import lm_eval  # noqa: F401
    except ImportError:
        raise TrainingError(_INSTALL) from None


def loaded(names: Sequence[str], folders: Sequence[Path], *, shots: int | None, seed: int) -> dict[str, Any]:
    """The tasks of these names with their data, those of groups each for itself.

    Raises `TrainingError` for a name that is not known, and for data that cannot be opened.
    """
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=[*folders], include_defaults=False)
    if not folders or not all(name in manager.all_tasks or Path(name).is_file() for name in names):
        manager = TaskManager(include_path=[*folders] or None)  # whose own tasks take seconds to list
    for name in names:
        if name not in manager.all_tasks and not Path(name).is_file():
            near = difflib.get_close_matches(name, manager.all_tasks, n=3)
            hint = f"; there is {', '.join(map(repr, near))}" if near else "; give the folder of its YAML file"
            raise TrainingError(f"lm-evaluation-harness knows no task {name!r}{hint}")
    with quietly(bars=False), drawing_alike(seed):
        try:
            tasks: dict[str, Any] = manager.load(list(names))["tasks"]
        except Exception as error:  # whatever the task's own code, datasets, or the hub raises
            raise TrainingError(f"the tasks {', '.join(names)} cannot be opened ({in_brief(error)})") from error
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False):
            raise TrainingError(f"the task {name} runs code that a model has written, which is not done here")
        if shots is not None or task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=shots or 0)
    return tasks


def requests(tasks: Mapping[str, Any], limit: float | None, *, seed: int) -> dict[str, list[Any]]:
    """What a model will be asked, task by task."""
    from lm_eval.evaluator_utils import get_sample_size

    with quietly(bars=False), drawing_alike(seed):
        for task in tasks.values():
            task.set_fewshot_seed(seed=seed)
            task.build_all_requests(limit=get_sample_size(task, limit), rank=0, world_size=1)
    return {name: list(task.instances) for name, task in tasks.items()}


def run(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Mapping[str, Any],
    *,
    limit: float | None,
    batch_size: int,
    max_length: int | None,
    seed: int,
    progress: bool,
) -> Mapping[str, Any]:
    """What the library makes of a model: its `results`, and `samples`, one for each item and filter.

    The model is as it was afterwards: mode, ties and configuration. So are the tokenizer, and the seeds of the process.
    """
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

    with evaluating(model), quietly(bars=progress), drawing_alike(seed):
        with _ties_as_they_are(model):
            asked = HFLM(
                pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=batch_size, max_length=max_length
            )
        for task in tasks.values():
            task.set_fewshot_seed(seed=seed)
        outcome: Mapping[str, Any] = evaluate(
            lm=asked, task_dict={"tasks": dict(tasks)}, limit=limit, bootstrap_iters=0
        )
        return outcome


@contextmanager
def _ties_as_they_are(model: Any) -> Iterator[None]:
    """A block in which nobody can tie the model's weights: two that differ would become one."""
    model.tie_weights = lambda *args, **kwargs: None
    try:
        yield
    finally:
        del model.tie_weights  # the class has its own


@contextmanager
def drawing_alike(seed: int) -> Iterator[None]:
    """A block in which whatever is drawn at random depends on the seed alone; outside nothing is noticed of it."""
    import random

    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # of the library, which draws from these
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


@contextmanager
def quietly(*, bars: bool) -> Iterator[None]:
    """A block in which the library draws bars only if asked to, and what it warns of is a `KenWarning`, each once."""
    import datasets

    heard = _Heard()
    logger = logging.getLogger("lm_eval")
    propagated = logger.propagate
    with ExitStack() as stack:
        if not bars:
            for module in _drawing():
                stack.enter_context(_replaced(module, "tqdm", _no_bar))
            if not datasets.are_progress_bars_disabled():
                datasets.disable_progress_bars()
                stack.callback(datasets.enable_progress_bars)
        logger.addHandler(heard)
        logger.propagate = False
        try:
            yield
        finally:
            logger.propagate = propagated
            logger.removeHandler(heard)
    for message in heard.messages:
        warn(f"lm-evaluation-harness says: {message}")


def _drawing() -> list[ModuleType]:
    """Its modules that draw bars, and offer no way to leave them out."""
    import lm_eval.api.model
    import lm_eval.api.task
    import lm_eval.models.huggingface

    return [lm_eval.api.model, lm_eval.api.task, lm_eval.models.huggingface]


def _no_bar(*args: Any, **options: Any) -> Any:
    from tqdm import tqdm

    return tqdm(*args, **{**options, "disable": True})


@contextmanager
def _replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


class _Heard(logging.Handler):
    """Takes down warnings, each once, but for those that say nothing new."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take down one."""
        message = " ".join(record.getMessage().split())
        if message not in self.messages and not any(part in message for part in _EXPECTED):
            self.messages.append(message)


def check_language_model(model: Any) -> None:
    """Raise `TrainingError` unless the library can ask this model."""
    check_live(model)
    can_generate = getattr(model, "can_generate", None)
    if can_generate is None or not can_generate():
        raise TrainingError(
            f"lm-evaluation-harness asks language models of transformers, and {type(model).__name__} is none"
        )
