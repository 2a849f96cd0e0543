"""The registry of rules, and what is common to all of them: checks, and masks of arrays at hand.

A rule is a function ``(block, k) -> mask`` of a `RowBlock` to a boolean array of the same shape with exactly k
True in every row. It is deterministic, and looks at no row but the one it decides about, so that its masks do not
depend on how rows are cut into blocks, on threads or on the machine. One rule, `changed`, has no k: how many entries
of a row it retains follows from the row.
"""

from __future__ import annotations

import difflib
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from ken.density import NORMAL_REFERENCE
from ken.errors import BudgetError, RuleError, ValuesError, warn
from ken.models.scalars import checked_seed, plain
from ken.rules.bandwidth_notes import bandwidth_note
from ken.rules.registered import RESCALES, Registered
from ken.rules.row_block import Mask, RowBlock, Settings, check_finite

_RULES: dict[str, Registered] = {}


def enter(name: str, rule: Registered) -> None:
    """Make a rule known by name, without a trial. Raises `RuleError` if the name is taken."""
    if name in _RULES:
        raise RuleError(f"a rule named {name!r} is registered already")
    _RULES[name] = rule


def forget(name: str) -> None:
    """Take a rule out of the registry, whose name is free then.

    Args:
        name: The name.

    Raises:
        RuleError: There is none of that name.

    Example:
        >>> enter("mine", get("update"))
        >>> forget("mine")
        >>> "mine" in names()
        False
    """
    get(name)
    del _RULES[name]


def names() -> list[str]:
    """The names of all registered rules.

    Returns:
        The names in the order of registration.

    Example:
        >>> names()  # doctest: +ELLIPSIS
        ['ken', 'grid', 'density', 'random', 'magnitude', 'update', 'dare', 'della', 'changed', ...]
    """
    return list(_RULES)


def get(name: str) -> Registered:
    """The rule of a name.

    Args:
        name: The name.

    Returns:
        The rule, and what its masks depend on.

    Raises:
        RuleError: There is none of that name; the message lists those that there are.

    Example:
        >>> get("ken").seeded
        False
    """
    if isinstance(name, str) and name in _RULES:
        return _RULES[name]
    near = difflib.get_close_matches(str(name).lower(), _RULES, 1)
    raise RuleError(
        f"rule must be one of {', '.join(_RULES)}; got {name!r}" + (f", meant {near[0]!r}?" if near else "")
    )


def counts(rule: str) -> bool:
    """Whether a rule has no k, as it counts for itself.

    Args:
        rule: A name; one that is not registered here is taken for a rule that has a k.

    Returns:
        Whether it is so.

    Example:
        >>> counts("changed"), counts("ken"), counts("somebody's")
        (True, False, False)
    """
    return rule in _RULES and _RULES[rule].counts


def check_k(rule: str, k: object) -> None:
    """See that a rule is asked with a k if it needs one, and without if it counts for itself.

    Args:
        rule: Name of a rule.
        k: A number of entries, a share, a mapping from pattern to either, or None.

    Raises:
        BudgetError: It is the other way round.
        RuleError: There is no such rule.

    Example:
        >>> check_k("changed", 5)
        Traceback (most recent call last):
        ken.errors.BudgetError: rule 'changed' has no k: what it retains of a row follows from the row, got 5
    """
    if get(rule).counts == (k is None):
        return
    if k is None:
        counting = ", ".join(name for name, known in _RULES.items() if known.counts)
        raise BudgetError(
            f"rule {rule!r} needs a k: entries of every row (100), or a share of it (0.5); only {counting} has none"
        )
    raise BudgetError(f"rule {rule!r} has no k: what it retains of a row follows from the row, got {k!r}")


def check_rescale(rule: str, rescale: str | None) -> str:
    """What is done to the updates of entries that a rule retains.

    Args:
        rule: Name of a rule.
        rescale: One of `RESCALES`; None for what the rule itself says: "share" for `dare`, "none" for all others here.

    Returns:
        One of `RESCALES`.

    Raises:
        RuleError: It is none of them, or the rule drops nothing that rescaling could make up for.

    Example:
        >>> check_rescale("dare", None), check_rescale("random", None), check_rescale("random", "share")
        ('share', 'none', 'share')
    """
    known = get(rule)
    if rescale is None:
        return known.rescale
    if rescale not in RESCALES:
        raise RuleError(f"rescale must be one of {', '.join(RESCALES)}, got {rescale!r}")
    if rescale == "share" and known.counts:
        raise RuleError(f"rule {rule!r} retains all of the update: there is nothing that rescaling could make up for")
    return rescale


def usual_rescale(rule: str) -> str:
    """What is done to the updates of retained entries if nothing is said.

    Args:
        rule: A name; one that is not registered here is taken for a rule that says nothing.

    Returns:
        One of `RESCALES`.

    Example:
        >>> usual_rescale("dare"), usual_rescale("ken"), usual_rescale("somebody's")
        ('share', 'none', 'none')
    """
    return _RULES[rule].rescale if rule in _RULES else "none"


