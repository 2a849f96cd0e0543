"""Memory that has several names: the same view under two names, views that overlap, views that overlap themselves.

    embed.weight ─┐                        qkv ├───────────────┤
    head.weight  ─┴─► one view             q   ├────┤               one view each, over the same bytes
                                           k        ├────┤

Where only names of one view share memory, one of them is written and all have the value. Where different views share
it, a copy of what they cover tells whether they can all have the values that they are to have: it is written as the
model would be, and looked at through every one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ken.errors import SubnetworkError

if TYPE_CHECKING:
    import torch

#: Where a copy of some memory begins, so that any dtype is aligned in it as it was.
_ALIGNMENT = 16


def aliases(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Names of the very same view of memory, each mapped to the one that comes first. Empty tensors have none.

    >>> import torch
    >>> w = torch.ones(2, 3)
    >>> aliases({"a": w, "b": w, "transposed": w.T, "part": w[:1], "other": w.clone()})
    {'b': 'a'}
    """
    return {name: spot.names[0] for spot in spots(tensors) for name in spot.names[1:]}


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """One view of memory, and every name that it has. tensors are its different objects, one of them at least."""

    names: tuple[str, ...]
    tensors: tuple[torch.Tensor, ...]

    @property
    def tensor(self) -> torch.Tensor:
        """The first of the objects."""
        return self.tensors[0]


def spots(tensors: Mapping[str, torch.Tensor]) -> list[Spot]:
    """The different views among tensors, in order. A tensor without entries is a view of its own."""
    names: dict[object, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(name if tensor.numel() == 0 or tensor.is_meta else _view(tensor), []).append(name)
    views = []
    for together in names.values():
        objects = {id(tensors[name]): tensors[name] for name in together}
        views.append(Spot(tuple(together), tuple(objects.values())))
    return views


def _view(tensor: torch.Tensor) -> tuple[object, ...]:
    # The stride of an axis of length 1 says nothing.
    strides = tuple(step if size > 1 else 0 for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    bits = tensor.is_conj(), tensor.is_neg()
    return tensor.device, tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), strides, bits


def entangled(views: Iterable[Spot]) -> list[list[Spot]]:
    """Groups of views whose bytes may overlap: several views, or one that may overlap itself. The others are free.

    Views that lie between each other (the columns of a matrix) are taken together as well.

    >>> import torch
    >>> w = torch.ones(4, 3)
    >>> tensors = {"w": w, "t": w.T, "expanded": torch.ones(1).expand(5), "free": torch.ones(2)}
    >>> [[spot.names for spot in group] for group in entangled(spots(tensors))]
    [[('w',), ('t',)], [('expanded',)]]
    """
    extents = []
    for order, spot in enumerate(views):
        if spot.tensor.numel() and not spot.tensor.is_meta:
            start, stop = _extent(spot.tensor)
            extents.append((str(spot.tensor.device), start, order, stop, spot))
    groups: list[dict[int, Spot]] = []
    device, end = "", 0
    for here, start, order, stop, spot in sorted(extents, key=lambda extent: extent[:3]):
        if groups and here == device and start < end:
            groups[-1][order] = spot
            end = max(end, stop)
        else:
            groups.append({order: spot})
            device, end = here, stop
    # In the order of the names: where memory lies differs from run to run.
    together = [[spot for _, spot in sorted(group.items())] for group in sorted(groups, key=min)]
    return [group for group in together if len(group) > 1 or _may_overlap_itself(group[0].tensor)]


def _extent(tensor: torch.Tensor) -> tuple[int, int]:
    """The first byte, and the one behind the last, as addresses. Strides of torch are never negative."""
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    start = tensor.data_ptr()
    return start, start + (last + 1) * tensor.element_size()


def _may_overlap_itself(tensor: torch.Tensor) -> bool:
    """Whether two entries could be one place in memory; False is sure."""
    reach = 0
    axes = [(step, size) for size, step in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]
    for step, size in sorted(axes):
        if step <= reach:
            return True
        reach += step * (size - 1)
    return False


class Copy:
    """A copy of the memory that entangled views cover, with the same views of it.

    >>> import torch
    >>> w = torch.zeros(2, 2)
    >>> copied = Copy(spots({"w": w, "t": w.T}))
    >>> copied.write(0, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> copied.views[1].tolist(), w.tolist()
    ([[1.0, 3.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]])
    """

    def __init__(self, group: list[Spot]) -> None:
        import torch

        extents = [_extent(spot.tensor) for spot in group]
        start = min(first for first, _ in extents) // _ALIGNMENT * _ALIGNMENT
        size = max(stop for _, stop in extents) - start
        memory = torch.zeros(size, dtype=torch.uint8, device=group[0].tensor.device)
        self.views: list[torch.Tensor] = []
        for spot, (first, _) in zip(group, extents, strict=True):
            tensor, width = spot.tensor, spot.tensor.element_size()
            if (first - start) % width or tensor.is_conj() or tensor.is_neg():
                raise SubnetworkError(
                    f"{' and '.join(spot.names)} shares memory with others in a way that is not known"
                )
            view = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
            view.set_(memory.untyped_storage(), (first - start) // width, tensor.shape, tensor.stride())
            write(view, tensor.detach())
            self.views.append(view)

    def write(self, which: int, values: torch.Tensor) -> None:
        """Give one of the views these values, in the copy."""
        write(self.views[which], values)


def write(tensor: torch.Tensor, values: torch.Tensor) -> None:
    """Write values of the same shape into a tensor, in place; where its entries are one place, they must be equal.

    Goes around autograd, and takes tensors that were made in inference mode.

    >>> import torch
    >>> one = torch.zeros(1)
    >>> write(one.expand(2, 3), torch.ones(2, 3))
    >>> one
    tensor([1.])
    """
    import torch

    with torch.inference_mode(tensor.is_inference()):
        target = tensor.data
        for axis, (size, step) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
            if size > 1 and step == 0:  # torch writes into no expanded tensor
                target, values = target.narrow(axis, 0, 1), values.narrow(axis, 0, 1)
        target.copy_(values)
