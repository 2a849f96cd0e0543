"""inject and reset: KEN's two directions to one new model. Inputs stay untouched, bit for bit.

inject: the pretrained model, with the retained entries brought in
reset:  the fine-tuned model, with all other entries set back
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import NDArray

from ken.errors import SubnetworkError, at_tensor
from ken.injection.copies import conflict, copied, put, same, slots_of
from ken.injection.fitting import fit_modules, fit_vocabulary
from ken.injection.stand_ins import find_stand_ins, stand_in
from ken.models.adapters.adapted import read_pair
from ken.models.checkpoints.architecture import build
from ken.models.checkpoints.checkpoint import Checkpoint, Source, TunedSource, read
from ken.models.checkpoints.location import Location
from ken.models.checkpoints.wrappers import unwrapped
from ken.models.pairing import weight_names
from ken.models.pairing.pairing import match
from ken.models.tensors.tensor_bytes import fingerprint
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.retained_tensor import RetainedTensor, check_grown
from ken.subnetwork.subnetwork import SubnetworkData
from ken.subnetwork.threads import each

if TYPE_CHECKING:
    import torch


@overload
def inject(net: SubnetworkData, pretrained: torch.nn.Module) -> torch.nn.Module: ...
@overload
def inject(
    net: SubnetworkData, pretrained: Mapping[str, torch.Tensor | NDArray[Any]] | str | Path | Location
) -> dict[str, torch.Tensor]: ...
def inject(net: SubnetworkData, pretrained: Source) -> torch.nn.Module | dict[str, torch.Tensor]:
    """A new model: retained and carried entries from the subnetwork, everything else from the pretrained model.

    Every pretrained tensor is checked against the fingerprint that the subnetwork has of it, and every stored one
    against its checksum. Nothing that is given is changed.

    Args:
        net: The subnetwork.
        pretrained: The pretrained model, as `ken.prune` takes it.

    Returns:
        For a module a new module on the same device and in the same mode (training or evaluation): a copy of the given
        one or, where the subnetwork carries tensors that have no place in it (a new head) or the two models tie other
        tensors, one of the fine-tuned model's transformers class. A copy of another module has apart what is to have
        different values, and ties what the fine-tuned model ties. For a state dict or a path a state dict under the
        fine-tuned names, with new tensors (see `ken.export` for a checkpoint folder).

    Raises:
        SubnetworkError: The pretrained model is not the one that the subnetwork relies on, or has no place for it.
        FormatError: The subnetwork's file is damaged.

    Example:
        >>> import torch
        >>> from ken import prune
        >>> pretrained, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
        >>> model = inject(prune(fine_tuned, pretrained, k=8), pretrained)
        >>> torch.equal(model.weight, fine_tuned.weight)
        True
    """
    import torch

    theirs = read(pretrained)
    places = find_places(net, theirs)
    lent = find_stand_ins(net, theirs)
    if not isinstance(pretrained, torch.nn.Module):
        merged = _values(net, theirs, places=places, lent=lent)
        return merged | {alias: merged[name] for alias, name in net.tied.items()}
    pretrained = unwrapped(pretrained)
    homeless = [name for name, place in places.items() if place is None]
    if homeless and net.architecture is None:
        raise SubnetworkError(
            f"the pretrained module has no place for {homeless[0]} ({len(homeless)} such tensors); give a module of "
            "the fine-tuned class, or a state dict"
        )
    other_shapes = any(
        place is not None and net.outlines[name].shape != tuple(theirs.tensors[place].shape)
        for name, place in places.items()
    )
    model = None
    if homeless:
        model = _build(net, pretrained)
    elif other_shapes and net.architecture is not None:
        # The fine-tuned class and configuration fit what has other shapes: a grown vocabulary, a head for other labels.
        with suppress(SubnetworkError):  # a model that its class and configuration do not tell whole
            model = _build(net, pretrained)
    values = _values(net, theirs, places=places, lent=lent)
    if model is None:
        names = _names_by_place(net, theirs, places | lent, slots=slots_of(pretrained))
        of_transformers = theirs.module is not None
        if not of_transformers or conflict(pretrained, names, values) is None or not _covers_its_class(net):
            model = copied(pretrained, names, values, tie=not of_transformers)
            if other_shapes:
                _fit(model, net, theirs, places=places)
            return model
        model = _build(net, pretrained)
    return _filled(model, net, values)


def _values(
    net: SubnetworkData, theirs: Checkpoint, *, places: Mapping[str, str | None], lent: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    """All tensors of the new model by name, those that stand in included; tied ones under one name."""
    merged = each(lambda name: merge(net, name, theirs, place=places[name]), net)
    stand_ins = {name: stand_in(net, name, theirs, place=place) for name, place in lent.items()}
    return dict(zip(net, merged, strict=True)) | stand_ins


def _names_by_place(
    net: SubnetworkData, theirs: Checkpoint, places: Mapping[str, str | None], slots: Mapping[str, torch.Tensor]
) -> dict[str, str]:
    """For every place of a module the name of the tensor that it is to have, also where that is an alias."""
    names = {str(place): name for name, place in places.items()}
    counterparts = pair_with(net, theirs)
    for alias, name in net.tied.items():
        if (place := counterparts[alias]) is not None and place in slots:
            names.setdefault(place, name)
    return names


def _covers_its_class(net: SubnetworkData) -> bool:
    """Whether a model of the fine-tuned class would have all its tensors from the subnetwork."""
    return net.architecture is not None and not _unset(net, build(net.architecture)[1])


def _filled(model: torch.nn.Module, net: SubnetworkData, merged: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """A model of the fine-tuned class with the values of the subnetwork; what the class ties stays tied if it may."""
    import torch

    slots = slots_of(model)
    names = {name: name for name in (*net, *net.lacking)}
    names |= {alias: name for alias, name in net.tied.items() if alias in slots}
    filled: dict[int, str] = {}
    apart: dict[str, torch.Tensor] = {}
    for place, name in names.items():
        slot = slots[place]
        first = filled.setdefault(id(slot), name)
        if first == name or same(merged[name], merged[first]):
            slot.data = merged[first]
        elif isinstance(slot, torch.nn.Parameter):
            apart[place] = torch.nn.Parameter(merged[name], requires_grad=slot.requires_grad)
        else:
            apart[place] = merged[name]
    if apart:
        put(model, apart)
    return model


def reset(net: SubnetworkData, fine_tuned: TunedSource, pretrained: Source | None) -> dict[str, torch.Tensor]:
    """The other direction: the fine-tuned model's tensors with every entry that is not retained set back.

    Gives what `inject` gives, as a state dict, bit for bit, but takes the retained values from the fine-tuned model;
    rescaled ones, which that does not have, from the subnetwork.

    Args:
        net: The subnetwork.
        fine_tuned: The fine-tuned model that it was made from, as `ken.prune` takes it.
        pretrained: The pretrained model, likewise.

    Returns:
        A state dict under the fine-tuned names, with new tensors.

    Raises:
        SubnetworkError: The models are not those that the subnetwork was made from.

    Example:
        >>> import torch, ken
        >>> a, b = {"w": torch.tensor([[3.0, 0.0, 1.0]])}, {"w": torch.zeros(1, 3)}
        >>> reset(ken.prune(a, b, k=2), a, b)
        {'w': tensor([[3., 0., 0.]])}
    """
    import numpy as np
    import torch

    tuned, theirs = weight_names.align(*read_pair(fine_tuned, pretrained))
    places = find_places(net, theirs)
    names = weight_names.complete(match([*net, *net.tied], tuned.tensors, (net.prefix, tuned.prefix)), net, tuned)
    result = {}
    for name, tensor in net.items():
        place = names[name]
        with at_tensor(name):
            if place is None:
                raise SubnetworkError(f"the fine-tuned model has no tensor {name}")
            whole = tuned.whole(place)
            if tuple(whole.shape) != tensor.shape or whole.dtype != tensor.dtype:
                raise SubnetworkError(
                    f"the subnetwork was made from a fine-tuned tensor of {tensor.dtype} {tensor.shape}, "
                    f"this one is {whole.dtype} {tuple(whole.shape)}"
                )
            if isinstance(tensor, CarriedTensor):
                if fingerprint(whole) != fingerprint(tensor.value):
                    raise SubnetworkError("this is not the fine-tuned tensor that the subnetwork carries")
                result[name] = whole.detach().clone()
                continue
            base = theirs.whole(str(places[name]))
            tensor.check(base)
            if net.recipe.rescale != "none":
                same = fingerprint(whole) == tensor.fine_tuned
            else:
                again = RetainedTensor.of(whole, tensor.mask(), base, raw=tensor.raw)
                same = again.result == tensor.result and np.array_equal(again.ulps, tensor.ulps)
            if not same:
                raise SubnetworkError("this is not the fine-tuned tensor that the subnetwork was made from")
            if net.recipe.rescale != "none":
                result[name] = tensor.onto(base).to(whole.device)
                continue
            flat = whole.detach().clone().reshape(-1)
            back = torch.from_numpy(~tensor.mask().reshape(-1)).to(flat.device)
            # Where rows were added there is nothing to set back: the mask covers them.
            flat[: base.numel()][back[: base.numel()]] = base.detach().reshape(-1).to(flat)[back[: base.numel()]]
            result[name] = flat.reshape(whole.shape)
    result |= {name: stand_in(net, name, theirs, place=place) for name, place in find_stand_ins(net, theirs).items()}
    result |= {alias: result[name] for alias, name in net.tied.items()}
    return result


def find_places(net: SubnetworkData, theirs: Checkpoint) -> dict[str, str | None]:
    """The pretrained counterpart of every tensor, None for carried ones that have none.

    Raises `SubnetworkError` if a pruned tensor has none, or one of another shape, or if the layouts differ.
    """
    counterparts = pair_with(net, theirs)
    places = {name: counterparts[name] for name in net}
    for name, outline in net.outlines.items():
        if outline.reason is not None:
            continue
        place = places[name]
        if place is None:
            raise SubnetworkError(f"the pretrained model has no tensor {name}, whose reset entries it should give")
        with at_tensor(name):
            check_grown(outline.shape, tuple(theirs.tensors[place].shape))
    return places


def pair_with(net: SubnetworkData, theirs: Checkpoint) -> dict[str, str | None]:
    """The tensor of a model for each name of the subnetwork, aliases too, as `open_pair` pairs them; None if none.

    Raises `SubnetworkError` if the subnetwork has the tensors as they are on disk and the model has others in memory,
    or the other way round.
    """
    names = match([*net, *net.tied], theirs.tensors, (net.prefix, theirs.prefix))
    names = weight_names.complete(names, net, theirs)
    parts = weight_names.clash(names, net, theirs)
    if parts is not None:
        how = "open it with from_pretrained and inject into that module"
        if theirs.module is not None:
            how = "inject into the checkpoint folder with ken.export and open what it writes with from_pretrained"
        raise SubnetworkError(
            f"{parts[0]} of the subnetwork and {parts[1]} of the pretrained model are one tensor in different layouts; "
            f"{how}"
        )
    return names


def merge(net: SubnetworkData, name: str, theirs: Checkpoint, place: str | None) -> torch.Tensor:
    """One tensor of the new model, checked; it shares memory with nothing."""
    tensor = net.tensors[name]
    with at_tensor(name):
        if isinstance(tensor, CarriedTensor):
            like = theirs.tensors[place] if place else next(iter(theirs.tensors.values()), tensor.value)
            # What is computed as it is read has no place of its own.
            return tensor.value.to("cpu" if like.is_meta else like.device, copy=True)
        assert place is not None
        return tensor.onto(theirs.whole(place))


def merged_stretches(net: SubnetworkData, name: str, theirs: Checkpoint, place: str | None) -> Iterator[NDArray[Any]]:
    """One tensor of the new model as flat bits or bytes, a stretch at a time; with the last, it has been checked."""
    tensor = net.tensors[name]
    with at_tensor(name):
        if isinstance(tensor, CarriedTensor):
            yield from tensor.stretches()
            return
        assert place is not None
        yield from tensor.stretches(theirs.entries(place))


def _fit(model: torch.nn.Module, net: SubnetworkData, theirs: Checkpoint, places: Mapping[str, str | None]) -> None:
    """Let modules and configuration of a copy say the sizes that its tensors have now."""
    fit_modules(model)
    for name, place in places.items():
        old, new = tuple(theirs.tensors[str(place)].shape), net.outlines[name].shape
        if old != new and net.outlines[name].reason is None:
            fit_vocabulary(getattr(model, "config", None), old[0], new[0])


def _build(net: SubnetworkData, pretrained: torch.nn.Module) -> torch.nn.Module:
    """A model of the fine-tuned transformers class, whose weights are about to be replaced, every one of them."""
    assert net.architecture is not None
    cls, model = build(net.architecture)
    model.train(pretrained.training)
    # What is in no state dict (position ids) must be where the parameters will be.
    like = next(iter(pretrained.parameters()), None)
    if like is not None:
        model.to(like.device)
    unset = _unset(net, model)
    if unset:  # it would keep whatever it was built with
        raise SubnetworkError(f"the subnetwork has no tensor {unset[0]}, which {cls} needs ({len(unset)} such tensors)")
    slots = slots_of(model)
    absent = [name for name in (*net, *net.lacking) if name not in slots]
    if absent:
        raise SubnetworkError(
            f"{cls} has no tensor {absent[0]} ({len(absent)} such tensors); write a folder with ken.export, or inject "
            "into a state dict"
        )
    return model


def _unset(net: SubnetworkData, model: torch.nn.Module) -> list[str]:
    """The tensors of a model that the subnetwork has none for."""
    names = {*net.outlines, *net.tied, *net.lacking}
    return [name for name in model.state_dict() if name not in names]
