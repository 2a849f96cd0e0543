"""The pairing of two models: which tensor of one is the counterpart of which of the other, and whether they fit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ken import layouts, unmerged
from ken.checkpoint import Checkpoint, Source, read
from ken.errors import PairingError
from ken.rows import row_shape

if TYPE_CHECKING:
    import torch


def match(names: Collection[str], others: Collection[str], prefixes: Collection[str] = ()) -> dict[str, str | None]:
    """Pair names: exactly, else by adding or stripping a base-model prefix. None where there is no counterpart.

    Raises `PairingError` if two names would share a counterpart.

    >>> match(["bert.pooler.weight", "classifier.weight"], ["pooler.weight"], ["bert"])
    {'bert.pooler.weight': 'pooler.weight', 'classifier.weight': None}
    """
    known = set(others)
    pairs: dict[str, str | None] = {}
    owner: dict[str, str] = {}
    for name in names:
        candidates = [name]
        for prefix in dict.fromkeys(p for p in prefixes if p):
            candidates.append(name.removeprefix(f"{prefix}.") if name.startswith(f"{prefix}.") else f"{prefix}.{name}")
        other = next((candidate for candidate in candidates if candidate in known), None)
        pairs[name] = other
        if other is not None and owner.setdefault(other, name) != name:
            raise PairingError(f"{owner[other]} and {name} would both be paired with {other}")
    return pairs


@dataclass(frozen=True, slots=True)
class Pairing:
    """Two checkpoints whose tensors have been matched by name and checked to fit.

    names gives the pretrained counterpart of every fine-tuned tensor, None for those that have none. cuts says which
    are cut into rows in another way than by their shape (`ken.rows.CUTS`).
    """

    fine_tuned: Checkpoint
    pretrained: Checkpoint
    names: Mapping[str, str | None]
    cuts: Mapping[str, str] = field(default_factory=dict)

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


def open_pair(fine_tuned: Source, pretrained: Source) -> Pairing:
    """Read two sources and pair their tensors by name: exactly, by prefix (`match`), by ties and renames (`layouts`).

    A live module of transformers whose counterpart is a file in another layout (experts apart, say) is brought into
    that layout. Raises `PairingError` if no tensor at all has a counterpart, if two would share one, if the layouts
    differ in a way that transformers cannot bridge, or if shapes or kinds of dtype do not fit.

    >>> import torch
    >>> opened = open_pair({"a": torch.ones(2, 3)}, {"a": torch.zeros(2, 3)})
    >>> opened.rows("a", slice(0, 1))
    (array([[1., 1., 1.]]), array([[0., 0., 0.]]))
    """
    ours, theirs = layouts.align(read(fine_tuned), read(pretrained))
    names = layouts.complete(match(ours.tensors, theirs.tensors, (ours.prefix, theirs.prefix)), ours, theirs)
    paired = set(names.values())
    unmerged.check_pair([name for name, other in names.items() if other is None], theirs.tensors)
    unmerged.check_pair([name for name in theirs.tensors if name not in paired], ours.tensors)
    parts = layouts.clash(names, ours, theirs)
    if parts is not None:
        raise PairingError(f"{parts[0]} and {parts[1]} are one tensor in different layouts; {layouts.IN_MEMORY}")
    if ours.tensors and not any(names.values()):
        hint = layouts.advice(ours, theirs)
        raise PairingError(
            "no tensor of the fine-tuned model has a counterpart in the pretrained one; names begin with "
            f"{next(iter(ours.tensors))!r} and {next(iter(theirs.tensors), 'nothing')!r}" + (hint and f"; {hint}")
        )
    for name, other in names.items():
        if other is not None:
            try:
                check_fit(name, ours.tensors[name], theirs.tensors[other])
            except PairingError as error:
                if hint := layouts.advice(ours, theirs):
                    error.add_note(hint)
                raise
    return Pairing(ours, theirs, names)


def check_fit(name: str, fine_tuned: torch.Tensor, pretrained: torch.Tensor) -> None:
    """Raise `PairingError` unless the rows of a tensor can be paired with those of its counterpart.

    They can if the shapes are equal, or differ in extra leading rows of the fine-tuned tensor alone (resized
    embeddings), and if both are floating-point or both are not.
    """
    ours, theirs = tuple(fine_tuned.shape), tuple(pretrained.shape)
    unmerged.check_gathered(name, ours, theirs)
    if fine_tuned.is_floating_point() != pretrained.is_floating_point():
        raise PairingError(
            f"{name}: fine-tuned is {fine_tuned.dtype}, pretrained is {pretrained.dtype}; integers in the place of "
            "floating-point values are codes of a quantised model, as a rule: load it as values (dequantised), save "
            "that, and give it, or give the checkpoint from before it was quantised"
        )
    longer = len(ours) == len(theirs) > 0 and ours[1:] == theirs[1:] and ours[0] > theirs[0]
    if ours != theirs and not longer:
        raise PairingError(
            f"{name}: fine-tuned is {ours}, pretrained is {theirs}; only extra leading rows can be paired"
        )
