"""The pairing of two models: which tensor of one is the counterpart of which of the other, and whether they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ken.errors import PairingError
from ken.models.adapters.adapted import read_pair
from ken.models.checkpoints import unmerged
from ken.models.checkpoints.checkpoint import Checkpoint, Source, TunedSource
from ken.models.checkpoints.wrappers import shorter_names
from ken.models.pairing import weight_names
from ken.models.pairing.growth import judge
from ken.models.pairing.lacking import lacking
from ken.models.pairing.rows import row_shape

if TYPE_CHECKING:
    import torch

#: No prefix has more components.
_DEEPEST = 4


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
        if other is None:
            other = next((wrapped[candidate] for candidate in candidates if candidate in wrapped), None)
        pairs[name] = other
        if other is not None and owner.setdefault(other, name) != name:
            raise PairingError(f"{owner[other]} and {name} would both be paired with {other}")
    return pairs


def prefix_between(names: Collection[str], others: Collection[str], fitting: int) -> str:
    """The prefix by which most names of either model are names of the other; empty if it is not more than fit already.

    Raises `PairingError` if two prefixes pair equally many names: it cannot be told which part is meant.

    >>> prefix_between(["pooler.weight", "pooler.bias"], ["net.pooler.weight", "net.pooler.bias", "head"], fitting=0)
    'net'
    """
    votes = Counter(_prefixes(names, others))
    votes.update(_prefixes(others, names))
    ranked = votes.most_common(2)
    if not ranked or ranked[0][1] <= fitting:
        return ""
    if len(ranked) == 2 and ranked[1][1] == ranked[0][1]:
        first, second = sorted(prefix for prefix, _ in ranked)
        raise PairingError(
            f"the names of {ranked[0][1]} tensors fit with the prefix {first!r} as well as with {second!r}; "
            "give the part of the model that is meant, or both models with the same names"
        )
    return ranked[0][0]


def _prefixes(short: Collection[str], long: Collection[str]) -> Iterator[str]:
    """Of every long name that ends in a short one, what stands before that."""
    endings = set(short)
    for name in long:
        parts = name.split(".")
        for depth in range(1, min(len(parts), _DEEPEST + 1)):
            if ".".join(parts[depth:]) in endings:
                yield ".".join(parts[:depth])


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
            chosen = range(rows)[wanted]
            start = chosen.start * n
            stop = start + len(chosen) * n
            values = _float64(fine_tuned.read(start, stop)).reshape(len(chosen), n)
            pretrained = np.full(values.shape, np.nan)
            if counterpart is not None:
                flat = _float64(counterpart.read(min(start, counterpart.count), min(stop, counterpart.count)))
                pretrained.reshape(-1)[: flat.size] = flat
            return values, pretrained

        return read


def _float64(entries: torch.Tensor) -> NDArray[np.float64]:
    import torch

    return entries.to(torch.float64).numpy()


def open_pair(fine_tuned: TunedSource, pretrained: Source | None, rows: Mapping[str, str] | None = None) -> Pairing:
    """Read two sources and pair their tensors by name: exactly, by a prefix, by the ties and renames of transformers.

    A prefix is transformers' own or, where that pairs fewer, the one that the names themselves show. A live module of
    transformers whose counterpart is a file in another layout (experts apart, say) is brought into that layout.

    A tensor whose first axis alone differs from its counterpart's is new (`Pairing.apart`), unless it has a row for
    every word of a vocabulary that has grown: by the kind of its module, by a configuration, or because a pattern of
    rows says "grown".

    Args:
        fine_tuned: A module, a state dict, a path or a hub id; or an adapter of the other model.
        pretrained: The model it came from, likewise. None: the base that the adapter names or, live, holds.
        rows: Ways to cut tensors into rows by name pattern, as `ken.prune` takes them; only "grown" matters here.

    Returns:
        Both models and the counterpart of every tensor. Of files only headers have been read.

    Raises:
        PairingError: No tensor at all has a counterpart, two would share one, or the layouts differ in a way that
            transformers cannot bridge; or a source cannot be read, or holds no weights.
        FormatError: A file is damaged.

    Example:
        >>> import torch
        >>> opened = open_pair({"a": torch.ones(2, 3)}, {"a": torch.zeros(2, 3)})
        >>> opened.rows("a", slice(0, 1))
        (array([[1., 1., 1.]]), array([[0., 0., 0.]]))
    """
    new, old = weight_names.align(*read_pair(fine_tuned, pretrained))
    new = _plain_as(new, old)
    names, prefix, notes = _names(new, old)
    paired = set(names.values())
    unmerged.check_pair([name for name, other in names.items() if other is None], old.tensors)
    unmerged.check_pair([name for name in old.tensors if name not in paired], new.tensors)
    parts = weight_names.clash(names, new, old)
    if parts is not None:
        raise PairingError(f"{parts[0]} and {parts[1]} are one tensor in different layouts; {weight_names.IN_MEMORY}")
    if new.tensors and not any(names.values()):
        hint = weight_names.advice(new, old)
        raise PairingError(
            "no tensor of the fine-tuned model has a counterpart in the pretrained one; names begin with "
            f"{next(iter(new.tensors))!r} and {next(iter(old.tensors), 'nothing')!r}" + (hint and f"; {hint}")
        )
    shapes = judge(new, old, names, rows=rows or {})
    lacks = lacking(new, old, names, prefix=prefix)
    return Pairing(
        replace(new, tied={**new.tied, **lacks.tied}),
        old,
        # Of a tied counterpart it is the name under which it counts, whichever names a module or its files have.
        {name: None if name in shapes.apart else old.tied.get(other or "", other) for name, other in names.items()},
        apart=shapes.apart,
        misfits=shapes.misfits,
        namesakes={name: str(names[name]) for name in (*shapes.apart, *shapes.misfits)},
        lacking=lacks.given,
        prefix=prefix,
        notes=(*notes, *lacks.notes),
    )


def _plain_as(new: Checkpoint, old: Checkpoint) -> Checkpoint:
    """The fine-tuned checkpoint, without the wrappers of its parts if more names are the pretrained model's then."""
    shorter = shorter_names(new.tensors)
    if sum(short in old.tensors for short in shorter.values()) <= sum(name in old.tensors for name in shorter):
        return new
    return new.renamed(shorter)


def _names(new: Checkpoint, old: Checkpoint) -> tuple[dict[str, str | None], str, tuple[str, ...]]:
    """The counterpart of every fine-tuned tensor; the prefix that the names show, and a sentence about it."""
    names = match(new.tensors, old.tensors, (new.prefix, old.prefix))
    fitting = sum(other is not None for other in names.values())
    prefix = ""
    if fitting < min(len(new.tensors), len(old.tensors)):
        prefix = prefix_between(new.tensors, old.tensors, fitting)
    notes: tuple[str, ...] = ()
    if prefix:
        names = match(new.tensors, old.tensors, (prefix,))
        notes = (f"names were paired with the prefix {prefix!r}, which the names themselves show",)
    return weight_names.complete(names, new, old), prefix, notes
