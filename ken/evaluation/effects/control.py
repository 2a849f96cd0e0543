"""Controls: as many entries as a group has, drawn at random from all others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ken.evaluation.effects.groups import Group, Part
from ken.models.tensors.tensor_bytes import digest


@dataclass(frozen=True, slots=True, eq=False)
class Scattered(Part):
    """Some entries of a tensor, by their number in C order."""

    entries_at: NDArray[np.int64] | None = None

    @property
    def where(self) -> tuple[Any, ...]:
        """What picks them out of the tensor."""
        assert self.entries_at is not None
        return np.unravel_index(self.entries_at, self.shape) if self.shape else ()


def drawn_elsewhere(shapes: Mapping[str, tuple[int, ...]], group: Group, seed: int) -> list[Scattered] | None:
    """As many entries as a group has, from all that is not in it; None if there are not so many.

    Each tensor has as many of them as a draw from all gives it. What is drawn depends on the seed, the group and the
    names alone.

    >>> drawn = drawn_elsewhere({"a": (2, 2), "b": (3,)}, Group("b", (Part("b", (3,)),)), seed=0)
    >>> [(part.tensor, len(part.entries_at)) for part in drawn]
    [('a', 3)]
    """
    inside: dict[str, list[Part]] = {}
    for part in group.parts:
        inside.setdefault(part.tensor, []).append(part)
    free = {
        name: math.prod(shape) - sum(part.entries for part in inside.get(name, ())) for name, shape in shapes.items()
    }
    if group.entries > sum(free.values()):
        return None
    random = np.random.default_rng(int(digest(f"{seed} {group.name} {group.fingerprint}".encode())[:16], 16))
    counts = random.multivariate_hypergeometric(np.array([*free.values()]), group.entries, method="marginals")
    drawn = []
    for (name, shape), count in zip(shapes.items(), counts.tolist(), strict=True):
        if count:
            places = _free_places(shape, inside.get(name, []), free[name])
            at = np.sort(random.choice(free[name], size=count, replace=False, shuffle=False))
            drawn.append(Scattered(name, shape, entries_at=at if places is None else places[at]))
    return drawn


def _free_places(shape: tuple[int, ...], inside: list[Part], free: int) -> NDArray[np.int64] | None:
    """The entries of a tensor that are in none of the parts; None if all are free."""
    if not inside:
        return None
    taken = np.zeros(shape, bool)
    for part in inside:
        taken[part.where] = True
    places = np.flatnonzero(~taken)
    assert len(places) == free
    return places
