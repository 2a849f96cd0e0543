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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ken.errors import PairingError
from ken.models.checkpoints.architecture import ModelClass, class_named, legacy
from ken.models.checkpoints.checkpoint import Architecture, Checkpoint

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


def align(ours: Checkpoint, theirs: Checkpoint) -> tuple[Checkpoint, Checkpoint]:
    """The same two checkpoints; if one is a live module and the other a file in another layout, the module in that one.

    It is brought there as `save_pretrained` would, without a file. Raises `PairingError` if transformers cannot do it.

    >>> import torch
    >>> a, b = Checkpoint({"w": torch.ones(1)}), Checkpoint({"w": torch.zeros(1)}, on_disk=True)
    >>> align(a, b) == (a, b)
    True
    """
    if ours.module is not None and theirs.on_disk:
        return _as_on_disk(ours, theirs), theirs
    if theirs.module is not None and ours.on_disk:
        return ours, _as_on_disk(theirs, ours)
    return ours, theirs


def complete(pairs: Mapping[str, str | None], ours: Named, theirs: Named) -> dict[str, str | None]:
    """Pairs of names, and those that only a tie or a rename can tell. What has a counterpart keeps it.

    A pretrained tensor that is the counterpart of another one already is never given to a second. Raises
    `PairingError` if two names that had none would share one, or one could have several.

    >>> old, new = {"LayerNorm.gamma": 0, "head": 1}, {"LayerNorm.weight": 0, "pooler": 2}
    >>> complete({"LayerNorm.gamma": None, "head": None}, Checkpoint(old), Checkpoint(new))
    {'LayerNorm.gamma': 'LayerNorm.weight', 'head': None}
    """
    pairs = dict(pairs)
    _share_among_aliases(pairs, ours.tied)
    left, free = _left(pairs, ours, theirs)
    if not left or not free:
        return pairs
    reference = _reference(ours) or _reference(theirs) or legacy()
    here, there = reference.places(ours.tensors), reference.places(theirs.tensors)

    by_key: dict[str, list[str]] = {}
    for other in free:
        by_key.setdefault(there[other].key, []).append(other)
    _claim(pairs, {name: by_key.get(here[name].key, []) for name in left})
    _share_among_aliases(pairs, ours.tied)

    left, free = _left(pairs, ours, theirs)
    if left and free:
        groups = _Groups()
        for model in (ours, theirs):
            known = _reference(model)
            for tied in (model.tied, known.tied if known else {}):
                places = reference.places({*tied, *tied.values()})
                for alias, name in tied.items():
                    groups.join(places[alias].key, places[name].key)
        by_group: dict[str, list[str]] = {}
        for other in free:
            by_group.setdefault(groups.of(there[other].key), []).append(other)
        _claim(pairs, {name: by_group.get(groups.of(here[name].key), []) for name in left})
        _share_among_aliases(pairs, ours.tied)
    return pairs


def clash(pairs: Mapping[str, str | None], ours: Named, theirs: Named) -> tuple[str, str] | None:
    """Two names without counterpart that are parts of one tensor of the module: the models are in different layouts.

    >>> clash({"a": None}, Checkpoint({"a": 0}), Checkpoint({"b": 0})) is None
    True
    """
    left, free = _left(pairs, ours, theirs)
    reference = (_reference(ours) or _reference(theirs)) if left and free else None
    if reference is None:
        return None
    here, there = reference.places(ours.tensors), reference.places(theirs.tensors)
    targets = {there[other].target: other for other in reversed(free)}
    for name in left:
        other = targets.get(here[name].target)
        if other is not None and (here[name].converted or there[other].converted):
            return name, other
    return None


def advice(ours: Named, theirs: Named) -> str:
    """What may help if little fits; nothing where the library has no other names on disk than in memory.

    >>> advice(Checkpoint({"a": 0}), Checkpoint({"b": 0}))
    ''
    """
    known = [reference for reference in (_reference(ours), _reference(theirs)) if reference is not None]
    if all(len(reference.transforms) == len(legacy().transforms) for reference in known):
        return ""
    live = any(getattr(model, "module", None) is not None for model in (ours, theirs))
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


def needs(ours: Checkpoint, theirs: Checkpoint, free: Iterable[str]) -> Needs | None:
    """What a checkpoint lacks of its class's tensors; free are names that the pretrained model alone has.

    None if the class is not known, and for a live module, which has all.

    >>> needs(Checkpoint({"a": 0}), Checkpoint({"a": 0, "b": 0}), ["b"]) is None
    True
    """
    reference = None if ours.live else _reference(ours)
    if reference is None:
        return None
    here, there = reference.places(ours.tensors), reference.places(theirs.tensors)
    targets, keys = {place.target for place in here.values()}, {place.key for place in here.values()}
    given, filled = {}, set(targets)
    for name in free:
        place = there[name]
        known = place.target in reference.names and place.target not in reference.tied
        # Of what is fused in memory a checkpoint may have some of the parts.
        if known and place.key not in keys and (place.converted or place.target not in targets):
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


def _left(pairs: Mapping[str, str | None], ours: Named, theirs: Named) -> tuple[list[str], list[str]]:
    """What counts and has no counterpart, on either side."""
    used = {theirs.tied.get(other, other) for other in pairs.values() if other is not None}
    left = [name for name, other in pairs.items() if other is None and name not in ours.tied]
    return left, [other for other in theirs.tensors if other not in used and other not in theirs.tied]


def _claim(pairs: dict[str, str | None], candidates: Mapping[str, Sequence[str]]) -> None:
    wanted = Counter(other for others in candidates.values() for other in others)
    for name, others in candidates.items():
        if len(others) > 1:
            raise PairingError(f"{name} could be paired with {others[0]} and with {others[1]}")
        for other in others:
            if wanted[other] > 1:
                rivals = [rival for rival, those in candidates.items() if other in those]
                raise PairingError(f"{' and '.join(rivals[:2])} would both be paired with {other}")
            pairs[name] = other


def _reference(model: Named) -> ModelClass | None:
    """What is known of a model's class; None if that is not a class of transformers, or cannot be made."""
    module = getattr(model, "module", None)
    if module is not None:
        return ModelClass.from_module(module)
    known = model.architecture
    return None if known is None else class_named(known.class_name, known.config)


class _Groups:
    """Names that stand for one tensor."""

    def __init__(self) -> None:
        self._leader: dict[str, str] = {}

    def of(self, name: str) -> str:
        while name in self._leader:
            name = self._leader[name]
        return name

    def join(self, a: str, b: str) -> None:
        a, b = self.of(a), self.of(b)
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
    for module in _with_conversions(model.module):
        try:
            found = _reverted(model, module)
        except Exception as error:  # the library has no class of its own for what it cannot reverse
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            continue
        common = len(wanted & {place.key for place in reference.places(found.tensors).values()})
        if best is None or common > best[0]:
            best = common, found
    if best is None or not best[0]:
        why = f", and transformers cannot bring the module there ({reason})" if best is None else ""
        raise PairingError(
            f"the module {model.source} and the {file.source} are in different layouts{why}; {IN_MEMORY}"
        )
    return best[1]


def _with_conversions(module: transformers.PreTrainedModel) -> list[transformers.PreTrainedModel]:
    """The module, which may remember what the file was like that it came from, and one that would be saved as new."""
    if getattr(module, "_weight_conversions", None) is None:
        return [module]
    other = copy.copy(module)
    other.__dict__.pop("_weight_conversions")
    return [module, other]


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
