"""A subnetwork that is decided as it is looked at: opened and checked at once, and the same as the pruned one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.api import Subnetwork
from ken.errors import at_tensor
from ken.models.checkpoints.location import Location
from ken.models.pairing.pairs import Pair
from ken.models.pairing.relation import Relation, Sums
from ken.models.tensors.tensor_bytes import Reference
from ken.pruning.head import Seen, fingerprint_of, head
from ken.pruning.lazy_decider import LazyDecider
from ken.pruning.lazy_tensors import LazyTensors
from ken.pruning.making import make
from ken.pruning.prepared import Prepared, add_sums
from ken.rules.bandwidth_notes import bandwidth_note
from ken.subnetwork.subnetwork import Provenance
from ken.subnetwork.threads import in_order

if TYPE_CHECKING:
    from ken.models.pairing.pairing import Pairing
    from ken.models.pairing.pairs import PairOfModels
    from ken.pruning.paired_rows import PairedRows

#: What only the values tell, or what changes as they are looked at.
_LATER = ("tensors", "fine_tuned", "pretrained", "notes", "lacking", "relation")


class LazySubnetwork(Subnetwork):
    """A `ken.Subnetwork` that `ken.prune` makes with lazy=True: equal to the pruned one, and read as little as can be.

    The models must stay as they are while it is in use. What is sent to another process, or copied, is the whole.

    Args:
        prepared: The models, and what is asked for.
        progress: Show a bar for what takes longer than a second.
    """

    tensors: LazyTensors

    def __init__(self, prepared: Prepared, *, progress: bool = True) -> None:
        known = head(prepared.pairing, prepared.recipe, Seen(prepared.notes), draft=True)
        # The class is frozen for its users.
        for field in fields(known):
            if field.name not in _LATER:
                object.__setattr__(self, field.name, getattr(known, field.name))
        object.__setattr__(self, "tensors", LazyTensors(LazyDecider(prepared, progress=progress)))
        for side in ("fine_tuned", "pretrained"):
            read = self._fingerprint(side)
            object.__setattr__(self, side, UnreadProvenance(getattr(known, side), read))

    @property
    def _prepared(self) -> Prepared:
        return self.tensors.decider.prepared

    def _fingerprint(self, side: str) -> Callable[[], str]:
        return lambda: fingerprint_of(getattr(self._prepared.pairing, side), progress=self.tensors.decider.progress)

    # ---- what it is decided from

    @property
    def lazy(self) -> bool:
        """Whether it is decided as it is looked at."""
        return True

    @property
    def pair(self) -> Pair:
        """The two models, as they were given."""
        return self._prepared.pair

    def opened(self, pair: PairOfModels) -> Pairing | None:
        """The pair, opened, if it is the one that this is decided from; else None."""
        mine, given = self.pair, (pair.fine_tuned, pair.pretrained)
        return self._prepared.pairing if all(map(_same, mine, given)) else None

    # ---- what the values tell

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say so far; of bandwidths, about the rows that have been decided."""
        counts = self.tensors.decider.stood_in
        return (*self._prepared.notes, *([bandwidth_note(self.recipe.bandwidth, counts)] if counts else ()))

    @cached_property
    def lacking(self) -> Mapping[str, Reference]:
        """Tensors that the fine-tuned checkpoint lacks; the pretrained ones are read for their fingerprints."""
        pairing = self._prepared.pairing
        return {name: pairing.pretrained.entries(other).reference(other) for name, other in pairing.lacking.items()}

    @cached_property
    def relation(self) -> Relation | None:
        """How the models are related: both are read for it, and nothing is decided."""
        from tqdm.auto import tqdm

        sums = Sums()
        stretches = [(tensor, *span) for tensor in self._prepared.tensors.values() for span in tensor.stretches()]

        def add(stretch: tuple[PairedRows, int, int]) -> None:
            tensor, start, stop = stretch
            with at_tensor(tensor.name):
                add_sums(sums, tensor, tensor.read(start, stop))

        hidden = not self.tensors.decider.progress
        for _ in tqdm(
            in_order(add, stretches),
            total=len(stretches),
            desc="compare models",
            unit="stretch",
            disable=hidden,
            delay=1.0,
            leave=False,
        ):
            pass
        return sums.relation()

    @property
    def entries(self) -> int:
        """Entries of the fine-tuned model, tied tensors counted once."""
        return sum(tensor.entries for tensor in self.tensors.values())

    @cached_property
    def _reasons(self) -> Mapping[str, str | None]:
        return {name: reason or None for name, reason in self._prepared.reasons.items()}

    @property
    def _about(self) -> tuple[Any, ...]:
        for tensor in self.pruned().values():
            tensor.decoded()  # whether it is unchanged is known then
        return super()._about

    # ---- the whole

    @cached_property
    def in_memory(self) -> Subnetwork:  # type: ignore[override]
        """The pruned subnetwork, decided in one pass over the models, in memory. Made once, then kept."""
        whole = make(self._prepared, progress=self.tensors.decider.progress)
        self.tensors.adopt(whole.tensors)
        return whole

    def written(self, path: str | Path, *, progress: bool) -> bool:
        """Decide everything, some rows at a time, on its way into a file: as `ken.prune` writes it."""
        make(self._prepared, path, progress=progress)
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and other processes get the whole."""
        return _itself, (self.in_memory,)

    def _how_much(self) -> str:
        if self.tensors.decider.counts:
            return super()._how_much()
        return f"of {self.entries:,} entries as many are retained as the values decide"

    def _further(self) -> str:
        return f"; decided as it is looked at{self._much()}"


class UnreadProvenance(Provenance):
    """What is known of a model that has not been read; its fingerprint is taken when it is first asked for."""

    _take: Callable[[], str]

    def __init__(self, known: Provenance, read: Callable[[], str]) -> None:
        for field in fields(known):
            if field.name != "fingerprint":
                object.__setattr__(self, field.name, getattr(known, field.name))
        object.__setattr__(self, "_take", read)

    @cached_property
    def fingerprint(self) -> str:
        """Of all tensors of the model, which are read."""
        return self._take()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Provenance):
            return NotImplemented
        return _counted(self) == _counted(other) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash((*_counted(self), self.fingerprint))


def _counted(model: Provenance) -> tuple[str, int, int]:
    return model.source, model.tensors, model.entries


def _same(one: object, other: object) -> bool:
    """Whether these are one model: the same object, or the same place."""
    return one is other or (isinstance(one, str | os.PathLike | Location) and one == other)


def _itself(net: Subnetwork) -> Subnetwork:
    return net