def mask_block(rule: str, block: RowBlock, k: int | None) -> Mask:
    """Apply a rule to a block of rows and check the mask that comes back.

    Args:
        rule: Name of a rule.
        block: The rows, (rows, n).
        k: Entries to retain in each row; at least 1, and all of them if k >= n. None for a rule that counts for itself.

    Returns:
        The mask, (rows, n) bool, min(k, n) True in each row; for a rule that counts, as many as it says.

    Raises:
        BudgetError: k is no whole number, or below 1; or the rule has none, or needs one.
        RuleError: There is no such rule, or it retained another number of entries.

    Example:
        >>> mask_block("magnitude", RowBlock(np.array([[3.0, -4.0, 1.0]]), np.zeros((1, 3))), 2).tolist()
        [[True, True, False]]
    """
    check_k(rule, k)
    k, (rows, n) = plain(k), block.fine_tuned.shape
    if k is None:
        return _shaped(rule, get(rule).decide(block, n), (rows, n))
    if isinstance(k, bool) or not isinstance(k, Integral):
        raise BudgetError(f"k must be a whole number of entries, got {k!r}")
    if k < 1:
        raise BudgetError(f"k must be at least 1, got {k}")
    if k >= n:
        return np.ones((rows, n), dtype=bool)
    mask = _shaped(rule, get(rule).decide(block, int(k)), (rows, n))
    retained = np.count_nonzero(mask, axis=1)
    if (retained != k).any():
        row = int(np.flatnonzero(retained != k)[0])
        raise RuleError(f"rule {rule!r} must retain {k} of {n} entries, retained {retained[row]} in row {row}")
    return mask


def _shaped(rule: str, mask: Mask, shape: tuple[int, int]) -> Mask:
    if mask.shape != shape or mask.dtype != np.bool_:
        raise RuleError(f"rule {rule!r} returned {mask.dtype} of shape {mask.shape}, not bool of {shape}")
    return mask


def retain(
    fine_tuned: NDArray[np.floating],
    k: int | None,
    rule: str = "ken",
    *,
    pretrained: NDArray[np.floating] | None = None,
    tensor: str = "",
    first_row: int = 0,
    seed: int = 0,
    on: str = "weights",
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    dtype: str | None = None,
    stood_in: list[int] | None = None,
) -> Mask:
    """Mask of one row or of many: the small sibling of `ken.prune`, for arrays at hand.

    With tensor, first_row and seed the mask is the one that `ken.prune` gives.

    Args:
        fine_tuned: One row (n,) or many (rows, n), of any floating dtype that numpy knows, finite.
        k: Entries to retain in each row, at least 1; None for the rule `changed`, which has none.
        rule: One of `names()`.
        pretrained: The pretrained values in the same shape. What looks at them or at the update needs them.
        tensor: As in `RowBlock`.
        first_row: As in `RowBlock`.
        seed: As in `RowBlock`.
        on: As in `Settings`.
        bandwidth: As in `Settings`.
        kernel: As in `Settings`.
        dtype: As in `RowBlock`; by default that of fine_tuned.
        stood_in: A list that takes in the rows for which the bandwidth rule finds none. Without it a `KenWarning` says
            how many there are.

    Returns:
        The mask in the shape of fine_tuned, bool, min(k, n) True in each row.

    Raises:
        BudgetError: k is no whole number, or below 1, or missing.
        RuleError: There is no such rule or setting, the seed is none, or the rule needs the pretrained values.
        ValuesError: A shape does not fit, or a value is not finite.

    Example:
        >>> retain(np.array([0.0, 0.4, 0.5, 0.6, 1.0]), k=3).tolist()
        [True, False, True, False, True]
    """
    settings = Settings(on=on, bandwidth=bandwidth, kernel=kernel)
    block = checked_block(
        rule,
        settings,
        fine_tuned,
        pretrained=pretrained,
        tensor=tensor,
        first_row=first_row,
        seed=seed,
        dtype=dtype,
        stood_in=stood_in,
    )
    mask = mask_block(rule, block, k).reshape(np.shape(fine_tuned))
    if stood_in is None and block.stood_in:
        warn(bandwidth_note(bandwidth, {tensor: len(block.stood_in)}))
    return mask


def checked_block(
    rule: str,
    settings: Settings,
    fine_tuned: NDArray[np.floating],
    *,
    pretrained: NDArray[np.floating] | None,
    tensor: str,
    first_row: int,
    seed: int,
    dtype: str | None = None,
    stood_in: list[int] | None = None,
) -> RowBlock:
    """The rows that `retain` and `ken.explain_row` ask a rule about; arguments and errors are those of `retain`.

    Without pretrained values, a rule that can do without them sees the fine-tuned ones in their place.
    """
    values = np.asarray(fine_tuned)
    if values.ndim > 2:
        raise ValuesError(f"values must be one row or a matrix of rows, got shape {values.shape}")
    rows = np.ascontiguousarray(np.atleast_2d(values), dtype=np.float64)
    check_finite(rows)
    seed = checked_seed(seed)
    check_settings(rule, settings)
    if pretrained is None and (get(rule).paired or settings.on != "weights"):
        raise RuleError(f"rule {rule!r} on {settings.on} needs the pretrained values, too")
    other = rows if pretrained is None else np.atleast_2d(np.asarray(pretrained, dtype=np.float64))
    if other.shape != rows.shape:
        raise ValuesError(f"fine-tuned values have shape {rows.shape}, pretrained {other.shape}")
    return RowBlock(
        fine_tuned=rows,
        pretrained=other,
        tensor=tensor,
        first_row=first_row,
        seed=seed,
        settings=settings,
        stood_in=[] if stood_in is None else stood_in,
        dtype=dtype or (values.dtype.name if values.dtype.name.startswith(("float", "bfloat")) else "float64"),
    )


def check_settings(rule: str, settings: Settings) -> None:
    """See that there is such a rule, and that it heeds the settings.

    Args:
        rule: Name of a rule.
        settings: Settings for it.

    Raises:
        RuleError: There is none, or it does not look at the update though `on` says so.

    Example:
        >>> check_settings("random", Settings(on="update"))
        Traceback (most recent call last):
        ken.errors.RuleError: rule 'random' does not look at a density: on must be weights, got 'update'
    """
    if get(rule).fixed and settings.on != "weights":
        raise RuleError(f"rule {rule!r} does not look at a density: on must be weights, got {settings.on!r}")
