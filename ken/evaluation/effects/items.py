"""answers, flips: item by item, what three models make of a task, and which groups decide what becomes of one item."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ken.api import Subnetwork
from ken.errors import EffectsError
from ken.evaluation.effects.asking import evaluating
from ken.evaluation.effects.groups import By, groups
from ken.evaluation.effects.live_model import LiveModel
from ken.evaluation.effects.reuse import Reuse
from ken.evaluation.effects.tasks import Answers, Task
from ken.models.named_tables import named_table
from ken.models.pairing.pairs import PairOfModels

if TYPE_CHECKING:
    import pandas as pd
    import torch


def answers(
    pair: PairOfModels,
    task: Task,
    *,
    net: Subnetwork | None = None,
    exclude: Sequence[str] = (),
    progress: bool = True,
) -> pd.DataFrame:
    """Ask the pretrained, the fine-tuned and the pruned model, item by item.

    Args:
        pair: The fine-tuned model, a module or a checkpoint that transformers opens, and the pretrained one.
        task: What they are asked.
        net: A subnetwork of the pair: the pruned model.
        exclude: Name patterns of tensors that are carried, as in `ken.prune`.
        progress: Whether to show a bar for each model.

    Returns:
        One line an item: item (index, its number in the order that was given), name, then for each model
        pretrained_loss, fine_tuned_loss and, with net, pruned_loss, in nats, and pretrained_correct and so on, None
        where there is no right or wrong. Of a classification besides: label (the right class, where the task tells
        it), and for each model and class its probability, such as fine_tuned_probability_positive. The pretrained
        model has what is carried, such as a new head.

    Raises:
        SubnetworkError: There is no live model, or net is of another pair.
        TrainingError: A loss is NaN or infinite.
        EffectsError: The task has not a name, or a label, for each item.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> task = ken.Task([torch.eye(2)], lambda model, batch: model(batch).square().mean(dim=1), names=["a", "b"])
        >>> answers(pair, task, progress=False).columns.tolist()
        ['name', 'pretrained_loss', 'pretrained_correct', 'fine_tuned_loss', 'fine_tuned_correct']
    """
    import pandas as pd

    live = LiveModel(pair, exclude=exclude)
    given: dict[str, Answers] = {"fine_tuned": task.evaluate(live.module, progress=progress)}
    live.hold_pretrained()
    given = {"pretrained": task.evaluate(live.module, progress=progress), **given}
    del live  # one copy of the model at a time
    if net is not None:
        given["pruned"] = task.evaluate(LiveModel(pair, net=net, exclude=exclude).module, progress=progress)
    count = len(given["fine_tuned"].losses)
    if task.names and len(task.names) != count:
        raise EffectsError(f"the task has {len(task.names)} names for {count} items")
    if task.labels is not None and len(task.labels) != count:
        raise EffectsError(f"the task has {len(task.labels)} labels for {count} items")
    table: dict[str, Any] = {"name": [str(name) for name in task.names] or [str(item) for item in range(count)]}
    for model, one in given.items():
        table[f"{model}_loss"] = one.losses
        outcomes = [None] * count if one.outcomes is None else one.outcomes.tolist()
        table[f"{model}_correct"] = pd.Series(outcomes, dtype=object)
    return pd.DataFrame(table | _classified(task, given)).rename_axis("item")


def _classified(task: Task, given: Mapping[str, Answers]) -> dict[str, Any]:
    """The columns that a classification has besides."""
    known = {model: one.probabilities for model, one in given.items() if one.probabilities is not None}
    if not known:
        return {}
    count = next(iter(known.values())).shape[1]
    classes = [str(name) for name in task.classes]
    if len(set(classes)) != count:  # none were given, or two are called the same
        classes = [str(number) for number in range(count)]
    columns: dict[str, Any] = {} if task.labels is None else {"label": [classes[at] for at in task.labels]}
    for model, probabilities in known.items():
        columns |= {f"{model}_probability_{name}": probabilities[:, at] for at, name in enumerate(classes)}
    return columns


def flips(
    pair: PairOfModels,
    task: Task,
    item: int,
    *,
    by: By = "place",
    net: Subnetwork | None = None,
    exclude: Sequence[str] = (),
    step: Callable[[int, int], object] | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Reset one group after the other and ask again about one item: which groups its answer hangs on.

    These are interventions, one forward pass a group, of the batch that the item is in.

    Args:
        pair: As in `ken.answers`.
        task: As in `ken.answers`.
        item: The number of the item, in the order that was given.
        by: The groups, as `ken.ablate` takes them.
        net: A subnetwork of the pair, to be taken apart in place of the whole update.
        exclude: Name patterns of tensors that are carried.
        step: Called after each group with how many are done, and of how many.
        progress: Whether to show a bar.

    Returns:
        One line a group: group (index), entries, loss (in nats, without it), loss_difference (from all groups),
        correct, and flips: whether right became wrong, or wrong right. The last two are None where there is no right
        or wrong. A wrong answer that becomes another wrong one is no flip.

    Raises:
        EffectsError: There is no such item.
        BudgetError: The groups cannot be made.
        SubnetworkError: There is no live model, or net is of another pair.

    Example:
        >>> import torch, ken
        >>> pair = ken.Pair(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> task = ken.Task([torch.eye(2)], lambda model, batch: model(batch).square().mean(dim=1))
        >>> flips(pair, task, 1, by="tensor", progress=False).index.tolist()
        ['weight', 'bias']
    """
    from tqdm.auto import tqdm

    live = LiveModel(pair, net=net, exclude=exclude)
    parts = groups(live.shapes, by, live.config)
    asked = _One(live, task, item)
    reuse = Reuse(live.module)
    with reuse.changing(()):
        loss, correct = asked.answer()
    lines = []
    bar = tqdm(parts, desc="flips", unit="group", disable=not progress, leave=False)
    for done, group in enumerate(bar, 1):
        live.reset(group.parts)
        try:
            with reuse.changing(live.slots[part.tensor] for part in group.parts):
                after, right = asked.answer()
        finally:
            live.retain(group.parts)
        flipped = None if right is None else right != correct
        lines.append((group.name, group.entries, after, after - loss, right, flipped))
        if step is not None:
            step(done, len(parts))
    names = ["group", "entries", "loss", "loss_difference", "correct", "flips"]
    table = named_table(lines, names).set_index("group")
    return table.astype({"correct": object, "flips": object})


class _One:
    """One item of a task: the batch that it is in, and where it is there."""

    def __init__(self, live: LiveModel, task: Task, item: int) -> None:
        self._live, self._task = live, task
        wanted = item
        if task.order is not None:
            places = np.flatnonzero(np.asarray(task.order) == item)
            wanted = int(places[0]) if len(places) else -1
        seen = 0
        for batch in task.batches if wanted >= 0 else ():
            self._batch = batch
            count = len(self._ask()[0])
            if wanted < seen + count:
                self._at = wanted - seen
                return
            seen += count
        raise EffectsError(f"the task has no item {item}")

    def answer(self) -> tuple[float, bool | None]:
        """Its loss, and whether the answer is right; None where there is no right or wrong."""
        losses, scores = self._ask()
        right = scores is not None and str(scores.dtype) == "torch.bool"
        return float(losses[self._at].double()), bool(scores[self._at]) if right and scores is not None else None

    def _ask(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        import torch

        module = self._live.module
        with evaluating(module), self._task.knowing(module), torch.no_grad():
            return self._task.ask_batch(module, self._batch)
