"""Memory that is freed stays with a worker while it is at work.

Dask starts its workers with MALLOC_TRIM_THRESHOLD_=65536: whatever is freed goes back to the system at once, and each
array of a stretch is mapped and filled with zeros anew. A part takes a third more processor time that way.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# What `mallopt` of glibc calls them; how large a block may be to come from the heap, and what may lie free there.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST, _FREE = 32 << 20, 128 << 20
_USUAL_LARGEST = 128 << 10

_lock = threading.Lock()
_at_work = 0


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what is freed until the block ends; then it goes back, and the limits are those of the environment again.

    Where the environment does not say that freed memory is given back early, and without glibc, nothing is done.

    >>> with freed_memory_kept():
    ...     sum(len(bytes(1 << 20)) for _ in range(4))
    4194304
    """
    global _at_work
    allocator, limit = _allocator(), os.environ.get("MALLOC_TRIM_THRESHOLD_", "")
    if allocator is None or not limit.isdecimal():
        yield
        return
    with _lock:
        _at_work += 1
        _set(allocator, _LARGEST, _FREE)
    try:
        yield
    finally:
        with _lock:
            _at_work -= 1
            if not _at_work:
                _set(allocator, _USUAL_LARGEST, int(limit))
                allocator.malloc_trim(ctypes.c_size_t(0))


def _set(allocator: ctypes.CDLL, largest: int, free: int) -> None:
    allocator.mallopt(_MMAP_THRESHOLD, largest)
    allocator.mallopt(_TRIM_THRESHOLD, free)


def _allocator() -> ctypes.CDLL | None:
    """The library of C, if it is glibc."""
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # not of this system
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
