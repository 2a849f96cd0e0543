"""What becomes of a live model's memory when one subnetwork takes the place of another. Nothing is changed here.

A view of memory is decided on whole, whatever names it has. A tensor of a subnetwork is *at home* in the view under
its own name; under an alias it is a *guest* in a view that the model has apart: it is tied there, and not in the model.
What a guest replaces no subnetwork tells, so it is kept beside the model.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken.errors import SubnetworkError, at_tensor
from ken.injection.changes import REMEDY, Change, Move, Put, Region, moved
from ken.models.tensors.storages import Spot, entangled, spots
from ken.models.tensors.tensor_bytes import Reference, bits_of, digest, fingerprint
from ken.subnetwork import ulp_distances
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.retained_tensor import RetainedTensor
from ken.subnetwork.threads import each
from ken.subnetwork.ulp_distances import Distances

if TYPE_CHECKING:
    import torch

    from ken.subnetwork.subnetwork import SubnetworkData


@dataclass(frozen=True, slots=True)
class Kept:
    """What a view had before a guest came, and the fingerprint of the guest."""

    value: torch.Tensor
    guest: str


#: By model and place.
_KEPT: weakref.WeakKeyDictionary[torch.nn.Module, dict[str, Kept]] = weakref.WeakKeyDictionary()


def remember(model: torch.nn.Module, kept: Mapping[str, Kept]) -> None:
    """Keep what guests have replaced, for as long as the model lives; nothing, if there are none."""
    if kept:
        _KEPT[model] = dict(kept)
    else:
        _KEPT.pop(model, None)


class Side(NamedTuple):
    """One subnetwork and the places that it has in a model: of every name that fits, and of every tensor its home.

    lent are places of pretrained tensors that stand in for what the fine-tuned checkpoint lacks, and what they hold.
    """

    net: SubnetworkData | None
    names: Mapping[str, str]
    homes: Mapping[str, str]
    lent: Mapping[str, str]

    @property
    def tensors(self) -> Mapping[str, RetainedTensor | CarriedTensor]:
        """The subnetwork's tensors, decoded; none if there is no subnetwork."""
        return {} if self.net is None else self.net.in_memory.tensors


class Plan(NamedTuple):
    """Changes, and what is to be remembered when they have been carried out."""

    changes: list[Change]
    kept: dict[str, Kept]


def plan(model: torch.nn.Module, slots: Mapping[str, torch.Tensor], current: Side, to: Side) -> Plan:
    """What will become of every view. Raises `SubnetworkError` if anything does not fit; nothing has changed then."""
    views = spots(slots)
    planner = _Planner(model, views, current=current, to=to)
    concerned = [spot for spot in views if any(name in side.names for side in (current, to) for name in spot.names)]
    changes = dict(zip(map(id, concerned), each(planner.change, concerned), strict=True))
    regions: list[Change] = []
    for group in entangled(views):
        those = {i: change for i, spot in enumerate(group) if (change := changes.pop(id(spot), None)) is not None}
        if those:
            promises = {i: planner.promises.get(id(spot)) for i, spot in enumerate(group)}
            with at_tensor(next(iter(those.values())).name):
                promised = {i: after for i, after in promises.items() if after is not None}
                regions.append(Region.planned(group, those, promised))
    return Plan([*(change for change in changes.values() if change is not None), *regions], planner.kept)


@dataclass(frozen=True, slots=True)
class _Base:
    """The pretrained values of a view: what it has, less the distances; or values that were kept; or lost, and why."""

    down: Distances | None = None
    kept: torch.Tensor | None = None
    lost: str = ""


