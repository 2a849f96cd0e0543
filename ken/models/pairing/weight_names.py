"""What transformers knows of the names of a model's tensors: ties, renames over the years, another layout on disk.

    on disk                        in the module
    embeddings.LayerNorm.gamma ──► embeddings.LayerNorm.weight    a renaming
    lm_head.decoder.weight ──────► embeddings.weight              a tie
    experts.0.w1.weight ─┐
    experts.1.w1.weight ─┴───────► experts.gate_up_proj           a converter: other tensors altogether

All of it is asked of the library, in the names of one class, the fine-tuned model's if that is known: two tensors are
counterparts if `from_pretrained` would put them into the same place. The library is only asked about names that do not
fit as they are.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ken.errors import PairingError
from ken.models.checkpoints.architecture import Architecture, ModelClass, class_named, legacy
from ken.models.checkpoints.checkpoint import Checkpoint

if TYPE_CHECKING:
    import transformers

#: In memory, two models of a class have one layout, whatever they were read from.
IN_MEMORY = "open both with from_pretrained and prune module against module"
#: On disk, a model and one that contains it have the names by which the library finds the one in the other.
IN_FILES = "save both with save_pretrained and prune folder against folder"


class Named(Protocol):
    """Tensors by name, and what class of model they are of: a checkpoint or a subnetwork."""

    @property
    def tensors(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def tied(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def architecture(self) -> Architecture | None: ...  # noqa: D102


def align(fine_tuned: Checkpoint, pretrained: Checkpoint) -> tuple[Checkpoint, Checkpoint]:
    """The same two checkpoints; if one is a live module and the other a file in another layout, the module in that one.

    It is brought there as `save_pretrained` would, without a file. Raises `PairingError` if transformers cannot do it.

    >>> import torch
    >>> a, b = Checkpoint({"w": torch.ones(1)}), Checkpoint({"w": torch.zeros(1)}, on_disk=True)
    >>> align(a, b) == (a, b)
    True
    """
    if fine_tuned.module is not None and pretrained.on_disk:
        return _as_on_disk(fine_tuned, pretrained), pretrained
    if pretrained.module is not None and fine_tuned.on_disk:
        return fine_tuned, _as_on_disk(pretrained, fine_tuned)
    return fine_tuned, pretrained


def complete(pairs: Mapping[str, str | None], fine_tuned: Named, pretrained: Named) -> dict[str, str | None]:
    """Pairs of names, and those that only a tie or a rename can tell. What has a counterpart keeps it.

    A pretrained tensor that is the counterpart of another one already is never given to a second. Raises
    `PairingError` if two names that had none would share one, or one could have several.

    >>> old, new = {"LayerNorm.gamma": 0, "head": 1}, {"LayerNorm.weight": 0, "pooler": 2}
    >>> complete({"LayerNorm.gamma": None, "head": None}, Checkpoint(old), Checkpoint(new))
    {'LayerNorm.gamma': 'LayerNorm.weight', 'head': None}
    """
    pairs = dict(pairs)
    _share_among_aliases(pairs, fine_tuned.tied)
    left, free = _left(pairs, fine_tuned, pretrained)
    if not left or not free:
        return pairs
    reference = _reference(fine_tuned) or _reference(pretrained) or legacy()
    places, free_places = reference.places(fine_tuned.tensors), reference.places(pretrained.tensors)

    _claim(pairs, {name: places[name].key for name in left}, {other: free_places[other].key for other in free})
    _share_among_aliases(pairs, fine_tuned.tied)

    left, free = _left(pairs, fine_tuned, pretrained)
    if left and free:
        groups = _Groups()
        for model in (fine_tuned, pretrained):
            model_class = _reference(model)
            for tied in (model.tied, model_class.tied if model_class else {}):
                tied_places = reference.places({*tied, *tied.values()})
                for alias, name in tied.items():
                    groups.join(tied_places[alias].key, tied_places[name].key)
        wanted = {name: groups.leader(places[name].key) for name in left}
        _claim(pairs, wanted, {other: groups.leader(free_places[other].key) for other in free})
        _share_among_aliases(pairs, fine_tuned.tied)
    return pairs


def clash(pairs: Mapping[str, str | None], fine_tuned: Named, pretrained: Named) -> tuple[str, str] | None:
    """Two names without counterpart that are parts of one tensor of the module: the models are in different layouts.

    >>> clash({"a": None}, Checkpoint({"a": 0}), Checkpoint({"b": 0})) is None
    True
    """
    left, free = _left(pairs, fine_tuned, pretrained)
    reference = (_reference(fine_tuned) or _reference(pretrained)) if left and free else None
    if reference is None:
        return None
    places, free_places = reference.places(fine_tuned.tensors), reference.places(pretrained.tensors)
    targets = {free_places[other].target: other for other in reversed(free)}
    for name in left:
        other = targets.get(places[name].target)
        if other is not None and (places[name].converted or free_places[other].converted):
            return name, other
    return None


def advice(fine_tuned: Named, pretrained: Named) -> str:
    """What may help if little fits; nothing where the library has no other names on disk than in memory.

    >>> advice(Checkpoint({"a": 0}), Checkpoint({"b": 0}))
    ''
    """
    references = filter(None, (_reference(fine_tuned), _reference(pretrained)))
    if all(len(reference.transforms) == len(legacy().transforms) for reference in references):
        return ""
    live = any(getattr(model, "module", None) is not None for model in (fine_tuned, pretrained))
    return f"if their layouts differ, {IN_FILES if live else IN_MEMORY}"


def vocabularies_of(model: Checkpoint) -> frozenset[str]:
    """Names of tensors with a row for every word: as a live module tells them, else by the class of a checkpoint.

    >>> vocabularies_of(Checkpoint({"a": 0}))
    frozenset()
    """
    reference = None if model.live else _reference(model)
    if reference is None:
        return model.vocabularies
    places = reference.places(model.tensors)
    return frozenset(name for name, place in places.items() if place.target in reference.vocabularies)


class Needs(NamedTuple):
    """What the class of a checkpoint needs and the checkpoint does not have.

    given: names of tensors that a pretrained model has, by the name under which the checkpoint would have them. absent:
    names of those that it has neither.
    """

    given: dict[str, str]
    absent: tuple[str, ...]


def needs(fine_tuned: Checkpoint, pretrained: Checkpoint, free: Iterable[str]) -> Needs | None:
    """What a checkpoint lacks of its class's tensors; free are names that the pretrained model alone has.

    None if the class is not known, and for a live module, which has all.

    >>> needs(Checkpoint({"a": 0}), Checkpoint({"a": 0, "b": 0}), ["b"]) is None
    True
    """
    reference = None if fine_tuned.live else _reference(fine_tuned)
    if reference is None:
        return None
    places, free_places = reference.places(fine_tuned.tensors).values(), reference.places(pretrained.tensors)
    targets, keys = {place.target for place in places}, {place.key for place in places}
    given, filled = {}, set(targets)
    for name in free:
        place = free_places[name]
        counts = place.target in reference.names and place.target not in reference.tied
        # Of what is fused in memory a checkpoint may have some of the parts.
        if counts and place.key not in keys and (place.converted or place.target not in targets):
            given[name if place.converted else place.target] = name
            filled.add(place.target)
    absent = sorted(
        name
        for name in set(reference.names) - filled - set(reference.tied)
        if not any(re.search(pattern, name) for pattern in reference.made_up)
    )
    return Needs(given, tuple(absent))


def _share_among_aliases(pairs: dict[str, str | None], tied: Mapping[str, str]) -> None:
    """A tied tensor that has a counterpart under one of its names has it under the one under which it counts."""
    for alias, name in tied.items():
        if name in pairs and pairs[name] is None and pairs.get(alias) is not None:
            pairs[name] = pairs[alias]


def _left(pairs: Mapping[str, str | None], fine_tuned: Named, pretrained: Named) -> tuple[list[str], list[str]]:
    """What counts and has no counterpart, on either side."""
    used = {pretrained.tied.get(other, other) for other in pairs.values() if other is not None}
    left = [name for name, other in pairs.items() if other is None and name not in fine_tuned.tied]
    return left, [other for other in pretrained.tensors if other not in used and other not in pretrained.tied]


def _claim(pairs: dict[str, str | None], wanted: Mapping[str, str], free: Mapping[str, str]) -> None:
    """Pair names that have the same key. Raises `PairingError` if several names on one side have it."""
    by_key: dict[str, list[str]] = {}
    for other, key in free.items():
        by_key.setdefault(key, []).append(other)
    claims = Counter(wanted.values())
    for name, key in wanted.items():
        others = by_key.get(key, [])
        if len(others) > 1:
            raise PairingError(f"{name} could be paired with {others[0]} and with {others[1]}")
        if others and claims[key] > 1:
            rivals = [rival for rival in wanted if wanted[rival] == key]
            raise PairingError(f"{' and '.join(rivals[:2])} would both be paired with {others[0]}")
        if others:
            pairs[name] = others[0]


def _reference(model: Named) -> ModelClass | None:
    """What is known of a model's class; None if that is not a class of transformers, or cannot be made."""
    module = getattr(model, "module", None)
    if module is not None:
        return ModelClass.from_module(module)
    architecture = model.architecture
    return None if architecture is None else class_named(architecture.class_name, architecture.config)


