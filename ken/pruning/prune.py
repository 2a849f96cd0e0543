"""prune: pairs of tensors → rows → rule → mask → Subnetwork, some rows of one pair in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.api import Subnetwork, load
from ken.density import NORMAL_REFERENCE
from ken.errors import PairingError, ValuesError, at_tensor, warn
from ken.models.checkpoints import other_files
from ken.models.checkpoints.checkpoint import Source
from ken.models.pairing import weight_names
from ken.models.pairing.mixups import unrelated
from ken.models.pairing.pairing import Pairing, open_pair
from ken.models.pairing.pairs import Pair
from ken.models.pairing.relation import Sums
from ken.models.pairing.rows import K, row_shape
from ken.models.scalars import checked_seed
from ken.models.tensors.tensor_bytes import Reference
from ken.pruning.collector import Collector
from ken.pruning.head import Seen, head, planned, versions
from ken.pruning.patterns import check_patterns
from ken.pruning.remarks import kept_of_row, remarks
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
    fine_tuned: Source,
    pretrained: Source,
    k: K,
    rule: str = "ken",
    *,
    seed: int = 0,
    on: str = "weights",
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
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

    Both models are torch modules or state dicts, on any device, or paths of safetensors files or checkpoint folders;
    neither is changed. Names are paired exactly, else by adding or stripping transformers' base-model prefix or the one
    that the names themselves show, else by ties and transformers' own renames; what wraps a model or its parts
    (`_orig_mod.`, `module.`) is looked through. A module and a folder are paired in the layout of the folder. Tensors
    that a fine-tuned checkpoint lacks are the pretrained model's (`Subnetwork.lacking`). k is a number of entries per
    row (int), a share of the row (float in (0, 1]), or a mapping from name pattern to either. Tensors that match
    `exclude`, or do not match a given `include`, are carried whole, and with `layers_only` those whose name has no
    layer number; so are buffers, integers, and tensors without a pretrained counterpart. Rows are cut by a tensor's
    shape (`ken.models.pairing.rows.row_shape`); rows, a mapping from name pattern to "last", "first" or "whole", has
    some cut in another way. Rows count as added, and are retained whole, behind the pretrained ones of a vocabulary (by
    the kind of its module, by a configuration, or with rows "grown"); else a tensor of another length is new. seed is
    that of random rules. A progress bar appears if it takes longer than a second.

    rule is one of `ken.rules.names()`. on ("weights" or "update"), bandwidth and kernel are for those that estimate a
    density, see `ken.rules.Settings`. Where a bandwidth rule finds none for a row, the normal reference stands in: a
    `KenWarning` and the subnetwork's notes say for how many.

    Retained values are kept as their distance from the pretrained ones, which takes far less space in a file; with
    `raw` as they are. With `out` the subnetwork is written to that file as it is made, and opened from there: of models
    on disk, no more than some rows and the mask of one tensor are in memory at a time. That file may not be either
    model, nor lie in its folder; it takes the place of another subnetwork, and of any other file only with `overwrite`.

    Rule and words: Mastromattei & Zanzotto, "Less is KEN", arXiv 2402.03142, sec. 3.

    Raises `BudgetError` (k; a pattern that matches no tensor), `RuleError` (unknown rule or setting, a seed that is
    none), `PairingError` (shapes that do not fit), `OutputError` (out) and `ValuesError` (NaN or infinity; names
    tensor, row and column). Everything but the values is checked before work begins.

    Warns (`ken.KenWarning`) if the two models look as if they were the wrong way round, or unrelated;
    `Subnetwork.notes` keeps that, and `Subnetwork.relation` the numbers.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> pretrained, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    >>> prune(fine_tuned, pretrained, k=2)
    Subnetwork(rule='ken', k=2: 10 of 36 entries retained; 2 tensors pruned, 0 carried)
    """
    selection, seed = Selection(k, include, exclude, layers_only, rows or {}), checked_seed(seed)
    settings = rules.Settings(on, bandwidth, kernel)
    rules.check_settings(rule, settings)
    check_outputs([(out, SUBNETWORK)], models_of(Pair(fine_tuned, pretrained)), overwrite=overwrite)
    pairing = open_pair(fine_tuned, pretrained, selection.rows)
    ours, theirs = pairing.fine_tuned, pairing.pretrained
    other_files.check(ours.files)
    check_patterns(selection, ours.tensors, tied=ours.tied, elsewhere=theirs.tensors)
    reasons = {
        name: _reason_to_carry(pairing, name, selection)
        for name in pairing.fine_tuned.tensors
        if name not in pairing.fine_tuned.tied
    }
    pairing = _without_misfits(pairing, reasons, selection)
    recipe = Recipe(
        rule,
        selection.k,
        seed,
        tuple(selection.include),
        tuple(selection.exclude),
        layers_only,
        dict(selection.rows),
        versions(),
        on,
        settings.bandwidth,
        kernel,
    )
    pairing = replace(pairing, cuts={name: cut for name in reasons if (cut := selection.cut_of(name))})
    seen = Seen({}, {}, Sums(), {}, remarks(pairing, selection, reasons))

    def fill(sink: Collector | SubnetworkWriter, bar: _Bar) -> None:
        for name, reason in reasons.items():
            bar.tensor(name)
            with at_tensor(name):
                entries, other = pairing.fine_tuned.entries(name), pairing.names[name]
                if reason:
                    there = None if other is None else pairing.pretrained.entries(other).reference(other)
                    known = sink.carried(name, entries, reason, there)
                    bar.add(entries.count)
                else:
                    there, known, without = _prune(pairing, name, selection, recipe, raw, sink, bar, seen.sums)
                    seen.stood_in.update({name: without} if without else {})
            seen.ours[name] = Reference(name, entries.shape, entries.dtype, known)
            if there is not None:
                seen.theirs[there.name] = there

    with _Bar(sum(pairing.fine_tuned.entries(name).count for name in reasons), progress) as bar:
        if out is None:
            collector = Collector()
            fill(collector, bar)
            net = head(pairing, recipe, seen)
            return _told(replace(net, tensors=collector.tensors, files=dict(net.files)), seen)
        from ken.storage.writer import SubnetworkWriter

        plan = {name: planned(pairing, name, reason) for name, reason in reasons.items()}
        with SubnetworkWriter(out, head(pairing, recipe, seen, draft=True), plan) as writer:
            fill(writer, bar)
            writer.finish(head(pairing, recipe, seen))
    return _told(load(out), seen)


