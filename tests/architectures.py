"""Tiny random models of every transformers model type, built offline from shrunken configurations.

    default configuration ──► shrunk, by the names of its settings ──► overridden by hand ──► a class that takes it

What the settings are called, and what must be overridden, is in `architectures_overrides`.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import pkgutil
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, reduce
from itertools import chain, islice
from types import ModuleType
from typing import Any, NamedTuple

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from architectures_overrides import (
    COMPOSITES,
    INDICES,
    LAYERS,
    LIMITS,
    LIST_LIMITS,
    OVERRIDES,
    TOKEN_ID,
    UNTOUCHED,
    VOCABULARY,
)
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

# More classes than this are not tried before a type is given up.
_CANDIDATES = 5


class Tiny(NamedTuple):
    """A model of a type, or the reason why there is none."""

    model_type: str
    model: torch.nn.Module | None
    reason: str = ""


def tiny_models(types: Iterable[str] | None = None) -> Iterator[Tiny]:
    """Models of the given types, or of all that transformers knows, one after the other, in evaluation mode."""
    for model_type in CONFIG_MAPPING if types is None else types:
        yield Tiny(model_type, *_first_that_builds(model_type))


def _first_that_builds(model_type: str) -> tuple[torch.nn.Module | None, str]:
    """A model, or the reason why there is none: that of the first class, which is the one that was meant."""
    reasons = []
    try:
        for cls in islice(model_classes(model_type), _CANDIDATES):
            try:
                model = build(cls, tiny_config(model_type))
            except Exception as error:  # whatever transformers raises: a missing library, settings that do not fit
                reasons.append(_in_short(error))
                continue
            if any(parameter.numel() for parameter in model.parameters()):
                return model, ""
            reasons.append(f"{cls.__name__} has no parameters")
    except Exception as error:  # a module with classes cannot be imported
        reasons.append(_in_short(error))
    return None, next(iter(reasons), "no class takes this configuration")


def _in_short(error: Exception) -> str:
    """An error in one line of at most 120 characters."""
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}"[:120].rstrip()


@contextmanager
def quiet() -> Iterator[None]:
    """Transformers warns about much that is of no concern here: sizes, defaults, absent libraries."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(verbosity)


