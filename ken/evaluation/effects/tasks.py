"""What models are asked: batches of items, and the loss that a model has at each item."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import TrainingError
from ken.evaluation.datasets import class_numbers, columns
from ken.evaluation.effects import asking
from ken.evaluation.effects.asking import evaluating
from ken.evaluation.encoding import encoder, knowing

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model made of a task, item by item. As a number (`float`) it is the metric.

    Attributes:
        losses: (items,) float64: the loss at each item, in nats.
        outcomes: (items,) bool: whether each was answered correctly; None where there is no right or wrong.
        scores: (items,) float64: what the metric is the mean of.
        probabilities: (items, classes) float64: what the model gives each class; None where the task does not tell.

    Example:
        >>> answers = Answers(np.array([0.5, 1.5]), np.array([True, False]), np.array([1.0, 0.0]))
        >>> float(answers), answers.loss, answers
        (0.5, 1.0, Answers(metric 0.5 ± 0.354, loss 1 ± 0.354, 2 items))
    """

    losses: NDArray[np.float64]
    outcomes: NDArray[np.bool_] | None
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None = None

    def __float__(self) -> float:
        return float(self.scores.mean())

    @property
    def loss(self) -> float:
        """The mean loss, in nats."""
        return float(self.losses.mean())

    @property
    def standard_error(self) -> float:
        """That of the metric: the spread from another draw of items."""
        return _standard_error(self.scores)

    @property
    def metrics(self) -> dict[str, float]:
        """The loss, by name."""
        return {"loss": self.loss}

    def __repr__(self) -> str:
        loss = f"loss {self.loss:.3g} ± {_standard_error(self.losses):.3g}"
        return f"Answers(metric {float(self):.3g} ± {self.standard_error:.3g}, {loss}, {len(self.losses):,} items)"


