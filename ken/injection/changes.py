"""Changes of a live model's memory, which are carried out all of them or, if that is interrupted, none.

Move    entries go down by some distances and up by others: no copy of them is needed to go back
Put     a tensor takes the place of what was there
Region  views that overlap, or one that overlaps itself, get the memory of a copy in which all were written
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ken.errors import SubnetworkError, at_tensor
from ken.injection.copies import owners_of
from ken.models.tensors.storages import Copy, Spot, spots, write
from ken.models.tensors.tensor_bytes import bits_of, fingerprint
from ken.subnetwork import ulp_distances, ulp_torch
from ken.subnetwork.threads import each
from ken.subnetwork.ulp_distances import Distances, cut

if TYPE_CHECKING:
    import torch

#: What is done with a model.
Change: TypeAlias = "Move | Put | Region"


class Piece(NamedTuple):
    """A part of a change that is done, and undone, in one go. again: it may be undone though it was not done."""

    do: Callable[[], None]
    undo: Callable[[], None]
    again: bool


@dataclass
class _ChangeOfOne:
    """What becomes of one view. after is the fingerprint that it then has."""

    name: str
    spot: Spot
    after: str

    def unchanged(self, slots: Mapping[str, torch.Tensor]) -> bool:
        """Whether the model still holds what this change has led to."""
        return _holds(_again(self.spot, slots), self.after)


@dataclass
class Move(_ChangeOfOne):
    """Values of one view go down by some distances and up by others."""

    down: Distances | None
    up: Distances | None

    def back(self, slots: Mapping[str, torch.Tensor]) -> Move:
        """The change that leads back; the model may have got other tensors since."""
        return replace(self, spot=_again(self.spot, slots), after="", down=self.up, up=self.down)

    def value(self) -> torch.Tensor:
        """The values that the view is to have."""
        return moved(self.spot.tensor, self.down, self.up)

    def pieces(self) -> Iterator[Piece]:
        """Parts that can be done one by one and at the same time; none where nothing is retained."""
        slot, down, up = self.spot.tensor, self.down, self.up
        on_device = ulp_torch.serves(slot)
        if not (on_device or slot.device.type == "cpu") or not slot.is_contiguous() or slot.is_neg():
            yield Piece(partial(_rewrite, slot, down, up), partial(_rewrite, slot, up, down), again=False)
            return
        values, entries = slot.data.view(-1), slot.numel()
        step = ulp_torch.PIECE if on_device else ulp_distances.PIECE
        starts = range(0, entries, step)
        for start, part_down, part_up in zip(starts, cut(down, entries, step), cut(up, entries, step), strict=True):
            if any(part is not None and part[1].size for part in (part_down, part_up)):
                move = partial(ulp_torch.move, values[start : start + step])
                yield Piece(partial(move, part_down, part_up), partial(move, part_up, part_down), again=False)


@dataclass
class Put(_ChangeOfOne):
    """A tensor takes the place of what was there, of another shape if it must. old is known once it is done."""

    new: torch.Tensor
    model: torch.nn.Module
    old: torch.Tensor | None = None

    def back(self, slots: Mapping[str, torch.Tensor]) -> Put:
        """The change that leads back; the model may have got other tensors since."""
        assert self.old is not None
        return replace(self, spot=_again(self.spot, slots), after="", new=self.old, old=None)

    def value(self) -> torch.Tensor:
        """The values that the view is to have."""
        return self.new

    def pieces(self) -> Iterator[Piece]:
        """All of it in one part."""
        self.old = self.spot.tensor.detach().to("cpu", copy=True)  # not on a device, where memory is dear
        yield Piece(partial(self._write, self.new), partial(self._write, self.old), again=True)

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


@dataclass
class Region:
    """Views that overlap are written as one. after are the fingerprints that some of them then have, by their place."""

    name: str
    group: list[Spot]
    after: Mapping[int, str]
    old: Copy
    new: Copy

    @classmethod
    def planned(cls, group: list[Spot], changes: Mapping[int, Move | Put], promised: Mapping[int, str]) -> Region:
        """The changes of a group as one; raises `SubnetworkError` if not all views can have what is promised."""
        new = Copy(group)
        for place, change in changes.items():
            value = change.value()
            if value.shape != group[place].tensor.shape:
                raise SubnetworkError(f"{group[place].names[0]} shares memory with others and cannot get another shape")
            new.write(place, value)
        for place, after in promised.items():
            if fingerprint(new.views[place]) != after:
                name = group[place].names[0]
                others = [spot.names[0] for spot in group if spot is not group[place]]
                shared = f"several entries of {name} are one place in memory (it is expanded)"
                if others:
                    shared = f"{name} shares memory with {' and '.join(others[:3])}"
                raise SubnetworkError(f"{shared}, and it cannot hold the subnetwork's values for all; {REMEDY}")
        return cls(next(iter(changes.values())).name, group, after=dict(promised), old=Copy(group), new=new)

    def back(self, slots: Mapping[str, torch.Tensor]) -> Region:
        """The change that leads back; the model may have got other tensors since."""
        return replace(self, group=[_again(spot, slots) for spot in self.group], after={}, old=self.new, new=self.old)

    def unchanged(self, slots: Mapping[str, torch.Tensor]) -> bool:
        """Whether the model still holds what this change has led to."""
        return all(_holds(_again(self.group[place], slots), after) for place, after in self.after.items())

    def pieces(self) -> Iterator[Piece]:
        """All of it in one part."""
        yield Piece(partial(self._write, self.new), partial(self._write, self.old), again=True)

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


def moved(tensor: torch.Tensor, down: Distances | None, up: Distances | None) -> torch.Tensor:
    """A copy of a tensor, on the CPU, less some distances and plus others."""
    import torch

    values = tensor.detach().resolve_conj().resolve_neg().cpu().clone(memory_format=torch.contiguous_format)
    ulp_distances.exchange(bits_of(values), down, up)
    return values


def _rewrite(tensor: torch.Tensor, down: Distances | None, up: Distances | None) -> None:
    """Change a copy, for tensors that are not in C order or on a device that cannot do it, and write it back."""
    if ulp_torch.serves(tensor):
        ulp_torch.exchange(tensor, down, up)
    else:
        write(tensor, moved(tensor, down, up))
