"""The pretrained tensors that stand in for those which a fine-tuned checkpoint lacks (`Subnetwork.lacking`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ken.errors import SubnetworkError, at_tensor
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.pairing import weight_names
from ken.models.pairing.pairing import match
from ken.models.tensors.tensor_bytes import Reference, bytes_of, dtype_name, fingerprint, new_digest
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import torch


def find_stand_ins(net: SubnetworkData, theirs: Checkpoint) -> dict[str, str]:
    """The names that a pretrained model has for the tensors which stand in, by the name of what they stand in for.

    Raises `SubnetworkError` if it has none of that name, shape and dtype.

    >>> import torch, ken
    >>> from ken.models.checkpoints.checkpoint import read
    >>> whole = {"a.w": torch.zeros(2), "a.v": torch.zeros(2)}
    >>> find_stand_ins(ken.prune({"a.w": torch.ones(2)}, whole, 1), read(whole))
    {'a.v': 'a.v'}
    """
    if not net.lacking:
        return {}
    wanted = [reference.name for reference in net.lacking.values()]
    names = match(wanted, theirs.tensors, (net.prefix, theirs.prefix))
    named = Checkpoint(dict.fromkeys(wanted), architecture=net.architecture)  # type: ignore[arg-type]
    names = weight_names.complete(names, named, theirs)
    places = {}
    for name, reference in net.lacking.items():
        with at_tensor(name):
            place = names[reference.name]
            if place is None:
                raise SubnetworkError(
                    f"the pretrained model has no tensor {reference.name}, which stands in for one that the "
                    "fine-tuned checkpoint lacks"
                )
            _check_kind(reference, theirs.tensors[place])
            places[name] = place
    return places


def stand_in(net: SubnetworkData, name: str, theirs: Checkpoint, place: str) -> torch.Tensor:
    """A new tensor that is the pretrained one, checked."""
    with at_tensor(name):
        tensor = theirs.whole(place).detach()
        check(net.lacking[name], fingerprint(tensor))
        return tensor.clone()


def stretches(net: SubnetworkData, name: str, theirs: Checkpoint, place: str) -> Iterator[memoryview]:
    """Its bytes, a stretch at a time; with the last of them, it has been checked."""
    running = new_digest()
    with at_tensor(name):
        for part in theirs.entries(place).stretches():
            data = bytes_of(part)
            running.update(data)
            yield data
        check(net.lacking[name], running.hexdigest())


def check(reference: Reference, actual: str) -> None:
    """Raise `SubnetworkError` unless that is the fingerprint of the tensor that stands in."""
    if actual != reference.fingerprint:
        raise SubnetworkError(
            "this is not the pretrained tensor that stands in for what the fine-tuned checkpoint lacks: its values "
            f"are others (fingerprint {actual}, expected {reference.fingerprint})"
        )


def _check_kind(reference: Reference, tensor: torch.Tensor) -> None:
    if tuple(tensor.shape) != reference.shape or tensor.dtype != reference.dtype:
        raise SubnetworkError(
            f"the pretrained tensor that stands in was {dtype_name(reference.dtype)} {reference.shape}, "
            f"this one is {dtype_name(tensor.dtype)} {tuple(tensor.shape)}"
        )