class _Groups:
    """Names that stand for one tensor."""

    def __init__(self) -> None:
        self._leader: dict[str, str] = {}

    def leader(self, name: str) -> str:
        while name in self._leader:
            name = self._leader[name]
        return name

    def join(self, a: str, b: str) -> None:
        a, b = self.leader(a), self.leader(b)
        if a != b:
            self._leader[a] = b


# --- a module in the layout of a file


def _as_on_disk(model: Checkpoint, file: Checkpoint) -> Checkpoint:
    assert model.module is not None
    reference = ModelClass.from_module(model.module)
    wanted = {place.key for place in reference.places(file.tensors).values() if place.converted}
    if not wanted:
        return model  # whatever else the names differ in is a matter of ties and renames
    best: tuple[int, Checkpoint] | None = None
    reason = ""
    modules = [model.module]
    if getattr(model.module, "_weight_conversions", None) is not None:
        # It may remember what the file was like that it came from; a copy would be saved as new.
        modules.append(copy.copy(model.module))
        del modules[1]._weight_conversions
    for module in modules:
        try:
            reverted = _reverted(model, module)
        except Exception as error:  # the library has no class of its own for what it cannot reverse
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            continue
        common = len(wanted & {place.key for place in reference.places(reverted.tensors).values()})
        if best is None or common > best[0]:
            best = common, reverted
    if best is None or not best[0]:
        why = f", and transformers cannot bring the module there ({reason})" if best is None else ""
        raise PairingError(
            f"the module {model.source} and the {file.source} are in different layouts{why}; {IN_MEMORY}"
        )
    return best[1]


def _reverted(model: Checkpoint, module: transformers.PreTrainedModel) -> Checkpoint:
    """A checkpoint of a module with the names and tensors that `save_pretrained` would write."""
    import torch
    from transformers.core_model_loading import revert_weight_conversion

    counted = {name: tensor for name, tensor in model.tensors.items() if name not in model.tied}
    buffers = {counted[name].untyped_storage().data_ptr() for name in model.buffers if name in counted}
    with torch.no_grad():
        tensors = dict(revert_weight_conversion(module, counted))
    tied = {alias: name for alias, name in model.tied.items() if name in tensors and alias not in tensors}
    tensors |= {alias: tensors[name] for alias, name in tied.items()}
    return replace(
        model,
        tensors=tensors,
        tied=tied,
        buffers=frozenset(name for name, tensor in tensors.items() if tensor.untyped_storage().data_ptr() in buffers),
    )
