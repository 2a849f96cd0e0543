"""Classes of transformers: what the library knows of one, and models made of it.

    Architecture ──┬─► build          a model on the CPU, weights not initialised
                   └─► class_named    its names, ties and renames, from a model without any memory

A class is looked at once for every configuration, and what it says is kept for later processes
(`ken.models.checkpoints.class_cache`): the library's modelling code takes seconds to import.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import SubnetworkError
from ken.models.checkpoints import class_cache
from ken.models.checkpoints.vocabularies import vocabularies

if TYPE_CHECKING:
    import torch
    import transformers


@dataclass(frozen=True, slots=True)
class Architecture:
    """Enough to build the fine-tuned module again, without its weights: a transformers class and its config."""

    class_name: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor belongs.

    key is its name in the words of today, target the tensor of the module that it becomes, or is a part of.
    """

    key: str
    target: str
    converted: bool


@dataclass(frozen=True, slots=True)
class ModelClass:
    """A class of models: the names of its module in order, and how the library gets there from names on disk.

    tied maps every name that the class ties to the name it is tied to, in the words of the module. find_transforms asks
    the library for the transforms, which only names need that do not fit as they are.
    """

    names: tuple[str, ...] = ()
    prefix: str = ""
    tied: Mapping[str, str] = field(default_factory=dict)
    find_transforms: Callable[[], Sequence[Any]] = tuple
    vocabularies: frozenset[str] = frozenset()
    made_up: Sequence[str] = ()  # patterns of names that the library makes without a word if a checkpoint has none

    @classmethod
    def from_module(cls, module: transformers.PreTrainedModel) -> ModelClass:
        """What is known of the class of a module."""
        transforms = _transforms_of(module)
        return cls(
            names=tuple(module.state_dict()),
            prefix=str(module.base_model_prefix or ""),
            tied=dict(getattr(module, "all_tied_weights_keys", None) or {}),
            find_transforms=lambda: transforms,
            vocabularies=vocabularies(module),
            made_up=tuple(getattr(module, "_keys_to_ignore_on_load_missing", None) or ()),
        )

    @property
    def transforms(self) -> Sequence[Any]:
        """What renames and converts tensors, as the library applies it one after the other."""
        return self.find_transforms()

    def places(self, names: Iterable[str]) -> dict[str, Place]:
        """Where `from_pretrained` would put tensors of these names."""
        from transformers.core_model_loading import WeightConverter, dot_natural_key, rename_source_key

        transforms = copy.deepcopy(list(self.transforms))  # some remember what they have seen
        converters = [transform for transform in transforms if isinstance(transform, WeightConverter)]
        renamings = [transform for transform in transforms if not isinstance(transform, WeightConverter)]
        own: Any = dict.fromkeys(self.names, True)
        places: dict[str, Place] = {}

        def renamed(name: str, renamings: list[Any], converters: list[Any]) -> tuple[str, Any]:
            return rename_source_key(name, renamings, converters, self.prefix, own)

        for name in sorted(names, key=dot_natural_key):  # as the library goes through them, which it relies on
            target, pattern = renamed(name, renamings, converters)
            key, _ = renamed(name, renamings, [])
            if target not in own and (name in own or not self._prefixed(name).isdisjoint(own)):
                # What is in the words of the module already is not renamed again.
                target, _ = renamed(name, [], [])
                key, pattern = target, None
            places[name] = Place(key.removeprefix(f"{self.prefix}."), target, pattern is not None and target in own)
        return places

    def _prefixed(self, name: str) -> set[str]:
        return {f"{self.prefix}.{name}", name.removeprefix(f"{self.prefix}.")} if self.prefix else set()


def build_class(name: str) -> type[transformers.PreTrainedModel]:
    """The transformers model class of that name; raises `SubnetworkError` if there is none."""
    import transformers

    cls = getattr(transformers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)):
        raise SubnetworkError(f"transformers {transformers.__version__} has no model class {name!r}")
    return cls


def build(architecture: Architecture) -> tuple[str, torch.nn.Module]:
    """The class name, and a transformers model of that class and configuration. Its weights are not initialised."""
    import torch
    from transformers.initialization import no_init_weights

    cls = build_class(architecture.class_name)
    config = _read_config(cls, json.dumps(architecture.config))
    with torch.random.fork_rng(devices=[]), no_init_weights():  # not from the caller's stream of random numbers
        model = cls(config)
    model.tie_weights()  # which is a part of the initialisation
    return architecture.class_name, model


