"""Changes of a live model's memory, which are carried out all of them or, if that is interrupted, none.

Move    entries go down by some distances and up by others: no copy of them is needed to go back
Put     a tensor takes the place of what was there
Region  views that overlap, or one that overlaps itself, get the memory of a copy in which all were written
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken.errors import SubnetworkError, at_tensor
from ken.injection.copies import owners_of
from ken.models.tensors.storages import Copy, Spot, spots, write
from ken.models.tensors.tensor_bytes import bits_of, fingerprint
from ken.subnetwork import ulp_distances
from ken.subnetwork.threads import each

if TYPE_CHECKING:
    import torch

#: A mask and the distances at it.
Distances: TypeAlias = "tuple[NDArray[np.uint8], NDArray[np.unsignedinteger]]"
#: What is done with a model.
Change: TypeAlias = "Move | Put | Region"


class Piece(NamedTuple):
    """A part of a change that is done, and undone, in one go. again: it may be undone though it was not done."""

    do: Callable[[], None]
    undo: Callable[[], None]
    again: bool


@dataclass
class Move:
    """Values of one view go down by some distances and up by others. after is the fingerprint they then have."""

    name: str
    spot: Spot
    down: Distances | None
    up: Distances | None
    after: str

    def back(self, slots: Mapping[str, torch.Tensor]) -> Move:
        """The change that leads back; the model may have got other tensors since."""
        return Move(self.name, _again(self.spot, slots), self.up, self.down, "")

    def unchanged(self, slots: Mapping[str, torch.Tensor]) -> bool:
        """Whether the model still holds what this change has led to."""
        return _holds(_again(self.spot, slots), self.after)

    def value(self) -> torch.Tensor:
        """The values that the view is to have."""
        moved = self.spot.tensor.detach().cpu().clone(memory_format=_contiguous())
        ulp_distances.exchange(bits_of(moved), self.down, self.up)
        return moved

    def pieces(self) -> Iterator[Piece]:
        """Parts that can be done one by one and at the same time."""
        slot = self.spot.tensor
        if slot.device.type != "cpu" or not slot.is_contiguous() or slot.is_neg():
            yield Piece(lambda: self._elsewhere(self.down, self.up), lambda: self._elsewhere(self.up, self.down), False)
            return
        values = bits_of(slot)
        for entries, down, up in zip(
            (slice(i, i + ulp_distances.PIECE) for i in range(0, values.size, ulp_distances.PIECE)),
            _cut(self.down, values.size),
            _cut(self.up, values.size),
            strict=True,
        ):
            part = values[entries]
            yield Piece(_exchange(part, down, up), _exchange(part, up, down), False)

    def _elsewhere(self, down: Distances | None, up: Distances | None) -> None:
        """On another device, or not in C order: a copy is changed and written back."""
        slot = self.spot.tensor
        here = slot.detach().cpu().clone(memory_format=_contiguous())
        ulp_distances.exchange(bits_of(here), down, up)
        write(slot, here)


@dataclass
class Put:
    """A tensor takes the place of what was there, of another shape if it must."""

    name: str
    spot: Spot
    new: torch.Tensor
    model: torch.nn.Module
    after: str

    def back(self, slots: Mapping[str, torch.Tensor]) -> Put:
        """The change that leads back; the model may have got other tensors since."""
        return Put(self.name, _again(self.spot, slots), self.old, self.model, "")

    def unchanged(self, slots: Mapping[str, torch.Tensor]) -> bool:
        """Whether the model still holds what this change has led to."""
        return _holds(_again(self.spot, slots), self.after)

    def value(self) -> torch.Tensor:
        """The values that the view is to have."""
        return self.new

    def pieces(self) -> Iterator[Piece]:
        """All of it in one part."""
        self.old = self.spot.tensor.detach().clone()
        yield Piece(lambda: self._write(self.new), lambda: self._write(self.old), True)

    def _write(self, value: torch.Tensor) -> None:
        import torch

        if value.shape == self.spot.tensor.shape:
            write(self.spot.tensor, value)
            return
        memory = value.to(self.spot.tensor.device, copy=True)
        for slot in self.spot.tensors:
            with torch.inference_mode(slot.is_inference()):
                slot.data = memory
        owners = owners_of(self.model)
        for place in self.spot.names:
            owner, leaf = owners[place]
            if isinstance(owner, torch.nn.Linear) and leaf == "weight":
                owner.out_features, owner.in_features = value.shape


class Region:
    """Views that overlap are written as one. promised are the fingerprints of what each of them is to have then.

    Raises `SubnetworkError` if they cannot all have it.
    """

    def __init__(self, group: list[Spot], changes: Mapping[int, Move | Put], promised: Mapping[int, str]) -> None:
        self.group, self.after = group, dict(promised)
        self.name = next(iter(changes.values())).name
        self._old, self._new = Copy(group), Copy(group)
        for which, change in changes.items():
            value = change.value()
            if value.shape != group[which].tensor.shape:
                raise SubnetworkError(f"{group[which].names[0]} shares memory with others and cannot get another shape")
            self._new.write(which, value)
        for which, after in promised.items():
            if fingerprint(self._new.views[which]) != after:
                others = [spot.names[0] for spot in group if spot is not group[which]]
                raise SubnetworkError(
                    f"{group[which].names[0]} shares memory with {' and '.join(others[:3])}, and it cannot hold the "
                    f"subnetwork's values for all; {REMEDY}"
                    if others
                    else f"several entries of {group[which].names[0]} are one place in memory (it is expanded), and it "
                    f"cannot hold the subnetwork's values for all; {REMEDY}"
                )

    def back(self, slots: Mapping[str, torch.Tensor]) -> Region:
        """The change that leads back; the model may have got other tensors since."""
        other = Region.__new__(Region)
        other.group = [_again(spot, slots) for spot in self.group]
        other.name, other.after, other._old, other._new = self.name, {}, self._new, self._old
        return other

    def unchanged(self, slots: Mapping[str, torch.Tensor]) -> bool:
        """Whether the model still holds what this change has led to."""
        return all(_holds(_again(self.group[which], slots), after) for which, after in self.after.items())

    def pieces(self) -> Iterator[Piece]:
        """All of it in one part."""
        yield Piece(lambda: self._write(self._new), lambda: self._write(self._old), True)

    def _write(self, source: Copy) -> None:
        for spot, values in zip(self.group, source.views, strict=True):
            write(spot.tensor, values)


#: What to do about names of one memory that are to have different values.
REMEDY = "use ken.inject, which gives a new model in which each has memory of its own, or give them that first"


def carry_out(changes: list[Change]) -> None:
    """Do all of it. If that is interrupted, undo what was done, and raise; nothing stops the undoing."""
    done: list[Callable[[], None]] = []

    def do(piece: Piece) -> None:
        if piece.again:
            done.append(piece.undo)
            piece.do()
        else:
            piece.do()
            done.append(piece.undo)

    try:
        each(do, [piece for change in changes for piece in change.pieces()])
    except BaseException:
        undoing = threading.Thread(target=lambda: [undo() for undo in done])
        undoing.start()
        while undoing.is_alive():
            try:
                undoing.join()
            except KeyboardInterrupt:
                continue
        raise


def take_back(changes: list[Change], slots: Mapping[str, torch.Tensor]) -> None:
    """Undo changes that were carried out. Raises `SubnetworkError` if the model has been changed since."""
    for change in changes:
        with at_tensor(change.name):
            if not change.unchanged(slots):
                raise SubnetworkError("the model was changed while the subnetwork was in it, and is left as it is")
    carry_out([change.back(slots) for change in changes])


def _again(spot: Spot, slots: Mapping[str, torch.Tensor]) -> Spot:
    """The same names, and what the model has under them now."""
    tensors = {id(slot): slot for slot in (slots.get(name, spot.tensor) for name in spot.names)}
    return Spot(spot.names, tuple(tensors.values()))


def _holds(spot: Spot, after: str) -> bool:
    """Whether all names are those of one view still, and it has these values."""
    one = len(spots({str(i): tensor for i, tensor in enumerate(spot.tensors)})) == 1
    return (one or not spot.tensor.numel()) and fingerprint(spot.tensor) == after


def _contiguous() -> torch.memory_format:
    import torch

    return torch.contiguous_format


def _exchange(values: NDArray[np.unsignedinteger], down: Distances | None, up: Distances | None) -> Callable[[], None]:
    return lambda: ulp_distances.exchange(values, down, up)


def _cut(distances: Distances | None, entries: int) -> Iterator[Distances | None]:
    if distances is None:
        yield from (None for _ in range(0, entries, ulp_distances.PIECE))
        return
    mask, values = distances
    for _, part, retained in ulp_distances.pieces(mask, entries):
        yield mask[part], values[retained]
