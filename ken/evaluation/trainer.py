"""`transformers.Trainer`, tamed: batches by length, one bar, one call after each epoch, and no trace left behind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from logging import ERROR, getLogger
from typing import TYPE_CHECKING, Any

from ken.errors import TrainingError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence what transformers and what it imports log, and its loading bars, and leave its settings as found."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    quantiser = getLogger("bitsandbytes")  # imported if installed; it complains of a library that is not
    level = quantiser.level
    try:
        quantiser.setLevel(ERROR)
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        yield
    finally:
        quantiser.setLevel(level)
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def own_randomness() -> Iterator[None]:
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


def batches(lengths: Sequence[int], size: int, generator: torch.Generator) -> list[list[int]]:
    """Indices in batches of similar length: ties broken at random, batches in random order."""
    import torch

    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    shuffled.sort(key=lengths.__getitem__)
    cut = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    return [cut[i] for i in torch.randperm(len(cut), generator=generator).tolist()]


def trainer(
    model: PreTrainedModel,
    pairs: list[tuple[str, int]],
    lengths: list[int],
    collate: Callable[[list[tuple[str, int]]], Any],
    *,
    after_epoch: Callable[[float], str],
    seed: int,
    progress: bool,
    settings: dict[str, Any],
) -> Any:
    """A Trainer over pairs of text and class, which stops at a loss that is no number.

    `lengths` are those of the texts, in tokens; `collate` makes what the model takes of a batch of pairs, "labels"
    among it. `after_epoch` is given the mean loss of the epoch's texts, and returns what the bar shall say.
    Defined inside because its base class takes seconds to import.
    """
    import torch
    from tqdm.auto import tqdm
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    losses: list[tuple[float, int]] = []  # of this epoch: mean over a batch, texts in it

    class ByLength(torch.utils.data.Sampler[list[int]]):
        def __init__(self, size: int) -> None:
            self.size = size
            self.generator = torch.Generator().manual_seed(seed)

        def __len__(self) -> int:
            return -(-len(lengths) // self.size)

        def __iter__(self) -> Iterator[list[int]]:
            return iter(batches(lengths, self.size, self.generator))

    class Bar(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = tqdm(total=state.max_steps, desc="fine-tuning", unit="step", disable=not progress)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update()

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            texts = sum(count for _, count in losses)
            self.bar.set_postfix_str(after_epoch(sum(loss * count for loss, count in losses) / texts))
            losses.clear()

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    class Classifier(Trainer):
        def get_train_dataloader(self) -> torch.utils.data.DataLoader:
            sampler = ByLength(self._train_batch_size)
            return torch.utils.data.DataLoader(pairs, batch_sampler=sampler, collate_fn=collate)  # type: ignore[arg-type]

        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            count = len(inputs["labels"])
            loss = super().training_step(model, inputs, *args, **kwargs)
            losses.append((loss.item(), count))
            if not torch.isfinite(loss):
                step = f"step {self.state.global_step + 1} of {self.state.max_steps}"
                rate = self.args.learning_rate
                raise TrainingError(f"the loss must be finite, but is {loss.item()} at {step} (learning_rate {rate})")
            return loss

    made = Classifier(model=model, args=TrainingArguments(**settings), train_dataset=pairs, callbacks=[Bar()])
    made.remove_callback(PrinterCallback)
    return made
