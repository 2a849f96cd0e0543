"""Language models, live, put to the tasks of lm-evaluation-harness: an evaluation for `ken.sweep` and `ken.ablate`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import TrainingError, warn
from ken.evaluation import harness_library as library
from ken.models.tensors.tensor_bytes import digest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

#: Metrics of which an item has 0 or 1: whether it was answered correctly.
_RIGHT_OR_WRONG = {
    *("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "em"),
    *("prompt_level_strict_acc", "prompt_level_loose_acc"),
}


@dataclass(frozen=True, slots=True, eq=False)
class HarnessAnswers:
    """What a model made of the harness's tasks. As a number (`float`) it is the metric.

    Attributes:
        metric: The metric; of several tasks the mean over the items of all.
        scores: (items,) float64: what the metric is the mean of, task by task in the harness's order; None where the
            harness computes it of all items together, such as a perplexity.
        outcomes: (items,) bool: whether each was answered correctly; None where there is no right or wrong.
        losses: (items,) float64, in nats: minus the log-likelihood of the wanted continuation, of a choice among the
            choices alone; None where answers are generated.
        metrics: Further numbers by name: the loss, and every metric of every task.

    Example:
        >>> right = np.array([True, False])
        >>> answers = HarnessAnswers(0.5, right.astype(float), right, np.array([0.2, 1.4]), {"arc acc_norm": 0.6})
        >>> float(answers), answers.metrics, answers
        (0.5, {'arc acc_norm': 0.6}, HarnessAnswers(metric 0.5 ± 0.354, 2 items))
    """

    metric: float
    scores: NDArray[np.float64] | None
    outcomes: NDArray[np.bool_] | None
    losses: NDArray[np.float64] | None
    metrics: Mapping[str, float]

    def __float__(self) -> float:
        return self.metric

    @property
    def standard_error(self) -> float:
        """That of the metric, from another draw of items; NaN where it is no mean over items."""
        return math.nan if self.scores is None else float(self.scores.std()) / math.sqrt(len(self.scores))

    def __repr__(self) -> str:
        items = "" if self.scores is None else f" ± {self.standard_error:.3g}, {len(self.scores):,} items"
        return f"HarnessAnswers(metric {self.metric:.3g}{items})"


class Harness:
    """Tasks of lm-evaluation-harness for live language models (extra ``lmeval``).

    Args:
        tokenizer: That of the models; it stays as it is.
        tasks: Names of tasks or groups, or paths of YAML files of one's own.
        include_path: A folder, or several, with YAML files of one's own tasks. If all tasks are in them, nothing else
            is looked at; without the network too, if their data are on the disk.
        metric: Which number counts, such as "acc_norm", or "exact_match,strict-match" with the name of a filter; by
            default the first one of the first task. Each task must have it.
        limit: Only so many items of each task, or below 1 that share of them: the first ones.
        num_fewshot: Worked examples before each item; by default what the task says.
        batch_size: Requests at a time.
        max_length: Tokens that a request may have; by default as many as the model takes.
        seed: Of the draw of examples, and of whatever else a task draws.

    Attributes:
        tasks: The names of the tasks, those of groups resolved.
        metric: The metric.
        higher_is_better: Whether more of it is better; None if the harness does not say.
        items: How many items there are.
        name: What tells this evaluation from others: a digest of all that a model is asked is in it. For `evaluation=`
            of `ken.sweep` and `ken.ablate`.

    Raises:
        TrainingError: lm-eval is not installed; a task or metric is unknown; data cannot be opened; a task would run
            code that the model writes; or the tokenizer has no token that begins or ends texts.

    Warns:
        KenWarning: Less of the metric is better, which `ken.smallest_k` does not take for granted; or the harness
            warns of something.

    Source:
        Gao et al., "The Language Model Evaluation Harness", doi 10.5281/zenodo.10256836.

    Example:
        ```python
        harness = ken.Harness(tokenizer, ["colours"], include_path="tasks")
        ken.sweep(pair, [0.5, 0.25], evaluate=harness.evaluate, evaluation=harness.name)
        ```
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        tasks: Sequence[str] | str,
        *,
        include_path: str | Path | Sequence[str | Path] = (),
        metric: str | None = None,
        limit: float | None = None,
        num_fewshot: int | None = None,
        batch_size: int = 8,
        max_length: int | None = None,
        seed: int = 0,
    ) -> None:
        names = [tasks] if isinstance(tasks, str) else list(tasks)
        folders = [Path(include_path)] if isinstance(include_path, str | Path) else [Path(one) for one in include_path]
        if not names:
            raise TrainingError("tasks must name at least one task, got none")
        if batch_size < 1:
            raise TrainingError(f"batch_size must be at least 1, got {batch_size}")
        if limit is not None and not limit > 0:
            raise TrainingError(f"limit must be above 0, got {limit}")
        for folder in folders:
            if not folder.is_dir():
                raise TrainingError(f"include_path must be a folder, got {str(folder)!r}")
        if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
            raise TrainingError(
                "lm-evaluation-harness needs a token that begins or ends texts, and the tokenizer names none: set "
                "tokenizer.bos_token"
            )
        library.require()
        self._tokenizer, self._batch_size, self._max_length = tokenizer, batch_size, max_length
        self._limit, self._seed = limit, seed
        self._tasks = library.loaded(names, folders, shots=num_fewshot, seed=seed)
        self.tasks = tuple(self._tasks)
        wanted, _, self._filter = (metric or self._first_metric()).partition(",")
        self.metric = metric or wanted
        self._metric = wanted
        self._check_metric()
        self.higher_is_better: bool | None = self._tasks[self.tasks[0]].higher_is_better().get(wanted)
        if self.higher_is_better is False:
            warn(f"less of {wanted} is better: ken.smallest_k, which looks for what costs little of it, goes astray")
        asked = library.requests(self._tasks, limit, seed=seed)
        self.items = sum(len({request.doc_id for request in requests}) for requests in asked.values())
        self.name = self._named(asked)

    def evaluate(self, model: torch.nn.Module, *, progress: bool = False) -> HarnessAnswers:
        """What a model makes of the tasks: an evaluation for `ken.ablate`, `ken.sweep` and `ken.smallest_k`.

        Args:
            model: A causal (or sequence-to-sequence) language model of transformers; it is asked where it is, and its
                modules keep their training or evaluation mode.
            progress: Whether to show the harness's bars.

        Returns:
            The metric, and what is known of it item by item.

        Raises:
            TrainingError: The model is no language model, or a metric is no number.

        Example:
            ```python
            print(harness.evaluate(fine_tuned))  # HarnessAnswers(metric 0.47 ± 0.0158, 1,000 items)
            ```
        """
        library.check_language_model(model)
        given = library.run(
            model,
            self._tokenizer,
            self._tasks,
            limit=self._limit,
            batch_size=self._batch_size,
            max_length=self._max_length,
            seed=self._seed,
            progress=progress,
        )
        samples = {name: self._samples(given["samples"][name]) for name in self.tasks}
        numbers = {name: self._number(name, given["results"][name]) for name in self.tasks}
        scores = self._scores(samples, numbers)
        losses = self._losses(samples)
        if not all(map(math.isfinite, numbers.values())):
            raise TrainingError(f"{self.metric} must be a number, got {numbers}")
        if scores is None and len(numbers) > 1:
            raise TrainingError(
                f"{self.metric} is no mean over items, so that there is no one number of {len(numbers)} tasks "
                f"({', '.join(self.tasks)}); name one task"
            )
        further = {} if losses is None else {"loss": float(losses.mean())}
        return HarnessAnswers(
            metric=numbers[self.tasks[0]] if scores is None else float(scores.mean()),
            scores=scores,
            outcomes=self._outcomes(scores),
            losses=losses,
            metrics=further | self._further(given["results"]),
        )

    def __repr__(self) -> str:
        return f"Harness({self.metric} of {', '.join(self.tasks)}, {self.items:,} items)"

    def _first_metric(self) -> str:
        metrics = list(self._tasks[self.tasks[0]].aggregation())
        if not metrics:
            raise TrainingError(f"the task {self.tasks[0]} has no metric")
        return metrics[0]

    def _check_metric(self) -> None:
        for name, task in self._tasks.items():
            metrics = [*task.aggregation()]
            if self._metric not in metrics:
                raise TrainingError(f"the task {name} has no metric {self._metric!r}; it has {', '.join(metrics)}")
            filters = [one.name for one in getattr(task, "_filters", ())]
            if self._filter and self._filter not in filters:
                raise TrainingError(f"the task {name} has no filter {self._filter!r}; it has {', '.join(filters)}")

    def _named(self, asked: Mapping[str, list[Any]]) -> str:
        texts = sorted({text for one in asked.values() for request in one for text in request.args if _is_text(text)})
        tokens = {text: list(ids) for text, ids in zip(texts, self._ids(texts), strict=True)}
        lines = [
            [name, request.request_type, request.doc_id, request.args, request.doc]
            for name, requests in asked.items()
            for request in requests
        ]
        content = json.dumps([lines, tokens, self._max_length, self._seed], default=str, sort_keys=True)
        tasks = ", ".join(self.tasks)
        return f"{self.metric} of {tasks} on {self.items} items {digest(content.encode('utf-8', 'surrogatepass'))}"

    def _ids(self, texts: list[str]) -> Sequence[Sequence[int]]:
        return self._tokenizer(texts)["input_ids"] if texts else []

    def _samples(self, samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of one filter, in the order of the items."""
        wanted = self._filter or samples[0]["filter"]
        return sorted((one for one in samples if one["filter"] == wanted), key=lambda one: one["doc_id"])

    def _number(self, task: str, results: Mapping[str, Any]) -> float:
        """The metric of one task as the harness has it."""
        key = next(key for key in results if key.partition(",")[0] == self._metric and key.endswith(self._filter))
        return float(results[key])

    def _scores(
        self, samples: Mapping[str, list[Mapping[str, Any]]], numbers: Mapping[str, float]
    ) -> NDArray[np.float64] | None:
        """What the metric is the mean of; None unless it is a mean, in every task."""
        scores = []
        for name, items in samples.items():
            values = [item.get(self._metric) for item in items]
            if not all(isinstance(value, int | float | np.number | np.bool_) for value in values):
                return None
            scores.append(np.array(values, np.float64))
            if not math.isclose(scores[-1].mean(), numbers[name], rel_tol=1e-6, abs_tol=1e-9):
                return None
        return np.concatenate(scores)

    def _outcomes(self, scores: NDArray[np.float64] | None) -> NDArray[np.bool_] | None:
        """By the metric's name: items of another may all have 0 or 1 by chance, and with the next model not."""
        if scores is None or self._metric not in _RIGHT_OR_WRONG or not np.isin(scores, (0, 1)).all():
            return None
        return scores == 1

    def _losses(self, samples: Mapping[str, list[Mapping[str, Any]]]) -> NDArray[np.float64] | None:
        losses = [_loss(self._tasks[name], item) for name, items in samples.items() for item in items]
        known = [loss for loss in losses if loss is not None]
        return np.array(known, np.float64) if len(known) == len(losses) else None

    def _further(self, results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Every metric of every task, but for the one that is the metric."""
        further = {}
        for task in self.tasks:
            for key, value in results[task].items():
                metric, comma, filtered = key.partition(",")
                if not comma or metric.endswith("_stderr") or not isinstance(value, int | float | np.number):
                    continue
                if len(self.tasks) == 1 and metric == self._metric and filtered in {self._filter, "none"}:
                    continue
                further[f"{task} {metric}" + ("" if filtered == "none" else f" {filtered}")] = float(value)
        return further


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _loss(task: Any, sample: Mapping[str, Any]) -> float | None:
    """Minus the log-likelihood of what was wanted; None where nothing was weighed, or more than one thing was right."""
    kind, responses = task.OUTPUT_TYPE, [one[0] for one in sample["resps"]]
    if kind == "loglikelihood":
        return -float(responses[0][0])
    if kind == "loglikelihood_rolling":
        return -float(responses[0])
    if kind != "multiple_choice":
        return None
    choices = task.doc_to_choice(sample["doc"])
    target = task.doc_to_text(sample["doc"]) if getattr(task, "multiple_input", 0) else sample["target"]
    if isinstance(target, str) and target in choices:
        target = choices.index(target)
    if not isinstance(target, int) or not 0 <= target < len(choices):
        return None
    weighed = np.array([response[0] for response in responses[: len(choices)]], np.float64)
    return float(np.logaddexp.reduce(weighed) - weighed[target])
