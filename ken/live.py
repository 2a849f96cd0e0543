"""Live models: a subnetwork written into a model in place, taken out again, exchanged for another.

    plan     what would become of every parameter; all is checked here, and nothing is changed
    carry out  all of the plan or, if it is interrupted, none of it

A pruned parameter is moved by the distances that the subnetwork has stored, so no copy of the pretrained values is
needed to go back: from the pretrained value and the distance follows the fine-tuned one, and the other way round.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken import ulps
from ken.checkpoint import read
from ken.errors import SubnetworkError, at_tensor
from ken.injection import pair_with, slots_of
from ken.pairing import match
from ken.parallel import each
from ken.retained import CarriedTensor, Outline, RetainedTensor
from ken.standins import check as check_stand_in
from ken.standins import find_stand_ins
from ken.subnetwork import Subnetwork
from ken.tensors import bits_of, dtype_name, fingerprint

if TYPE_CHECKING:
    import torch

#: A mask and the distances at it.
Distances: TypeAlias = "tuple[NDArray[np.uint8], NDArray[np.unsignedinteger]]"


def inject_(net: Subnetwork, model: torch.nn.Module) -> None:
    """Write a subnetwork into a model that holds the pretrained weights, in place.

    The model must have a place for every tensor, carried ones included, in the fine-tuned shape; only tensors
    without pretrained counterpart (a head) may have another shape, and get the new one. The change goes around
    autograd, like that of `load_state_dict`. Nobody else may use the model meanwhile.

    Raises `SubnetworkError` if the model does not hold the pretrained weights, or anything else does not fit; it has
    not been changed then. If it is interrupted, it is set back.

    >>> import torch, ken
    >>> model, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    >>> net = ken.prune(fine_tuned, model, k=8)
    >>> net.inject_(model)
    >>> torch.equal(model.weight, fine_tuned.weight)
    True
    """
    swap(model, current=None, to=net)


def swap(model: torch.nn.Module, current: Subnetwork | None, to: Subnetwork | None) -> None:
    """Make a live model that holds one subnetwork hold another one, in place; only what either retains is written.

    None stands for the pretrained model: `swap(model, None, net)` injects, `swap(model, net, None)` takes out, which
    leaves a head that has no pretrained counterpart as it is. Both subnetworks are decoded once and then stay in
    memory (`Subnetwork.in_memory`).

    Raises `SubnetworkError`, with the model unchanged, if it does not hold `current` bit for bit, if the two were not
    made with the same pretrained weights, or if what `current` has stored does not tell the pretrained values: one
    with raw values, or one that carries a tensor whole which the other prunes.

    >>> import torch, ken
    >>> model, a, b = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    >>> net_a, net_b = ken.prune(a, model, k=8), ken.prune(b, model, k=8)
    >>> net_a.inject_(model)
    >>> swap(model, current=net_a, to=net_b)
    >>> torch.equal(model.weight, b.weight)
    True
    """
    _carry_out(_plan(model, current, to))


@contextmanager
def injected(net: Subnetwork, model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """A block in which the model, on pretrained weights, holds the subnetwork. After it, all is as it was, bit for bit.

    Raises `SubnetworkError` as `inject_` does, and at the end of the block if the retained tensors were changed within
    it: they are then left as they are.

    >>> import torch, ken
    >>> model, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    >>> before = model.weight.clone()
    >>> with ken.prune(fine_tuned, model, k=8).injected(model):
    ...     torch.equal(model.weight, fine_tuned.weight)
    True
    >>> torch.equal(model.weight, before)
    True
    """
    plan = _plan(model, None, net)
    _carry_out(plan)
    try:
        yield model
    finally:
        slots = slots_of(model)
        for change in plan:
            with at_tensor(change.name):
                change.slot = slots.get(change.place, change.slot)
                if fingerprint(change.slot) != change.after:
                    raise SubnetworkError("the model was changed while the subnetwork was in it, and is left as it is")
        _carry_out([change.back() for change in plan])


@dataclass
class _Move:
    """Values go down by some distances and up by others."""

    name: str
    place: str
    slot: torch.Tensor
    down: Distances | None
    up: Distances | None
    after: str

    def back(self) -> _Move:
        return _Move(self.name, self.place, self.slot, self.up, self.down, "")

    def pieces(self) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
        """Parts that can be done, and undone, one by one and at the same time."""
        if self.slot.device.type != "cpu" or not self.slot.is_contiguous():
            yield lambda: self._elsewhere(self.down, self.up), lambda: self._elsewhere(self.up, self.down)
            return
        values = bits_of(self.slot.data)
        for entries, down, up in zip(
            (slice(i, i + ulps.PIECE) for i in range(0, values.size, ulps.PIECE)),
            _cut(self.down, values.size),
            _cut(self.up, values.size),
            strict=True,
        ):
            part = values[entries]
            yield _exchange(part, down, up), _exchange(part, up, down)

    def _elsewhere(self, down: Distances | None, up: Distances | None) -> None:
        """On another device, or not in C order: a copy is changed and written back."""
        here = self.slot.data.cpu().contiguous().clone()
        ulps.exchange(bits_of(here), down, up)
        self.slot.data.copy_(here)


@dataclass
class _Put:
    """A carried tensor takes the place of what was there."""

    name: str
    place: str
    slot: torch.Tensor
    value: torch.Tensor
    owner: torch.nn.Module
    after: str

    def back(self) -> _Put:
        return _Put(self.name, self.place, self.slot, self.old, self.owner, "")

    def pieces(self) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
        self.old = self.slot.data.clone()
        yield lambda: self._write(self.value), lambda: self._write(self.old)

    def _write(self, value: torch.Tensor) -> None:
        import torch

        if value.shape == self.slot.shape:
            self.slot.data.copy_(value)
            return
        self.slot.data = value.to(self.slot.device, copy=True)
        if isinstance(self.owner, torch.nn.Linear) and self.place.rpartition(".")[2] == "weight":
            self.owner.out_features, self.owner.in_features = value.shape


def _exchange(values: NDArray[np.unsignedinteger], down: Distances | None, up: Distances | None) -> Callable[[], None]:
    return lambda: ulps.exchange(values, down, up)


def _cut(distances: Distances | None, entries: int) -> Iterator[Distances | None]:
    if distances is None:
        yield from (None for _ in range(0, entries, ulps.PIECE))
        return
    mask, values = distances
    for _, part, retained in ulps.pieces(mask, entries):
        yield mask[part], values[retained]


def _plan(model: torch.nn.Module, current: Subnetwork | None, to: Subnetwork | None) -> list[_Move | _Put]:
    """What will become of every tensor. Raises `SubnetworkError` if anything does not fit; nothing has changed then."""
    slots = slots_of(model)
    nets = [net for net in (current, to) if net is not None]
    names = list(dict.fromkeys(name for net in nets for name in net))
    prefixes = [net.prefix for net in nets]
    places = match(names, slots, (*prefixes, str(getattr(model, "base_model_prefix", "") or "")))
    if None in places.values():
        for net in nets:
            places |= pair_with(net, read(model))
    for net in nets:
        for name, outline in net.outlines.items():
            with at_tensor(name):
                _check_place(slots.get(str(places[name])), outline, net.tensors[name].pretrained is None)
        if net.lacking:
            model_itself = read(model)
            for name, place in find_stand_ins(net, model_itself).items():
                with at_tensor(name):
                    check_stand_in(net.lacking[name], fingerprint(model_itself.tensors[place]))
    # Only now, when its size is known to be that of the model, is anything decoded.
    before = {} if current is None else dict(current.in_memory.items())
    after = {} if to is None else dict(to.in_memory.items())

    def check(name: str) -> _Move | _Put | None:
        with at_tensor(name):
            place = str(places[name])
            return _change(name, place, slots[place], model, before.get(name), after.get(name))

    return [change for change in each(check, names) if change is not None]


def _change(
    name: str,
    place: str,
    slot: torch.Tensor,
    model: torch.nn.Module,
    old: RetainedTensor | CarriedTensor | None,
    new: RetainedTensor | CarriedTensor | None,
) -> _Move | _Put | None:
    """What becomes of one tensor, after checks; None if nothing does."""
    if old is not None:
        expected = fingerprint(old.value) if isinstance(old, CarriedTensor) else old.result
        if tuple(slot.shape) != old.shape or slot.dtype != old.dtype or fingerprint(slot) != expected:
            raise SubnetworkError("the model does not hold the subnetwork that was given as the current one")
    if isinstance(new, CarriedTensor):
        owner = model.get_submodule(place.rpartition(".")[0])
        return _Put(name, place, slot, new.value, owner, fingerprint(new.value))
    if isinstance(old, CarriedTensor):
        there = old.pretrained if new is None else new.pretrained
        if there is not None and there.fingerprint != fingerprint(slot):
            raise SubnetworkError("the current subnetwork carries the tensor whole, so its pretrained values are lost")
        old = None
    if old is None and new is None:
        return None
    down = None
    if old is not None:
        if old.raw:
            raise SubnetworkError("the current subnetwork has raw values, which do not tell the pretrained ones")
        down = old.bits, old.ulps
    if new is None:
        assert old is not None
        return _Move(name, place, slot, down, None, old.pretrained.fingerprint)
    if old is None:
        new.check(slot)
    elif old.pretrained != new.pretrained:
        raise SubnetworkError(
            f"the two subnetworks were made with different pretrained tensors: {old.pretrained} and {new.pretrained}"
        )
    return _Move(name, place, slot, down, (new.bits, _distances(slot, down, new)), new.result)


def _distances(slot: torch.Tensor, down: Distances | None, new: RetainedTensor) -> NDArray[np.unsignedinteger]:
    """The distances that a new tensor moves the model by. At first a copy is moved, to see that they are right."""
    if new.proven and not new.raw:
        return new.ulps
    trial = bits_of(slot).copy()
    ulps.exchange(trial, down, None)
    distances = new.relative_to(trial)
    ulps.exchange(trial, None, (new.bits, distances))
    new.prove(trial)
    return distances


def _check_place(slot: torch.Tensor | None, outline: Outline, new: bool) -> None:
    """A tensor of the model must have the fine-tuned dtype and shape; one that is new may get another shape."""
    if slot is None:
        raise SubnetworkError("the model has no place for the tensor")
    fits = tuple(slot.shape) == outline.shape or (new and slot.ndim == len(outline.shape))
    if not fits or dtype_name(slot.dtype) != outline.dtype:
        raise SubnetworkError(
            f"the subnetwork has {outline.dtype} {outline.shape}, "
            f"the model's tensor is {dtype_name(slot.dtype)} {tuple(slot.shape)}"
        )


def _carry_out(plan: list[_Move | _Put]) -> None:
    """Do all of it. If that is interrupted, undo what was done, and raise; nothing stops the undoing."""
    done: list[Callable[[], None]] = []

    def do(piece: tuple[Callable[[], None], Callable[[], None]]) -> None:
        piece[0]()
        done.append(piece[1])

    try:
        each(do, [piece for change in plan for piece in change.pieces()])
    except BaseException:
        undoing = threading.Thread(target=lambda: [undo() for undo in done])
        undoing.start()
        while undoing.is_alive():
            try:
                undoing.join()
            except KeyboardInterrupt:
                continue
        raise
