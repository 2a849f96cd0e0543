"""Copies of a module with other values: what shares memory in it still does, unless it is to have different values."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ken.errors import SubnetworkError, in_brief
from ken.models.checkpoints.wrappers import plain_names
from ken.models.tensors.storages import Copy, Spot, entangled, spots
from ken.models.tensors.tensor_bytes import fingerprint

if TYPE_CHECKING:
    import torch


def slots_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The parameters and buffers of a module by all their names, without those of what wraps it or its parts."""
    slots = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    return {short: slots[name] for name, short in plain_names(slots).items()}


def owners_of(model: torch.nn.Module) -> dict[str, tuple[torch.nn.Module, str]]:
    """For every name that `slots_of` gives: the module which has the tensor, and what it calls it."""
    owners = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for leaf in (*module._parameters, *module._buffers):
            owners[f"{path}.{leaf}" if path else leaf] = module, leaf
    return {short: owners[name] for name, short in plain_names(owners).items()}


def conflict(
    model: torch.nn.Module, places: Mapping[str, str], values: Mapping[str, torch.Tensor]
) -> tuple[str, str] | None:
    """Two places of a module that share memory and are to have different values, or the reverse; None if none.

    places gives for each place the name of its value.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    >>> model[1].weight = model[0].weight
    >>> conflict(model, {"0.weight": "a", "1.weight": "b"}, {"a": torch.zeros(2, 2), "b": torch.ones(2, 2)})
    ('0.weight', '1.weight')
    """
    home: dict[str, str] = {}
    for spot in spots(slots_of(model)):
        those = [place for place in spot.names if place in places]
        for place in those:
            if places[place] != places[those[0]] and not same(values[places[place]], values[places[those[0]]]):
                return those[0], place
        for name in dict.fromkeys(places[place] for place in those):
            if home.setdefault(name, those[0]) != those[0]:
                return home[name], those[0]
    return None


def copied(
    model: torch.nn.Module,
    places: Mapping[str, str],
    values: Mapping[str, torch.Tensor],
    *,
    tie: bool = True,
) -> torch.nn.Module:
    """A deep copy of a module with some values exchanged; what is exchanged is not copied first.

    places gives for each place of the module the name of the value that it is to have, values the values, each with
    memory of its own. tie says whether places of one name are one tensor in the copy, even if the module has them
    apart. Names that share memory in the module share it in the copy, too, unless they are to have different values;
    places without a value of their own have that of the memory they share.

    Raises `SubnetworkError` if the module has no such place, or cannot be copied, or a place without a value shares
    memory with two that are to have different ones.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 2, bias=False)
    >>> copied(layer, {"weight": "w"}, {"w": torch.ones(2, 2)}).weight.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    slots = slots_of(model)
    for place in places:
        if place not in slots:
            raise SubnetworkError(f"the model has no parameter or buffer {place}")
    exchanged: dict[int, torch.Tensor] = {}
    apart: dict[str, torch.Tensor] = {}
    one = _One()

    def own(name: str, place: str) -> torch.Tensor:
        first = next(other for other in places if places[other] == name)
        return values[name] if tie or place == first else values[name].clone()

    views = spots(slots)
    groups = entangled(views)
    together = {id(spot) for group in groups for spot in group}
    for group in [*([spot] for spot in views if id(spot) not in together), *groups]:
        those = {place: places[place] for spot in group for place in spot.names if place in places}
        if not those:
            continue
        alone = id(group[0]) not in together
        if alone and _agree(those, values):
            first = next(iter(those))
            for tensor in group[0].tensors:
                exchanged[id(tensor)] = one.like(tensor, own(those[first], first))
            continue
        written = None if alone else _written(group, places, values)
        if written is not None:
            for spot, view in zip(group, written, strict=True):
                for tensor in spot.tensors:
                    exchanged[id(tensor)] = one.like(tensor, view)
            continue
        for place in (place for spot in group for place in spot.names):
            if place not in those:
                a, b = list(those)[:2] if len(those) > 1 else (next(iter(those)), place)
                raise SubnetworkError(
                    f"{place} shares memory with {a} and {b}, which are to have different values, and the subnetwork "
                    "has none for it; give it memory of its own first"
                )
            apart[place] = one.like(slots[place], own(those[place], place))
    new = _deepcopy(model, exchanged)
    if apart:
        put(new, apart)
    return new


def put(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Register other parameters and buffers under some names. Raises `SubnetworkError` if names are of one module."""
    owners = owners_of(model)
    for place, tensor in tensors.items():
        setattr(*owners[place], tensor)
    slots = slots_of(model)
    for place, tensor in tensors.items():
        if slots.get(place) is not tensor:
            other = next((name for name in tensors if slots.get(place) is tensors[name]), "another")
            raise SubnetworkError(
                f"{place} and {other} are one tensor of one module, which cannot have two values; "
                "inject into its state dict"
            )
    _untie(model, slots)


def _untie(model: torch.nn.Module, slots: Mapping[str, torch.Tensor]) -> None:
    """Tell a model of transformers what is tied no more, as the library does for files that differ."""
    tied: Any = getattr(model, "all_tied_weights_keys", None)
    if not tied:
        return
    for alias, name in list(tied.items()):
        if alias in slots and name in slots and not same(slots[alias], slots[name]):
            del tied[alias]
    config: Any = getattr(model, "config", None)
    if not tied and getattr(config, "tie_word_embeddings", False):
        config.tie_word_embeddings = False


class _One:
    """Parameters made of tensors: one of each, so that what is tied is one parameter."""

    def __init__(self) -> None:
        # With the values, so that no other tensor can get the identity of one.
        self._made: dict[tuple[int, bool], tuple[torch.Tensor, torch.Tensor]] = {}

    def like(self, old: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """The value as what it replaces: a parameter that is trained or not, or a buffer."""
        import torch

        if not isinstance(old, torch.nn.Parameter):
            return value
        key = id(value), old.requires_grad
        if key not in self._made:
            self._made[key] = torch.nn.Parameter(value, requires_grad=old.requires_grad), value
        return self._made[key][0]


def _agree(those: Mapping[str, str], values: Mapping[str, torch.Tensor]) -> bool:
    names = list(dict.fromkeys(those.values()))
    return all(same(values[name], values[names[0]]) for name in names[1:])


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are equal bit for bit, and of one dtype and shape."""
    return (a.shape, a.dtype) == (b.shape, b.dtype) and fingerprint(a) == fingerprint(b)


def _written(
    group: list[Spot], places: Mapping[str, str], values: Mapping[str, torch.Tensor]
) -> list[torch.Tensor] | None:
    """Views over new memory in which all have their values; None if that cannot be."""
    wanted = [(i, values[places[place]]) for i, spot in enumerate(group) for place in spot.names if place in places]
    if any(value.shape != group[i].tensor.shape or value.dtype != group[i].tensor.dtype for i, value in wanted):
        return None
    written = Copy(group)
    for i, value in wanted:
        written.write(i, value)
    fits = all(fingerprint(written.views[i]) == fingerprint(value) for i, value in wanted)
    return written.views if fits else None


def _deepcopy(model: torch.nn.Module, exchanged: Mapping[int, torch.Tensor]) -> torch.nn.Module:
    try:
        return copy.deepcopy(model, dict(exchanged))
    except Exception as error:  # whatever the module's own code, or torch, raises
        raise SubnetworkError(
            f"the module {type(model).__name__} cannot be copied ({in_brief(error)}); write the subnetwork into it "
            "with net.inject_(model), or inject into its state dict"
        ) from error
