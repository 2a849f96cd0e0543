"""Fine-tune a text classifier and measure its accuracy: thin, over `transformers.Trainer`.

texts, labels ──► fine_tune(model, tokenizer, …) ──► a fine-tuned copy
texts, labels ──► evaluate(model, tokenizer, …)  ──► Evaluation: accuracy ± standard error
"""

from __future__ import annotations

import copy
import math
import operator
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ken.errors import KenError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TrainingError(KenError, ValueError):
    """Texts, labels or settings that a classifier cannot work with, or a loss that is no number."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How many of `n` texts a model labelled correctly.

    >>> evaluation = Evaluation(correct=1424, n=2000)
    >>> print(evaluation)
    71.2 % ± 1.0 (2000 texts)
    >>> float(evaluation)
    0.712
    """

    correct: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.n or self.n < 1:
            raise TrainingError(f"correct must be in 0 … n and n at least 1, got {self.correct} of {self.n}")

    @property
    def accuracy(self) -> float:
        """Share of correct labels, 0 to 1."""
        return self.correct / self.n

    @property
    def standard_error(self) -> float:
        """sqrt(p (1 - p) / n), of the accuracy p: the spread from another draw of texts, not of training."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.n)

    def __float__(self) -> float:
        return self.accuracy

    def __str__(self) -> str:
        return f"{100 * self.accuracy:.1f} % ± {100 * self.standard_error:.1f} ({self.n} texts)"


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    epochs: int = 2,
    batch_size: int = 32,
    learning_rate: float = 1e-4,
    max_length: int = 32,
    seed: int = 0,
    progress: bool = True,
) -> PreTrainedModel:
    """A fine-tuned copy of a sequence-classification model; the given model stays as it is.

    All parameters are trained, those that are frozen in the given model too: AdamW, linear decay of the learning rate
    to 0, gradients clipped to norm 1, batches of texts of similar length, `max_length` in tokens. The copy comes back
    in evaluation mode, on the given model's device; training runs on the device that `transformers.Trainer` finds. An
    interrupted or failed call leaves nothing behind: no file, and no random, logging or model state changed. The same
    seed, versions, number of threads and processor give the same weights on a CPU, bit for bit.

    Raises:
        TrainingError: no texts, texts and labels of unequal number, a label the model has no output for, a tokenizer
            without a padding token, a setting out of range, or a loss that is NaN or infinite.
    """
    classes = _checked(model, tokenizer, texts, labels)
    _at_least_1(epochs=epochs, batch_size=batch_size, max_length=max_length)
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise TrainingError(f"learning_rate must be above 0 and finite, got {learning_rate}")

    device = next(model.parameters()).device
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ken-"))
        stack.enter_context(quiet_transformers())
        stack.enter_context(_own_randomness())
        copied = copy.deepcopy(model)
        for parameter in copied.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        trainer = _trainer(
            copied,
            tokenizer,
            list(zip(texts, classes, strict=True)),
            max_length,
            seed,
            progress,
            {
                "output_dir": folder,
                "num_train_epochs": epochs,
                "per_device_train_batch_size": batch_size,
                "learning_rate": learning_rate,
                "lr_scheduler_type": "linear",
                "max_grad_norm": 1.0,
                "seed": seed,
                "save_strategy": "no",
                "logging_strategy": "no",
                "report_to": "none",
                "disable_tqdm": True,
                "logging_nan_inf_filter": False,  # it hides a NaN loss
                "remove_unused_columns": False,
            },
        )
        trainer.train()
        copied.zero_grad(set_to_none=True)
        # the trainer turns the key-value cache off in the config, which is then saved with the model
        if hasattr(model.config, "use_cache"):
            copied.config.use_cache = model.config.use_cache
        return copied.to(device).eval()  # type: ignore[arg-type]


def evaluate(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    batch_size: int = 64,
    max_length: int = 32,
    progress: bool = False,
) -> Evaluation:
    """Accuracy of a sequence-classification model on texts, on the model's own device.

    `max_length` is in tokens. The model is left as it was, each module in its own training or evaluation mode.

    Raises:
        TrainingError: as in `fine_tune`, or a model that puts out NaN.
    """
    import torch
    from tqdm.auto import tqdm

    classes = _checked(model, tokenizer, texts, labels)
    _at_least_1(batch_size=batch_size, max_length=max_length)
    device = next(model.parameters()).device
    by_length = sorted(range(len(texts)), key=_lengths(tokenizer, texts, max_length).__getitem__)
    modes = [(module, module.training) for module in model.modules()]
    correct = 0
    try:
        model.eval()
        # no_grad, not inference_mode: a model that updates a buffer of its own could never be trained again
        with torch.no_grad(), tqdm(total=len(texts), desc="evaluating", unit="text", disable=not progress) as bar:
            for start in range(0, len(texts), batch_size):
                batch = by_length[start : start + batch_size]
                encoded = _encoded(tokenizer, [texts[i] for i in batch], max_length).to(device)
                logits = model(**encoded).logits
                if torch.isnan(logits).any():
                    row = int(torch.isnan(logits).any(dim=1).nonzero()[0])
                    raise TrainingError(f"the model's output for text {batch[row]} is nan")
                wanted = torch.tensor([classes[i] for i in batch], device=device)
                correct += int((logits.argmax(dim=1) == wanted).sum())
                bar.update(len(batch))
    finally:
        for module, training in modes:
            module.training = training
    return Evaluation(correct, len(texts))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence what transformers logs and its loading bars, and leave its settings as found."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Leave the global random states, which the trainer seeds, as found."""
    import numpy as np
    import torch

    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 (the trainer seeds it)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def _checked(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], labels: Sequence[int]
) -> list[int]:
    """The labels as integers, once everything fits together."""
    if isinstance(texts, str) or len(texts) == 0:
        raise TrainingError(f"texts must be a list of at least one text, got {texts!r}")
    if len(texts) != len(labels):
        raise TrainingError(f"each text needs one label, got {len(texts)} texts and {len(labels)} labels")
    if tokenizer.pad_token is None:
        raise TrainingError("the tokenizer has no padding token: set tokenizer.pad_token")
    limit: int | None = getattr(getattr(model, "config", None), "num_labels", None)
    if limit is None or limit < 2:
        raise TrainingError(f"the model must classify into at least 2 labels, got num_labels = {limit}")
    classes = []
    for place, label in enumerate(labels):
        try:
            index = operator.index(label)
        except TypeError as error:
            raise TrainingError(f"labels must be integers, but label {place} is {label!r}") from error
        if not 0 <= index < limit:
            raise TrainingError(f"labels must be in 0 … {limit - 1}, but label {place} is {index}")
        classes.append(index)
    return classes


