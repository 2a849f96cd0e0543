"""prune: pairs of tensors → rows → rule → mask → Subnetwork, one tensor pair in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken._version import __version__
from ken.checkpoint import Pairing, Source, open_pair
from ken.errors import ValuesError, at_tensor
from ken.rows import K, Selection, row_budget, row_shape
from ken.subnetwork import CarriedTensor, Recipe, RetainedTensor, Subnetwork

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
    progress: bool = True,
) -> Subnetwork:
    """Retain k entries of every row of the fine-tuned model; reset the rest to the pretrained values.

    Both models are torch modules or state dicts, on any device; neither is changed. Names are paired exactly, else
    by adding or stripping transformers' base-model prefix. k is a number of entries per row (int), a share of the
    row (float in (0, 1]), or a mapping from name pattern to either. Tensors that match `exclude`, or do not match
    a given `include`, are carried whole; so are buffers, integers, and tensors without a pretrained counterpart.
    seed is that of random rules. A progress bar appears if it takes longer than a second.

    Rule and words: Mastromattei & Zanzotto, "Less is KEN", arXiv 2402.03142, sec. 3.

    Raises `BudgetError` (k), `RuleError` (unknown rule), `PairingError` (shapes that do not fit) and `ValuesError`
    (NaN or infinity; names tensor, row and column). Everything but the values is checked before work begins.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> pretrained, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    >>> prune(fine_tuned, pretrained, k=2)
    Subnetwork(rule='ken', k=2: 10 of 36 entries retained; 2 tensors pruned, 0 carried)
    """
    selection = Selection(k, include, exclude)
    rules.get(rule)
    pairing = open_pair(fine_tuned, pretrained)
    ours = pairing.fine_tuned

    tensors: dict[str, RetainedTensor | CarriedTensor] = {}
    stored = [name for name in ours.tensors if name not in ours.tied]
    with _Bar(sum(ours.tensors[name].numel() for name in stored), progress) as bar:
        for name in stored:
            bar.tensor(name)
            tensor = ours.tensors[name]
            reason = _reason_to_carry(pairing, name, selection)
            if reason:
                tensors[name] = CarriedTensor(tensor.cpu().clone(), reason)
                bar.add(tensor.numel())
                continue
            with at_tensor(name):
                mask = _mask(pairing, name, selection, rule, seed, bar)
                tensors[name] = RetainedTensor.of(tensor, mask)

    used = set(pairing.names.values())
    return Subnetwork(
        tensors,
        Recipe(
            rule,
            dict(k) if isinstance(k, Mapping) else k,
            seed,
            tuple(selection.include),
            tuple(selection.exclude),
            _versions(),
        ),
        dict(ours.tied),
        {name: tuple(tensor.shape) for name, tensor in pairing.pretrained.tensors.items() if name not in used},
        ours.architecture,
        ours.prefix or pairing.pretrained.prefix,
    )


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
    pool = ThreadPoolExecutor(_threads())
    try:
        for entries in pool.map(decide, _blocks(common_rows, n)):
            bar.add(entries)
    finally:
        pool.shutdown(cancel_futures=True)
    bar.add(mask.size - common_rows * common_n)
    return mask


def _common(pairing: Pairing, name: str) -> tuple[int, int]:
    """How many rows, of what length, have a pretrained counterpart: a grown tensor has more of either."""
    other = pairing.names[name]
    assert other is not None
    rows, n = row_shape(pairing.pretrained.tensors[other].shape)
    # The rule sees a grown vector as one row of the entries that have a counterpart.
    return (rows, n) if n else (0, 0)


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
