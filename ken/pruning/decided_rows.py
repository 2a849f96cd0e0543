"""The rows of a mask that have been decided so far, packed; the others are decided in threads, and kept."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ken.subnetwork.threads import in_order

#: Entries that a thread decides at a time, but never less than a row: few enough for a processor's cache.
_STRETCH = 1 << 17


class DecidedRows:
    """Rows of a mask of that shape, (rows, row length).

    >>> rows = DecidedRows((4, 3))
    >>> rows.fill(slice(1, 3), lambda first, last: np.ones((last - first) * 3, bool), "decide")
    >>> rows.missing().tolist(), rows.masks(slice(1, 2)).tolist()
    ([0, 3], [[True, True, True]])
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        # Pages of it that no row was written to take no memory.
        self._packed = np.zeros((shape[0], -(-shape[1] // 8)), np.uint8)
        self._known = np.zeros(shape[0], bool)

    @property
    def nbytes(self) -> int:
        """Memory of the rows that are known."""
        return int(np.count_nonzero(self._known)) * self._packed.shape[1]

    def missing(self, wanted: slice | None = None) -> NDArray[np.intp]:
        """The numbers of those rows that have not been decided."""
        chosen = np.arange(self._shape[0])[wanted or slice(None)]
        return chosen[~self._known[chosen]]

    def fill(self, wanted: slice | None, decide: Callable[[int, int], NDArray[np.bool_]], words: str) -> None:
        """Decide those that are missing: decide(first, last) gives the mask of some rows, flat. Threads call it.

        words say what the bar is of, which appears after a second; without any there is none.
        A row counts as decided once it is there: an error, or an interrupt, leaves none by halves.
        """
        from tqdm.auto import tqdm

        n = self._shape[1]
        missing = np.sort(self.missing(wanted))
        batches = np.array_split(missing, math.ceil(missing.size * max(n, 1) / _STRETCH)) if missing.size else []

        def work(batch: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
            runs = np.split(batch, np.flatnonzero(np.diff(batch) != 1) + 1)
            masks = [decide(int(run[0]), int(run[-1]) + 1).reshape(-1, n) for run in runs]
            return batch, np.packbits(np.concatenate(masks), axis=1)

        batches = [batch for batch in batches if batch.size]
        done = map(work, batches) if len(batches) == 1 else in_order(work, batches)
        entries = missing.size * n
        with tqdm(
            total=entries, desc=words, unit="entry", unit_scale=True, disable=not words, delay=1.0, leave=False
        ) as bar:
            for batch, packed in done:
                self._packed[batch] = packed
                self._known[batch] = True
                bar.update(batch.size * n)

    def masks(self, wanted: slice | None = None) -> NDArray[np.bool_]:
        """The mask of rows that have been decided, (rows, row length)."""
        packed = self._packed[wanted or slice(None)]
        return np.unpackbits(packed, axis=1, count=self._shape[1]).view(np.bool_)
