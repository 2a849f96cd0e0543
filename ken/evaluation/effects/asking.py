"""How texts are put to a model, a batch at a time: the loss at each, and how it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import TrainingError
from ken.evaluation.encoding import Encoder, knowing

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


def of_another(reference: Any, padding: int, model: Any, encoded: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Divergence from the probabilities of another model, and whether the likeliest answer is the same."""
    import torch

    logits = _logits(model, encoded)
    with evaluating(reference), knowing(reference, padding), torch.no_grad():
        wanted = _logits(reference, encoded).to(logits.device)
    counted = torch.ones(logits.shape[:2], device=logits.device)
    if logits.shape[1] > 1:
        counted = encoded["attention_mask"].to(logits.device).float()
    divergence = torch.nn.functional.kl_div(
        logits.log_softmax(dim=2), wanted.log_softmax(dim=2), reduction="none", log_target=True
    ).sum(dim=2)
    alike = (logits.argmax(dim=2) == wanted.argmax(dim=2)).float()
    losses, share = ((values * counted).sum(dim=1) / counted.sum(dim=1) for values in (divergence, alike))
    return losses, share.bool() if logits.shape[1] == 1 else share


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
