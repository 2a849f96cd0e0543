"""The registry of rules, and what is common to all of them: settings, checks, and masks of arrays at hand.

A rule is a function ``(block, k) -> mask`` of a `RowBlock` to a boolean array of the same shape with exactly k
True in every row. It is deterministic, and looks at no row but the one it decides about, so that its masks do not
depend on how rows are cut into blocks, on threads or on the machine.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from ken.density import NORMAL_REFERENCE, bandwidth_note, check_bandwidth, check_kernel
from ken.errors import BudgetError, RuleError, ValuesError, warn
from ken.models.scalars import checked_seed, plain

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the rules that estimate a density may be told; the defaults are those of the paper.

    on: which values they look at, "weights" (fine-tuned) or "update" (fine-tuned minus pretrained). bandwidth: one of
    `ken.density.BANDWIDTHS`, or a number in units of the values. kernel: one of `ken.density.KERNELS`.

    Raises `RuleError` for anything else.
    """

    on: str = "weights"
    bandwidth: str | float = NORMAL_REFERENCE
    kernel: str = "gaussian"

    def __post_init__(self) -> None:
        if self.on not in ("weights", "update"):
            raise RuleError(f"on must be weights or update, got {self.on!r}")
        object.__setattr__(self, "bandwidth", plain(self.bandwidth))
        check_bandwidth(self.bandwidth)
        check_kernel(self.kernel)


@dataclass(frozen=True, slots=True, eq=False)
class RowBlock:
    """Consecutive rows of one tensor, as a rule sees them.

    fine_tuned, pretrained: (rows, n) float64, finite. tensor, first_row and seed say where the block comes from;
    rules that draw at random use them, and nothing else, as their seed. stood_in takes in the number of each row for
    which the bandwidth rule found none, so that the normal reference stands in (`ken.density.widths`).
    """

    fine_tuned: NDArray[np.float64]
    pretrained: NDArray[np.float64]
    tensor: str = ""
    first_row: int = 0
    seed: int = 0
    settings: Settings = Settings()
    stood_in: list[int] = field(default_factory=list)

    @property
    def values(self) -> NDArray[np.float64]:
        """What a density is estimated of: the fine-tuned values or, with on="update", what fine-tuning changed."""
        return self.fine_tuned if self.settings.on == "weights" else self.fine_tuned - self.pretrained


Rule = Callable[[RowBlock, int], Mask]

_OF_UPDATES = {"update", "della"}


@dataclass(frozen=True, slots=True)
class Registered:
    """A rule, and what its masks depend on besides the rows and k.

    seeded: on `RowBlock.seed`, as it draws at random. fixed: not on `Settings.on`, as it does not look at
    `RowBlock.values`.
    """

    decide: Rule
    seeded: bool = False
    fixed: bool = False


_RULES: dict[str, Registered] = {}


def register(name: str, *, seeded: bool = False, fixed: bool = False) -> Callable[[Rule], Rule]:
    """Decorator: make a rule known by name, if it passes a trial.

    A rule that draws at random, by the block's seed, says so with seeded; one that looks at the same values whatever
    `on` says, with fixed. What sweeps over seeds, or over `on`, does not repeat the others.

    In the trial the rule decides about a few rows, twice, and once more cut into two blocks: it must retain exactly k
    entries of each, and always the same. Nor may the seed change anything, or `on`, if the rule does not say so.
    Raises `RuleError` if it does not pass, or if the name is taken.

    >>> @register("first", fixed=True)
    ... def first(block, k):
    ...     mask = np.zeros(block.fine_tuned.shape, dtype=bool)
    ...     mask[:, :k] = True
    ...     return mask
    >>> retain(np.array([[3.0, 1.0, 2.0]]), k=2, rule="first").tolist()
    [[True, True, False]]
    >>> del _RULES["first"]
    """

    def add(rule: Rule) -> Rule:
        enter(name, Registered(rule, seeded, fixed))
        try:
            _try_out(name)
        except BaseException:
            del _RULES[name]
            raise
        return rule

    return add


def enter(name: str, rule: Registered) -> None:
    """Make a rule known by name, without a trial. Raises `RuleError` if the name is taken."""
    if name in _RULES:
        raise RuleError(f"a rule named {name!r} is registered already")
    _RULES[name] = rule