def class_named(class_name: str, config: Mapping[str, Any]) -> ModelClass | None:
    """What is known of a class of that name and configuration; None if transformers has none, or cannot make one.

    >>> class_named("NoSuchModel", {}) is None
    True
    """
    return _made(class_name, json.dumps(config, sort_keys=True))


def prefix_named(class_name: str, config: Mapping[str, Any]) -> str:
    """The base-model prefix of a class of transformers, empty if it has none or there is no such class.

    >>> prefix_named("NoSuchModel", {})
    ''
    """
    model_class = class_named(class_name, config)
    if model_class is not None:
        return model_class.prefix
    import transformers

    return str(getattr(getattr(transformers, class_name, None), "base_model_prefix", "") or "")


@lru_cache(maxsize=8)
def _made(class_name: str, config: str) -> ModelClass | None:
    kept = class_cache.recall(class_name, config)
    if kept is not None and (model_class := _from_facts(kept, partial(_transforms, class_name, config))):
        return model_class
    module = unweighted(class_name, config)
    if module is None:  # not kept: what it lacks may be installed by then
        return None
    model_class = ModelClass.from_module(module)
    # A part from elsewhere, such as a package that the library makes use of if it is there, may change without it.
    if all(type(part).__module__.partition(".")[0] in ("transformers", "torch") for part in module.modules()):
        class_cache.keep(class_name, config, _facts(model_class))
    return model_class


def _facts(model_class: ModelClass) -> dict[str, Any]:
    """All of it but the transforms, as JSON can hold it."""
    return {
        "names": model_class.names,
        "prefix": model_class.prefix,
        "tied": dict(model_class.tied),
        "vocabularies": sorted(model_class.vocabularies),
        "made_up": list(model_class.made_up),
    }


def _from_facts(facts: Mapping[str, Any], find_transforms: Callable[[], Sequence[Any]]) -> ModelClass | None:
    """The same again; None if a part is missing, or is not what it should be."""
    with suppress(KeyError, TypeError, ValueError):
        model_class = ModelClass(
            names=_texts(facts["names"]),
            prefix=_texts([facts["prefix"]])[0],
            tied=dict(zip(_texts(facts["tied"]), _texts(facts["tied"].values()), strict=True)),
            find_transforms=find_transforms,
            vocabularies=frozenset(_texts(facts["vocabularies"])),
            made_up=_texts(facts["made_up"]),
        )
        return model_class
    return None


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    """Some texts; raises `TypeError` if one is none."""
    texts = tuple(values)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text was expected")
    return texts


@lru_cache(maxsize=8)
def _transforms(class_name: str, config: str) -> Sequence[Any]:
    module = unweighted(class_name, config)
    return () if module is None else _transforms_of(module)


def _transforms_of(module: transformers.PreTrainedModel) -> Sequence[Any]:
    from transformers.conversion_mapping import get_model_conversion_mapping

    return get_model_conversion_mapping(module)


def unweighted(class_name: str, config: str) -> transformers.PreTrainedModel | None:
    """A model of a class and a configuration in JSON on the meta device; None if transformers cannot make one."""
    import torch
    from transformers.initialization import meta_device_safe_creation_ops, no_init_weights

    with (
        suppress(Exception),  # whatever transformers raises: then nothing is known, and names must fit as they are
        torch.random.fork_rng(devices=[]),
        torch.device("meta"),
        meta_device_safe_creation_ops(),
        no_init_weights(),
    ):
        cls = build_class(class_name)
        return cls(_read_config(cls, config))
    return None


def _read_config(cls: type[transformers.PreTrainedModel], config: str) -> transformers.PreTrainedConfig:
    """A configuration, from a file: only its reader knows how numbers that JSON lacks are spelled."""
    assert cls.config_class is not None  # only the abstract base class has none
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(config, encoding="utf-8")
        return cls.config_class.from_json_file(path)


@lru_cache(maxsize=1)
def legacy() -> ModelClass:
    """Renames that are older than all classes."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    transforms = get_checkpoint_conversion_mapping("legacy")
    return ModelClass(find_transforms=lambda: transforms)
