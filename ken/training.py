"""Fine-tune a text classifier and measure it: thin, over `transformers.Trainer`, without any hub.

texts, labels ──► split(…)                        ──► a part to train on, a part to hold out
texts, labels ──► fine_tune(model, tokenizer, …)  ──► FineTuned: a fine-tuned copy, how it came on, what was held out
texts, labels ──► evaluate(model, tokenizer, …)   ──► Evaluation: accuracy ± standard error, macro F1, confusion

Texts and labels are lists, series or arrays, or one `pandas.DataFrame`; classes are numbers, or the model's names.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from ken.errors import TrainingError as TrainingError
from ken.errors import in_brief
from ken.evaluation.classification import Evaluation as Evaluation
from ken.evaluation.datasets import Labels, Texts, class_numbers, columns, stratified
from ken.evaluation.datasets import split as split
from ken.evaluation.encoding import Encoder, encoder, knowing
from ken.evaluation.trainer import own_randomness, trainer
from ken.evaluation.trainer import quiet_transformers as quiet_transformers
from ken.models.scalars import LARGEST_OF_TRAINING, checked_seed

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Examples = tuple[list[str], list[int]]

_HISTORY = ["epoch", "loss", "validation_loss", "accuracy", "standard_error", "macro_f1"]
_EVALUATED_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FineTuned:
    """A fine-tuned model, how it came on, and the texts that were held out from it.

    The three belong together: who has `fine_tune` hold texts out must be able to measure a pruned model on just those.

    Attributes:
        model: After the last epoch, not the best: choosing by the validation texts is for the caller.
        history: A line for each epoch, with the columns epoch (from 1), loss (mean cross-entropy of the training texts
            while they were trained on, in nats), validation_loss, accuracy, standard_error and macro_f1 (of the
            validation texts after the epoch; NaN without any).
        validation: Texts and class numbers that were held out; None if there were none.

    Example:
        ```python
        tuned = fine_tune(model, tokenizer, texts, labels, validation=0.2)
        evaluate(pruned, tokenizer, *tuned.validation)
        ```
    """

    model: PreTrainedModel
    history: pd.DataFrame
    validation: Examples | None

    def __repr__(self) -> str:
        last = self.history.iloc[-1]
        measured = "" if self.validation is None else f", validation accuracy {last['accuracy']:.1%}"
        return f"FineTuned({type(self.model).__name__}, {len(self.history)} epochs, loss {last['loss']:.3g}{measured})"


def fine_tune(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Texts,
    labels: Labels = None,
    *,
    text: str = "text",
    label: str = "label",
    validation: float | tuple[Any, Any] | pd.DataFrame | None = None,
    epochs: int = 2,
    batch_size: int = 32,
    learning_rate: float = 1e-4,
    max_length: int = 32,
    seed: int = 0,
    progress: bool = True,
) -> FineTuned:
    """A fine-tuned copy of a sequence-classification model; the given model stays as it is.

    All parameters are trained, those that are frozen in the given model too: AdamW, linear decay of the learning rate
    to 0, gradients clipped to norm 1, batches of texts of similar length. Training runs on the device that
    `transformers.Trainer` finds. An interrupted or failed call leaves nothing behind: no file, and no random, logging
    or model state changed. The same seed, versions, number of threads and processor give the same weights on a CPU, bit
    for bit.

    Args:
        model: A sequence classifier of at least two labels.
        tokenizer: Its own.
        texts: A list, series or array of texts; or a `pandas.DataFrame`, of which `text` and `label` name the columns.
        labels: As many, paired by position: class numbers, or keys of model.config.label2id. None with a frame.
        text: Column of the texts.
        label: Column of the labels.
        validation: A share of the texts to hold out (drawn by class and `seed`, see `split`), or texts of their own: a
            pair (texts, labels), or a frame. They are measured after every epoch, which changes nothing about the
            training.
        epochs: How often every text is trained on.
        batch_size: Texts in a batch.
        learning_rate: At first.
        max_length: How many tokens of a text are taken.
        seed: Of the order of texts, of dropout and of the texts held out, from 0 to 2³² − 1.
        progress: Whether to show bars.

    Returns:
        The copy, in evaluation mode and on the given model's device, its history, and the texts held out.

    Raises:
        TrainingError: no texts, texts and labels of unequal number, a missing text or label, a label the model has no
            output for, a token the model has no embedding for, a setting out of range, or a loss that is NaN or
            infinite.

    Example:
        ```python
        tuned = fine_tune(model, tokenizer, ["so good", "so bad", …], [1, 0, …], validation=0.2)
        tuned.model.save_pretrained("fine_tuned")
        ```
    """
    seed = checked_seed(seed, 0, LARGEST_OF_TRAINING, error=TrainingError)
    trained, measured = _examples(model, *columns(texts, labels, text, label=label)), None
    if isinstance(validation, Real):
        train, held_out = stratified(trained[1], float(validation), seed)
        trained, measured = _chosen(trained, train), _chosen(trained, held_out)
    elif validation is not None:
        measured = _validation(model, validation, text, label=label)
    _at_least_1(epochs=epochs, batch_size=batch_size, max_length=max_length)
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise TrainingError(f"learning_rate must be above 0 and finite, got {learning_rate}")

    taking = encoder(model, tokenizer, [*trained[0], *(measured[0] if measured else ())], max_length=max_length)
    device = next(model.parameters()).device
    history: list[tuple[float, ...]] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ken-"))
        stack.enter_context(quiet_transformers())
        stack.enter_context(own_randomness())
        copied = _copy(model)
        if not taking.lent and getattr(copied.config, "pad_token_id", None) is None:
            copied.config.pad_token_id = taking.padding  # what a model was trained with belongs to it
        stack.enter_context(knowing(copied, taking.padding))
        for parameter in copied.parameters():
            parameter.requires_grad_(parameter.is_floating_point())

        def collate(batch: list[tuple[str, int]]) -> Any:
            import torch

            encoded = taking.batch([text for text, _ in batch])
            encoded["labels"] = torch.tensor([number for _, number in batch])
            return encoded

        def after_epoch(loss: float) -> str:
            if measured is None:
                history.append((len(history) + 1, loss, *[math.nan] * 4))
                return ""
            try:
                result, of_held_out = _measured(
                    copied, taking, *measured, batch_size=_EVALUATED_AT_ONCE, progress=progress, leave=False
                )
            except TrainingError as error:
                error.add_note(f"in the validation texts, after epoch {len(history) + 1}")
                raise
            line = (of_held_out, result.accuracy, result.standard_error, result.macro_f1)
            history.append((len(history) + 1, loss, *line))
            return f"validation {result}"

        trainer(
            copied,
            list(zip(*trained, strict=True)),
            taking.lengths(trained[0]),
            collate=collate,
            after_epoch=after_epoch,
            seed=seed,
            progress=progress,
            settings={
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
        ).train()
        copied.zero_grad(set_to_none=True)
        # the trainer turns the key-value cache off in the config, which is then saved with the model
        if hasattr(model.config, "use_cache"):
            copied.config.use_cache = model.config.use_cache
        import pandas as pd

        return FineTuned(copied.to(device).eval(), pd.DataFrame(history, columns=_HISTORY), measured)


def _copy(model: PreTrainedModel) -> PreTrainedModel:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever the module's own code, or torch, raises
        raise TrainingError(
            f"the model {type(model).__name__} cannot be copied ({in_brief(error)}); take out what its modules hold "
            "besides parameters and buffers (results of a forward pass, locks, open files), or load it anew"
        ) from error


def evaluate(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    texts: Texts,
    labels: Labels = None,
    *,
    text: str = "text",
    label: str = "label",
    batch_size: int = _EVALUATED_AT_ONCE,
    max_length: int = 32,
    progress: bool = False,
) -> Evaluation:
    """What a sequence-classification model makes of texts, measured on the model's own device.

    A text that is longer than the model has positions is cut there, and a `KenWarning` says so; where tokenizer or
    config have no padding token, one is lent. The model is left as it was, each module in its own training or
    evaluation mode.

    Args:
        model: A sequence classifier.
        tokenizer: Its own.
        texts: As in `fine_tune`, and so labels, text and label.
        labels: None with a frame.
        text: Column of the texts.
        label: Column of the labels.
        batch_size: Texts in a batch.
        max_length: How many tokens of a text are taken.
        progress: Whether to show a bar.

    Returns:
        Accuracy ± standard error, macro F1, the confusion of classes, and the outcome of every text.

    Raises:
        TrainingError: as in `fine_tune`, or a model that puts out NaN, or anything but one number for each class.

    Example:
        ```python
        print(evaluate(pruned, tokenizer, ["so good", "so bad"], [1, 0]))  # 50.0 % ± 35.4 (2 texts)
        ```
    """
    wanted = _examples(model, *columns(texts, labels, text, label=label))
    _at_least_1(batch_size=batch_size, max_length=max_length)
    taking = encoder(model, tokenizer, wanted[0], max_length=max_length)
    with knowing(model, taking.padding):
        return _measured(model, taking, *wanted, batch_size=batch_size, progress=progress)[0]


def _measured(
    model: Any,
    taking: Encoder,
    texts: list[str],
    numbers: list[int],
    *,
    batch_size: int,
    progress: bool,
    leave: bool = True,
) -> tuple[Evaluation, float]:
    """The evaluation, and the mean cross-entropy in nats."""
    import torch
    from tqdm.auto import tqdm

    device, classes = next(model.parameters()).device, model.config.num_labels
    by_length = sorted(range(len(texts)), key=taking.lengths(texts).__getitem__)
    modes = [(module, module.training) for module in model.modules()]
    predicted, loss = torch.zeros(len(texts), dtype=torch.int64), 0.0
    try:
        model.eval()
        # no_grad, not inference_mode: a model that updates a buffer of its own could never be trained again
        with (
            torch.no_grad(),
            tqdm(total=len(texts), desc="evaluating", unit="text", disable=not progress, leave=leave) as bar,
        ):
            for start in range(0, len(texts), batch_size):
                batch = by_length[start : start + batch_size]
                encoded = taking.batch([texts[i] for i in batch]).to(device)
                logits = model(**encoded).logits
                if logits.shape != (len(batch), classes):
                    shapes = f"be {(len(batch), classes)}, got {tuple(logits.shape)}"
                    raise TrainingError(f"the model's output for {len(batch)} texts must {shapes}")
                if torch.isnan(logits).any():
                    row = int(torch.isnan(logits).any(dim=1).nonzero()[0])
                    raise TrainingError(f"the model's output for text {batch[row]} is nan")
                wanted = torch.tensor([numbers[i] for i in batch], device=device)
                predicted[batch] = logits.argmax(dim=1).cpu()
                loss += float(torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="sum"))
                bar.update(len(batch))
    finally:
        for module, training in modes:
            module.training = training
    return Evaluation.of(numbers, predicted.numpy(), classes), loss / len(texts)


def _examples(model: torch.nn.Module, texts: list[str], labels: list[Any]) -> Examples:
    """Texts and class numbers, once everything fits together."""
    config: Any = getattr(model, "config", None)
    classes: int | None = getattr(config, "num_labels", None)
    if classes is None or classes < 2:
        raise TrainingError(f"the model must classify into at least 2 labels, got num_labels = {classes}")
    problem = getattr(config, "problem_type", None)
    if problem not in {None, "single_label_classification"}:
        raise TrainingError(f"the model must give each text one label, got problem_type = {problem!r}")
    return texts, class_numbers(labels, classes, getattr(config, "label2id", None) or {})


def _validation(model: torch.nn.Module, validation: Any, text: str, label: str) -> Examples:
    if hasattr(validation, "columns"):
        texts, labels = validation, None
    elif isinstance(validation, tuple | list) and len(validation) == 2:
        texts, labels = validation
    else:
        raise TrainingError(
            f"validation must be a share, a pair (texts, labels) or a pandas DataFrame, got {validation!r}"
        )
    try:
        return _examples(model, *columns(texts, labels, text, label=label))
    except TrainingError as error:
        error.add_note("in the validation texts")
        raise


def _chosen(examples: Examples, places: Iterable[int]) -> Examples:
    texts, numbers = examples
    return [texts[i] for i in places], [numbers[i] for i in places]


def _at_least_1(**settings: int) -> None:
    for name, value in settings.items():
        if value < 1:
            raise TrainingError(f"{name} must be at least 1, got {value}")
