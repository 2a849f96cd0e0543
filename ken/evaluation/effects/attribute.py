"""attribute: integrated gradients from the pretrained to the fine-tuned weights, for every entry or text by text."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.api import Subnetwork
from ken.errors import EffectsError, warn
from ken.evaluation.effects.attribution import Attribution
from ken.evaluation.effects.groups import By, groups
from ken.evaluation.effects.live_model import LiveModel
from ken.evaluation.effects.path import Path as Line
from ken.evaluation.effects.tasks import Task
from ken.models.named_tables import named_table
from ken.models.pairing.pairs import PairOfModels

if TYPE_CHECKING:
    import pandas as pd

#: Above so many bytes the shares lie in a file that is mapped into memory.
_IN_MEMORY = 1 << 31


def attribute(
    pair: PairOfModels,
    task: Task,
    *,
    net: Subnetwork | None = None,
    steps: int = 8,
    most_steps: int = 64,
    tolerance: float = 0.005,
    exclude: Sequence[str] = (),
    scratch: str | Path | None = None,
    progress: bool = True,
) -> Attribution:
    """Share the change of a loss out among all entries: integrated gradients on the line between the two models.

    The sum of all shares is the change; how far it is off is told, and the points on the line are doubled until it is
    less than the tolerance. In memory are a copy of the fine-tuned model, one gradient of it, and one float32 for every
    entry. It runs on the device of the fine-tuned model. What has no pretrained counterpart (a new head) and what is
    excluded stays fine-tuned throughout, and has no share.

    An entry's share is of moving all entries along the line together. It does not say what would happen if it alone
    were reset, and entries chosen by their share do not make a good subnetwork: `ken.ablate` measures, `ken.agreement`
    compares.

    Args:
        pair: The fine-tuned model, a module or a checkpoint that transformers opens, and the pretrained one.
        task: Items and their loss: `ken.Task.classification`, `ken.Task.causal`, or a `ken.Task` of your own.
        net: A subnetwork of the pair: the line then leads to it, and not to the fine-tuned model.
        steps: Points on the line at first.
        most_steps: Points at the most.
        tolerance: How far the sum may be from the change, as a share of the change.
        exclude: Name patterns of tensors that are carried, as in `ken.prune`.
        scratch: A folder for the shares of a model of more than 2 GiB; by default that of temporary files.
        progress: Whether to show a bar.

    Returns:
        The attribution. What is left of the error, and that half precision was widened, is in its notes.

    Raises:
        EffectsError: There is nothing to be shared out, a loss is NaN or infinite, or settings make no sense.
        SubnetworkError: There is no live model, or net is of another pair.

    Warns:
        KenWarning: The error is larger than the tolerance at most_steps.

    Source:
        Sundararajan et al., "Axiomatic Attribution for Deep Networks", arXiv 1703.01365, eq. 1, on parameters.

    Example:
        >>> import torch, ken
        >>> _ = torch.manual_seed(0)
        >>> pair = ken.Pair(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> task = ken.Task([torch.eye(2)], lambda model, batch: model(batch).square().mean(dim=1))
        >>> attribution = attribute(pair, task, progress=False)
        >>> attribution.error < 1e-5
        True
    """
    from tqdm.auto import tqdm

    _check(steps, most_steps, tolerance=tolerance)
    live = LiveModel(pair, net=net, exclude=exclude)
    line = Line(live, task)
    losses = {at: line.loss_at(at) for at in (0.0, 1.0)}
    notes = [f"the model was brought from {', '.join(line.widened)} to float32"] if line.widened else []
    if not live.slots:
        raise EffectsError("nothing is pruned of this pair, so there is nothing to be shared out")
    arrays, kept = room(live, scratch)
    while True:
        for array in arrays.values():
            array[...] = 0

        def take(name: str, gradient: Any, update: Any, weight: float) -> None:
            arrays[name] += (gradient * update).mul_(weight).cpu().numpy()

        bar = tqdm(
            total=steps * len(task.batches),
            desc=f"attribute ({steps} points)",
            unit="batch",
            disable=not progress,
            leave=False,
        )
        with bar:
            line.integrate(steps, take, bar.update)
        attribution = Attribution(
            arrays,
            pretrained_loss=losses[0.0],
            fine_tuned_loss=losses[1.0],
            steps=steps,
            item_count=line.items,
            fingerprint=live.sparse.fine_tuned.fingerprint,
            config=live.config,
            notes=tuple(notes),
            _kept=kept,
        )
        if attribution.error <= tolerance or steps * 2 > most_steps:
            break
        steps *= 2
    if attribution.error > tolerance:
        warn(
            f"the shares add up to {attribution.total:.4g}, the loss changes by {attribution.change:.4g}: with {steps} "
            f"points they are {attribution.error:.1%} apart; give more most_steps"
        )
    return attribution


def attribute_items(
    pair: PairOfModels,
    task: Task,
    *,
    by: By = "place",
    net: Subnetwork | None = None,
    steps: int = 8,
    exclude: Sequence[str] = (),
    progress: bool = True,
) -> pd.DataFrame:
    """Share the change of the loss at each batch out among groups; of single texts, if a batch has one.

    Args:
        pair: As in `ken.attribute`.
        task: A line of the table is a batch of it: make it with ``batch_size=1`` for single texts.
        by: The groups, as `ken.ablate` takes them.
        net: As in `ken.attribute`, and so the rest.
        steps: Points on the line.
        exclude: Name patterns of tensors that are carried.
        progress: Whether to show a bar.

    Returns:
        One line a batch, in the order in which items were given if a batch has one item: pretrained_loss,
        fine_tuned_loss, error (of the sum, in nats), then a column for every group, in nats.

    Raises:
        EffectsError: As in `ken.attribute`, and so `SubnetworkError`.
        BudgetError: The groups cannot be made.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> batches = torch.eye(2).split(1)
        >>> task = ken.Task(batches, lambda model, batch: model(batch).square().mean(dim=1))
        >>> attribute_items(pair, task, by="tensor", progress=False).columns.tolist()
        ['pretrained_loss', 'fine_tuned_loss', 'error', 'weight', 'bias']
    """
    import pandas as pd
    from tqdm.auto import tqdm

    _check(steps, steps, tolerance=1.0)
    live = LiveModel(pair, net=net, exclude=exclude)
    parts = groups(live.shapes, by, live.config)
    line = Line(live, task)
    lines = []
    for batch in tqdm(task.batches, desc="attribute", unit="batch", disable=not progress, leave=False):
        sums = dict.fromkeys((group.name for group in parts), 0.0)
        total = 0.0

        def take(name: str, gradient: Any, update: Any, weight: float) -> None:
            nonlocal total
            shares: NDArray[np.float64] = (gradient * update).mul_(weight).double().cpu().numpy()
            total += float(shares.sum())
            for group in parts:
                for part in group.parts:
                    if part.tensor == name:
                        sums[group.name] += float(shares[part.where].sum())  # noqa: B023  # called before the next batch

        line.integrate_batch(batch, steps, take)
        before, after = line.loss_of(batch, 0.0), line.loss_of(batch, 1.0)
        lines.append({"pretrained_loss": before, "fine_tuned_loss": after, "error": total - (after - before), **sums})
    table = named_table(lines)
    if task.order is not None and len(task.order) == len(lines):
        table.index = pd.Index(task.order)
        table = table.sort_index()
        table.index = pd.Index([task.names[item] for item in table.index] if task.names else table.index, name="item")
    return table


def room(live: LiveModel, scratch: str | Path | None) -> tuple[dict[str, NDArray[np.float32]], list[Any]]:
    """An array for every tensor, and what must outlive them: of a large model a file that is mapped into memory."""
    total = 4 * sum(math.prod(shape) for shape in live.shapes.values())
    if total <= _IN_MEMORY and scratch is None:
        return {name: np.zeros(shape, np.float32) for name, shape in live.shapes.items()}, []
    folder = _Folder(tempfile.mkdtemp(prefix="ken-", dir=scratch))
    arrays: dict[str, NDArray[np.float32]] = {}
    for number, (name, shape) in enumerate(live.shapes.items()):
        if math.prod(shape):
            arrays[name] = np.memmap(folder.path / f"{number}.f32", np.float32, "w+", shape=shape)
        else:
            arrays[name] = np.zeros(shape, np.float32)
    return arrays, [folder]


class _Folder:
    """A folder that goes when nothing holds this any more."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)


def _check(steps: int, most_steps: int, *, tolerance: float) -> None:
    if not 1 <= steps <= most_steps:
        raise EffectsError(f"steps must be at least 1 and at most most_steps, got {steps} and {most_steps}")
    if not tolerance > 0:
        raise EffectsError(f"tolerance must be above 0, got {tolerance}")
