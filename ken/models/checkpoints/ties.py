"""Tied tensors of files: a file has a tied tensor once, or under several names, and only the model's class tells.

from_pretrained ties what the class and its configuration tie: what is missing in the files, and what is in them under
several names with equal bytes. Names whose bytes differ it leaves apart. A checkpoint on disk is read like that, so
that it has the tensors and the ties of the module that would be made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ken.models.checkpoints.checkpoint_files import OnDisk
from ken.models.checkpoints.module_classes import ModelClass, class_named
from ken.models.tensors.storages import aliases
from ken.models.tensors.tensor_bytes import bytes_of
from ken.models.tensors.tensor_reader import Entries
from ken.models.tensors.tensor_roles import role

if TYPE_CHECKING:
    import torch


def tie(
    tensors: Mapping[str, torch.Tensor], class_name: str, config: Mapping[str, Any] | None
) -> tuple[Mapping[str, torch.Tensor], dict[str, str], tuple[str, ...]]:
    """Tensors of files with all names of tied ones, the ties (alias to the name that counts), and notes about them.

    Args:
        tensors: what the files have, by name. Those of a .bin file may be views of one memory.
        class_name: the transformers class that the configuration names, empty if none.
        config: the configuration as in config.json, None if there is none.

    Returns:
        The tensors with their aliases, the ties, and a sentence for everything that was guessed.

    >>> import torch
    >>> w = torch.ones(2, 3)
    >>> tie({"a": w, "b": w, "c": w.clone()}, "", None)[1:]
    ({'b': 'a'}, ())
    """
    tied = aliases(tensors if isinstance(tensors, dict) else _in_memory(tensors))
    notes: list[str] = []
    known = class_named(class_name, config) if class_name and config is not None else None
    if known is not None:
        _by_class(tensors, known, tied, notes)
    elif config is not None:
        _by_config(tensors, config, tied, notes)
    absent = {alias: name for alias, name in tied.items() if alias not in tensors}
    if isinstance(tensors, OnDisk):
        tensors = tensors.with_aliases(absent) if absent else tensors
    else:
        tensors = {**tensors, **{alias: tensors[name] for alias, name in absent.items()}}
    return tensors, tied, tuple(notes)


def untold(tied: Mapping[str, str], class_name: str, config: Mapping[str, Any]) -> list[str]:
    """The aliases that the class and its configuration do not tie: a file must have them, or nobody will.

    >>> untold({"b": "a"}, "NoSuchModel", {})
    ['b']
    """
    known = class_named(class_name, config) if tied else None
    if known is None:
        return list(tied)
    places = known.places({*tied, *tied.values()})
    leaders = {member: source for source, members in _groups(known).items() for member in members}
    return [
        alias
        for alias, name in tied.items()
        if leaders.get(places[alias].target) is None
        or leaders[places[alias].target] != leaders.get(places[name].target)
    ]


def _in_memory(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those that have been read: of .bin files, which keep what shares memory together."""
    return tensors.loaded() if isinstance(tensors, OnDisk) else {}


def _by_class(tensors: Mapping[str, torch.Tensor], known: ModelClass, tied: dict[str, str], notes: list[str]) -> None:
    """Add the ties of a class. Its names are those of the module, those of the files may be others."""
    names = _names_in_files(tensors, known)
    for source, members in _groups(known).items():
        owners: list[str] = []  # those that have values of their own
        absent: list[str] = []
        for member in members:
            name = names.get(member)
            if name is None:
                absent.append(member)
            elif name not in tied:
                same = next((owner for owner in owners if _equal(tensors, owner, name)), None)
                if same is None:
                    owners.append(name)
                else:
                    tied[name] = same
                    notes.append(
                        f"{name} is in the files beside {same}, with equal bytes: they are tied and count once"
                    )
        if len(owners) > 1:
            notes.append(f"{' and '.join(owners)} are tied by the configuration and differ in the files: taken apart")
        for member in absent:
            name = names.get(known.tied.get(member, source))
            owner = owners[0] if len(owners) == 1 else None if name is None else tied.get(name, name)
            if owner is not None and member not in tensors:
                tied[member] = owner


def _names_in_files(tensors: Mapping[str, torch.Tensor], known: ModelClass) -> dict[str, str]:
    """For the tied tensors of a class, in the words of the module, what they are called in the files."""
    members = {*known.tied, *known.tied.values()}
    names = {member: member for member in members if member in tensors}
    if len(names) < len(members) and not set(known.names).issuperset(tensors):
        for name, place in known.places(tensors).items():
            if place.target in members and not place.converted:
                names.setdefault(place.target, name)
    return names


def _groups(known: ModelClass) -> dict[str, list[str]]:
    """What is tied to one tensor, under the name of that, in the order of the module."""
    groups: dict[str, set[str]] = {}
    for alias in known.tied:
        source, seen = alias, {alias}
        while source in known.tied and known.tied[source] not in seen:
            source = known.tied[source]
            seen.add(source)
        groups.setdefault(source, {source}).update(seen)
    order = {name: i for i, name in enumerate(known.names)}
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
        if name not in tied and tensor.ndim == 2 and tensor.shape[0] == size and tensor.is_floating_point()
    ]
    owners: list[str] = []
    for name in sorted(matrices, key=lambda one: role(one) != "embedding"):  # the order is that of the names otherwise
        same = next((owner for owner in owners if _equal(tensors, owner, name)), None)
        if same is None:
            owners.append(name)
        else:
            tied[name] = same
            notes.append(f"{name} and {same} have equal bytes and as many rows as the vocabulary: taken as tied")


def _equal(tensors: Mapping[str, torch.Tensor], a: str, b: str) -> bool:
    """Whether two tensors are equal bit for bit; no more of them is read than tells."""
    ours, theirs = _entries(tensors, a), _entries(tensors, b)
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return False
    parts: Sequence[Iterator[torch.Tensor]] = (ours.stretches(), theirs.stretches())
    return all(bytes_of(mine) == bytes_of(other) for mine, other in zip(*parts, strict=True))


def _entries(tensors: Mapping[str, torch.Tensor], name: str) -> Entries:
    return tensors.entries(name) if isinstance(tensors, OnDisk) else Entries.of(tensors[name])