def build(cls: type[torch.nn.Module], config: Any, seed: int = 0) -> torch.nn.Module:
    """A random model, the same every time, in evaluation mode.

    Some classes leave parameters as the memory was when it was taken; those become 0.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)  # what is not initialised is NaN
        try:
            model = cls(config)
        finally:
            torch.use_deterministic_algorithms(deterministic)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.nan_to_num_(nan=0.0)
    return model.eval()


# --- configurations


def tiny_config(model_type: str) -> Any:
    """The default configuration of a type with everything shrunk that makes a model large."""
    with quiet():
        config = _default_config(model_type)
        shrink(config)
        for path, value in OVERRIDES.get(model_type, {}).items():
            *outer, last = path.split(".")
            setattr(reduce(getattr, outer, config), last, _made(value))
    return config


def _made(value: Any) -> Any:
    """A copy of an override; if it describes a configuration, that configuration."""
    if isinstance(value, dict) and "model_type" in value:
        return CONFIG_MAPPING[value["model_type"]](**value)
    return copy.deepcopy(value)


def _default_config(model_type: str) -> Any:
    parts = COMPOSITES.get(model_type, {})
    settings = {
        name: CONFIG_MAPPING[part]().to_dict() | changes | {"model_type": part}
        for name, (part, changes) in parts.items()
    }
    return CONFIG_MAPPING[model_type](**settings)


def shrink(config: transformers.PreTrainedConfig) -> None:
    """Make a configuration small, and those inside of it, by the names of its settings.

    Setting by setting: many would not be made anew of settings that do not fit one another in all respects.

    >>> config = transformers.BertConfig()
    >>> shrink(config)
    >>> config.hidden_size, config.num_hidden_layers, config.layer_norm_eps
    (32, 2, 1e-12)
    """
    settings = {name: value for name, value in vars(config).items() if name not in UNTOUCHED and name[0] != "_"}
    if "depths" in settings:
        settings.pop("num_layers", None)  # counts the stages
    small = {name: _shrunk(name, value) for name, value in settings.items()}
    lengths = {
        value: small[name]
        for name, value in settings.items()
        if type(value) is int and value > 2 and re.search(LAYERS, name) and small[name] < value
    }
    for name, value in small.items():
        if isinstance(value, list | tuple) and len(value) in lengths:
            value = _one_per_layer(value, lengths[len(value)])
        if isinstance(value, list | tuple) and re.search(INDICES, name) and all(type(x) is int for x in value):
            layers = small.get("num_hidden_layers") or small.get("num_layers") or 2
            value = type(value)(sorted({max(-layers, min(x, layers - 1)) for x in value}))
        if value is not settings[name]:
            with suppress(Exception):  # some cannot be set, or have checks of their own: they keep their value
                setattr(config, name, value)


def _shrunk(name: str, value: Any) -> Any:
    if isinstance(value, transformers.PreTrainedConfig):
        shrink(value)
        return value
    if isinstance(value, list | tuple) and value and all(type(x) is int for x in value):
        limit = _limit(name, LIST_LIMITS)
        return value if limit is None else type(value)(min(x, limit) for x in value)
    if type(value) is int:
        if re.search(TOKEN_ID, name) and value >= VOCABULARY:
            return VOCABULARY - 1 - sum(map(ord, name)) % 60  # another one for every token
        limit = _limit(name, LIMITS)
        return value if limit is None else min(value, limit)
    return value


def _limit(name: str, limits: Mapping[str, int | None]) -> int | None:
    """The limit of the first pattern that occurs in a name."""
    return next((limit for pattern, limit in limits.items() if re.search(pattern, name.lower())), None)


def _one_per_layer(values: Sequence[Any], layers: int) -> Sequence[Any]:
    """A list with an item for every layer, for fewer of them: every kind of layer first."""
    if isinstance(values[0], str):
        return type(values)((list(dict.fromkeys(values)) * layers)[:layers])
    return values[:layers]


# --- classes


def model_classes(model_type: str) -> Iterator[type[torch.nn.Module]]:
    """The classes that may take the configuration of a type, the most likely first.

    They are those of `AutoModel` and the other automatic classes; then the ones beside the configuration that say so;
    and for configurations of a part of a model, the modules that are made from them.
    """
    config_class = CONFIG_MAPPING[model_type]
    seen = set()
    for cls in chain(_automatic(model_type), _beside(config_class)):
        if cls not in seen:
            seen.add(cls)
            yield cls


@cache
def auto_names() -> Mapping[str, list[str]]:
    """The names of the classes of each type in the tables of transformers, that of `AutoModel` first."""
    tables = [name for name in vars(modeling_auto) if re.fullmatch(r"MODEL_\w*MAPPING_NAMES", name)]
    names: dict[str, list[str]] = {}
    for table in sorted(tables, key=lambda table: (table != "MODEL_MAPPING_NAMES", table)):
        for model_type, classes in getattr(modeling_auto, table).items():
            names.setdefault(model_type, []).extend([classes] if isinstance(classes, str) else classes)
    return names


def _automatic(model_type: str) -> Iterator[type[torch.nn.Module]]:
    for name in auto_names().get(model_type, ()):
        cls = getattr(transformers, name, None)
        if inspect.isclass(cls) and issubclass(cls, torch.nn.Module):
            yield cls


def _beside(config_class: type) -> Iterator[type[torch.nn.Module]]:
    """Classes in the package of a configuration that are made from it."""
    named_alike = config_class.__name__.replace("Config", "")
    classes = [
        cls
        for module in _modelling(config_class)
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, torch.nn.Module) and cls.__module__ == module.__name__
    ]
    whole = [
        cls
        for cls in classes
        if getattr(cls, "config_class", None) is config_class and not cls.__name__.endswith("PreTrainedModel")
    ]
    parts = [cls for cls in classes if cls.__name__ == named_alike or _takes(cls, config_class)]
    yield from whole or sorted(parts, key=lambda cls: cls.__name__ != named_alike)


def _modelling(config_class: type) -> Iterator[ModuleType]:
    package = importlib.import_module(config_class.__module__.rpartition(".")[0])
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("modeling_"):
            yield importlib.import_module(f"{package.__name__}.{module.name}")


def _takes(cls: type, config_class: type) -> bool:
    """Whether the first argument of a class is said to be such a configuration."""
    annotations = [parameter.annotation for parameter in inspect.signature(cls).parameters.values()]
    return bool(annotations) and annotations[0] in (config_class, config_class.__name__)
