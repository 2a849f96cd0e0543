"""Is a pair of models the one that a subnetwork was made of? One check for statistics, explanations and views."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ken.errors import KenError, SubnetworkError
from ken.models.checkpoints.adapter_names import Adapters
from ken.models.pairing.pairing import Pairing, open_pair
from ken.models.tensors.tensor_bytes import dtype_name, dtype_named

if TYPE_CHECKING:
    from ken.models.pairing.pairs import PairOfModels
    from ken.subnetwork.retained_tensor import RetainedTensor
    from ken.subnetwork.subnetwork import SubnetworkData

#: What a quick look reads: the smallest pruned tensors, no more of them than this, and no more bytes in all.
QUICK_TENSORS, QUICK_BYTES = 64, 1 << 24

_WRONG_WAY_ROUND = "the two models are the wrong way round: give the fine-tuned one first, then the pretrained one"


def open_for(net: SubnetworkData, pair: PairOfModels, *, quick_look: bool = True) -> Pairing:
    """Open a pair for a subnetwork, cut into the same rows.

    quick_look: compare the fingerprints of its smallest tensors, too; `check_tensor` does any other.

    Raises `PairingError` if the two models do not fit each other, `SubnetworkError` if a pruned tensor is missing, of
    another shape, or was seen to be another one. If they are only the wrong way round, the error says so.
    """
    if (own := net.opened(pair)) is not None:
        return own
    try:
        pairing = replace(open_pair(pair.fine_tuned, pair.pretrained, net.recipe.rows), cuts=net.cuts)
        _check_shapes(net, pairing)
    except KenError as error:
        if _is_turned(net, pair):
            error.add_note(_WRONG_WAY_ROUND)
        raise
    if quick_look:
        for name in _smallest(net):
            check_tensor(name, net.pruned()[name], pairing)
    return pairing


def check_tensor(name: str, stored: RetainedTensor, pairing: Pairing, also: Collection[str] = ()) -> None:
    """See that a tensor of a pair is, bit for bit, the one that was pruned. All of it is read.

    also has fingerprints of further fine-tuned tensors that will do. Raises `SubnetworkError` if it is another one, of
    the fine-tuned or of the pretrained model; the error says which, with both fingerprints, and what was probably given
    in its place.
    """
    if stored.decided_from(pairing):
        return
    other = pairing.names.get(name)
    sides = [("fine-tuned", (stored.fine_tuned, *also), stored.dtype, pairing.fine_tuned.entries(name))]
    if other is not None:
        base = stored.pretrained
        sides.append(("pretrained", (base.fingerprint,), base.dtype, pairing.pretrained.entries(other)))
    prints = [entries.fingerprint() for _, _, _, entries in sides]
    for (which, wanted, dtype, entries), fingerprint in zip(sides, prints, strict=True):
        if fingerprint in wanted:
            continue
        if prints == [stored.pretrained.fingerprint, stored.fine_tuned]:
            hint = f"; {_WRONG_WAY_ROUND}"
        elif fingerprint == stored.result:
            hint = "; it holds the subnetwork already: give the model as it was before pruning"
        elif entries.dtype != dtype:
            hint = f"; it is {dtype_name(entries.dtype)}, it was {dtype_name(dtype)}"
        else:
            hint = ""
        raise SubnetworkError(
            f"{name}: the {which} model is not the one that the subnetwork was made of: the fingerprint of this tensor "
            f"is {fingerprint}, it should be {wanted[0]}{hint}"
        )


def check_shape(name: str, shape: tuple[int, ...], pairing: Pairing) -> None:
    """Raise `SubnetworkError` unless the fine-tuned model of a pair has this tensor, in this shape."""
    tensor = pairing.fine_tuned.tensors.get(name)
    if tensor is None or tuple(tensor.shape) != shape:
        actual = "none of that name" if tensor is None else str(tuple(tensor.shape))
        raise SubnetworkError(f"{name}: the subnetwork has shape {shape}, the fine-tuned model {actual}")


def _check_shapes(net: SubnetworkData, pairing: Pairing) -> None:
    for name, outline in net.outlines.items():
        if outline.reason is None:
            check_shape(name, outline.shape, pairing)


def _smallest(net: SubnetworkData) -> list[str]:
    """Names of the tensors of a quick look; those that fine-tuning left alone tell nothing of which model is which."""
    pruned = [(name, outline) for name, outline in net.outlines.items() if outline.reason is None]
    pruned.sort(key=lambda named: (named[1].unchanged, named[1].entries))
    chosen, size = [], 0
    for name, outline in pruned[:QUICK_TENSORS]:
        size += 2 * outline.entries * dtype_named(outline.dtype).itemsize
        if size > QUICK_BYTES:
            break
        chosen.append(name)
    return chosen


def _is_turned(net: SubnetworkData, pair: PairOfModels) -> bool:
    """Whether the two models would do, had they been given the other way round."""
    if pair.pretrained is None or isinstance(pair.fine_tuned, Adapters):
        return False
    with suppress(KenError):
        pairing = open_pair(pair.pretrained, pair.fine_tuned, net.recipe.rows)
        _check_shapes(net, pairing)
        for name in _smallest(net):
            check_tensor(name, net.pruned()[name], pairing)
        return True
    return False