def _try_out(name: str) -> None:
    draws = np.random.Philox(key=1).random_raw(2 * 7 * 16).astype(np.float64).reshape(2, 7, 16) / 2**64 - 0.5
    fine_tuned, pretrained = draws

    def masks(*cuts: slice, seed: int = 0, on: str = "weights") -> Mask:
        def decided(cut: slice) -> Mask:
            rows = fine_tuned[cut].copy(), pretrained[cut].copy()
            return mask_block(name, RowBlock(*rows, "trial", cut.start, seed, Settings(on)), 5)

        return np.concatenate([decided(cut) for cut in cuts])

    every = slice(0, 7)
    whole = masks(every)
    for again in (masks(every), masks(slice(0, 3), slice(3, 7))):
        if (again != whole).any():
            row = int(np.flatnonzero((again != whole).any(axis=1))[0])
            raise RuleError(
                f"rule {name!r} must be deterministic and decide about each row by itself; asked again, it retained "
                f"other entries of row {row}"
            )
    if not _RULES[name].seeded and (masks(every, seed=1) != whole).any():
        raise RuleError(f"rule {name!r} draws at random, by the seed: it must be registered with seeded=True")
    if _RULES[name].fixed and (masks(every, on="update") != whole).any():
        raise RuleError(f"rule {name!r} retains other entries on updates: it must be registered without fixed=True")


def names() -> list[str]:
    """The names of all registered rules, in the order of registration.

    >>> names()
    ['ken', 'grid', 'density', 'random', 'magnitude', 'update', 'della']
    """
    return list(_RULES)


def get(name: str) -> Registered:
    """The rule of that name; `RuleError` lists the known ones if there is none."""
    if isinstance(name, str) and name in _RULES:
        return _RULES[name]
    near = difflib.get_close_matches(str(name).lower(), _RULES, 1)
    raise RuleError(
        f"rule must be one of {', '.join(_RULES)}; got {name!r}" + (f", meant {near[0]!r}?" if near else "")
    )


def mask_block(rule: str, block: RowBlock, k: int) -> Mask:
    """Apply a rule to a block of rows and check what comes back: (rows, n) bool, min(k, n) True per row."""
    k = plain(k)
    if isinstance(k, bool) or not isinstance(k, Integral):
        raise BudgetError(f"k must be a whole number of entries, got {k!r}")
    if k < 1:
        raise BudgetError(f"k must be at least 1, got {k}")
    rows, n = block.fine_tuned.shape
    if k >= n:
        return np.ones((rows, n), dtype=bool)
    mask = get(rule).decide(block, k)
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
    on: str = "weights",
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    stood_in: list[int] | None = None,
) -> Mask:
    """Mask of one row (n,) or of many (rows, n): exactly min(k, n) True in each.

    The small sibling of `ken.prune`, for arrays at hand: any floating dtype that numpy knows, finite values.
    tensor, first_row and seed are those of `RowBlock`; with them the mask is the one that `ken.prune` gives. on,
    bandwidth and kernel are those of `Settings`; what looks at the update needs the pretrained values. stood_in, a
    list, takes in the rows for which the bandwidth rule finds none; without it a `KenWarning` says how many there are.

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
    settings, seed = Settings(on, bandwidth, kernel), checked_seed(seed)
    check_settings(rule, settings)
    if pretrained is None and (rule in _OF_UPDATES or on == "update"):
        raise RuleError(f"rule {rule!r} on {on} needs the pretrained values, too")
    other = rows if pretrained is None else np.atleast_2d(np.asarray(pretrained, dtype=np.float64))
    if other.shape != rows.shape:
        raise ValuesError(f"fine-tuned values have shape {rows.shape}, pretrained {other.shape}")
    block = RowBlock(rows, other, tensor, first_row, seed, settings, [] if stood_in is None else stood_in)
    mask = mask_block(rule, block, k).reshape(values.shape)
    if stood_in is None and block.stood_in:
        warn(bandwidth_note(bandwidth, {tensor: len(block.stood_in)}))
    return mask


def check_settings(rule: str, settings: Settings) -> None:
    """Raise `RuleError` unless there is such a rule, and the settings are ones that it heeds."""
    if get(rule).fixed and settings.on != "weights":
        raise RuleError(f"rule {rule!r} does not look at a density: on must be weights, got {settings.on!r}")
