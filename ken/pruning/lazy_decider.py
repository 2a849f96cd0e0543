"""What decides tensors one by one, in any order: some rows of one, or the whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.errors import at_tensor
from ken.models.tensors.tensor_bytes import Reference
from ken.pruning.collector import Collector
from ken.pruning.decided_rows import DecidedRows
from ken.pruning.paired_rows import PairedRows
from ken.pruning.prepared import Prepared, mask_of
from ken.rules.thresholds import Threshold
from ken.subnetwork.retained_tensor import RetainedTensor

if TYPE_CHECKING:
    import torch


class LazyDecider:
    """Decides about the tensors of a pair, and keeps none of it but what they share. Any thread may ask.

    Attributes:
        prepared: The pair, and what is asked for.
        progress: Whether a bar is shown for what takes longer than a second.
        lock: Of what tensors share. Where every row is decided by itself, rows need none.
    """

    def __init__(self, prepared: Prepared, *, progress: bool) -> None:
        self.prepared, self.progress = prepared, progress
        self.lock = threading.RLock()
        self._stood_in: dict[str, set[int]] = {}
        self._as_one_row: dict[str, int] = {}
        self._deciding = prepared.deciding(progress=progress, stood_in=self._as_one_row)

    @property
    def counts(self) -> bool:
        """Whether k tells how many entries of each tensor are retained."""
        return self.prepared.recipe.scope != "model" and self.prepared.recipe.k is not None

    @property
    def at_once(self) -> bool:
        """Whether all rows of a tensor are decided at once: together they are one row to a rule without a score."""
        recipe = self.prepared.recipe
        return recipe.scope != "row" and rules.get(recipe.rule).score is None

    @property
    def stood_in(self) -> dict[str, int]:
        """By tensor, how many of the rows that were decided had no bandwidth of their own."""
        by_row = {name: len(self._stood_in[name]) for name in self.prepared.tensors if name in self._stood_in}
        return by_row | self._as_one_row

    def retained(self, tensor: PairedRows) -> int:
        """How many entries of a tensor are retained: by its k, or counted."""
        if self.counts:
            return tensor.budget + tensor.added
        with self.lock:
            return self._deciding.retained(tensor) + tensor.added

    def threshold(self, tensor: PairedRows) -> Threshold | None:
        """What decides about each entry of a tensor by itself; None if nothing does."""
        with self._ready(tensor):
            return self._deciding.threshold(tensor)

    def fill(self, tensor: PairedRows, rows: DecidedRows, wanted: slice | None) -> None:
        """Decide those rows of a tensor that have not been."""
        n = tensor.rows[1]

        def decide(first: int, last: int) -> NDArray[np.bool_]:
            return self._mask(tensor, first * n, self._read(tensor, first * n, last * n))

        with self._ready(tensor), at_tensor(tensor.name):
            rows.fill(None if self.at_once else wanted, decide, f"decide {tensor.name}" if self.progress else "")

    def distances(self, tensor: PairedRows, first: int, mask: NDArray[np.bool_]) -> NDArray[Any]:
        """What is stored of rows from that one on, whose mask is known."""
        start = first * tensor.rows[1]
        with self._ready(tensor), at_tensor(tensor.name):
            parts = self._read(tensor, start, start + mask.size)
            return self.prepared.distances(tensor, start, parts, mask=mask.reshape(-1), deciding=self._deciding)

    def whole(self, tensor: PairedRows, rows: DecidedRows, retained: int) -> RetainedTensor:
        """All of a tensor, of which so many entries are retained; rows that are known are not decided again."""
        from tqdm.auto import tqdm

        n = max(tensor.rows[1], 1)

        def decide(start: int, fine_tuned: torch.Tensor, pretrained: torch.Tensor) -> NDArray[np.bool_]:
            span = slice(start // n, (start + len(fine_tuned)) // n)
            if rows.missing(span).size:
                return self._mask(tensor, start, (fine_tuned, pretrained))
            return rows.masks(span).reshape(-1)

        collector = Collector()
        with (
            self._ready(tensor),
            at_tensor(tensor.name),
            tqdm(
                total=tensor.fine_tuned.count,
                desc=f"decide {tensor.name}",
                unit="entry",
                unit_scale=True,
                disable=not self.progress,
                delay=1.0,
                leave=False,
            ) as bar,
        ):
            taking = collector.pruned(self.prepared.subject(tensor, retained - tensor.added, self._deciding))
            prints = self.prepared.take(tensor, decide, taking, deciding=self._deciding, done=bar.update)
            base = tensor.pretrained
            counterpart = Reference(tensor.other, base.shape, base.dtype, fingerprint=prints.pretrained)
            taking.finish(counterpart, prints.fine_tuned, prints.result)
        made = collector.tensors[tensor.name]
        assert isinstance(made, RetainedTensor)
        return made

    @contextmanager
    def _ready(self, tensor: PairedRows) -> Iterator[None]:
        """A block in which rows of a tensor can be decided: where they share a budget, what decides is found first."""
        if self.prepared.recipe.scope == "row":
            yield
            return
        with self.lock:
            self._deciding.retained(tensor)
            yield
            if self.prepared.recipe.scope != "model":  # of a model, the masks of all tensors were found at once
                self._deciding.done(tensor)

    @staticmethod
    def _read(tensor: PairedRows, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        common = (min(at, tensor.pretrained.count) for at in (start, stop))
        return tensor.fine_tuned.read(start, stop), tensor.pretrained.read(*common)

    def _mask(self, tensor: PairedRows, start: int, parts: tuple[torch.Tensor, torch.Tensor]) -> NDArray[np.bool_]:
        stood_in: list[int] = []
        mask = mask_of(tensor, start, parts, deciding=self._deciding, stood_in=stood_in)
        if stood_in:
            self._stood_in.setdefault(tensor.name, set()).update(stood_in)
        return mask
