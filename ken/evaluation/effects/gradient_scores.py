"""gradient_scores: what moving each entry by itself would do to the loss, to first order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import EffectsError
from ken.evaluation.effects.attribute import room
from ken.evaluation.effects.live_model import LiveModel
from ken.evaluation.effects.path import Path as Line
from ken.evaluation.effects.tasks import Task
from ken.models.pairing.pairs import PairOfModels

# How far along the line from the pretrained to the fine-tuned weights each model is.
_POINTS = {"fine-tuned": 1.0, "pretrained": 0.0}


@dataclass(frozen=True, eq=False)
class GradientScores(Mapping[str, "NDArray[np.float32]"]):
    """A score for every entry, |gradient × update|: a mapping from tensor name to an array of the tensor's shape.

    Attributes:
        arrays: (shape of the tensor) float32, in nats, by name.
        at: Of which model the gradient is: "fine-tuned" or "pretrained".
        item_count: How many items the loss is the mean of.
        fingerprint: That of the fine-tuned model.
        notes: What there is to be said of how it was made.

    Example:
        >>> GradientScores({"w": np.ones((1, 2), np.float32)}, "fine-tuned", 5)
        GradientScores(|gradient x update| at the fine-tuned weights; 1 tensors, 5 items)
    """

    arrays: Mapping[str, NDArray[np.float32]]
    at: str
    item_count: int
    fingerprint: str = ""
    notes: tuple[str, ...] = ()
    _kept: list[Any] = field(default_factory=list, repr=False)  # what the arrays lie in must outlive them

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __repr__(self) -> str:
        return (
            f"GradientScores(|gradient x update| at the {self.at} weights; {len(self):,} tensors, "
            f"{self.item_count:,} items)"
        )


def gradient_scores(
    pair: PairOfModels,
    task: Task,
    *,
    at: str = "fine-tuned",
    exclude: Sequence[str] = (),
    scratch: str | Path | None = None,
    progress: bool = True,
) -> GradientScores:
    """How much the loss would change if one entry were moved to the other model's value, by its first derivative.

    |gradient × update|, the gradient that of the mean loss over all items. With `ken.rules.by_score` it is a rule: the
    informed control of those that know no task. It has seen labels, so measure by other texts.
    At the fine-tuned weights it estimates what resetting an entry does, which is what pruning does to most of them, one
    by one; at the pretrained weights what retaining it alone does. A model that has been trained to a minimum has no
    gradient there, and little to rank by: `attribute` looks at the whole way instead.

    Args:
        pair: The fine-tuned model, a module or a checkpoint that transformers opens, and the pretrained one.
        task: Items and their loss.
        at: "fine-tuned" or "pretrained": where the gradient is taken.
        exclude: Name patterns of tensors that are carried, as in `ken.prune`.
        scratch: A folder for the scores of a model of more than 2 GiB; by default that of temporary files.
        progress: Whether to show a bar.

    Returns:
        The scores, 0 for what has no part in the loss. That half precision was widened is in the notes.

    Raises:
        EffectsError: at is neither, the task has no batches, or a gradient is NaN or infinite.
        SubnetworkError: There is no live model.

    Source:
        Molchanov et al., "Importance Estimation for Neural Network Pruning", arXiv 1906.10771, eq. 8: (g w)² for
        a weight set to 0, here for one set to its pretrained value, and without the square, which changes no order.

    Example:
        >>> import torch, ken
        >>> tuned, base = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(2, 1, bias=False)
        >>> with torch.no_grad():
        ...     _ = tuned.weight.copy_(torch.tensor([[1.0, 2.0]])), base.weight.zero_()
        >>> task = ken.Task([torch.tensor([[3.0, 1.0]])], lambda model, batch: model(batch)[:, 0])
        >>> scores = gradient_scores(ken.Pair(tuned, base), task, progress=False)
        >>> scores["weight"].tolist()
        [[3.0, 2.0]]
        >>> rule = ken.rules.by_score(scores, name="first_order")
        >>> ken.prune(tuned, base, 1, rule=rule)["weight"].mask().tolist()
        [[True, False]]
        >>> ken.rules.forget(rule)
    """
    from tqdm.auto import tqdm

    if at not in _POINTS:
        raise EffectsError(f"at must be one of {', '.join(_POINTS)}, got {at!r}")
    live = LiveModel(pair, exclude=exclude)
    line = Line(live, task)
    arrays, kept = room(live, scratch)

    def take(name: str, gradient: Any, update: Any, _: float) -> None:
        scores = (gradient * update).abs_().cpu().numpy()
        if not np.isfinite(scores).all():
            raise EffectsError(f"{name}: the gradient of the loss is NaN or infinite at the {at} weights")
        arrays[name][...] = scores

    with tqdm(total=len(task.batches), desc="gradient", unit="batch", disable=not progress, leave=False) as bar:
        line.gradient(_POINTS[at], take, done=bar.update)
    notes = (f"the model was brought from {', '.join(line.widened)} to float32",) if line.widened else ()
    fingerprint = live.whole.fine_tuned.fingerprint
    return GradientScores(arrays, at, line.items, fingerprint=fingerprint, notes=notes, _kept=kept)
