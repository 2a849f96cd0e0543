"""How texts are put to a model, a batch at a time: the loss at each, and how it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import TrainingError
from ken.evaluation.encoding import Encoder, knowing
from ken.models.tensors.tensor_bytes import bytes_of, digest

if TYPE_CHECKING:
    import torch

#: The token at which no loss is counted, as torch has it.
_IGNORED = -100


def of_labels(model: Any, batch: tuple[Any, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cross entropy, whether the label is right, and the probabilities of all, of encoded texts with their labels."""
    import torch

    encoded, wanted = batch[0].to(_device(model)), batch[1].to(_device(model))
    logits = model(**encoded).logits.float()
    losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    return losses, logits.argmax(dim=1) == wanted, logits.detach().softmax(dim=1)


def of_next_tokens(model: Any, encoded: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Means over the tokens of each text: cross entropy of the next one, and how often it came first."""
    import torch

    encoded = encoded.to(_device(model))
    logits = model(**encoded, use_cache=False).logits[:, :-1].float()
    counted = encoded["attention_mask"][:, 1:].bool() & encoded["attention_mask"][:, :-1].bool()
    wanted = encoded["input_ids"][:, 1:].masked_fill(~counted, _IGNORED)
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
    counts = counted.sum(dim=1)
    first = (logits.argmax(dim=2) == wanted).sum(dim=1) / counts
    return losses.sum(dim=1) / counts, first


class Reference:
    """The unpruned model, from whose answers those of others are measured. It must stay as it is.

    Args:
        model: The model.
        padding: The token that texts are padded with.
    """

    def __init__(self, model: torch.nn.Module, padding: int) -> None:
        self._model, self._padding = model, padding
        self._weights = _weights(model)

    def check(self, asked: torch.nn.Module) -> None:
        """Raise `TrainingError` if the reference is no longer what it was, as when it is the model that is changed."""
        if _weights(self._model) == self._weights:
            return
        slots = {id(tensor) for tensor in asked.parameters()}
        swapped = any(id(tensor) in slots for tensor in self._model.parameters())
        raise TrainingError(
            "the unpruned model, with whose answers others are compared, has other weights than when the task was made"
            + (": it is the model that is asked" if swapped else "")
            + "; give Task.fidelity a model of its own, such as copy.deepcopy(model)"
        )

    def ask(self, model: Any, encoded: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Divergence from the probabilities of the reference, and whether the likeliest answer is the same."""
        import torch

        logits = _logits(model, encoded)
        with evaluating(self._model), knowing(self._model, self._padding), torch.no_grad():
            wanted = _logits(self._model, encoded).to(logits.device)
        if wanted.shape != logits.shape:
            raise TrainingError(
                f"the unpruned model answers with {wanted.shape[-1]} numbers, the model that is asked with "
                f"{logits.shape[-1]}: they must be of one kind"
            )
        counted = torch.ones(logits.shape[:2], device=logits.device)
        if logits.shape[1] > 1:
            counted = encoded["attention_mask"].to(logits.device).float()
        divergence = torch.nn.functional.kl_div(
            logits.log_softmax(dim=2), wanted.log_softmax(dim=2), reduction="none", log_target=True
        ).sum(dim=2)
        alike = (logits.argmax(dim=2) == wanted.argmax(dim=2)).float()
        losses, share = ((values * counted).sum(dim=1) / counted.sum(dim=1) for values in (divergence, alike))
        return losses, share.bool() if logits.shape[1] == 1 else share


def _weights(model: torch.nn.Module) -> str:
    """A fingerprint of all parameters and buffers."""
    return digest(*(bytes_of(tensor) for tensor in (*model.parameters(), *model.buffers())))


def check_live(model: Any) -> None:
    """Raise `TrainingError` unless a model can be asked, which a state dict cannot."""
    import torch

    if not isinstance(model, torch.nn.Module):
        raise TrainingError(
            f"texts are put to a live model, got {type(model).__name__}; ken.sweep and ken.smallest_k give one if the "
            "pretrained model of the pair is a module"
        )


def _logits(model: Any, encoded: Any) -> torch.Tensor:
    logits: torch.Tensor = model(**encoded.to(_device(model))).logits.float()
    return logits[:, None] if logits.ndim == 2 else logits


def by_length(
    taking: Encoder, texts: list[str], batch_size: int
) -> tuple[NDArray[np.int64], list[tuple[list[int], Any]]]:
    """The numbers of the texts from the shortest to the longest, and batches of them, encoded."""
    if batch_size < 1:
        raise TrainingError(f"batch_size must be at least 1, got {batch_size}")
    lengths = taking.lengths(texts)
    order = sorted(range(len(texts)), key=lengths.__getitem__)
    batches = []
    for start in range(0, len(texts), batch_size):
        items = order[start : start + batch_size]
        batches.append((items, taking.batch([texts[i] for i in items])))
    return np.array(order), batches


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """A block in which all modules of a model are in evaluation mode; each has its own again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device
