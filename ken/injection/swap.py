"""Live models: a subnetwork written into a model in place, taken out again, exchanged for another.

    plan     what would become of every parameter; all is checked here, and nothing is changed
    carry out  all of the plan or, if it is interrupted, none of it

A pruned parameter is moved by the distances that the subnetwork has stored, so no copy of the pretrained values is
needed to go back: from the pretrained value and the distance follows the fine-tuned one, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ken.errors import SubnetworkError, at_tensor
from ken.injection.changes import carry_out, take_back
from ken.injection.copies import slots_of
from ken.injection.inject import pair_with
from ken.injection.planned_changes import Plan, Side, plan, remember
from ken.injection.stand_ins import check, find_stand_ins
from ken.models.checkpoints.checkpoint import read
from ken.models.pairing.pairing import match
from ken.models.tensors.tensor_bytes import dtype_name, fingerprint
from ken.subnetwork.outline import Outline
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import torch


def swap(model: torch.nn.Module, current: SubnetworkData | None, to: SubnetworkData | None) -> None:
    """Make a live model that holds one subnetwork hold another one, in place; only what either retains is written.

    Both subnetworks are decoded once and then stay in memory (`Subnetwork.in_memory`). On any error, and if it is
    interrupted, the model is as it was.

    Args:
        model: The model.
        current: The subnetwork that it holds; None: it holds the pretrained weights.
        to: The subnetwork that it is to hold. None takes `current` out, which leaves a head that has no pretrained
            counterpart as it is.

    Raises:
        SubnetworkError: The model does not hold `current` bit for bit, the two were not made with the same pretrained
            weights, or what `current` has stored does not tell the pretrained values: one with raw values, or one that
            carries a tensor whole which the other prunes.

    Example:
        >>> import torch, ken
        >>> model, a, b = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
        >>> net_a, net_b = ken.prune(a, model, k=8), ken.prune(b, model, k=8)
        >>> net_a.inject_(model)
        >>> swap(model, current=net_a, to=net_b)
        >>> torch.equal(model.weight, b.weight)
        True
    """
    changes, kept = _plan(model, current, to)
    carry_out(changes)
    remember(model, kept)


@contextmanager
def injected(net: SubnetworkData, model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """See `ken.Subnetwork.injected`."""
    changes, _ = _plan(model, None, net)
    carry_out(changes)
    try:
        yield model
    finally:
        take_back(changes, slots_of(model))


def _plan(model: torch.nn.Module, current: SubnetworkData | None, to: SubnetworkData | None) -> Plan:
    slots = slots_of(model)
    # All sizes are compared before anything is decoded.
    return plan(model, slots, current=_side(current, model, slots), to=_side(to, model, slots))


def _side(net: SubnetworkData | None, model: torch.nn.Module, slots: Mapping[str, torch.Tensor]) -> Side:
    """Where a subnetwork's tensors are in a model, under all their names; each must fit in shape and dtype."""
    if net is None:
        return Side(None, names={}, homes={}, lent={})
    places = match([*net, *net.tied], slots, (net.prefix, str(getattr(model, "base_model_prefix", "") or "")))
    if any(places[name] is None for name in net):
        places |= pair_with(net, read(model))
    names = {str(places[name]): name for name in net}
    for alias, name in net.tied.items():
        if (place := places[alias]) is not None and place in slots:
            names.setdefault(place, name)
    lent = {}
    if net.lacking:
        model_itself = read(model)
        for name, place in find_stand_ins(net, model_itself).items():
            with at_tensor(name):
                check(net.lacking[name], fingerprint(model_itself.tensors[place]))
            lent[place] = net.lacking[name].fingerprint
    for place, name in names.items():
        with at_tensor(name):
            _check_place(slots.get(place), net.outlines[name], net.tensors[name].pretrained is None)
    return Side(net, names=names, homes={name: str(places[name]) for name in net}, lent=lent)


def _check_place(slot: torch.Tensor | None, outline: Outline, new: bool) -> None:
    """A tensor of the model must have the fine-tuned dtype and shape; one that is new may get another shape."""
    if slot is None:
        raise SubnetworkError("the model has no place for the tensor")
    if slot.is_meta:
        raise SubnetworkError("the model's tensor has no values (it is on the meta device)")
    fits = tuple(slot.shape) == outline.shape or (new and slot.ndim == len(outline.shape))
    if not fits or dtype_name(slot.dtype) != outline.dtype:
        raise SubnetworkError(
            f"the subnetwork has {outline.dtype} {outline.shape}, "
            f"the model's tensor is {dtype_name(slot.dtype)} {tuple(slot.shape)}"
        )
