"""Which tensors are pruned, and with which k."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ken.errors import BudgetError
from ken.models.pairing.rows import CUTS, GROWN, K, check_pattern, plain_k
from ken.models.tensors.tensor_roles import place


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tensors are pruned and with which k: the budget with the patterns that include and exclude.

    Patterns are globs on the full tensor name, case-sensitive. Of several patterns in a mapping k, the first that
    matches decides; a tensor that none matches is not pruned. With layers_only, tensors whose name has no layer number
    are not pruned: KEN's mode for the layers alone. rows says by pattern how to cut tensors (`CUTS`), or that rows were
    added to them (`GROWN`). k is None for a rule that counts for itself.

    >>> budget = Selection(k={"*.query.weight": 0.5, "*": 100}, exclude=("classifier.*",))
    >>> budget.k_of("layer.0.query.weight"), budget.k_of("embeddings"), budget.reason_to_carry("classifier.bias")
    (0.5, 100, "excluded by 'classifier.*'")
    """

    k: K | None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    layers_only: bool = False
    rows: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", None if self.k is None else plain_k(self.k))
        if not isinstance(self.rows, Mapping):
            raise BudgetError(f"rows must map name patterns to ways to cut a tensor, got {self.rows!r}")
        for pattern, cut in self.rows.items():
            check_pattern("rows", pattern)
            if cut not in (*CUTS, GROWN):
                raise BudgetError(
                    f"rows of pattern {pattern!r} must be one of {', '.join((*CUTS, GROWN))}, got {cut!r}"
                )
        for name in ("include", "exclude"):
            patterns = getattr(self, name)
            if isinstance(patterns, str) or not isinstance(patterns, Iterable):
                one = f"; for one pattern write [{patterns!r}]" if isinstance(patterns, str) else ""
                kind = "the string " if one else ""
                raise BudgetError(f"{name} must be a sequence of patterns, got {kind}{patterns!r}{one}")
            object.__setattr__(self, name, tuple(patterns))
            for pattern in getattr(self, name):
                check_pattern(name, pattern)

    def k_of(self, name: str) -> int | float | None:
        """The k for a tensor, None if a mapping names no pattern that fits, or if there is none for any."""
        if not isinstance(self.k, Mapping):
            return self.k
        return next((value for pattern, value in self.k.items() if fnmatchcase(name, pattern)), None)

    def cut_of(self, name: str) -> str:
        """How a tensor is cut into rows: one of `CUTS`, empty if by its shape."""
        cut = next((cut for pattern, cut in self.rows.items() if fnmatchcase(name, pattern)), "")
        return "" if cut == GROWN else cut

    def reason_to_carry(self, name: str) -> str:
        """Why a tensor of that name is carried whole instead of pruned; empty if it is pruned."""
        for pattern in self.exclude:
            if fnmatchcase(name, pattern):
                return f"excluded by {pattern!r}"
        if self.layers_only and place(name).layer is None:
            return "not in a layer"
        if self.include and not any(fnmatchcase(name, pattern) for pattern in self.include):
            return "not included"
        if self.k is not None and self.k_of(name) is None:
            return "no budget"
        return ""
