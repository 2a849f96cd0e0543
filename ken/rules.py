"""Rules: which k entries of each row are retained. A registry, and the rules themselves.

A rule is a function ``(block, k) -> mask`` of a `RowBlock` to a boolean array of the same shape with exactly k
True in every row. It is deterministic, and looks at no row but the one it decides about, so that its masks do not
depend on how rows are cut into blocks, on threads or on the machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from ken.density import bandwidth
from ken.errors import BudgetError, RuleError, ValuesError

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class RowBlock:
    """Consecutive rows of one tensor, as a rule sees them.

    fine_tuned, pretrained: (rows, n) float64, finite. tensor, first_row and seed say where the block comes from;
    rules that draw at random use them, and nothing else, as their seed.
    """

    fine_tuned: NDArray[np.float64]
    pretrained: NDArray[np.float64]
    tensor: str = ""
    first_row: int = 0
    seed: int = 0


Rule = Callable[[RowBlock, int], Mask]

_RULES: dict[str, Rule] = {}


def register(name: str) -> Callable[[Rule], Rule]:
    """Decorator: make a rule known by name.

    >>> @register("first")
    ... def first(block, k):
    ...     mask = np.zeros(block.fine_tuned.shape, dtype=bool)
    ...     mask[:, :k] = True
    ...     return mask
    >>> retain(np.array([[3.0, 1.0, 2.0]]), k=2, rule="first").tolist()
    [[True, True, False]]
    >>> del _RULES["first"]
    """

    def add(rule: Rule) -> Rule:
        if name in _RULES:
            raise RuleError(f"a rule named {name!r} is registered already")
        _RULES[name] = rule
        return rule

    return add


def names() -> list[str]:
    """The names of all registered rules, in the order of registration.

    >>> names()
    ['ken', 'grid', 'random']
    """
    return list(_RULES)


def get(name: str) -> Rule:
    """The rule of that name; `RuleError` lists the known ones if there is none."""
    try:
        return _RULES[name]
    except KeyError:
        raise RuleError(f"rule must be one of {', '.join(_RULES)}; got {name!r}") from None


def mask_block(rule: str, block: RowBlock, k: int) -> Mask:
    """Apply a rule to a block of rows and check what comes back: (rows, n) bool, min(k, n) True per row."""
    if isinstance(k, bool) or not isinstance(k, Integral):
        raise BudgetError(f"k must be a whole number of entries, got {k!r}")
    if k < 1:
        raise BudgetError(f"k must be at least 1, got {k}")
    rows, n = block.fine_tuned.shape
    if k >= n:
        return np.ones((rows, n), dtype=bool)
    mask = get(rule)(block, k)
    if mask.shape != (rows, n) or mask.dtype != np.bool_:
        raise RuleError(f"rule {rule!r} returned {mask.dtype} of shape {mask.shape}, not bool of ({rows}, {n})")
    retained = np.count_nonzero(mask, axis=1)
    if (retained != k).any():
        row = int(np.flatnonzero(retained != k)[0])
        raise RuleError(f"rule {rule!r} must retain {k} of {n} entries, retained {retained[row]} in row {row}")
    return mask


def retain(
    fine_tuned: NDArray[np.floating],
    k: int,
    rule: str = "ken",
    *,
    pretrained: NDArray[np.floating] | None = None,
    tensor: str = "",
    first_row: int = 0,
    seed: int = 0,
) -> Mask:
    """Mask of one row (n,) or of many (rows, n): exactly min(k, n) True in each.

    The small sibling of `ken.prune`, for arrays at hand: any floating dtype that numpy knows, finite values.
    tensor, first_row and seed are those of `RowBlock`; with them the mask is the one that `ken.prune` gives.

    >>> retain(np.array([0.0, 0.4, 0.5, 0.6, 1.0]), k=3).tolist()
    [True, False, True, False, True]
    """
    values = np.asarray(fine_tuned)
    if values.ndim > 2:
        raise ValuesError(f"values must be one row or a matrix of rows, got shape {values.shape}")
    rows = np.ascontiguousarray(np.atleast_2d(values), dtype=np.float64)
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValuesError(f"values must be finite, got {rows[row, column]} in row {row}, column {column}")
    other = rows if pretrained is None else np.atleast_2d(np.asarray(pretrained, dtype=np.float64))
    return mask_block(rule, RowBlock(rows, other, tensor, first_row, seed), k).reshape(values.shape)


@register("ken")
def ken(block: RowBlock, k: int) -> Mask:
    """The published rule: grid points, visited by density level, claim the nearest unclaimed entry."""
    return _claims(block, k, by_density=True)


@register("grid")
def grid(block: RowBlock, k: int) -> Mask:
    """The same grid visited from left to right, without any KDE: the control that shows what the KDE adds."""
    return _claims(block, k, by_density=False)


def _claims(block: RowBlock, k: int, by_density: bool) -> Mask:
    from ken.kernels import claim_rows  # numba takes a second to import: only where it is used

    rows = np.ascontiguousarray(block.fine_tuned)
    mask = np.zeros(rows.shape, dtype=bool)
    claim_rows(rows, np.argsort(rows, axis=1), bandwidth(rows)[:, 0], k, by_density, mask)
    return mask


@register("random")
def random(block: RowBlock, k: int) -> Mask:
    """k uniformly random entries, seeded by (seed, tensor name, row index): the baseline of the paper."""
    digest = hashlib.blake2b(f"{block.seed}\0{block.tensor}".encode(), digest_size=16).digest()
    key = np.frombuffer(digest, dtype="<u8")
    rows, n = block.fine_tuned.shape
    mask = np.zeros((rows, n), dtype=bool)
    for row in range(rows):
        # The raw stream of Philox is fixed for good, that of numpy's Generator is not (NEP 19).
        draws = np.random.Philox(key=key, counter=[0, 0, block.first_row + row, 0]).random_raw(n)
        mask[row, np.argpartition(draws, k - 1)[:k]] = True
    return mask