def _without_misfits(pairing: Pairing, reasons: Mapping[str, str], selection: Selection) -> Pairing:
    """What does not fit its counterpart has none if it is carried. Raises `PairingError` if it was to be pruned.

    Of a tensor that is floating-point on one side alone, a pattern must say that it is carried: it may be a code.
    """
    for name, misfit in pairing.misfits.items():
        ours, theirs = pairing.fine_tuned.tensors[name], pairing.pretrained.tensors[pairing.namesakes[name]]
        alike = ours.is_floating_point() == theirs.is_floating_point()
        if name in reasons and not (selection.reason_to_carry(name) or (alike and reasons[name])):
            error = PairingError(f"{name}: {misfit}; exclude=[{name!r}] carries it whole")
            if hint := weight_names.advice(pairing.fine_tuned, pairing.pretrained):
                error.add_note(hint)
            raise error
    names = {name: None if name in pairing.misfits else other for name, other in pairing.names.items()}
    return replace(pairing, names=names)


def _told(net: Subnetwork, seen: Seen) -> Subnetwork:
    """The subnetwork, after a warning if its models are strangers to one another, or rows had no bandwidth."""
    if seen.stood_in:
        warn(bandwidth_note(net.recipe.bandwidth, seen.stood_in))
    if net.relation is not None and (mixed_up := unrelated(net.relation)):
        warn(mixed_up)
    return net


def _prune(
    pairing: Pairing,
    name: str,
    selection: Selection,
    recipe: Recipe,
    raw: bool,
    sink: Collector | SubnetworkWriter,
    bar: _Bar,
    sums: Sums,
) -> tuple[Reference, str, int]:
    """Prune one tensor into the sink. Returns what has been seen of its counterpart, and its own fingerprint."""
    import torch

    other = pairing.names[name]
    assert other is not None
    fine_tuned, pretrained = pairing.fine_tuned.entries(name), pairing.pretrained.entries(other)
    rows, n = pairing.row_shape(name)
    # The rule sees the common part alone: the common rows, and of a grown vector the common entries.
    cut = selection.cut_of(name)
    common_rows, _ = row_shape(pretrained.shape, cut)
    budget, common_n = kept_of_row(pairing, name, selection)
    retained = common_rows * budget + fine_tuned.count - pretrained.count

    settings = rules.Settings(recipe.on, recipe.bandwidth, recipe.kernel)
    stood_in: list[int] = []

    def decide(start: int, ours: torch.Tensor, theirs: torch.Tensor) -> NDArray[np.bool_]:
        mask = np.ones(len(ours), bool)
        if len(theirs):
            first = start // n
            values = [part[: len(theirs)].to(torch.float64).numpy().reshape(-1, common_n) for part in (ours, theirs)]
            _check_finite(values[0], "fine-tuned", first)
            _check_finite(values[1], "pretrained", first)
            sums.add(name, len(pretrained.shape) > 1, *values)
            block = rules.RowBlock(values[0], values[1], name, first, recipe.seed, settings, stood_in)
            mask[: len(theirs)] = rules.mask_block(recipe.rule, block, budget).reshape(-1)
        return mask

    tensor = sink.pruned(Subject(name, fine_tuned.shape, fine_tuned.dtype, retained, raw, cut))
    # Rows know nothing of each other, so stretches may be decided at the same time: the loops release the GIL.
    found = take(fine_tuned, pretrained, (rows, n), decide, tensor, raw=raw, done=bar.add)
    there = Reference(other, pretrained.shape, pretrained.dtype, found.pretrained)
    tensor.finish(there, found.fine_tuned, found.result)
    return there, found.fine_tuned, len(stood_in)


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


def _check_finite(values: NDArray[np.float64], side: str, first_row: int) -> None:
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValuesError(
            f"{side} values must be finite, got {values[row, column]} in row {first_row + row}, column {column}"
        )


class _Bar:
    """A progress bar over entries that shows the tensor in hand, and stays away from short work."""

    def __init__(self, entries: int, show: bool) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(
            total=entries,
            desc="prune",
            unit="entry",
            unit_scale=True,
            disable=not show,
            delay=1.0,
            leave=False,
        )

    def tensor(self, name: str) -> None:
        self._bar.set_postfix_str(name, refresh=False)

    def add(self, entries: int) -> None:
        self._bar.update(entries)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()
