"""diff: which tensors and entries of two models differ, and by how much, whatever was or will be retained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ken.errors import at_tensor
from ken.models.checkpoints.checkpoint import Checkpoint, Source, TunedSource
from ken.models.checkpoints.checkpoint_files import same_place
from ken.models.pairing.pairing import Pairing, open_pair
from ken.models.pairing.rows import row_shape
from ken.models.tensors.tensor_bytes import dtype_name
from ken.models.tensors.tensor_roles import role
from ken.retention.attention_heads import Heads, heads_of
from ken.retention.difference import Difference
from ken.retention.difference_counts import Counts, count
from ken.retention.difference_lines import HeadDifference, TensorDifference


def diff(fine_tuned: TunedSource, pretrained: Source | None = None, *, progress: bool = True) -> Difference:
    """Which tensors and entries of two models differ, and by how much.

    Equal tensors cost a comparison of their bytes, and those that are one place of one file (or of memory) nothing at
    all. Some rows of one pair of tensors are in memory at a time.

    Args:
        fine_tuned: One model, as `ken.prune` takes it; or an adapter of the other.
        pretrained: The other. None, for an adapter: the base that it names or, live, holds.
        progress: Show a bar if it takes longer than a second.

    Returns:
        What differs, tensor by tensor and by attention head, with totals.

    Raises:
        PairingError: The models cannot be read, or no tensor of one has a counterpart in the other.
        FormatError: A file is damaged.

    Example:
        >>> import torch
        >>> different = diff({"w": torch.tensor([1.0, 5.0])}, {"w": torch.tensor([1.0, 2.0])}, progress=False)
        >>> different.tensors[0].status, different.changed, different.norm, different.identical
        ('changed', 1, 3.0, False)
    """
    from tqdm.auto import tqdm

    pairing = open_pair(fine_tuned, pretrained)
    model = pairing.fine_tuned
    names = [name for name in model.tensors if name not in model.tied]
    tensors: list[TensorDifference] = []
    heads: list[HeadDifference] = []
    total = sum(model.entries(name).count for name in names)
    with tqdm(
        total=total, desc="diff", unit="entry", unit_scale=True, disable=not progress, delay=1.0, leave=False
    ) as bar:
        for name in names:
            bar.set_postfix_str(name, refresh=False)
            before = bar.n
            with at_tensor(name):
                tensor, of_heads = _tensor(pairing, name, bar)
            bar.update(model.entries(name).count - (bar.n - before))
            tensors.append(tensor)
            heads.extend(of_heads)
    tensors.extend(_missing(pairing))
    notes = tuple(dict.fromkeys((*model.notes, *pairing.pretrained.notes, *pairing.notes)))
    return Difference(model.source, pairing.pretrained.source, tuple(tensors), heads=tuple(heads), notes=notes)


def _tensor(pairing: Pairing, name: str, bar: Any) -> tuple[TensorDifference, list[HeadDifference]]:
    model, other = pairing.fine_tuned, pairing.names[name] or pairing.namesakes.get(name)
    entries = model.entries(name)
    head: dict[str, Any] = {"tensor": name, "shape": entries.shape, "dtype": dtype_name(entries.dtype)}
    if other is None:
        return TensorDifference(
            **head, status="new", reason="", counterpart="", pretrained_shape=None, pretrained_dtype=""
        ), []
    base = pairing.pretrained.entries(other)
    head |= {"counterpart": other, "pretrained_shape": base.shape, "pretrained_dtype": dtype_name(base.dtype)}
    reason = pairing.apart.get(name) or pairing.misfits.get(name) or ""
    reshaped, recast = entries.shape != base.shape, entries.dtype != base.dtype
    if reason or (reshaped and pairing.names[name] is None):
        return TensorDifference(**head, status="reshaped" if reshaped else "dtype", reason=reason), []
    heads = None if reshaped else _heads(model, name, entries.shape)
    if same_place((model.tensors, name), (pairing.pretrained.tensors, other)):
        counted = Counts(entries.count)
    else:
        counted = count(entries, base, heads=heads, done=bar.update)
    if reshaped:
        reason = f"the first {base.shape[0]:,} of {entries.shape[0]:,} rows are compared"
    elif recast:
        reason = "of two dtypes values are compared"
    status = "reshaped" if reshaped else "dtype" if recast else "changed" if counted.changed else "equal"
    _, n = row_shape(entries.shape)
    norm = math.sqrt(counted.squares) if counted.compared else math.nan
    base_norm = math.sqrt(counted.base_squares)
    whole = TensorDifference(
        **head,
        status=status,
        reason=reason,
        compared=counted.compared,
        changed=counted.changed,
        not_finite=counted.not_finite,
        norm=norm,
        relative=norm / base_norm if base_norm > 0 else 0.0 if counted.compared and not counted.changed else math.nan,
        largest=counted.largest,
        row=-1 if counted.at < 0 else counted.at // n,
        column=-1 if counted.at < 0 else counted.at % n,
    )
    return whole, list(_head_lines(name, heads, counted))


def _heads(model: Checkpoint, name: str, shape: tuple[int, ...]) -> Heads | None:
    config: Mapping[str, Any] | None = model.config or None
    if model.architecture is not None:
        config = model.architecture.config
    return heads_of(name, shape, config) if len(shape) < 2 or row_shape(shape) == shape else None


def _head_lines(name: str, heads: Heads | None, counted: Counts) -> Iterator[HeadDifference]:
    if heads is None or counted.heads is None:
        return
    bias = " bias" if role(name).endswith(" bias") else ""
    cross = "cross " if role(name).startswith("cross ") else ""
    entries = counted.compared // len(heads.groups)
    sums = zip(heads.groups, counted.heads.changed, counted.heads.squares, strict=True)
    for (part, head), changed, squares in sums:
        norm = math.sqrt(float(squares))
        yield HeadDifference(
            name, f"{cross}{part}{bias}", head, axis=heads.axis, compared=entries, changed=int(changed), norm=norm
        )


def _missing(pairing: Pairing) -> Iterator[TensorDifference]:
    """The tensors that the pretrained model alone has; of those that its files share, one."""
    model = pairing.pretrained
    used = {*pairing.names.values(), *pairing.namesakes.values()} - {None}
    used |= {model.tied.get(name or "", name) for name in used}
    stand_ins = {model.tied.get(other, other): name for name, other in pairing.lacking.items()}
    for name, tensor in model.tensors.items():
        if name in model.tied or name in used:
            continue
        reason = "the fine-tuned checkpoint lacks it, and is completed by it" if name in stand_ins else ""
        yield TensorDifference(
            name,
            "missing",
            reason,
            counterpart=name,
            shape=None,
            dtype="",
            pretrained_shape=tuple(tensor.shape),
            pretrained_dtype=dtype_name(tensor.dtype),
        )