def _standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std()) / math.sqrt(len(values))


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Batches of items, and a loss that has a gradient: for `ken.attribute`, and as an evaluation for the rest.

    Attributes:
        batches: What `ask` is given, one after the other, each time anew.
        ask: Takes a model and a batch. Returns the loss at each item of the batch, (items,) with gradients; or two
            tensors, the losses and the scores, (items,): bool for right and wrong, else a number. The metric is the
            mean of the scores; without any it is the loss. A third tensor may be the probabilities, (items, classes).
        order: The number of each item, batch by batch, in the order that was given; None: as the batches have them.
        names: What items are called, in the order that was given; empty: by their number.
        padding: The token that texts are padded with, which the model's configuration must name; None: it need not.
        check: Called with the model before it is asked; it raises an error if that would mean nothing.
        classes: What the classes are called whose probabilities `ask` gives; empty: by their number.
        labels: The number of the right class of each item, in the order that was given; None if that is not told.

    Example:
        >>> import torch
        >>> task = Task([torch.eye(2), torch.ones(1, 2)], lambda model, batch: model(batch).sum(dim=1).square())
        >>> task.evaluate(torch.nn.Linear(2, 1)).losses.shape
        (3,)
    """

    batches: Sequence[Any]
    ask: Callable[[Any, Any], Any]
    order: NDArray[np.int64] | None = None
    names: Sequence[str] = ()
    padding: int | None = None
    check: Callable[[Any], None] | None = None
    classes: Sequence[str] = ()
    labels: NDArray[np.int64] | None = None

    @classmethod
    def classification(
        cls,
        model: torch.nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        texts: Any,
        labels: Any = None,
        *,
        max_length: int = 32,
        batch_size: int = 50,
    ) -> Task:
        """Texts to be classified: cross entropy, whether the label is the right one, and the probabilities of all.

        Args:
            model: A sequence classifier; any of the pair that has the head.
            tokenizer: Its own.
            texts: As `ken.training.evaluate` takes them, and so labels.
            labels: None with a frame.
            max_length: How many tokens of a text are taken.
            batch_size: Texts in a batch, which are of similar length; with 1, every text is a batch of its own.

        Returns:
            The task.

        Raises:
            TrainingError: As in `ken.training.evaluate`.

        Example:
            ```python
            task = ken.Task.classification(fine_tuned, tokenizer, ["so good", "so bad"], [1, 0])
            task.evaluate(fine_tuned)
            ```
        """
        import torch

        texts, labels = columns(texts, labels, "text", label="label")
        config: Any = model.config
        numbers = torch.tensor(class_numbers(labels, config.num_labels, getattr(config, "label2id", None) or {}))
        taking = encoder(model, tokenizer, texts, max_length=max_length)
        order, batches = asking.by_length(taking, texts, batch_size)

        pairs = [(encoded, numbers[items]) for items, encoded in batches]
        names = getattr(config, "id2label", None) or {}
        return cls(
            pairs,
            asking.of_labels,
            order=order,
            names=tuple(texts),
            padding=taking.padding,
            classes=tuple(str(names.get(at, at)) for at in range(config.num_labels)),
            labels=numbers.numpy(),
        )

    @classmethod
    def causal(
        cls,
        model: torch.nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        texts: Sequence[str],
        *,
        max_length: int = 128,
        batch_size: int = 8,
    ) -> Task:
        """Texts to be continued: cross entropy of each next token, and the share of them that come first.

        Args:
            model: A causal language model.
            tokenizer: Its own.
            texts: Of two tokens at least.
            max_length: How many tokens of a text are taken.
            batch_size: Texts in a batch, which are of similar length.

        Returns:
            The task. The loss of a text is the mean over its tokens.

        Raises:
            TrainingError: A text is too short, or has a token that the model does not know.

        Example:
            ```python
            task = ken.Task.causal(fine_tuned, tokenizer, ["Once upon a time"])
            ```
        """
        texts = list(texts)
        taking = encoder(model, tokenizer, texts, max_length=max_length)
        short = next((i for i, length in enumerate(taking.lengths(texts)) if length < 2), None)
        if short is not None:
            raise TrainingError(f"each text must have at least 2 tokens, but text {short} is {texts[short]!r}")
        order, batches = asking.by_length(taking, texts, batch_size)

        encoded = [encoded for _, encoded in batches]
        return cls(encoded, asking.of_next_tokens, order=order, names=tuple(texts), padding=taking.padding)

    @classmethod
    def fidelity(
        cls,
        reference: torch.nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        texts: Sequence[str],
        *,
        max_length: int = 32,
        batch_size: int = 32,
    ) -> Task:
        """Texts without labels: how far a model's answers are from those of the unpruned one.

        Args:
            reference: The unpruned model, a sequence classifier or a causal language model. It is asked anew each time,
                and must stay as it is: it cannot be the live model that is pruned in place, but may be a model of the
                pair, of which `ken.sweep` and `ken.ablate` make copies.
            tokenizer: Its own.
            texts: Any; of two tokens at least for a language model.
            max_length: How many tokens of a text are taken.
            batch_size: Texts in a batch, which are of similar length.

        Returns:
            The task. The loss is the Kullback-Leibler divergence of the model's probabilities from the reference's, in
            nats; the score whether the likeliest label is the same. Of a language model both are means over the tokens
            of a text.

        Raises:
            TrainingError: A text is empty, or has a token that the model does not know. `evaluate` raises it if the
                reference has changed.

        Example:
            ```python
            task = ken.Task.fidelity(fine_tuned, tokenizer, ["so good", "so bad"])
            float(task.evaluate(pruned))  # the share of texts that are labelled alike
            ```
        """
        texts = list(texts)
        taking = encoder(reference, tokenizer, texts, max_length=max_length)
        order, batches = asking.by_length(taking, texts, batch_size)

        encoded = [encoded for _, encoded in batches]
        unpruned = asking.Reference(reference, taking.padding)
        return cls(
            encoded,
            unpruned.ask,
            order=order,
            names=tuple(texts),
            padding=taking.padding,
            check=unpruned.check,
        )

    def evaluate(self, model: torch.nn.Module, *, progress: bool = False) -> Answers:
        """What a model makes of the task: an evaluation for `ken.ablate`, `ken.sweep` and `ken.smallest_k`.

        Args:
            model: The model; each of its modules keeps its training or evaluation mode.
            progress: Whether to show a bar.

        Returns:
            Losses, outcomes and probabilities, in the order in which the items were given.

        Raises:
            TrainingError: A loss is NaN or infinite, or the model is a state dict.

        Example:
            >>> import torch
            >>> task = Task([torch.ones(3, 2)], lambda model, batch: model(batch)[:, 0].square())
            >>> layer = torch.nn.Linear(2, 1)
            >>> float(task.evaluate(layer)) == task.evaluate(layer).loss
            True
        """
        import torch
        from tqdm.auto import tqdm

        asking.check_live(model)
        if self.check is not None:
            self.check(model)
        losses: list[NDArray[np.float64]] = []
        scores: list[NDArray[Any]] = []
        shares: list[NDArray[Any]] = []
        bar = tqdm(self.batches, desc="evaluating", unit="batch", disable=not progress, leave=False)
        with evaluating(model), self.knowing(model), torch.no_grad(), bar:
            for batch in bar:
                loss, score, probabilities = self._ask(model, batch)
                losses.append(loss.double().cpu().numpy())
                scores.append(losses[-1] if score is None else score.cpu().numpy())
                if probabilities is not None:
                    shares.append(probabilities.double().cpu().numpy())
        all_losses, all_scores = self._in_order(losses), self._in_order(scores)
        if not np.isfinite(all_losses).all():
            item = int(np.flatnonzero(~np.isfinite(all_losses))[0])
            raise TrainingError(f"the loss at item {item} is {all_losses[item]}")
        outcomes = all_scores if all_scores.dtype == np.bool_ else None
        known = self._in_order(shares) if shares else None
        return Answers(all_losses, outcomes, all_scores.astype(np.float64), probabilities=known)

    def ask_batch(self, model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Losses (items,) and scores of one batch; None where the task has none.

        Args:
            model: The model.
            batch: One of `batches`.

        Returns:
            Both, with the gradients that the losses have.

        Raises:
            TrainingError: `ask` gives anything but one loss for each item, or probabilities of other items or classes.

        Example:
            >>> import torch
            >>> task = Task([torch.ones(3, 2)], lambda model, batch: model(batch)[:, 0].square())
            >>> losses, scores = task.ask_batch(torch.nn.Linear(2, 1), task.batches[0])
            >>> losses.shape, scores
            (torch.Size([3]), None)
        """
        return self._ask(model, batch)[:2]

    def _ask(self, model: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        answer = self.ask(model, batch)
        losses, scores, probabilities = (*answer, None, None)[:3] if isinstance(answer, tuple) else (answer, None, None)
        losses = losses.reshape(1) if losses.ndim == 0 else losses
        if losses.ndim != 1 or (scores is not None and scores.shape != losses.shape):
            shapes = tuple(losses.shape), None if scores is None else tuple(scores.shape)
            raise TrainingError(f"a task must give one loss, and one score, for each item, got shapes {shapes}")
        if probabilities is not None:
            shape, classes = tuple(probabilities.shape), len(self.classes) or "any number of"
            if len(shape) != 2 or shape[0] != len(losses) or (self.classes and shape[1] != classes):
                raise TrainingError(f"probabilities must be of {len(losses)} items and {classes} classes, got {shape}")
        return losses, scores, probabilities

    def knowing(self, model: Any) -> AbstractContextManager[None]:
        """A block in which the model's configuration names the token that texts are padded with.

        Args:
            model: The model.

        Returns:
            A context manager.

        Example:
            >>> with Task([], print).knowing(None):
            ...     pass
        """
        return nullcontext() if self.padding is None else knowing(model, self.padding)

    def _in_order(self, parts: list[NDArray[Any]]) -> NDArray[Any]:
        values = np.concatenate(parts)
        if self.order is None:
            return values
        placed = np.empty_like(values)
        placed[self.order] = values
        return placed
