"""Threads for loops that let go of the interpreter's lock: compiled loops, hashes, compression."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def threads() -> int:
    """How many processors this process may use, and no more than OMP_NUM_THREADS says: workers of Dask have 1."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "").strip()
    return max(1, min(number, int(limit))) if limit.isdecimal() else number


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """A pool of that many threads. When the block ends, work that has not begun is dropped."""
    pool = ThreadPoolExecutor(threads())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results of work for every item, in order, as they are asked for. Only a few items are begun ahead of that.

    So neither items nor results need be in memory together. When nobody asks any more, the rest is dropped.

    >>> list(in_order(len, (["a"] * n for n in range(3))))
    [0, 1, 2]
    """
    with workers() as pool:
        begun: deque[Future[Result]] = deque()
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > 2 * threads():
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results of work for every item, in order. The first error ends it, items that were not begun are dropped.

    Each thread takes the next item when it is done with one, so many small items cost little more than one.

    >>> each(len, ["a", "bc"])
    [1, 2]
    """
    todo = deque(enumerate(items))
    results: list[Any] = [None] * len(todo)

    def run() -> None:
        while todo:
            try:
                i, item = todo.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                results[i] = work(item)
            except BaseException:
                todo.clear()
                raise

    with workers() as pool:
        try:
            for future in [pool.submit(run) for _ in range(min(threads(), len(todo)))]:
                future.result()
        finally:
            todo.clear()
    return results
