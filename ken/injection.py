"""inject: write a subnetwork into a copy of the pretrained model. Inputs stay untouched, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from ken.checkpoint import Architecture, Checkpoint, match, read
from ken.errors import SubnetworkError, at_tensor
from ken.subnetwork import CarriedTensor, RetainedTensor, Subnetwork

if TYPE_CHECKING:
    import torch

Model = TypeVar("Model", bound="torch.nn.Module | Mapping[str, torch.Tensor]")


def inject(net: Subnetwork, pretrained: Model) -> Model:
    """A new model: retained and carried entries from the subnetwork, everything else from the pretrained model.

    For a state dict the result is a state dict under the fine-tuned names, with new tensors. For a module it is a
    new module on the same device and in the same mode (training or evaluation): a copy of the given one or, where
    the subnetwork carries tensors that have no place in it (a new head), one of the fine-tuned model's transformers
    class.

    Raises `SubnetworkError` if the two do not fit; nothing has been made or changed by then.

    >>> import torch
    >>> from ken.pruning import prune
    >>> pretrained, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    >>> model = inject(prune(fine_tuned, pretrained, k=8), pretrained)
    >>> torch.equal(model.weight, fine_tuned.weight)
    True
    """
    import torch

    theirs = read(pretrained)
    places = match(net, theirs.tensors, (net.prefix, theirs.prefix))
    _check(net, theirs, places)
    if not isinstance(pretrained, torch.nn.Module):
        merged = {name: _merge(name, tensor, theirs, places[name]) for name, tensor in net.items()}
        merged |= {alias: merged[name] for alias, name in net.tied.items()}
        return merged  # type: ignore[return-value]

    homeless = [name for name, place in places.items() if place is None]
    if not homeless:
        model = copy.deepcopy(pretrained)
        targets = {name: str(place) for name, place in places.items()}
    elif net.architecture is not None:
        model = _build(net.architecture)  # type: ignore[assignment]
        model.train(pretrained.training)
        # Its parameters are about to be replaced, but what is in no state dict (position ids) must move too.
        model.to(next(iter(theirs.tensors.values())).device)
        targets = {name: name for name in net}
        unset = [name for name in model.state_dict() if name not in net.tensors and name not in net.tied]
        if unset:  # it would keep the random values it was built with
            raise SubnetworkError(
                f"the subnetwork has no tensor {unset[0]}, which {net.architecture.class_name} needs "
                f"({len(unset)} such tensors)"
            )
    else:
        raise SubnetworkError(
            f"the pretrained module has no place for {homeless[0]} ({len(homeless)} such tensors); give a module of "
            "the fine-tuned class, or a state dict"
        )
    _write(model, {targets[name]: _merge(name, tensor, theirs, places[name]) for name, tensor in net.items()})
    return model


def _check(net: Subnetwork, theirs: Checkpoint, places: Mapping[str, str | None]) -> None:
    for name, tensor in net.items():
        place = places[name]
        if isinstance(tensor, CarriedTensor):
            continue
        if place is None:
            raise SubnetworkError(f"the pretrained model has no tensor {name}, whose reset entries it should give")
        ours, other = tensor.shape, tuple(theirs.tensors[place].shape)
        grown = len(ours) == len(other) > 0 and ours[1:] == other[1:] and ours[0] > other[0]
        if ours != other and not grown:
            raise SubnetworkError(f"{name}: the subnetwork is {ours}, the pretrained tensor {other}")


def _merge(name: str, tensor: RetainedTensor | CarriedTensor, theirs: Checkpoint, place: str | None) -> torch.Tensor:
    if isinstance(tensor, CarriedTensor):
        like = theirs.tensors[place] if place else next(iter(theirs.tensors.values()), tensor.value)
        return tensor.value.to(like.device, copy=True)
    assert place is not None
    with at_tensor(name):
        return tensor.onto(theirs.tensors[place])


def _write(model: torch.nn.Module, merged: Mapping[str, torch.Tensor]) -> None:
    """Put the merged tensors into a module of our own making. Tied parameters stay tied: data is replaced."""
    slots = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    absent = [name for name in merged if name not in slots]
    if absent:
        raise SubnetworkError(f"the model has no tensor {absent[0]} ({len(absent)} such tensors)")
    for name, tensor in merged.items():
        slots[name].data = tensor


def _build(architecture: Architecture) -> torch.nn.Module:
    """A transformers model of that class and config; its random weights are about to be replaced."""
    import torch
    import transformers

    cls = getattr(transformers, architecture.class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)):
        raise SubnetworkError(f"transformers {transformers.__version__} has no model class {architecture.class_name!r}")
    assert cls.config_class is not None  # only the abstract base class has none
    config = cls.config_class.from_dict(architecture.config)
    with torch.random.fork_rng(devices=[]):  # building draws random weights: not from the caller's stream
        return cls(config)
