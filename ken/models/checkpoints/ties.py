"""Tied tensors of files: a file has a tied tensor once, or under several names, and only the model's class tells.

from_pretrained ties what the class and its configuration tie: what is missing in the files, and what is in them under
several names with equal bytes. Names whose bytes differ it leaves apart. A checkpoint on disk is read like that, so
that it has the tensors and the ties of the module that would be made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ken.models.checkpoints.architecture import ModelClass, class_named
from ken.models.checkpoints.checkpoint_files import OnDisk, entries_of, renamed
from ken.models.tensors.storages import aliases
from ken.models.tensors.tensor_bytes import bytes_of
from ken.models.tensors.tensor_roles import role

if TYPE_CHECKING:
    import torch


def tie(
    tensors: Mapping[str, torch.Tensor], class_name: str, config: Mapping[str, Any] | None
) -> tuple[Mapping[str, torch.Tensor], dict[str, str], tuple[str, ...]]:
    """Tensors of files with all names of tied ones, the ties (alias to the name that counts), and notes about them.

    class_name is the transformers class that the configuration names, empty if none; config is None if there is none.

    >>> import torch
    >>> w = torch.ones(2, 3)
    >>> tie({"a": w, "b": w, "c": w.clone()}, "", None)[1:]
    ({'b': 'a'}, ())
    """
    tied = aliases(tensors.loaded() if isinstance(tensors, OnDisk) else tensors)
    notes: list[str] = []
    model_class = class_named(class_name, config) if class_name and config is not None else None
    if model_class is not None:
        _by_class(tensors, model_class, tied=tied, notes=notes)
    elif config is not None:
        _by_config(tensors, config, tied=tied, notes=notes)
    absent = {alias: name for alias, name in tied.items() if alias not in tensors}
    return renamed(tensors, {name: name for name in tensors} | absent), tied, tuple(notes)


def untold(tied: Mapping[str, str], class_name: str, config: Mapping[str, Any]) -> list[str]:
    """The aliases that the class and its configuration do not tie: a file must have them, or nobody will.

    >>> untold({"b": "a"}, "NoSuchModel", {})
    ['b']
    """
    model_class = class_named(class_name, config) if tied else None
    if model_class is None:
        return list(tied)
    places = model_class.places({*tied, *tied.values()})
    leaders = {member: source for source, members in _groups(model_class).items() for member in members}
    return [
        alias
        for alias, name in tied.items()
        if leaders.get(places[alias].target) is None
        or leaders[places[alias].target] != leaders.get(places[name].target)
    ]


def _by_class(
    tensors: Mapping[str, torch.Tensor], model_class: ModelClass, tied: dict[str, str], notes: list[str]
) -> None:
    """Add the ties of a class. Its names are those of the module, those of the files may be others."""
    names = _names_in_files(tensors, model_class)
    for source, members in _groups(model_class).items():
        owners, equal = _sort_by_value(tensors, [names[member] for member in members if member in names], tied)
        for name, owner in equal.items():
            notes.append(f"{name} is in the files beside {owner}, with equal bytes: they are tied and count once")
        if len(owners) > 1:
            notes.append(f"{' and '.join(owners)} are tied by the configuration and differ in the files: taken apart")
        for member in members:
            if member in names or member in tensors:
                continue
            name = names.get(model_class.tied.get(member, source), "")
            if len(owners) == 1:
                tied[member] = owners[0]
            elif name:
                tied[member] = tied.get(name, name)


def _names_in_files(tensors: Mapping[str, torch.Tensor], model_class: ModelClass) -> dict[str, str]:
    """For the tied tensors of a class, in the words of the module, what they are called in the files."""
    members = {*model_class.tied, *model_class.tied.values()}
    names = {member: member for member in members if member in tensors}
    if len(names) < len(members) and not set(model_class.names).issuperset(tensors):
        for name, place in model_class.places(tensors).items():
            if place.target in members and not place.converted:
                names.setdefault(place.target, name)
    return names


def _groups(model_class: ModelClass) -> dict[str, list[str]]:
    """What is tied to one tensor, under the name of that, in the order of the module."""
    groups: dict[str, set[str]] = {}
    for alias in model_class.tied:
        source, seen = alias, {alias}
        while source in model_class.tied and model_class.tied[source] not in seen:
            source = model_class.tied[source]
            seen.add(source)
        groups.setdefault(source, {source}).update(seen)
    order = {name: i for i, name in enumerate(model_class.names)}
    last = len(order)
    return {name: sorted(group, key=lambda one: (order.get(one, last), one)) for name, group in groups.items()}


def _by_config(
    tensors: Mapping[str, torch.Tensor], config: Mapping[str, Any], tied: dict[str, str], notes: list[str]
) -> None:
    """Of a class that transformers does not know: matrices over the vocabulary with equal bytes are one tensor."""
    size = config.get("vocab_size")
    if not isinstance(size, int) or config.get("tie_word_embeddings") is False:
        return
    matrices = [
        name
        for name, tensor in tensors.items()
        if tensor.ndim == 2 and tensor.shape[0] == size and tensor.is_floating_point()
    ]
    matrices.sort(key=lambda name: role(name) != "embedding")  # the order is that of the names otherwise
    for name, owner in _sort_by_value(tensors, matrices, tied)[1].items():
        notes.append(f"{name} and {owner} have equal bytes and as many rows as the vocabulary: taken as tied")


def _sort_by_value(
    tensors: Mapping[str, torch.Tensor], names: Iterable[str], tied: dict[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Names with values of their own, and those with the same bytes as one of these, which are added to the ties."""
    owners: list[str] = []
    equal: dict[str, str] = {}
    for name in names:
        if name in tied or name in owners:
            continue
        owner = next((owner for owner in owners if _equal(tensors, owner, name)), None)
        if owner is None:
            owners.append(name)
        else:
            tied[name] = equal[name] = owner
    return owners, equal


def _equal(tensors: Mapping[str, torch.Tensor], a: str, b: str) -> bool:
    """Whether two tensors are equal bit for bit; no more of them is read than tells."""
    one, other = entries_of(tensors, a), entries_of(tensors, b)
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    parts = zip(one.stretches(), other.stretches(), strict=True)
    return all(bytes_of(part) == bytes_of(counterpart) for part, counterpart in parts)
