"""prune: pairs of tensors → rows → rule → mask → Subnetwork, one tensor pair in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ken import parallel, rules
from ken._version import __version__
from ken.checkpoint import Checkpoint, Source
from ken.errors import ValuesError, at_tensor
from ken.pairing import Pairing, open_pair
from ken.retained import CarriedTensor, Outline, RetainedTensor
from ken.rows import K, Selection, row_budget, row_shape
from ken.subnetwork import Provenance, Recipe, Subnetwork
from ken.tensors import Reference, dtype_name, fingerprint, of_model

# Entries a block of rows holds: small enough for a processor's cache, large enough to keep it busy.
_BLOCK = 1 << 17


def prune(
    fine_tuned: Source,
    pretrained: Source,
    k: K,
    rule: str = "ken",
    *,
    seed: int = 0,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    layers_only: bool = False,
    raw: bool = False,
    out: str | Path | None = None,
    progress: bool = True,
) -> Subnetwork:
    """Retain k entries of every row of the fine-tuned model; reset the rest to the pretrained values.

    Both models are torch modules or state dicts, on any device, or paths of safetensors files or checkpoint folders;
    neither is changed. Names are paired exactly, else by adding or stripping transformers' base-model prefix. k is a
    number of entries per row (int), a share of the row (float in (0, 1]), or a mapping from name pattern to either.
    Tensors that match `exclude`, or do not match a given `include`, are carried whole, and with `layers_only` those
    whose name has no layer number; so are buffers, integers, and tensors without a pretrained counterpart. seed is
    that of random rules. A progress bar appears if it takes longer than a second.

    Retained values are kept as their distance from the pretrained ones, which takes far less space in a file; with
    `raw` as they are. With `out` the subnetwork is written to that file as it is made, and opened from there: no more
    than one tensor of it is in memory at a time.

    Rule and words: Mastromattei & Zanzotto, "Less is KEN", arXiv 2402.03142, sec. 3.

    Raises `BudgetError` (k), `RuleError` (unknown rule), `PairingError` (shapes that do not fit) and `ValuesError`
    (NaN or infinity; names tensor, row and column). Everything but the values is checked before work begins.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> pretrained, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    >>> prune(fine_tuned, pretrained, k=2)
    Subnetwork(rule='ken', k=2: 10 of 36 entries retained; 2 tensors pruned, 0 carried)
    """
    selection = Selection(k, include, exclude, layers_only)
    rules.get(rule)
    pairing = open_pair(fine_tuned, pretrained)
    reasons = {
        name: _reason_to_carry(pairing, name, selection)
        for name in pairing.fine_tuned.tensors
        if name not in pairing.fine_tuned.tied
    }
    kept = dict(k) if isinstance(k, Mapping) else k
    recipe = Recipe(rule, kept, seed, tuple(selection.include), tuple(selection.exclude), layers_only, _versions())
    ours: dict[str, Reference] = {}
    theirs: dict[str, Reference] = {}

    def stream(bar: _Bar) -> Iterator[tuple[str, RetainedTensor | CarriedTensor]]:
        for name, reason in reasons.items():
            bar.tensor(name)
            with at_tensor(name):
                tensor, other = pairing.fine_tuned.tensors[name], pairing.names[name]
                stored: RetainedTensor | CarriedTensor
                if reason:
                    there = None if other is None else Reference.to(other, pairing.pretrained.tensors[other])
                    stored = CarriedTensor(tensor.cpu().clone(), reason, there)
                    bar.add(tensor.numel())
                else:
                    assert other is not None
                    mask = _mask(pairing, name, selection, rule, seed, bar)
                    stored = RetainedTensor.of(tensor, mask, pairing.pretrained.tensors[other], other, raw)
            known = fingerprint(tensor) if isinstance(stored, CarriedTensor) else stored.fine_tuned
            ours[name] = Reference(name, tuple(tensor.shape), tensor.dtype, known)
            if stored.pretrained is not None:
                theirs[stored.pretrained.name] = stored.pretrained
            yield name, stored
            del stored, tensor  # the next one is made without this one in memory

    with _Bar(sum(pairing.fine_tuned.tensors[name].numel() for name in reasons), progress) as bar:
        if out is None:
            tensors = dict(stream(bar))
            return replace(_head(pairing, recipe, ours, theirs), tensors=tensors)
        from ken.format import SubnetworkWriter, load

        plan = {name: _plan(pairing, name, reason) for name, reason in reasons.items()}
        with SubnetworkWriter(out, _head(pairing, recipe, {}, {}), plan) as writer:
            for name, stored in stream(bar):
                writer.add(name, stored)
                del stored
            writer.finish(_head(pairing, recipe, ours, theirs))
    return load(out)


def _head(
    pairing: Pairing, recipe: Recipe, ours: Mapping[str, Reference], theirs: Mapping[str, Reference]
) -> Subnetwork:
    """A subnetwork with everything but its tensors. Before a tensor has been read, the models have no fingerprint."""
    fine_tuned, pretrained = pairing.fine_tuned, pairing.pretrained
    used = set(pairing.names.values())
    return Subnetwork(
        {},
        recipe,
        dict(fine_tuned.tied),
        {name: tuple(tensor.shape) for name, tensor in pretrained.tensors.items() if name not in used},
        fine_tuned.architecture,
        fine_tuned.prefix or pretrained.prefix,
        _provenance(fine_tuned, ours),
        _provenance(pretrained, theirs),
        {name: path.read_bytes() for name, path in fine_tuned.files.items()},
        dict(fine_tuned.shards),
    )


def _provenance(model: Checkpoint, seen: Mapping[str, Reference]) -> Provenance:
    """The fingerprint covers all tensors of the model, also those that pruning had no need of."""
    tensors = {name: tensor for name, tensor in model.tensors.items() if name not in model.tied}
    whole = [seen.get(name) or Reference.to(name, tensor) for name, tensor in tensors.items()] if seen else []
    entries = sum(tensor.numel() for tensor in tensors.values())
    return Provenance(model.source, len(tensors), entries, of_model(whole))


def _plan(pairing: Pairing, name: str, reason: str) -> tuple[Outline, Reference | None]:
    """What is known of a tensor before it is read."""
    tensor, other = pairing.fine_tuned.tensors[name], pairing.names[name]
    there = None
    if other is not None:
        counterpart = pairing.pretrained.tensors[other]
        there = Reference(other, tuple(counterpart.shape), counterpart.dtype, "0" * 32)
    return Outline(tuple(tensor.shape), dtype_name(tensor.dtype), tensor.numel(), reason or None), there


def _reason_to_carry(pairing: Pairing, name: str, selection: Selection) -> str:
    tensor = pairing.fine_tuned.tensors[name]
    if pairing.names[name] is None:
        return "no pretrained counterpart"
    if name in pairing.fine_tuned.buffers:
        return "buffer"
    if not tensor.is_floating_point():
        return f"{str(tensor.dtype).removeprefix('torch.')}, not floating-point"
    if tensor.numel() == 0:
        return "empty"
    return selection.reason_to_carry(name)


def _mask(pairing: Pairing, name: str, selection: Selection, rule: str, seed: int, bar: _Bar) -> NDArray[np.bool_]:
    """The mask of one tensor as (rows, n). Entries beyond the pretrained tensor are retained."""
    rows, n = pairing.row_shape(name)
    common_rows, common_n = _common(pairing, name)
    k = selection.k_of(name)
    assert k is not None  # Selection.reason_to_carry has seen to it
    budget = row_budget(k, common_n) if common_n else 0
    mask = np.ones((rows, n), dtype=bool)

    def decide(wanted: slice) -> int:
        fine_tuned, pretrained = (values[:, :common_n] for values in pairing.rows(name, wanted))
        _check_finite(fine_tuned, "fine-tuned", wanted.start)
        _check_finite(pretrained, "pretrained", wanted.start)
        block = rules.RowBlock(fine_tuned, pretrained, name, wanted.start, seed)
        mask[wanted, :common_n] = rules.mask_block(rule, block, budget)
        return fine_tuned.size

    # Rows know nothing of each other, so blocks may be decided at the same time: the loops release the GIL.
    with parallel.workers() as pool:
        for entries in pool.map(decide, _blocks(common_rows, n)):
            bar.add(entries)
    bar.add(mask.size - common_rows * common_n)
    return mask


def _common(pairing: Pairing, name: str) -> tuple[int, int]:
    """How many rows, of what length, have a pretrained counterpart: a grown tensor has more of either."""
    other = pairing.names[name]
    assert other is not None
    rows, n = row_shape(pairing.pretrained.tensors[other].shape)
    # The rule sees a grown vector as one row of the entries that have a counterpart.
    return (rows, n) if n else (0, 0)


def _blocks(rows: int, n: int) -> Iterator[slice]:
    step = max(1, _BLOCK // n)
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def _check_finite(values: NDArray[np.float64], side: str, first_row: int) -> None:
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ValuesError(
            f"{side} values must be finite, got {values[row, column]} in row {first_row + row}, column {column}"
        )


def _versions() -> dict[str, str]:
    import numba
    import torch

    return {
        "kenviz": __version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__,
    }


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
