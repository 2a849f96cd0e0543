"""What an injected model has in other places than the pretrained one: indices and values, for whoever applies them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ken.injection.inject import find_places, merge
from ken.models.checkpoints.checkpoint import Source, read
from ken.models.tensors.tensor_bytes import bits_of
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import torch


class Patch(NamedTuple):
    """A change of one tensor; the fields, in this order, are those of vLLM's `CheckpointWeightPatch`.

    Attributes:
        name: The name of the tensor in the fine-tuned model's files.
        shape: Its whole shape.
        dtype: Its dtype.
        values: (changes,) of that dtype, the new values themselves and no differences; of a tensor that is to be
            replaced whole, all its entries in C order.
        indices: (changes,) int64, strictly increasing, into the entries in C order; None: the tensor is replaced whole.

    Example:
        >>> import torch
        >>> Patch("w", (2, 2), torch.float32, torch.tensor([5.0]), torch.tensor([3])).indices
        tensor([3])
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    values: torch.Tensor
    indices: torch.Tensor | None


def patches(net: SubnetworkData, pretrained: Source) -> Iterator[Patch]:
    """Tell what injecting changes, tensor by tensor, as indices and values: exactly, and nothing that stays.

    Such patches are what servers take that update a running model, as vLLM (0.33) does:
    ``engine.send_weights([CheckpointWeightPatch(*patch) for patch in ken.patches(net, pretrained)])``. One tensor at a
    time is in memory.

    Args:
        net: The subnetwork.
        pretrained: The pretrained model, as `ken.prune` takes it.

    Yields:
        A `Patch` for every tensor that injecting changes. Tensors of integers, and those that the pretrained
        model lacks or has in another shape or dtype, are replaced whole.

    Raises:
        SubnetworkError: The pretrained model is not the one that the subnetwork relies on.
        FormatError: The subnetwork's file is damaged.

    Example:
        >>> import torch, ken
        >>> pretrained = {"w": torch.zeros(2, 2)}
        >>> net = ken.prune({"w": torch.tensor([[1.0, 2.0], [0.0, 3.0]])}, pretrained, 1, "update")
        >>> [(patch.name, patch.indices.tolist(), patch.values.tolist()) for patch in patches(net, pretrained)]
        [('w', [1, 3], [2.0, 3.0])]
    """
    import torch

    theirs = read(pretrained)
    places = find_places(net, theirs)
    for name in net:
        place = places[name]
        merged = merge(net, name, theirs, place=place).cpu().contiguous()
        before = None if place is None else theirs.whole(place).cpu()
        shape, flat = tuple(merged.shape), merged.reshape(-1)
        if before is None or before.shape != merged.shape or before.dtype != merged.dtype:
            yield Patch(name, shape, dtype=merged.dtype, values=flat, indices=None)
            continue
        changed = torch.from_numpy((bits_of(merged) != bits_of(before)).nonzero()[0])
        if len(changed) and merged.is_floating_point():
            yield Patch(name, shape, dtype=merged.dtype, values=flat[changed], indices=changed)
        elif len(changed):  # those who take patches mark what stays by NaN, which integers do not have
            yield Patch(name, shape, dtype=merged.dtype, values=flat, indices=None)
