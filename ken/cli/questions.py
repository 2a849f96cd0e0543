"""What models are asked on the command line: from options to an evaluation of an opened pair.

classification  texts with labels; the share that is labelled correctly
fidelity        texts alone; the answers beside those of the unpruned model
causal          texts that a language model continues
harness         tasks of lm-evaluation-harness
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.cli import texts as files
from ken.cli.opened import Kind, kind_of, open_pair, open_tokenizer
from ken.errors import KenError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ken.evaluation.effects.tasks import Task
    from ken.models.pairing.pairs import Pair

TASKS = ("classification", "fidelity", "causal", "harness")
_LENGTH = 128
_OF_HARNESS = ("harness_task", "include_path", "metric", "limit")


@dataclass(frozen=True, slots=True)
class Question:
    """The options of a command, as `ken.cli.options` declares them. It is checked when it is made.

    Raises:
        KenError: Options do not go together.

    Example:
        >>> Question(task="causal")
        Traceback (most recent call last):
            ...
        ken.errors.KenError: --task causal needs --texts
    """

    task: str
    texts: Path | None = None
    text_column: str = "text"
    label_column: str = "label"
    tokenizer: str | None = None
    batch_size: int = 64
    max_length: int | None = None
    harness_task: tuple[str, ...] = ()
    include_path: tuple[Path, ...] = ()
    metric: str | None = None
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise KenError(f"--task must be one of {', '.join(TASKS)}, got {self.task!r}")
        if self.task != "harness":
            given = [name for name in _OF_HARNESS if getattr(self, name) not in ((), None)]
            if given:
                raise KenError(f"--{given[0].replace('_', '-')} is for --task harness, not {self.task}")
            if self.texts is None:
                raise KenError(f"--task {self.task} needs --texts")
        elif not self.harness_task:
            raise KenError("--task harness needs --harness-task, the name of a task")
        elif self.texts is not None:
            raise KenError("--task harness has texts of its own: leave out --texts")
        if self.texts is not None and not self.texts.is_file():
            raise KenError(f"there is no file of texts {self.texts}")

    def inputs(self, fine_tuned: str, pretrained: str) -> dict[str, Any]:
        """What is read, by what it is called: nothing of it may be written over."""
        return {
            "the fine-tuned model": fine_tuned,
            "the pretrained model": pretrained,
            "the tokenizer": self.tokenizer,
            "the file of texts": self.texts,
            **{f"the folder of tasks {folder}": folder for folder in self.include_path},
            **{f"the task {name}": name for name in self.harness_task if Path(name).exists()},
        }


@dataclass(frozen=True, slots=True)
class Asking:
    """An opened pair, and how it is evaluated.

    Attributes:
        pair: Both models, live.
        carried: Patterns of tensors that the pretrained model does not have.
        evaluate: For `ken.sweep`.
        name: What tells this evaluation from others.
        metric: What the metric is, in words.
        loss: What the loss is, in words; empty where there is none.
        percent: Whether the metric is a share.
        rises: Whether more of the metric is better.
        task: Makes the same as a task with a loss, which `ken.attribute` needs; None where there is none.
    """

    pair: Pair
    carried: list[str]
    evaluate: Callable[[Any], Any]
    name: str
    metric: str
    loss: str = ""
    percent: bool = True
    rises: bool = True
    task: Callable[[], Task] | None = None


def opened(question: Question, fine_tuned: str, pretrained: str) -> Asking:
    """Open both models and what they are asked.

    Raises:
        KenError: A model is of another kind than the task needs, or something cannot be read.
    """
    asked_of = {"classification": _classification, "harness": _harness}.get(question.task, _texts_alone)
    return asked_of(question, fine_tuned, pretrained)


def _classification(question: Question, fine_tuned: str, pretrained: str) -> Asking:
    from ken.evaluation.effects.tasks import Task
    from ken.training import evaluate

    assert question.texts is not None
    pair, carried = open_pair(fine_tuned, pretrained, "text classifier")
    tokenizer = open_tokenizer(question.tokenizer or fine_tuned)
    model: Any = pair.fine_tuned
    texts, labels = files.labelled(question.texts, question.text_column, question.label_column, model=model)
    taken: dict[str, Any] = {"batch_size": question.batch_size, "max_length": question.max_length or _LENGTH}
    return Asking(
        pair,
        carried,
        evaluate=lambda asked: evaluate(asked, tokenizer, texts, labels=labels, **taken),
        name=f"accuracy on {len(texts)} texts {_digest(tokenizer, texts, taken['max_length'], labels=labels)}",
        metric=f"Share of {len(texts):,} texts labelled correctly",
        loss="cross entropy",
        task=lambda: Task.classification(model, tokenizer, texts, labels=labels, **taken),
    )


def _texts_alone(question: Question, fine_tuned: str, pretrained: str) -> Asking:
    from ken.evaluation.effects.tasks import Task

    assert question.texts is not None
    kind = _kind(question.task, fine_tuned)
    texts = files.alone(question.texts, question.text_column)
    pair, carried = open_pair(fine_tuned, pretrained, kind)
    tokenizer = open_tokenizer(question.tokenizer or fine_tuned)
    taken: dict[str, Any] = {"batch_size": question.batch_size, "max_length": question.max_length or _LENGTH}
    if question.task == "causal":
        task = Task.causal(pair.fine_tuned, tokenizer, texts, **taken)  # type: ignore[arg-type]
        metric = f"Share of next tokens that were held likeliest, mean of {len(texts):,} texts"
        loss = "cross entropy of the next token"
    else:
        task = Task.fidelity(pair.fine_tuned, tokenizer, texts, **taken)  # type: ignore[arg-type]
        metric = f"Share of {len(texts):,} texts labelled as the unpruned model labels them"
        if kind == "causal language model":
            metric = f"Share of tokens whose likeliest next one is the unpruned model's, mean of {len(texts):,} texts"
        loss = "Kullback-Leibler divergence from the unpruned model's probabilities"
    what = {"causal": "next tokens of", "fidelity": "fidelity on"}[question.task]
    return Asking(
        pair,
        carried,
        evaluate=task.evaluate,
        name=f"{what} {len(texts)} texts {_digest(tokenizer, texts, taken['max_length'])}",
        metric=metric,
        loss=loss,
        task=lambda: task,
    )


def _kind(task: str, fine_tuned: str) -> Kind:
    """Of which kind both models are."""
    if task == "causal":
        return "causal language model"
    kind = kind_of(fine_tuned)
    if kind == "text classifier":
        return "text classifier"
    if kind == "causal language model":
        return "causal language model"
    raise KenError(
        f"fidelity is of text classifiers and causal language models, and {fine_tuned} is "
        + ("of no kind that its configuration names" if kind is None else f"a {kind}")
    )


def _harness(question: Question, fine_tuned: str, pretrained: str) -> Asking:
    from ken.evaluation.harness import Harness

    harness = Harness(
        open_tokenizer(question.tokenizer or fine_tuned),
        question.harness_task,
        include_path=question.include_path,
        metric=question.metric,
        limit=question.limit,
        batch_size=question.batch_size,
        max_length=question.max_length,
    )
    pair, carried = open_pair(fine_tuned, pretrained, "causal language model")
    return Asking(
        pair,
        carried,
        evaluate=harness.evaluate,
        name=harness.name,
        metric=f"{harness.metric} of {', '.join(harness.tasks)} on {harness.items:,} items",
        loss="minus the log-likelihood of what was wanted",
        percent=False,
        rises=harness.higher_is_better is not False,
    )


def _digest(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int, *, labels: list[int] | None = None
) -> str:
    """Of all that the models are given, and of what they should answer."""
    from ken.models.tensors.tensor_bytes import digest

    tokens = [list(ids) for ids in tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]]
    return digest(json.dumps([tokens, labels]).encode())