class _Planner:
    """Decides for one view at a time. promises are the fingerprints of what views are to have, by identity."""

    def __init__(self, model: torch.nn.Module, views: list[Spot], current: Side, to: Side) -> None:
        self.model, self.current, self.to = model, current, to
        self.before, self.after = current.tensors, to.tensors
        self.spots = {name: spot for spot in views for name in spot.names}
        self.kept = dict(_KEPT.get(model, {}))
        self.promises = {id(spot): to.lent[name] for name, spot in self.spots.items() if name in to.lent}

    def change(self, spot: Spot) -> Move | Put | None:
        """What becomes of a view, after checks; None if nothing does."""
        olds = self._names(spot, self.current)
        news = self._names(spot, self.to)
        with at_tensor((news or olds)[0]):
            for name in olds:
                _check_held(spot.tensor, self.before[name])
            for name in news:
                if _promise(self.after[name]) != _promise(self.after[news[0]]):
                    raise SubnetworkError(
                        f"{' and '.join(spot.names)} are one tensor in the model, and the subnetwork has other values "
                        f"for {name} than for {news[0]}; {REMEDY}"
                    )
            base = self._base(spot, olds)
            change = self._back(spot, olds, base) if not news else self._forward(spot, news, base)
            lent = {self.to.lent[place] for place in spot.names if place in self.to.lent}
            if lent and change is not None and lent != {change.after}:
                raise SubnetworkError(
                    f"{' and '.join(spot.names)} are one tensor in the model, and the fine-tuned checkpoint has some "
                    f"of these names and lacks others, which are to stay as they are; {REMEDY}"
                )
            if news:
                self.promises[id(spot)] = _promise(self.after[news[0]])
            elif change is not None:
                self.promises[id(spot)] = change.after
            return change

    def _names(self, spot: Spot, side: Side) -> list[str]:
        """The names of a subnetwork's tensors that belong into a view; those that tell most of it come first."""
        names = dict.fromkeys(side.names[place] for place in spot.names if place in side.names)
        return sorted(
            names, key=lambda name: (side.homes[name] not in spot.names, isinstance(side.tensors[name], CarriedTensor))
        )

    def _base(self, spot: Spot, olds: list[str]) -> _Base:
        if not olds:
            return _Base()
        old = self.before[olds[0]]
        if self.current.homes[olds[0]] not in spot.names:
            kept = self.kept.get(spot.names[0])
            if kept is not None and kept.guest == fingerprint(spot.tensor):
                return _Base(kept=kept.value)
            return _Base(
                lost=f"the model has {spot.names[0]} apart from {self.current.homes[olds[0]]}, with which the current "
                "subnetwork ties it, so its pretrained values are lost"
            )
        if isinstance(old, CarriedTensor):
            if old.pretrained is not None and old.pretrained.fingerprint == fingerprint(spot.tensor):
                return _Base()
            return _Base(lost="the current subnetwork carries the tensor whole, so its pretrained values are lost")
        if old.raw:
            return _Base(lost="the current subnetwork has raw values, which do not tell the pretrained ones")
        for name in olds[1:]:
            other = self.before[name].pretrained
            if other is not None:
                _check_same(old.pretrained, other)
        return _Base(down=(old.bits, old.ulps))

    def _back(self, spot: Spot, olds: list[str], base: _Base) -> Move | Put | None:
        """To the pretrained values."""
        old = self.before[olds[0]]
        if base.lost:
            if old.pretrained is None or fingerprint(spot.tensor) == old.pretrained.fingerprint == _promise(old):
                return None  # what is new stays, and what is no other than it was
            raise SubnetworkError(base.lost)
        if base.kept is not None:
            del self.kept[spot.names[0]]
            return Put(olds[0], spot, after=fingerprint(base.kept), new=base.kept, model=self.model)
        if base.down is None:
            return None
        assert old.pretrained is not None
        return Move(olds[0], spot, after=old.pretrained.fingerprint, down=base.down, up=None)

    def _forward(self, spot: Spot, news: list[str], base: _Base) -> Move | Put | None:
        """To what the other subnetwork promises."""
        name, new = news[0], self.after[news[0]]
        promise = _promise(new)
        if self.to.homes[name] not in spot.names:
            value = new.value if isinstance(new, CarriedTensor) else self._at_home(name, new)
            if not base.lost:
                before = base.kept
                if before is None:
                    before = moved(spot.tensor, base.down, None)
                self.kept[spot.names[0]] = Kept(before, promise)
            return Put(name, spot, after=promise, new=value, model=self.model)
        if isinstance(new, CarriedTensor):
            return Put(name, spot, after=promise, new=new.value, model=self.model)
        if base.lost:
            raise SubnetworkError(base.lost)
        if base.kept is not None:
            value = new.onto(base.kept)
            del self.kept[spot.names[0]]
            return Put(name, spot, after=promise, new=value, model=self.model)
        for other in news:
            self._check_base(spot, base, self.after[other])
        up = new.bits, _distances(spot.tensor, base.down, new)
        return Move(name, spot, after=promise, down=base.down, up=up)

    def _at_home(self, name: str, new: RetainedTensor) -> torch.Tensor:
        """The values that a tensor will have at home, for its guests."""
        spot = self.spots[self.to.homes[name]]
        base = self._base(spot, self._names(spot, self.current))
        if base.lost:
            raise SubnetworkError(base.lost)
        return new.onto(base.kept if base.kept is not None else moved(spot.tensor, base.down, None))

    def _check_base(self, spot: Spot, base: _Base, new: RetainedTensor | CarriedTensor) -> None:
        if isinstance(new, CarriedTensor):
            return
        if base.down is None:
            new.check(spot.tensor)
            return
        old = next(self.before[name] for name in self._names(spot, self.current))
        assert old.pretrained is not None
        _check_same(old.pretrained, new.pretrained)


def _promise(tensor: RetainedTensor | CarriedTensor) -> str:
    """The fingerprint of what a subnetwork has for a tensor."""
    return fingerprint(tensor.value) if isinstance(tensor, CarriedTensor) else tensor.result


def _check_held(slot: torch.Tensor, old: RetainedTensor | CarriedTensor) -> None:
    if tuple(slot.shape) != old.shape or slot.dtype != old.dtype or fingerprint(slot) != _promise(old):
        raise SubnetworkError("the model does not hold the subnetwork that was given as the current one")


def _check_same(a: Reference, b: Reference) -> None:
    """Names do not count: a tied tensor has several."""
    if (a.shape, a.dtype, a.fingerprint) != (b.shape, b.dtype, b.fingerprint):
        raise SubnetworkError(f"the two subnetworks were made with different pretrained tensors: {a} and {b}")


def _distances(slot: torch.Tensor, down: Distances | None, new: RetainedTensor) -> NDArray[np.unsignedinteger]:
    """The distances that a new tensor moves the model by. At first a copy is moved, to see that they are right."""
    if new.proven and not new.raw:
        return new.ulps
    trial = bits_of(slot).copy()
    ulp_distances.exchange(trial, down, None)
    distances = new.relative_to(trial)
    ulp_distances.exchange(trial, None, (new.bits, distances))
    new.prove(digest(trial.data))
    return distances
