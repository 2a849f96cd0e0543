"""The pairing of two models: which tensor of one is the counterpart of which of the other, and whether they fit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ken.errors import PairingError
from ken.models.adapters.adapted import read_pair
from ken.models.checkpoints import unmerged
from ken.models.checkpoints.checkpoint import Checkpoint, Source
from ken.models.checkpoints.wrappers import shorter_names
from ken.models.pairing import weight_names
from ken.models.pairing.growth import judge
from ken.models.pairing.lacking import lacking
from ken.models.pairing.prefixes import prefix_between
from ken.models.pairing.rows import row_shape

if TYPE_CHECKING:
    import torch


def match(names: Collection[str], others: Collection[str], prefixes: Collection[str] = ()) -> dict[str, str | None]:
    """Pair names: exactly, else by adding or stripping a base-model prefix. None where there is no counterpart.

    Raises `PairingError` if two names would share a counterpart.

    >>> match(["bert.pooler.weight", "classifier.weight"], ["pooler.weight"], ["bert"])
    {'bert.pooler.weight': 'pooler.weight', 'classifier.weight': None}
    """
    known = set(others)
    # Names of the others without what wraps their parts.
    wrapped = {short: longer for longer, short in shorter_names(others).items() if short not in known}
    pairs: dict[str, str | None] = {}
    owner: dict[str, str] = {}
    for name in names:
        candidates = [name]
        for prefix in dict.fromkeys(p for p in prefixes if p):
            candidates.append(name.removeprefix(f"{prefix}.") if name.startswith(f"{prefix}.") else f"{prefix}.{name}")
        other = next((candidate for candidate in candidates if candidate in known), None)
        if other is None and wrapped:
            other = next((wrapped[candidate] for candidate in candidates if candidate in wrapped), None)
        pairs[name] = other
        if other is not None and owner.setdefault(other, name) != name:
            raise PairingError(f"{owner[other]} and {name} would both be paired with {other}")
    return pairs


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two checkpoints whose tensors have been matched by name.

    Attributes:
        fine_tuned: One of them.
        pretrained: The other.
        names: The pretrained counterpart of every fine-tuned tensor, None for those that have none.
        cuts: Tensors that are cut into rows in another way than by their shape, and how
        (`ken.models.pairing.rows.CUTS`).
        apart: Tensors that have a namesake in the pretrained model and yet no counterpart, and why: a head for other
            labels. They are new.
        misfits: Why a tensor cannot be pruned against its counterpart; it can be carried.
        namesakes: The pretrained tensors of those two, by fine-tuned name.
        lacking: Names of tensors that the fine-tuned checkpoint does not have, with the pretrained ones that stand in.
        prefix: What the names of one side begin with and those of the other do not.
        notes: What has been guessed, as sentences.
    """

    fine_tuned: Checkpoint
    pretrained: Checkpoint
    names: Mapping[str, str | None]
    cuts: Mapping[str, str] = field(default_factory=dict)
    apart: Mapping[str, str] = field(default_factory=dict)
    misfits: Mapping[str, str] = field(default_factory=dict)
    namesakes: Mapping[str, str] = field(default_factory=dict)
    lacking: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    notes: tuple[str, ...] = ()

    def row_shape(self, name: str) -> tuple[int, int]:
        """(rows, row length) of a fine-tuned tensor."""
        return row_shape(self.fine_tuned.tensors[name].shape, self.cuts.get(name, ""))

    def rows(self, name: str, wanted: slice | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows of a tensor and of its counterpart, each (rows, n) float64 on the CPU; all rows if none are named.

        Where there is no pretrained value (a new head, rows added to an embedding) it is NaN. Nothing but the wanted
        rows is read; the slice has no step.
        """
        return self.reader(name)(wanted or slice(None))

    def reader(self, name: str) -> Callable[[slice], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """A function that gives what `rows` does, for whoever reads a tensor some rows at a time."""
        rows, n = self.row_shape(name)
        other = self.names[name]
        fine_tuned = self.fine_tuned.entries(name)
        counterpart = None if other is None else self.pretrained.entries(other)

        def read(wanted: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            first, last, _ = wanted.indices(rows)
            start, stop = first * n, max(first, last) * n
            ours = _float64(fine_tuned.read(start, stop)).reshape(max(0, last - first), n)
            theirs = np.full(ours.shape, np.nan)
            if counterpart is not None:
                found = _float64(counterpart.read(min(start, counterpart.count), min(stop, counterpart.count)))
                theirs.reshape(-1)[: found.size] = found
            return ours, theirs

        return read


def _float64(entries: torch.Tensor) -> NDArray[np.float64]:
    import torch

    return entries.to(torch.float64).numpy()


def open_pair(fine_tuned: Source, pretrained: Source | None, rows: Mapping[str, str] | None = None) -> Pairing:
    """Read two sources and pair their tensors by name: exactly, by prefix (`match`), by ties and renames (`layouts`).

    A prefix is transformers' own or, where that pairs fewer, the one that the names themselves show. A live module of
    transformers whose counterpart is a file in another layout (experts apart, say) is brought into that layout.

    A tensor whose first axis alone differs from its counterpart's is new (`Pairing.apart`), unless it has a row for
    every word of a vocabulary that has grown: by the kind of its module, by a configuration, or because a pattern of
    rows says "grown".

    Args:
        fine_tuned: A module, a state dict, a path or a hub id.
        pretrained: The model it came from, likewise.
        rows: Ways to cut tensors into rows by name pattern, as `ken.prune` takes them.

    Raises:
        PairingError: No tensor at all has a counterpart, two would share one, or the layouts differ in a way that
            transformers cannot bridge.

    Example:
        >>> import torch
        >>> opened = open_pair({"a": torch.ones(2, 3)}, {"a": torch.zeros(2, 3)})
        >>> opened.rows("a", slice(0, 1))
        (array([[1., 1., 1.]]), array([[0., 0., 0.]]))
    """
    ours, theirs = weight_names.align(*read_pair(fine_tuned, pretrained))
    ours = _plain_as(ours, theirs)
    names, prefix, notes = _names(ours, theirs)
    paired = set(names.values())
    unmerged.check_pair([name for name, other in names.items() if other is None], theirs.tensors)
    unmerged.check_pair([name for name in theirs.tensors if name not in paired], ours.tensors)
    parts = weight_names.clash(names, ours, theirs)
    if parts is not None:
        raise PairingError(f"{parts[0]} and {parts[1]} are one tensor in different layouts; {weight_names.IN_MEMORY}")
    if ours.tensors and not any(names.values()):
        hint = weight_names.advice(ours, theirs)
        raise PairingError(
            "no tensor of the fine-tuned model has a counterpart in the pretrained one; names begin with "
            f"{next(iter(ours.tensors))!r} and {next(iter(theirs.tensors), 'nothing')!r}" + (hint and f"; {hint}")
        )
    shapes = judge(ours, theirs, names, rows or {})
    lacks = lacking(ours, theirs, names, prefix)
    return Pairing(
        replace(ours, tied={**ours.tied, **lacks.tied}),
        theirs,
        # Of a tied counterpart it is the name under which it counts, whichever names a module or its files have.
        {n: None if n in shapes.apart else theirs.tied.get(other or "", other) for n, other in names.items()},
        apart=shapes.apart,
        misfits=shapes.misfits,
        namesakes={name: str(names[name]) for name in (*shapes.apart, *shapes.misfits)},
        lacking=lacks.given,
        prefix=prefix,
        notes=(*notes, *lacks.notes),
    )


def _plain_as(ours: Checkpoint, theirs: Checkpoint) -> Checkpoint:
    """The fine-tuned checkpoint, without the wrappers of its parts if more names are the pretrained model's then."""
    shorter = shorter_names(ours.tensors)
    if sum(short in theirs.tensors for short in shorter.values()) <= sum(name in theirs.tensors for name in shorter):
        return ours
    return ours.renamed(shorter)


def _names(ours: Checkpoint, theirs: Checkpoint) -> tuple[dict[str, str | None], str, tuple[str, ...]]:
    """The counterpart of every fine-tuned tensor; the prefix that the names show, and a sentence about it."""
    names = match(ours.tensors, theirs.tensors, (ours.prefix, theirs.prefix))
    known = sum(other is not None for other in names.values())
    prefix = ""
    if known < min(len(ours.tensors), len(theirs.tensors)):
        prefix = prefix_between(ours.tensors, theirs.tensors, known)
    notes: tuple[str, ...] = ()
    if prefix:
        names = match(ours.tensors, theirs.tensors, (prefix,))
        notes = (f"names were paired with the prefix {prefix!r}, which the names themselves show",)
    return weight_names.complete(names, ours, theirs), prefix, notes