def _at_least_1(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise TrainingError(f"{name} must be at least 1, got {value}")


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> Any:
    """Token ids and masks, each (texts, tokens of the longest)."""
    return tokenizer(texts, truncation=True, max_length=max_length, padding=True, return_tensors="pt")


def _lengths(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> list[int]:
    """Tokens of each text."""
    return [len(ids) for ids in tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]]


def _batches(lengths: list[int], size: int, generator: torch.Generator) -> list[list[int]]:
    """Indices in batches of similar length: ties broken at random, batches in random order."""
    import torch

    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    shuffled.sort(key=lengths.__getitem__)
    batches = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def _trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: list[tuple[str, int]],
    max_length: int,
    seed: int,
    progress: bool,
    settings: dict[str, Any],
) -> Any:
    """A Trainer that batches by length, shows one plain bar, and stops at a loss that is no number.

    Defined inside because its base class takes seconds to import.
    """
    import torch
    from tqdm.auto import tqdm
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    class ByLength(torch.utils.data.Sampler[list[int]]):
        def __init__(self, size: int) -> None:
            self.lengths = _lengths(tokenizer, [text for text, _ in pairs], max_length)
            self.size = size
            self.generator = torch.Generator().manual_seed(seed)

        def __len__(self) -> int:
            return -(-len(self.lengths) // self.size)

        def __iter__(self) -> Iterator[list[int]]:
            return iter(_batches(self.lengths, self.size, self.generator))

    class Bar(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(total=state.max_steps, desc="fine-tuning", unit="step", disable=not progress)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    class Classifier(Trainer):
        def get_train_dataloader(self) -> torch.utils.data.DataLoader:
            sampler = ByLength(self._train_batch_size)
            return torch.utils.data.DataLoader(pairs, batch_sampler=sampler, collate_fn=collate)  # type: ignore[arg-type]

        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            loss = super().training_step(*args, **kwargs)
            if not torch.isfinite(loss):
                step, of = self.state.global_step + 1, self.state.max_steps
                rate = self.args.learning_rate
                raise TrainingError(
                    f"the loss must be finite, but is {loss.item()} at step {step} of {of} (learning_rate {rate})"
                )
            return loss

    def collate(batch: list[tuple[str, int]]) -> Any:
        encoded = _encoded(tokenizer, [text for text, _ in batch], max_length)
        encoded["labels"] = torch.tensor([label for _, label in batch])
        return encoded

    trainer = Classifier(
        model=model,
        args=TrainingArguments(**settings),
        train_dataset=pairs,
        callbacks=[Bar()],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
