"""Small modules whose parameters and buffers share memory in every way that people have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from strategies import DTYPES

SHAPE = (4, 6)
NAMES = ("a", "b", "c", "d")

#: How a tensor is made of those before it. `own`: it has memory of its own.
WAYS = ("own", "same object", "same memory", "transposed", "rows", "columns", "overlapping", "reshaped", "expanded")


class Made(NamedTuple):
    """How one parameter or buffer of a module is made: what from, which kind it is, and seeds of its values."""

    way: str
    of: int
    buffer: bool


class Shared(torch.nn.Module):
    """A module with the tensors of a list of `Made`, under their names, the last two in a module of their own."""

    def __init__(self, made: list[Made], seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = torch.nn.Module()
        generator = torch.Generator().manual_seed(seed)
        fused = torch.randn(3 * SHAPE[0], 2 * SHAPE[1], generator=generator).to(dtype)
        tensors: list[torch.Tensor] = []
        for i, one in enumerate(made):
            before = tensors[one.of % len(tensors)] if tensors else None
            tensor = self._tensor(one, i, before, fused, generator).detach()
            if not (one.way == "same object" and before is not None and isinstance(before, torch.nn.Parameter)):
                tensor = tensor if one.buffer else torch.nn.Parameter(tensor, requires_grad=i % 2 == 0)
            else:
                assert before is not None
                tensor = before
            tensors.append(tensor)
            owner = self if i < 2 else self.inner
            if isinstance(tensor, torch.nn.Parameter):
                owner.register_parameter(NAMES[i], tensor)
            else:
                owner.register_buffer(NAMES[i], tensor)

    @staticmethod
    def _tensor(
        one: Made, i: int, before: torch.Tensor | None, fused: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        if one.way == "rows":
            return fused[i % 3 * SHAPE[0] :][: SHAPE[0], : SHAPE[1]]
        if one.way == "columns":
            return fused[: SHAPE[0], i % 2 * SHAPE[1] :][:, : SHAPE[1]]
        if one.way == "overlapping":
            return fused[i : i + SHAPE[0], i : i + SHAPE[1]]
        if one.way == "expanded":
            return torch.randn(SHAPE[1], generator=generator).to(fused.dtype).expand(SHAPE)
        if before is None or one.way == "own" or before.shape not in (SHAPE, SHAPE[::-1]):
            return torch.randn(SHAPE, generator=generator).to(fused.dtype)
        if one.way == "transposed":
            return before.detach().T
        if one.way == "reshaped" and before.is_contiguous():
            return before.detach().reshape(before.shape[::-1])
        return before.detach()


@st.composite
def sharing(draw: st.DrawFn, count: int) -> list[Made]:
    """Ways to make so many tensors."""
    one = st.builds(Made, st.sampled_from(WAYS), st.integers(0, 3), st.booleans())
    return draw(st.lists(one, min_size=count, max_size=count))


@st.composite
def two_modules(draw: st.DrawFn) -> tuple[Shared, Shared]:
    """(fine-tuned, pretrained) of one dtype, each sharing memory in its own way; values may agree in some rows."""
    count, dtype = draw(st.integers(2, len(NAMES))), draw(st.sampled_from(DTYPES))
    theirs = draw(sharing(count))
    ours = theirs if draw(st.booleans()) else draw(sharing(count))
    if draw(st.booleans()):
        ours = [one._replace(way="own") for one in ours]
    pretrained, fine_tuned = Shared(theirs, draw(st.integers(0, 99)), dtype), Shared(ours, 100, dtype)
    if draw(st.booleans()):  # a fine-tuning that changed little
        with torch.no_grad():
            for name, tensor in state(fine_tuned).items():
                before = state(pretrained)[name]
                if before.shape == tensor.shape and not overlaps_itself(tensor):
                    tensor[:-1] = before.clone()[:-1]
    return fine_tuned, pretrained


def overlaps_itself(tensor: torch.Tensor) -> bool:
    return 0 in tensor.stride()


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All tensors of a module by name, as they are."""
    return {name: tensor.detach() for name, tensor in module.state_dict(keep_vars=True).items()}


def values(tensors: torch.nn.Module | dict[str, torch.Tensor]) -> dict[str, bytes]:
    """The bytes of all tensors."""
    found = state(tensors) if isinstance(tensors, torch.nn.Module) else tensors
    return {name: tensor.contiguous().view(torch.uint8).numpy().tobytes() for name, tensor in found.items()}


def places_in_memory(tensor: torch.Tensor) -> set[int]:
    """The address of every entry."""
    steps = np.zeros(tuple(tensor.shape), np.int64)
    for axis, step in enumerate(tensor.stride()):
        steps += step * np.arange(tensor.shape[axis]).reshape([-1 if i == axis else 1 for i in range(tensor.ndim)])
    return set((tensor.data_ptr() + steps * tensor.element_size()).ravel().tolist())
