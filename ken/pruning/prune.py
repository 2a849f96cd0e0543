"""prune: pairs of tensors → rows → rule → mask → Subnetwork, some rows of one pair in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.api import Subnetwork, load
from ken.density import NORMAL_REFERENCE
from ken.errors import PairingError, at_tensor, warn
from ken.models.checkpoints import other_files
from ken.models.checkpoints.checkpoint import Source, TunedSource
from ken.models.pairing import weight_names
from ken.models.pairing.mixups import unrelated
from ken.models.pairing.pairing import Pairing, open_pair
from ken.models.pairing.pairs import Pair
from ken.models.pairing.rows import K
from ken.models.scalars import checked_seed
from ken.models.tensors.tensor_bytes import Reference
from ken.pruning.collector import Collector
from ken.pruning.head import Seen, head, planned, versions
from ken.pruning.paired_rows import PairedRows
from ken.pruning.patterns import check_patterns
from ken.pruning.ranges import deciding
from ken.pruning.remarks import remarks
from ken.pruning.rescaling import Rescaling, check_dtype, note
from ken.pruning.selection import Selection
from ken.rules.bandwidth_notes import bandwidth_note
from ken.storage.file_kinds import SUBNETWORK
from ken.storage.outputs import check_outputs, models_of
from ken.subnetwork.extract import Subject, take
from ken.subnetwork.subnetwork import Recipe

if TYPE_CHECKING:
    import torch

    from ken.storage.writer import SubnetworkWriter


def prune(
    fine_tuned: TunedSource,
    pretrained: Source | None,
    k: K | None = None,
    rule: str = "ken",
    *,
    seed: int = 0,
    on: str = "weights",
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    scope: str = "row",
    rescale: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    layers_only: bool = False,
    rows: Mapping[str, str] | None = None,
    raw: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Subnetwork:
    """Retain k entries of every row of the fine-tuned model; reset the rest to the pretrained values.

    Names are paired exactly, else by adding or stripping transformers' base-model prefix or the one that the names
    themselves show, else by ties and transformers' own renames; what wraps a model or its parts (`_orig_mod.`,
    `module.`) is looked through. A module and a folder are paired in the layout of the folder. Tensors that a
    fine-tuned checkpoint lacks are the pretrained model's (`Subnetwork.lacking`). Buffers, integers, and tensors
    without a pretrained counterpart are carried whole. Rows count as added, and are retained whole, behind the
    pretrained ones of a vocabulary (by the kind of its module, by a configuration, or with rows "grown"); else a tensor
    of another length is new. A progress bar appears if it takes longer than a second.

    The published rule and its words: Mastromattei & Zanzotto, "Less is KEN", arXiv 2402.03142, sec. 3.

    Args:
        fine_tuned: A torch module or a state dict, on any device, or the path of a safetensors file or of a checkpoint
            folder, or a hub id; or an adapter of the pretrained model: a folder that PEFT has written, its hub id, a
            live `PeftModel`, or several as `ken.Adapters`, merged as they are read. It is not changed.
        pretrained: The model that it came from, likewise. None, for an adapter: the base that it names or, live, holds.
        k: Entries of every row (int), a share of the row (float in (0, 1]), or a mapping from name pattern to either,
            of which the first that matches decides. None for the rule `changed` alone, which retains of each row
            what fine-tuning changed, however much that is.
        rule: One of `ken.rules.names()`.
        seed: Seed of random rules.
        on: The values that rules look at which estimate a density: "weights" (fine-tuned), "update" or "pretrained".
        bandwidth: One of `ken.density.BANDWIDTHS`, or a number above 0 in units of the values. Where a bandwidth rule
            finds none for a row, the normal reference stands in; the notes of the subnetwork say for how many.
        kernel: One of `ken.density.KERNELS`.
        scope: Over what k is counted. "row": every row has a budget of its own. "tensor" and "model": as many entries
            as these budgets add up to are retained wherever they lie in the tensor, or in all pruned tensors. A rule
            that ranks entries by a score (`random`, `magnitude`, `update`) retains those of highest score, of equal
            ones the first by name and place, and models are read a few times more, some rows at a time. To the others
            the whole range is one row, which is in memory as float64.
        rescale: "share" divides the update of every retained entry by the share of its row that is retained (k / n; for
            `della` by the entry's own probability; with another scope of the tensor, or of all pruned tensors), so that
            the update is kept in expectation: the stored value is no longer the fine-tuned one. "none" does not. By
            default what the rule's source does: "share" for `dare` alone.
        include: Name patterns; tensors that match none are carried whole. By default all are pruned.
        exclude: Name patterns; tensors that match one are carried whole.
        layers_only: Carry tensors whose name has no layer number.
        rows: A mapping from name pattern to "last", "first" or "whole": how to cut those tensors into rows, if not by
            their shape (`ken.models.pairing.rows.row_shape`); or to "grown": rows were added to them.
        raw: Keep retained values as they are, and not as their distance from the pretrained ones, which takes far less
            space in a file.
        out: A file to write the subnetwork to as it is made, and to open it from: of models on disk, no more than some
            rows and the mask of one tensor are in memory at a time. It may not be either model, nor lie in its folder;
            it takes the place of another subnetwork.
        overwrite: Let out take the place of any other file, too.
        progress: Whether to show the progress bar.

    Returns:
        The subnetwork. Its `notes` keep what was warned of, its `relation` the size of the update and the like.

    Raises:
        BudgetError: k is out of range, or missing, or the rule has none; or a pattern matches no tensor.
        RuleError: There is no such rule or setting, or the seed is none.
        PairingError: Shapes do not fit.
        OutputError: out may not be written to.
        ValuesError: A value is NaN or infinite, or the fine-tuned dtype cannot hold a rescaled one; the message names
            the place. All other errors come before work begins.

    Warns:
        KenWarning: The two models look as if they were the wrong way round, or unrelated; or a bandwidth rule found
            none for some rows.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> pretrained, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
        >>> prune(fine_tuned, pretrained, k=2)
        Subnetwork(rule='ken', k=2: 10 of 36 entries retained; 2 tensors pruned, 0 carried)
    """
    rules.check_k(rule, k)
    selection = Selection(k=k, include=include, exclude=exclude, layers_only=layers_only, rows=rows or {})
    seed = checked_seed(seed)
    settings = rules.Settings(on=on, bandwidth=bandwidth, kernel=kernel)
    rules.check_settings(rule, settings)
    rescale = rules.check_rescale(rule, rescale)
    rules.check_scope(rule, scope)
    check_outputs([(out, SUBNETWORK)], models_of(Pair(fine_tuned, pretrained)), overwrite=overwrite)
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
    return _Pruning(pairing, selection, recipe, raw=raw, progress=progress).run(out)


class _Pruning:
    """A pair of models, what is asked for, and what has been seen of them so far."""

    def __init__(self, pairing: Pairing, selection: Selection, recipe: Recipe, *, raw: bool, progress: bool) -> None:
        """Raises what can be known before any value is read."""
        tied = pairing.fine_tuned.tied
        check_patterns(selection, pairing.fine_tuned.tensors, tied=tied, elsewhere=pairing.pretrained.tensors)
        names = [name for name in pairing.fine_tuned.tensors if name not in tied]
        self._reasons = {name: _reason_to_carry(pairing, name, selection) for name in names}
        pairing = _without_misfits(pairing, self._reasons, selection)
        self._pairing = replace(pairing, cuts={name: cut for name in names if (cut := selection.cut_of(name))})
        if recipe.rescale == "share":
            for name, reason in self._reasons.items():
                if not reason:
                    check_dtype(name, pairing.fine_tuned.tensors[name].dtype)
        if check := rules.get(recipe.rule).check:
            for name, reason in self._reasons.items():
                if not reason:
                    check(name, tuple(pairing.fine_tuned.tensors[name].shape))
        self._selection, self._recipe, self._raw, self._progress = selection, recipe, raw, progress
        notes = remarks(self._pairing, selection, self._reasons)
        rescaled = (note(recipe.rule, recipe.scope),) if recipe.rescale == "share" else ()
        self._seen = Seen(notes=(*notes, *rescaled))
        self._tensors = {
            name: PairedRows.of_pair(self._pairing, name, selection, recipe=recipe)
            for name, reason in self._reasons.items()
            if not reason
        }
        self._deciding = deciding(self._tensors, recipe, progress, stood_in=self._seen.stood_in)

    def run(self, out: str | Path | None) -> Subnetwork:
        """The subnetwork, in memory or opened from the file that it was written to."""
        from tqdm.auto import tqdm

        entries = sum(self._pairing.fine_tuned.entries(name).count for name in self._reasons)
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
                net = head(self._pairing, self._recipe, self._seen)
                net = replace(net, tensors=collector.tensors, files=dict(net.files))
            else:
                from ken.storage.writer import SubnetworkWriter

                plan = {
                    name: planned(self._pairing, name, reason, recipe=self._recipe)
                    for name, reason in self._reasons.items()
                }
                with SubnetworkWriter(out, head(self._pairing, self._recipe, self._seen, draft=True), plan) as writer:
                    self._fill(writer, bar)
                    writer.finish(head(self._pairing, self._recipe, self._seen))
                net = load(out)
        if self._seen.stood_in:
            warn(bandwidth_note(self._recipe.bandwidth, self._seen.stood_in))
        if net.relation is not None and (mixed_up := unrelated(net.relation)):
            warn(mixed_up)
        return net

    def _fill(self, sink: Collector | SubnetworkWriter, bar: Any) -> None:
        for name, reason in self._reasons.items():
            bar.set_postfix_str(name, refresh=False)
            if not reason:
                tensor = self._tensors[name]
                retained = self._deciding.retained(tensor)  # of a scope, another tensor may be the one in error
                with at_tensor(name):
                    self._prune(tensor, retained, sink, bar=bar)
                continue
            with at_tensor(name):
                self._carry(name, reason, sink)
            bar.update(self._pairing.fine_tuned.entries(name).count)

    def _carry(self, name: str, reason: str, sink: Collector | SubnetworkWriter) -> None:
        entries, other = self._pairing.fine_tuned.entries(name), self._pairing.names[name]
        counterpart = None if other is None else self._pairing.pretrained.entries(other).reference(other)
        fingerprint = sink.carried(name, entries, reason, pretrained=counterpart)
        self._seen.add(name, entries, fingerprint, counterpart=counterpart)

    def _prune(self, tensor: PairedRows, retained: int, sink: Collector | SubnetworkWriter, *, bar: Any) -> None:
        fine_tuned, pretrained = tensor.fine_tuned, tensor.pretrained
        name = tensor.name
        stood_in: list[int] = []

        def decide(start: int, fine_tuned_part: torch.Tensor, pretrained_part: torch.Tensor) -> NDArray[np.bool_]:
            mask, common = np.ones(len(fine_tuned_part), bool), len(pretrained_part)
            if common:
                tuned = fine_tuned_part[:common]
                block = tensor.block(start, tuned, pretrained=pretrained_part, stood_in=stood_in)
                matrix = len(pretrained.shape) > 1
                self._seen.sums.add(name, matrix, fine_tuned=block.fine_tuned, pretrained=block.pretrained)
                mask[:common] = self._deciding.mask(tensor, start, block)
            return mask

        subject = Subject(
            name,
            fine_tuned.shape,
            fine_tuned.dtype,
            retained=retained + tensor.added,
            raw=self._raw,
            cut=self._selection.cut_of(name),
            threshold=self._deciding.threshold(tensor),
        )
        taking = sink.pruned(subject)
        # Stretches may be decided at the same time, in any order: the loops release the GIL.
        prints = take(
            *(fine_tuned, pretrained, tensor.rows),
            decide=decide,
            sink=taking,
            raw=self._raw,
            rescale=Rescaling(tensor, self._deciding.shares) if self._recipe.rescale == "share" else None,
            done=bar.update,
        )
        self._deciding.done(tensor)
        counterpart = Reference(tensor.other, pretrained.shape, pretrained.dtype, fingerprint=prints.pretrained)
        taking.finish(counterpart, prints.fine_tuned, prints.result)
        self._seen.add(name, fine_tuned, prints.fine_tuned, counterpart=counterpart)
        if stood_in:
            self._seen.stood_in[name] = len(stood_in)


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
