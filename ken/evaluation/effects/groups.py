"""The parts of a model that are reset or retained alone: by tensor, place, layer, kind, head, or one's own patterns."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken.errors import BudgetError
from ken.models.tensors import tensor_roles
from ken.models.tensors.tensor_bytes import digest
from ken.retention.attention_heads import heads_of

#: How a model is divided: one of `WAYS`, or patterns of tensor names by the name of their group.
By: TypeAlias = "str | Mapping[str, str | Sequence[str]]"
WAYS = ("tensor", "place", "layer", "kind", "head")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A tensor of a group, or some of its rows or columns.

    Attributes:
        tensor: The name of the tensor.
        shape: The shape of the whole tensor.
        axis: Which axis index counts along; None: the part is the whole tensor.
        index: (indices,) int64.

    Example:
        >>> Part("w", (4, 3), axis=0, index=np.array([1, 2])).entries
        6
    """

    tensor: str
    shape: tuple[int, ...]
    axis: int | None = None
    index: NDArray[np.int64] | None = None

    @property
    def entries(self) -> int:
        """How many entries it has."""
        if self.axis is None or self.index is None:
            return math.prod(self.shape)
        return math.prod(self.shape) // self.shape[self.axis] * len(self.index)

    @property
    def where(self) -> tuple[Any, ...]:
        """What picks it out of the tensor."""
        return () if self.axis is None else (*[slice(None)] * self.axis, self.index)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Parts that go together.

    Attributes:
        name: What the group is called.
        parts: What is in it.

    Example:
        >>> Group("both", (Part("a", (2, 2)), Part("b", (2,)))).entries
        6
    """

    name: str
    parts: tuple[Part, ...]

    @property
    def entries(self) -> int:
        """How many entries it has."""
        return sum(part.entries for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """Which entries these are, for a file of results: a name alone may come to mean others."""
        parts = [
            f"{part.tensor}\0{part.shape}\0{part.axis}\0{'' if part.index is None else part.index.tolist()}"
            for part in self.parts
        ]
        return digest("\n".join(parts).encode())


def groups(shapes: Mapping[str, tuple[int, ...]], by: By, config: Mapping[str, Any] | None = None) -> list[Group]:
    """The groups of a model, in model order.

    Args:
        shapes: The tensors and their shapes, in model order.
        by: "tensor"; "place": weights and biases of one role in one layer; "layer"; "kind": those of one role in all
            layers; "head": of one attention head; or patterns of names by the name of their group.
        config: The model's configuration, which heads are read from.

    Returns:
        Groups without an entry in common. By head only what heads have is in any, by patterns only what matches.

    Raises:
        BudgetError: There is no such way, a pattern matches no tensor, a tensor is in two groups, or no head is known.

    Example:
        >>> shapes = {"l.0.query.weight": (4, 4), "l.0.query.bias": (4,), "l.1.query.weight": (4, 4)}
        >>> [(group.name, group.entries) for group in groups(shapes, "layer")]
        [('layer 0', 20), ('layer 1', 16)]
    """
    if isinstance(by, Mapping):
        return _by_pattern(shapes, by)
    if by == "head":
        return _by_head(shapes, config)
    if by not in WAYS:
        raise BudgetError(f"by must be one of {', '.join(WAYS)}, or a mapping from group to patterns, got {by!r}")
    members: dict[str, list[Part]] = {}
    for name, shape in shapes.items():
        members.setdefault(_name(name, by), []).append(Part(name, shape))
    return [Group(name, tuple(parts)) for name, parts in members.items()]


def members(
    shapes: Mapping[str, tuple[int, ...]], by: By, config: Mapping[str, Any] | None = None
) -> dict[str, list[str]]:
    """The tensors that each group has a part of, by the name of the group.

    Args:
        shapes: As in `groups`.
        by: As in `groups`.
        config: As in `groups`.

    Returns:
        Names of tensors, in model order.

    Raises:
        BudgetError: The groups cannot be made.

    Example:
        >>> members({"l.0.query.weight": (4, 4), "l.0.query.bias": (4,)}, "place")
        {'layer 0 query': ['l.0.query.weight', 'l.0.query.bias']}
    """
    return {group.name: [part.tensor for part in group.parts] for group in groups(shapes, by, config)}


def _name(tensor: str, by: str) -> str:
    """Which group a tensor is in."""
    layer, kind = tensor_roles.place(tensor)
    role = tensor_roles.role(tensor).removesuffix(" bias")
    if role == tensor_roles.OTHER:  # then its own name says more
        role = kind.removesuffix(".weight").removesuffix(".bias")
        role = role if by == "kind" else role.rpartition("*.")[2]
    stack = tensor_roles.stack(tensor)
    numbered = "outside the layers" if layer is None else f"{_short(stack)}layer {layer}"
    if by == "tensor":
        return tensor
    if by == "layer":
        return numbered
    if by == "kind" or layer is None:
        return role
    return f"{numbered} {role}"


def _short(stack: str) -> str:
    """Which of two stacks a layer is in, where a model has two; else nothing."""
    sides = [part for part in stack.split(".") if part in {"encoder", "decoder"}]
    return f"{sides[0]} " if sides and "decoder" in sides else ""


def _by_head(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any] | None) -> list[Group]:
    members: dict[str, list[Part]] = {}
    for name, shape in shapes.items():
        heads = heads_of(name, shape, config)
        if heads is None:
            continue
        layer = tensor_roles.place(name).layer
        axis = len(shape) - 1 if heads.axis == "columns" else 0
        for number, (role, head) in enumerate(heads.groups):
            group = f"{_short(tensor_roles.stack(name))}layer {layer} head {head}"
            if _shares_keys(config) and role in {"key", "value"}:
                group = f"{_short(tensor_roles.stack(name))}layer {layer} key head {head}"
            members.setdefault(group, []).append(Part(name, shape, axis, index=np.flatnonzero(heads.group == number)))
    if not members:
        raise BudgetError("no attention heads are known of these models: their sizes are read from a configuration")
    return [Group(name, tuple(parts)) for name, parts in members.items()]


def _shares_keys(config: Mapping[str, Any] | None) -> bool:
    """Whether several heads share keys and values, which then are heads of their own."""
    count = (config or {}).get("num_key_value_heads")
    return count is not None and count != (config or {}).get("num_attention_heads")


def _by_pattern(shapes: Mapping[str, tuple[int, ...]], by: Mapping[str, str | Sequence[str]]) -> list[Group]:
    owner: dict[str, str] = {}
    made = []
    for name, patterns in by.items():
        patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        tensors: Collection[str] = [tensor for tensor in shapes if any(fnmatchcase(tensor, one) for one in patterns)]
        for pattern in patterns:
            if not any(fnmatchcase(tensor, pattern) for tensor in shapes):
                raise BudgetError(f"the pattern {pattern!r} of group {name!r} matches none of the pruned tensors")
        for tensor in tensors:
            if owner.setdefault(tensor, name) != name:
                raise BudgetError(f"{tensor} is in two groups, {owner[tensor]!r} and {name!r}")
        made.append(Group(str(name), tuple(Part(tensor, shapes[tensor]) for tensor in tensors)))
    if not made:
        raise BudgetError("by must name at least one group, got none")
    return made
