"""njit: numba's, whose cache on the disk several processes may fill at the same time.

numba numbers the files of a function's compiled versions, one for each signature: 1, 2, … Two processes that begin with
an empty cache can give one number to two signatures. Whoever loads it then calls code made for other arrays, which
writes beyond their ends. Here a file is named by what it is of, and is there before the index names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import xxhash
from numba.core.caching import IndexDataCacheFile


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with these options; with cache=True the cache is safe to share.

    >>> @njit(nogil=True)
    ... def double(x):
    ...     return 2 * x
    >>> double(4)
    8
    """

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        cache = getattr(dispatcher, "_cache", None)
        numbered = getattr(cache, "_cache_file", None)
        if cache is not None and isinstance(numbered, IndexDataCacheFile):  # else nothing is cached on the disk
            cache._cache_file = NamedCacheFile(cache)
        return dispatcher

    return compiled


class NamedCacheFile(IndexDataCacheFile):
    """A cache of one function, whose files are named by signature, machine, and state of the source."""

    def __init__(self, cache: Any) -> None:
        numbered = cache._cache_file
        super().__init__(cache._cache_path, cache._impl.filename_base, numbered._source_stamp)

    def save(self, key: Any, data: Any) -> None:
        """Save a compiled version: first it, then the index that names it."""
        name = self._data_name(xxhash.xxh3_64_intdigest(repr((key, self._source_stamp)).encode()))
        self._save_data(name, data)
        self._save_index({**self._load_index(), key: name})
