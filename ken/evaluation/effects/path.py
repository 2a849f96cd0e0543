"""Gradients on the straight line between the pretrained and the fine-tuned weights: integrated gradients of parameters.

    W(a) = W0 + a (W1 - W0),  0 <= a <= 1
    loss(W1) - loss(W0) = sum over entries of (W1 - W0) x integral of d loss / dW at W(a) da

The integral is taken at the points of Gauss and Legendre, whose error falls fast for a loss as smooth as this.
Sundararajan et al. 2017 (arXiv 1703.01365), there on inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ken.errors import EffectsError
from ken.evaluation.effects.asking import evaluating
from ken.evaluation.effects.live_model import LiveModel
from ken.evaluation.effects.tasks import Task

if TYPE_CHECKING:
    import torch

#: Takes a tensor's name, its gradient and its update, both on the model's device, and the weight of the point.
Take = Callable[[str, Any, Any, float], None]


class Path:
    """The line between the two sides of a live model, on which it is moved.

    Half precision is too coarse for it: the model is brought to float32, as are the values at both ends.

    >>> import torch
    >>> from ken import Pair
    >>> task = Task([torch.ones(1, 2)], lambda model, batch: model(batch)[:, 0].square())
    >>> path = Path(LiveModel(Pair(torch.nn.Linear(2, 1), torch.nn.Linear(2, 1))), task)
    >>> change, shares = path.loss_at(1.0) - path.loss_at(0.0), []
    >>> path.integrate(3, lambda name, gradient, update, weight: shares.append(weight * (gradient * update).sum()))
    >>> abs(float(sum(shares)) - change) < 1e-5
    True
    """

    def __init__(self, live: LiveModel, task: Task) -> None:
        import torch

        if not len(task.batches):
            raise EffectsError("the task has no batches")
        self._live, self._task = live, task
        dtypes = {slot.dtype for slot in live.slots.values()}
        self.widened = sorted(str(dtype).removeprefix("torch.") for dtype in dtypes if dtype.itemsize < 4)
        if self.widened:
            live.module.float()
        self._slots = live.slots
        self.items = 0  # how many there are, once a loss was asked for
        for parameter in live.module.parameters():
            parameter.requires_grad_(False)
        for name, slot in self._slots.items():
            if not slot.is_floating_point():
                raise EffectsError(f"{name}: there is no gradient of {slot.dtype}")
            if slot.is_inference():
                raise EffectsError(f"{name} was made in inference mode, and can have no gradient; load the model again")
            if isinstance(slot, torch.nn.Parameter):
                slot.requires_grad_(True)

    def loss_at(self, at: float) -> float:
        """The mean loss over all items, with the weights so far along the line."""
        import torch

        self._move(at)
        total, items = 0.0, 0
        with self._asking(), torch.no_grad():
            for batch in self._task.batches:
                losses, _ = self._task.ask_batch(self._live.module, batch)
                total, items = total + float(losses.double().sum()), items + len(losses)
        self.items = items
        return self._finite(total / items, at)

    def integrate(self, steps: int, take: Take, done: Callable[[], object] = lambda: None) -> None:
        """Give every tensor's gradient of the mean loss at each of the points, and its weight there.

        done is called after every batch.
        """
        for at, weight in self._points(steps):
            self.gradient(at, take, weight=weight, done=done)

    def gradient(
        self, at: float, take: Take, *, weight: float = 1.0, done: Callable[[], object] = lambda: None
    ) -> None:
        """The same at one point, so far along the line."""
        self.items = self.items or self._count()
        self._move(at)
        self._make_room()
        with self._asking():
            for batch in self._task.batches:
                losses, _ = self._task.ask_batch(self._live.module, batch)
                (losses.sum() / self.items).backward()
                done()
        self._give(take, weight)

    def integrate_batch(self, batch: Any, steps: int, take: Take) -> None:
        """The same for one batch by itself, of which the mean is taken."""
        for at, weight in self._points(steps):
            self._move(at)
            with self._asking():
                self._task.ask_batch(self._live.module, batch)[0].mean().backward()
            self._give(take, weight)

    def loss_of(self, batch: Any, at: float) -> float:
        """The mean loss of one batch, with the weights so far along the line."""
        import torch

        self._move(at)
        with self._asking(), torch.no_grad():
            return self._finite(float(self._task.ask_batch(self._live.module, batch)[0].double().mean()), at)

    def _make_room(self) -> None:
        """Gradients of 0, to add to.

        Made in the first backward pass they would lie scattered among its activations, and where those were would then
        be no room for the longer ones of the next batch.
        """
        import torch

        for slot in self._slots.values():
            if slot.requires_grad:
                slot.grad = torch.zeros_like(slot)

    def _give(self, take: Take, weight: float) -> None:
        for name, slot in self._slots.items():
            if slot.grad is not None:
                take(name, slot.grad, self._update(name), weight)
                slot.grad = None

    @staticmethod
    def _points(steps: int) -> Iterator[tuple[float, float]]:
        points, weights = np.polynomial.legendre.leggauss(steps)
        for point, weight in zip(points, weights, strict=True):
            yield float((point + 1) / 2), float(weight / 2)

    def _count(self) -> int:
        import torch

        with self._asking(), torch.no_grad():
            return sum(len(self._task.ask_batch(self._live.module, batch)[0]) for batch in self._task.batches)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with evaluating(self._live.module), self._task.knowing(self._live.module):
            yield

    def _ends(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        slot = self._slots[name]
        tuned = self._live.tuned(name).detach()
        return self._live.base(name).detach().to(slot.device, slot.dtype), tuned.to(slot.device, slot.dtype)

    def _update(self, name: str) -> torch.Tensor:
        base, tuned = self._ends(name)
        return tuned - base

    def _move(self, at: float) -> None:
        import torch

        with torch.no_grad():
            for name, slot in self._slots.items():
                slot.data.copy_(torch.lerp(*self._ends(name), at))

    @staticmethod
    def _finite(loss: float, at: float) -> float:
        if not np.isfinite(loss):
            raise EffectsError(f"the loss is {loss} where the weights are {at:.0%} of the way to the fine-tuned ones")
        return loss
