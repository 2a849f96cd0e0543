"""What transformers knows of one class of models: its tensors, which of them are tied, how names on disk become them.

A class is made without weights, once for every configuration; that takes some hundredths of a second.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.models.checkpoints.vocabularies import vocabularies

if TYPE_CHECKING:
    import transformers


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

    tied maps every name that the class ties to the name it is tied to, in the words of the module.
    """

    names: tuple[str, ...] = ()
    prefix: str = ""
    tied: Mapping[str, str] = field(default_factory=dict)
    transforms: Sequence[Any] = ()
    vocabularies: frozenset[str] = frozenset()
    made_up: Sequence[str] = ()  # patterns of names that the library makes without a word if a checkpoint has none

    @classmethod
    def of(cls, module: transformers.PreTrainedModel) -> ModelClass:
        """What is known of the class of a module."""
        from transformers.conversion_mapping import get_model_conversion_mapping

        return cls(
            tuple(module.state_dict()),
            str(module.base_model_prefix or ""),
            dict(getattr(module, "all_tied_weights_keys", None) or {}),
            get_model_conversion_mapping(module),
            vocabularies(module),
            tuple(getattr(module, "_keys_to_ignore_on_load_missing", None) or ()),
        )

    def places(self, names: Iterable[str]) -> dict[str, Place]:
        """Where `from_pretrained` would put tensors of these names."""
        from transformers.core_model_loading import WeightConverter, dot_natural_key, rename_source_key

        transforms = copy.deepcopy(list(self.transforms))  # some remember what they have seen
        converters = [transform for transform in transforms if isinstance(transform, WeightConverter)]
        renamings = [transform for transform in transforms if not isinstance(transform, WeightConverter)]
        known: Any = dict.fromkeys(self.names, True)
        places: dict[str, Place] = {}
        for name in sorted(names, key=dot_natural_key):  # as the library goes through them, which it relies on
            target, pattern = rename_source_key(name, renamings, converters, self.prefix, known)
            key, _ = rename_source_key(name, renamings, [], self.prefix, known)
            if target not in known and (name in known or not self._prefixed(name).isdisjoint(known)):
                # What is in the words of the module already is not renamed again.
                target, _ = rename_source_key(name, [], [], self.prefix, known)
                key, pattern = target, None
            places[name] = Place(key.removeprefix(f"{self.prefix}."), target, pattern is not None and target in known)
        return places

    def _prefixed(self, name: str) -> set[str]:
        return {f"{self.prefix}.{name}", name.removeprefix(f"{self.prefix}.")} if self.prefix else set()


def class_named(class_name: str, config: Mapping[str, Any]) -> ModelClass | None:
    """What is known of a class of that name and configuration; None if transformers has none, or cannot make one.

    >>> class_named("NoSuchModel", {}) is None
    True
    """
    return _made(class_name, json.dumps(config, sort_keys=True))


@lru_cache(maxsize=8)
def _made(class_name: str, config: str) -> ModelClass | None:
    module = unweighted(class_name, json.loads(config))
    return None if module is None else ModelClass.of(module)


def unweighted(class_name: str, config: Mapping[str, Any]) -> transformers.PreTrainedModel | None:
    """A module of a class of transformers on the meta device, without weights; None if it cannot be made."""
    import torch
    import transformers
    from transformers.initialization import meta_device_safe_creation_ops, no_init_weights

    cls: Any = getattr(transformers, class_name, None)
    known = isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)
    if not (known and cls.config_class):
        return None
    with (
        suppress(Exception),  # whatever transformers raises: then nothing is known, and names must fit as they are
        tempfile.TemporaryDirectory() as folder,  # only the file reader knows how numbers that JSON lacks are spelled
        torch.random.fork_rng(devices=[]),
        torch.device("meta"),
        meta_device_safe_creation_ops(),
        no_init_weights(),
    ):
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        return cls(cls.config_class.from_json_file(path))
    return None


@lru_cache(maxsize=1)
def legacy() -> ModelClass:
    """Renames that are older than all classes."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    return ModelClass(transforms=get_checkpoint_conversion_mapping("legacy"))
