"""Work on tensors, some of them in each call: the groups, and what comes of each, as it comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ken.subnetwork.executors.calls import Asked, outcomes
from ken.subnetwork.executors.engines import engine_of
from ken.subnetwork.executors.link import say_link

#: A call is about so many entries, or one tensor.
ENTRIES = 1 << 26
#: No more calls than this: each opens the models, which takes seconds if they have many tensors.
CALLS = 4096


def spans(sizes: Iterable[int], entries: int | None = None) -> list[tuple[int, int]]:
    """Which tensors, first and behind the last, make a group: as few as have so many entries together.

    sizes are their entries, in order. entries is by default `ENTRIES`, or as many as make no more than `CALLS` groups.

    >>> spans([3, 1, 5, 2, 1], entries=4)
    [(0, 2), (2, 3), (3, 5)]
    """
    sizes = list(sizes)
    enough = max(ENTRIES, sum(sizes) // CALLS) if entries is None else entries
    groups, start, stop, together = [], 0, 0, 0
    for size in sizes:
        stop, together = stop + 1, together + size
        if together >= enough:
            groups.append((start, stop))
            start, together = stop, 0
    return [*groups, (start, stop)] if stop > start else groups


def answers(
    executor: Any, function: Callable[..., str], calls: Sequence[Sequence[Any]], *, timeout: float | None
) -> Iterator[tuple[int, Any]]:
    """What a function that gives JSON says of each group, with the number of its call from 0, in any order.

    Raises what `ken.subnetwork.executors.calls.outcomes` does.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     sorted(answers(pool, json.dumps, [["a"], [2]], timeout=None))
    [(0, 'a'), (1, 2)]
    """
    engine = engine_of(executor)
    say_link(engine.link)
    asked = Asked(function, "group of tensors", len(calls))
    for number, answer in outcomes(engine, asked, dict(enumerate(calls, 1)), timeout=timeout):
        yield number - 1, json.loads(answer)
