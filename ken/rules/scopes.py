"""Over what k is counted: every row by itself, every tensor, or all pruned tensors together."""

from __future__ import annotations

from ken.errors import RuleError
from ken.rules.registry import get

#: The ranges that k can be counted over, and in words what shares one budget.
SCOPES = {
    "row": "every row by itself",
    "tensor": "all rows of a tensor",
    "model": "all pruned tensors",
}

#: What a share is of, in words: where retained updates are divided by it, what they are divided by.
SHARED = {"row": "their row", "tensor": "their tensor", "model": "all pruned tensors"}


def check_scope(rule: str, scope: object) -> None:
    """See that there is such a scope, and that a rule can heed it.

    Args:
        rule: Name of a rule.
        scope: One of `SCOPES`: "row", "tensor" or "model".

    Raises:
        RuleError: There is no such scope, or the rule has no budget that could be shared.

    Example:
        >>> check_scope("update", "layer")
        Traceback (most recent call last):
        ken.errors.RuleError: scope must be row, tensor or model, got 'layer'
    """
    if not isinstance(scope, str) or scope not in SCOPES:
        raise RuleError(f"scope must be row, tensor or model, got {scope!r}")
    if scope != "row" and get(rule).counts:
        raise RuleError(f"rule {rule!r} has no k that rows could share: scope must be row, got {scope!r}")
