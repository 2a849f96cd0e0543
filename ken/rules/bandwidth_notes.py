"""Rows for which a bandwidth rule found none, in a sentence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

# Tensors that a note names.
_NAMED = 3


def bandwidth_note(rule: str | float, stood_in: Mapping[str, int]) -> str:
    """How many rows of which tensors have the bandwidth of the normal reference instead.

    >>> bandwidth_note("isj", {"a.bias": 1, "b.weight": 20})
    'the bandwidth rule isj found none for 21 rows (a.bias: 1, b.weight: 20): they have that of the normal reference'
    """
    named = ", ".join(f"{name}: {rows:,}" for name, rows in list(stood_in.items())[:_NAMED] if name)
    more = f" and {len(stood_in) - _NAMED:,} more tensors" if len(stood_in) > _NAMED else ""
    where = f" ({named}{more})" if named else ""
    count = sum(stood_in.values())
    rows = f"{count:,} rows{where}: they have" if count > 1 else f"one row{where}: it has"
    return f"the bandwidth rule {rule} found none for {rows} that of the normal reference"


def longest_bandwidth_note(rule: str | float, names: Iterable[str]) -> str:
    """A note as long as any about tensors of these names, to reserve room for it; empty if there will be none."""
    if rule != "isj":
        return ""
    escaped_twice = sorted(names, key=lambda name: len(json.dumps(json.dumps(name))))
    return bandwidth_note(rule, dict.fromkeys([*escaped_twice[-_NAMED:], ""], 10**15))
