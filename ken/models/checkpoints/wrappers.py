"""Names of tensors without what wraps a model or its parts: compiled, data parallel, sharded, checkpointed, averaged.

    module._orig_mod.layers.0._checkpoint_wrapped_module.weight ──► layers.0.weight

A wrapper is a module of one child, which holds all that was there before, and puts a component into every name below.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from ken.errors import PairingError

if TYPE_CHECKING:
    import torch

#: Children of wrappers whose names nothing else has: torch.compile, FSDP, activation checkpointing, Lightning's Fabric.
_MARKED = {
    *("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_fpw_module", "_forward_module"),
    *("_original_module", "_ddp_wrapped_module"),
}
#: The child of DataParallel, DistributedDataParallel, DeepSpeed's engine and AveragedModel; others may have one, too.
_MODULE = "module"
#: What AveragedModel has beside it: how many models it is the mean of.
_COUNTER = "n_averaged"
#: All parameters of some modules in one vector, as FSDP keeps them while it trains.
_FLAT = {"flat_param", "_flat_param"}


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without the components that wrappers have put into it. Counters of averaged models are left out.

    names are those of all tensors of one model. `module` counts as a wrapper's child in front of all of them alone:
    further down, models have parts of that name (see `shorter_names`). A name that is no wrapper's stays as it is.

    Raises `PairingError` if two names have the same plain name, or the tensors are flat parameters of FSDP.

    >>> plain_names(["module._orig_mod.h.0.weight", "module._orig_mod.h.1._fsdp_wrapped_module.weight"])
    {'module._orig_mod.h.0.weight': 'h.0.weight', 'module._orig_mod.h.1._fsdp_wrapped_module.weight': 'h.1.weight'}
    >>> plain_names(["module.weight", "scale"])
    {'module.weight': 'module.weight', 'scale': 'scale'}
    """
    plain = {name: _without_marked(name) for name in names}
    first: dict[str, str] = {}
    for name, short in plain.items():
        if first.setdefault(short, name) != name:
            raise PairingError(f"{first[short]} and {name} are both {short}, once what wraps them is looked through")
    front = f"{_MODULE}."
    while plain and all(short.startswith(front) or short == _COUNTER for short in plain.values()):
        inside = {name: short.removeprefix(front) for name, short in plain.items() if short != _COUNTER}
        if not inside:
            break
        plain = inside
    return plain


def shorter_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without every `module` that is the only child where it stands, wherever that is.

    So it is where a part of a model is wrapped for data parallelism; and in a few models that have such parts. Who asks
    must know by other names which it is. names are all of one model's, as `plain_names` gives them; they stay as they
    are if two would be the same.

    >>> shorter_names(["encoder.module.h.0.weight", "head.weight"])
    {'encoder.module.h.0.weight': 'encoder.h.0.weight', 'head.weight': 'head.weight'}
    """
    same = {name: name for name in names}
    if not any(f".{_MODULE}." in f".{name}" for name in same):
        return same
    children: dict[str, set[str]] = {}
    for name in same:
        parts = name.split(".")
        for depth, part in enumerate(parts):
            children.setdefault(".".join(parts[:depth]), set()).add(part)

    def wraps(path: str) -> bool:
        child = f"{path}.{_MODULE}" if path else _MODULE
        return children[path] == {_MODULE} and child in children

    shorter = {}
    for name in same:
        parts = name.split(".")
        shorter[name] = ".".join(
            part for depth, part in enumerate(parts) if not (part == _MODULE and wraps(".".join(parts[:depth])))
        )
    return shorter if len(set(shorter.values())) == len(same) else same


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The module inside of wrappers: of torch.compile, DataParallel and the like; itself if there are none.

    >>> import torch
    >>> unwrapped(torch.nn.DataParallel(torch.nn.Linear(2, 1)))
    Linear(in_features=2, out_features=1, bias=True)
    """
    while True:
        children = dict(model.named_children())
        inner = next((children[name] for name in children if name in _MARKED), None)
        if inner is None and set(children) == {_MODULE} and _wraps(model):
            inner = children[_MODULE]
        if inner is None:
            return model
        model = inner


def _wraps(model: torch.nn.Module) -> bool:
    """Whether a module with one child of the name `module` has nothing of its own but a counter."""
    own = [name for name, _ in model.named_parameters(recurse=False)]
    own += [name for name, _ in model.named_buffers(recurse=False)]
    return set(own) <= {_COUNTER}


def _without_marked(name: str) -> str:
    *path, leaf = name.split(".")
    if leaf in _FLAT:
        raise PairingError(
            f"{name} is a flat parameter of FSDP, all weights of its modules in one vector; gather the full state dict "
            "first (StateDictType.FULL_STATE_DICT, or get_model_state_dict with full_state_dict=True)"
        )
    return ".".join([*(part for part in path if part not in _MARKED), leaf])


def looked_through(plain: Mapping[str, str], names: Collection[str]) -> str:
    """A sentence about what `plain_names` looked through in the names it was given; empty if nothing.

    >>> looked_through({"module.w": "w"}, ["module.w"])
    "names were read without what wraps the model ('module.w' as 'w')"
    """
    changed = next(((name, short) for name, short in plain.items() if name != short), None)
    if changed is None:
        return ""
    left = len(names) - len(plain)
    more = f"; {left} counter of an averaged model was left out" if left else ""
    return f"names were read without what wraps the model ({changed[0]!r} as {changed[1]!r}){more}"
