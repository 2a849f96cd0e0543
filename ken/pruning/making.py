"""Making a subnetwork whole: all tensors of a pair decided, into memory or into a file, some rows at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.api import Subnetwork, load
from ken.errors import at_tensor, warn
from ken.models.pairing.mixups import unrelated
from ken.models.tensors.tensor_bytes import Reference
from ken.pruning.collector import Collector
from ken.pruning.head import Seen, head, planned
from ken.pruning.paired_rows import PairedRows
from ken.pruning.prepared import Prepared, mask_of
from ken.rules.bandwidth_notes import bandwidth_note

if TYPE_CHECKING:
    import torch

    from ken.storage.writer import SubnetworkWriter


def make(prepared: Prepared, out: str | Path | None = None, *, progress: bool = True) -> Subnetwork:
    """Prune.

    Args:
        prepared: The models, and what is asked for.
        out: The file that it is written to as it is made; None: it is made in memory.
        progress: Show a bar if it takes longer than a second.

    Returns:
        The subnetwork, in memory or opened from the file that it was written to.

    Raises:
        ValuesError: A value is NaN or infinite, or cannot be held.

    Warns:
        KenWarning: The models look unrelated, or a bandwidth rule found none for some rows.
    """
    return _Making(prepared, progress).run(out)


class _Making:
    """A pair of models, and what has been seen of them so far."""

    def __init__(self, prepared: Prepared, progress: bool) -> None:
        self._prepared, self._progress = prepared, progress
        self._seen = Seen(notes=prepared.notes)
        self._deciding = prepared.deciding(progress=progress, stood_in=self._seen.stood_in)

    def run(self, out: str | Path | None) -> Subnetwork:
        from tqdm.auto import tqdm

        pairing, recipe, reasons = self._prepared.pairing, self._prepared.recipe, self._prepared.reasons
        entries = sum(pairing.fine_tuned.entries(name).count for name in reasons)
        with tqdm(
            total=entries,
            desc="prune",
            unit="entry",
            unit_scale=True,
            disable=not self._progress,
            delay=1.0,  # it stays away from short work
            leave=False,
        ) as bar:
            if out is None:
                collector = Collector()
                self._fill(collector, bar)
                net = head(pairing, recipe, self._seen)
                net = replace(net, tensors=collector.tensors, files=dict(net.files))
            else:
                from ken.storage.writer import SubnetworkWriter

                plan = {name: planned(pairing, name, reason, recipe=recipe) for name, reason in reasons.items()}
                with SubnetworkWriter(out, head(pairing, recipe, self._seen, draft=True), plan) as writer:
                    self._fill(writer, bar)
                    writer.finish(head(pairing, recipe, self._seen))
                net = load(out)
        if self._seen.stood_in:
            warn(bandwidth_note(recipe.bandwidth, self._seen.stood_in))
        if net.relation is not None and (mixed_up := unrelated(net.relation)):
            warn(mixed_up)
        return net

    def _fill(self, sink: Collector | SubnetworkWriter, bar: Any) -> None:
        for name, reason in self._prepared.reasons.items():
            bar.set_postfix_str(name, refresh=False)
            if not reason:
                tensor = self._prepared.tensors[name]
                retained = self._deciding.retained(tensor)  # of a scope, another tensor may be the one in error
                with at_tensor(name):
                    self._prune(tensor, retained, sink, bar=bar)
                continue
            with at_tensor(name):
                self._carry(name, reason, sink)
            bar.update(self._prepared.pairing.fine_tuned.entries(name).count)

    def _carry(self, name: str, reason: str, sink: Collector | SubnetworkWriter) -> None:
        pairing = self._prepared.pairing
        entries, other = pairing.fine_tuned.entries(name), pairing.names[name]
        counterpart = None if other is None else pairing.pretrained.entries(other).reference(other)
        fingerprint = sink.carried(name, entries, reason, pretrained=counterpart)
        self._seen.add(name, entries, fingerprint, counterpart=counterpart)

    def _prune(self, tensor: PairedRows, retained: int, sink: Collector | SubnetworkWriter, *, bar: Any) -> None:
        stood_in: list[int] = []

        def decide(start: int, fine_tuned: torch.Tensor, pretrained: torch.Tensor) -> NDArray[np.bool_]:
            parts = fine_tuned, pretrained
            return mask_of(tensor, start, parts, deciding=self._deciding, stood_in=stood_in, sums=self._seen.sums)

        taking = sink.pruned(self._prepared.subject(tensor, retained, self._deciding))
        prints = self._prepared.take(tensor, decide, taking, deciding=self._deciding, done=bar.update)
        self._deciding.done(tensor)
        pretrained = tensor.pretrained
        counterpart = Reference(tensor.other, pretrained.shape, pretrained.dtype, fingerprint=prints.pretrained)
        taking.finish(counterpart, prints.fine_tuned, prints.result)
        self._seen.add(tensor.name, tensor.fine_tuned, prints.fine_tuned, counterpart=counterpart)
        if stood_in:
            self._seen.stood_in[tensor.name] = len(stood_in)
