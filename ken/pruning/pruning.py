"""A pair of models that is being pruned: what is asked for, and each tensor on its way into a sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.api import Subnetwork, load
from ken.errors import PairingError, at_tensor, warn
from ken.models.checkpoints import other_files
from ken.models.checkpoints.checkpoint import Source, TunedSource
from ken.models.pairing import weight_names
from ken.models.pairing.mixups import unrelated
from ken.models.pairing.pairing import Pairing, open_pair
from ken.models.pairing.rows import K
from ken.models.scalars import checked_seed
from ken.models.tensors.tensor_bytes import Reference
from ken.pruning.collector import Collector, Sinks
from ken.pruning.head import Seen, head, planned, versions
from ken.pruning.paired_rows import PairedRows
from ken.pruning.patterns import check_patterns
from ken.pruning.ranges import ByRow, deciding
from ken.pruning.remarks import remarks
from ken.pruning.rescaling import Rescaling, check_dtype, note
from ken.pruning.selection import Selection
from ken.rules.bandwidth_notes import bandwidth_note
from ken.subnetwork.extract import Subject, take
from ken.subnetwork.subnetwork import Recipe

if TYPE_CHECKING:
    import torch

    from ken.storage.writer import SubnetworkWriter


def opened(
    fine_tuned: TunedSource,
    pretrained: Source | None,
    k: K | None,
    *,
    rule: str,
    seed: int,
    on: str,
    bandwidth: str | float,
    kernel: str,
    scope: str,
    rescale: str | None,
    include: Sequence[str],
    exclude: Sequence[str],
    layers_only: bool,
    rows: Mapping[str, str] | None,
    raw: bool,
    progress: bool,
) -> Pruning:
    """Both models, and what is asked for, checked; of files only headers have been read. See `prune`."""
    rules.check_k(rule, k)
    selection = Selection(k=k, include=include, exclude=exclude, layers_only=layers_only, rows=rows or {})
    seed = checked_seed(seed)
    settings = rules.Settings(on=on, bandwidth=bandwidth, kernel=kernel)
    rules.check_settings(rule, settings)
    rescale = rules.check_rescale(rule, rescale)
    rules.check_scope(rule, scope)
    pairing = open_pair(fine_tuned, pretrained, selection.rows)
    other_files.check(pairing.fine_tuned.files)
    recipe = Recipe(
        rule=rule,
        k=selection.k,
        seed=seed,
        include=tuple(selection.include),
        exclude=tuple(selection.exclude),
        layers_only=layers_only,
        rescale=rescale,
        rows=dict(selection.rows),
        versions=versions(),
        scope=scope,
        **asdict(settings),
    )
    return Pruning(pairing, selection, recipe, raw=raw, progress=progress)


class Pruning:
    """A pair of models, what is asked for, and what has been seen of them so far."""

    def __init__(self, pairing: Pairing, selection: Selection, recipe: Recipe, *, raw: bool, progress: bool) -> None:
        """Raises what can be known before any value is read."""
        tied = pairing.fine_tuned.tied
        check_patterns(selection, pairing.fine_tuned.tensors, tied=tied, elsewhere=pairing.pretrained.tensors)
        names = [name for name in pairing.fine_tuned.tensors if name not in tied]
        self.reasons = {name: _reason_to_carry(pairing, name, selection) for name in names}
        pairing = _without_misfits(pairing, self.reasons, selection)
        self.pairing = replace(pairing, cuts={name: cut for name in names if (cut := selection.cut_of(name))})
        if recipe.rescale == "share":
            for name, reason in self.reasons.items():
                if not reason:
                    check_dtype(name, pairing.fine_tuned.tensors[name].dtype)
        if check := rules.get(recipe.rule).check:
            for name, reason in self.reasons.items():
                if not reason:
                    check(name, tuple(pairing.fine_tuned.tensors[name].shape))
        self._selection, self.recipe, self.raw, self._progress = selection, recipe, raw, progress
        notes = remarks(self.pairing, selection, self.reasons)
        rescaled = (note(recipe.rule, recipe.scope),) if recipe.rescale == "share" else ()
        self.seen = Seen(notes=(*notes, *rescaled))
        self.tensors = {
            name: PairedRows.of_pair(self.pairing, name, selection, recipe=recipe)
            for name, reason in self.reasons.items()
            if not reason
        }
        self._deciding = deciding(self.tensors, recipe, progress, stood_in=self.seen.stood_in)

    def run(self, out: str | Path | None) -> Subnetwork:
        """The subnetwork, in memory or opened from the file that it was written to."""
        from tqdm.auto import tqdm

        entries = sum(self.pairing.fine_tuned.entries(name).count for name in self.reasons)
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
                net = head(self.pairing, self.recipe, self.seen)
                net = replace(net, tensors=collector.tensors, files=dict(net.files))
            else:
                with self.writing(out) as writer:
                    self._fill(writer, bar)
                    writer.finish(head(self.pairing, self.recipe, self.seen))
                net = load(out)
        self.warn_about(net)
        return net

    def writing(self, out: str | Path) -> SubnetworkWriter:
        """What writes the file of the subnetwork, with room for what is not known yet."""
        from ken.storage.writer import SubnetworkWriter

        plan = {name: planned(self.pairing, name, reason, recipe=self.recipe) for name, reason in self.reasons.items()}
        return SubnetworkWriter(out, head(self.pairing, self.recipe, self.seen, draft=True), plan)

    def warn_about(self, net: Subnetwork) -> None:
        """Say what only the values have told."""
        if self.seen.stood_in:
            warn(bandwidth_note(self.recipe.bandwidth, self.seen.stood_in))
        if net.relation is not None and (mixed_up := unrelated(net.relation)):
            warn(mixed_up)

    def _fill(self, sink: Sinks, bar: Any) -> None:
        for name, reason in self.reasons.items():
            bar.set_postfix_str(name, refresh=False)
            if not reason:
                tensor = self.tensors[name]
                retained = self._deciding.retained(tensor)  # of a scope, another tensor may be the one in error
                with at_tensor(name):
                    self.prune_tensor(tensor, retained, sink, done=bar.update)
                continue
            with at_tensor(name):
                self.carry(name, reason, sink)
            bar.update(self.pairing.fine_tuned.entries(name).count)

    def carry(self, name: str, reason: str, sink: Sinks) -> None:
        """Bring a whole tensor into the sink."""
        entries, other = self.pairing.fine_tuned.entries(name), self.pairing.names[name]
        counterpart = None if other is None else self.pairing.pretrained.entries(other).reference(other)
        fingerprint = sink.carried(name, entries, reason, pretrained=counterpart)
        self.seen.add(name, entries, fingerprint, counterpart=counterpart)

    def cut_of(self, name: str) -> str:
        """How a tensor is cut into rows, if not by its shape."""
        return self._selection.cut_of(name)

    def retained_in(self, tensor: PairedRows, span: tuple[int, int]) -> int:
        """How many of the common entries of a span are retained, where every row has a budget of its own."""
        assert isinstance(self._deciding, ByRow)
        return self._deciding.retained_in(tensor, span)

    def prune_tensor(
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
        fine_tuned, pretrained = tensor.fine_tuned, tensor.pretrained
        name = tensor.name
        stood_in: list[int] = []

        def decide(start: int, fine_tuned_part: torch.Tensor, pretrained_part: torch.Tensor) -> NDArray[np.bool_]:
            mask, common = np.ones(len(fine_tuned_part), bool), len(pretrained_part)
            if common:
                tuned = fine_tuned_part[:common]
                block = tensor.block(start, tuned, pretrained=pretrained_part, stood_in=stood_in)
                matrix = len(pretrained.shape) > 1
                self.seen.sums.add(name, matrix, fine_tuned=block.fine_tuned, pretrained=block.pretrained)
                mask[:common] = self._deciding.mask(tensor, start, block)
            return mask

        shape, base_shape, added = fine_tuned.shape, pretrained.shape, tensor.added
        if span is not None:
            (shape, base_shape), added = tensor.shapes_of(span), tensor.added_in(span)
        subject = Subject(
            name,
            shape,
            fine_tuned.dtype,
            retained=retained + added,
            raw=self.raw,
            cut="" if span else self.cut_of(name),
            threshold=self._deciding.threshold(tensor),
        )
        taking = sink.pruned(subject)
        # Stretches may be decided at the same time, in any order: the loops release the GIL.
        prints = take(
            *(fine_tuned, pretrained, tensor.rows),
            decide=decide,
            sink=taking,
            raw=self.raw,
            rescale=Rescaling(tensor, self._deciding.shares) if self.recipe.rescale == "share" else None,
            within=span,
            done=done,
        )
        self._deciding.done(tensor)
        counterpart = Reference(tensor.other, base_shape, pretrained.dtype, fingerprint=prints.pretrained)
        taking.finish(counterpart, prints.fine_tuned, prints.result)
        if span is None:
            self.seen.add(name, fine_tuned, prints.fine_tuned, counterpart=counterpart)
        if stood_in:
            self.seen.stood_in[name] = len(stood_in)


def _without_misfits(pairing: Pairing, reasons: Mapping[str, str], selection: Selection) -> Pairing:
    """What does not fit its counterpart has none if it is carried. Raises `PairingError` if it was to be pruned.

    Of a tensor that is floating-point on one side alone, a pattern must say that it is carried: it may be a code.
    """
    for name, misfit in pairing.misfits.items():
        fine_tuned, pretrained = pairing.fine_tuned.tensors[name], pairing.pretrained.tensors[pairing.namesakes[name]]
        alike = fine_tuned.is_floating_point() == pretrained.is_floating_point()
        if name in reasons and not (selection.reason_to_carry(name) or (alike and reasons[name])):
            error = PairingError(f"{name}: {misfit}; exclude=[{name!r}] carries it whole")
            if hint := weight_names.advice(pairing.fine_tuned, pairing.pretrained):
                error.add_note(hint)
            raise error
    names = {name: None if name in pairing.misfits else other for name, other in pairing.names.items()}
    return replace(pairing, names=names)


def _reason_to_carry(pairing: Pairing, name: str, selection: Selection) -> str:
    tensor = pairing.fine_tuned.tensors[name]
    if pairing.names[name] is None:
        return pairing.apart.get(name, "no pretrained counterpart")
    if name in pairing.fine_tuned.buffers:
        return "buffer"
    if not tensor.is_floating_point():
        return f"{str(tensor.dtype).removeprefix('torch.')}, not floating-point"
    if tensor.numel() == 0:
        return "empty"
    return selection.reason_to_carry(name)
