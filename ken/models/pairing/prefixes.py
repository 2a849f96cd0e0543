"""The prefix that the names of one model have and those of the other do not, read from the names themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from ken.errors import PairingError

#: No prefix has more components.
_DEEPEST = 4


def prefix_between(names: Collection[str], others: Collection[str], known: int) -> str:
    """The prefix by which most names of either model are names of the other, if it is more than are known to fit.

    Args:
        names: Names of one model's tensors.
        others: Names of the other's.
        known: How many names fit without it; so many must be exceeded.

    Returns:
        The prefix without its last point; empty if there is none that pairs more.

    Raises:
        PairingError: Two prefixes pair equally many names, so that it cannot be told which part is meant.

    Example:
        >>> prefix_between(["pooler.weight", "pooler.bias"], ["net.pooler.weight", "net.pooler.bias", "head"], 0)
        'net'
    """
    votes = Counter(_prefixes(names, others))
    votes.update(_prefixes(others, names))
    ranked = votes.most_common(2)
    if not ranked or ranked[0][1] <= known:
        return ""
    if len(ranked) == 2 and ranked[1][1] == ranked[0][1]:
        first, second = sorted(prefix for prefix, _ in ranked)
        raise PairingError(
            f"the names of {ranked[0][1]} tensors fit with the prefix {first!r} as well as with {second!r}; "
            "give the part of the model that is meant, or both models with the same names"
        )
    return ranked[0][0]


def _prefixes(short: Collection[str], long: Collection[str]) -> Iterator[str]:
    """Of every long name that ends in a short one, what stands before that."""
    known = set(short)
    for name in long:
        parts = name.split(".")
        for depth in range(1, min(len(parts), _DEEPEST + 1)):
            if ".".join(parts[depth:]) in known:
                yield ".".join(parts[:depth])
