"""Opening without the cyclic garbage collector, which would look through all that a notebook has, and find nothing."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Have no cycles collected inside: for less than some seconds, in which much is made and nothing is thrown away.

    One full collection takes 0.3 s where torch and transformers are loaded, and an Explorer of 3,000 tensors is reason
    enough for two. Whoever has switched the collector off finds it so.

    Example:
        >>> with uncollected():
        ...     gc.isenabled()
        False
        >>> gc.isenabled()
        True
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
