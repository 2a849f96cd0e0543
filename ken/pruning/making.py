"""Making a subnetwork whole: all tensors of a pair decided, into memory or into a file, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.api import Subnetwork, load
from ken.errors import at_tensor, warn
from ken.models.pairing.mixups import unrelated
from ken.models.tensors.tensor_bytes import Reference
from ken.pruning.collector import Collector, Sinks
from ken.pruning.head import Seen, head, planned
from ken.pruning.paired_rows import PairedRows
from ken.pruning.prepared import Prepared, mask_of
from ken.pruning.ranges import ByRow
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
    return Making(prepared, progress).run(out)


class Making:
    """A pair of models on its way into a sink.

    Attributes:
        prepared: The models, and what is asked for.
        seen: What has been read of them so far.
    """

    def __init__(self, prepared: Prepared, progress: bool) -> None:
        self.prepared, self._progress = prepared, progress
        self.seen = Seen(notes=prepared.notes)
        self._deciding = prepared.deciding(progress=progress, stood_in=self.seen.stood_in)

    def run(self, out: str | Path | None) -> Subnetwork:
        """The subnetwork, in memory or opened from the file that it was written to."""
        from tqdm.auto import tqdm

        pairing, recipe, reasons = self.prepared.pairing, self.prepared.recipe, self.prepared.reasons
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
                net = head(pairing, recipe, self.seen)
                net = replace(net, tensors=collector.tensors, files=dict(net.files))
            else:
                with self.writing(out) as writer:
                    self._fill(writer, bar)
                    writer.finish(head(pairing, recipe, self.seen))
                net = load(out)
        self.warn_about(net)
        return net

    def writing(self, out: str | Path) -> SubnetworkWriter:
        """What writes the file of the subnetwork, with room for what is not known yet."""
        from ken.storage.writer import SubnetworkWriter

        pairing, recipe = self.prepared.pairing, self.prepared.recipe
        plan = {name: planned(pairing, name, reason, recipe=recipe) for name, reason in self.prepared.reasons.items()}
        return SubnetworkWriter(out, head(pairing, recipe, self.seen, draft=True), plan)

    def warn_about(self, net: Subnetwork) -> None:
        """Say what only the values have told."""
        if self.seen.stood_in:
            warn(bandwidth_note(self.prepared.recipe.bandwidth, self.seen.stood_in))
        if net.relation is not None and (mixed_up := unrelated(net.relation)):
            warn(mixed_up)

    def retained_in(self, tensor: PairedRows, span: tuple[int, int]) -> int:
        """How many of the common entries of a span are retained, where every row has a budget of its own."""
        assert isinstance(self._deciding, ByRow)
        return self._deciding.retained_in(tensor, span)

    def _fill(self, sink: Sinks, bar: Any) -> None:
        for name, reason in self.prepared.reasons.items():
            bar.set_postfix_str(name, refresh=False)
            if not reason:
                tensor = self.prepared.tensors[name]
                retained = self._deciding.retained(tensor)  # of a scope, another tensor may be the one in error
                with at_tensor(name):
                    self.prune(tensor, retained, sink, done=bar.update)
                continue
            with at_tensor(name):
                self.carry(name, reason, sink)
            bar.update(self.prepared.pairing.fine_tuned.entries(name).count)

    def carry(self, name: str, reason: str, sink: Sinks) -> None:
        """Bring a whole tensor into the sink."""
        pairing = self.prepared.pairing
        entries, other = pairing.fine_tuned.entries(name), pairing.names[name]
        counterpart = None if other is None else pairing.pretrained.entries(other).reference(other)
        fingerprint = sink.carried(name, entries, reason, pretrained=counterpart)
        self.seen.add(name, entries, fingerprint, counterpart=counterpart)

    def prune(
        self,
        tensor: PairedRows,
        retained: int,
        sink: Sinks,
        *,
        done: Callable[[int], object],
        span: tuple[int, int] | None = None,
    ) -> None:
        """Decide about a tensor, or about a span of it alone, which then makes a flat tensor of its own in the sink.

        retained is how many of the common entries will be; done is told how many entries have been decided about.
        """
        stood_in: list[int] = []

        def decide(start: int, fine_tuned: torch.Tensor, pretrained: torch.Tensor) -> NDArray[np.bool_]:
            parts = fine_tuned, pretrained
            return mask_of(tensor, start, parts, deciding=self._deciding, stood_in=stood_in, sums=self.seen.sums)

        subject, base_shape = self.prepared.subject(tensor, retained, self._deciding), tensor.pretrained.shape
        if span is not None:
            shape, base_shape = tensor.shapes_of(span)
            subject = subject._replace(shape=shape, retained=retained + tensor.added_in(span), cut="")
        taking = sink.pruned(subject)
        prints = self.prepared.take(tensor, decide, taking, deciding=self._deciding, done=done, within=span)
        self._deciding.done(tensor)
        counterpart = Reference(tensor.other, base_shape, tensor.pretrained.dtype, fingerprint=prints.pretrained)
        taking.finish(counterpart, prints.fine_tuned, prints.result)
        if span is None:
            self.seen.add(tensor.name, tensor.fine_tuned, prints.fine_tuned, counterpart=counterpart)
        if stood_in:
            self.seen.stood_in[tensor.name] = len(stood_in)
