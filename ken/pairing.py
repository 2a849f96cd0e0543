"""The pairing of two models: which tensor of one is the counterpart of which of the other, and whether they fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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

    names gives the pretrained counterpart of every fine-tuned tensor, None for those that have none.
    """

    fine_tuned: Checkpoint
    pretrained: Checkpoint
    names: Mapping[str, str | None]

    def row_shape(self, name: str) -> tuple[int, int]:
        """(rows, row length) of a fine-tuned tensor."""
        return row_shape(self.fine_tuned.tensors[name].shape)

    def rows(self, name: str, wanted: slice | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows of a tensor and of its counterpart, each (rows, n) float64 on the CPU; all rows if none are named.

        Where there is no pretrained value (a new head, rows added to an embedding) it is NaN.
        """
        wanted = slice(None) if wanted is None else wanted
        tensor = self.fine_tuned.tensors[name]
        shape = row_shape(tensor.shape)
        ours = _float64(tensor.reshape(shape)[wanted])
        other = self.names[name]
        if other is None:
            return ours, np.full(ours.shape, np.nan)
        counterpart = self.pretrained.tensors[other]
        if counterpart.shape == tensor.shape:
            return ours, _float64(counterpart.reshape(shape)[wanted])
        theirs = np.full(shape, np.nan).reshape(-1)
        theirs[: counterpart.numel()] = _float64(counterpart.reshape(-1))
        return ours, theirs.reshape(shape)[wanted]


def _float64(tensor: torch.Tensor) -> NDArray[np.float64]:
    import torch

    return tensor.to(device="cpu", dtype=torch.float64).numpy()


def open_pair(fine_tuned: Source, pretrained: Source) -> Pairing:
    """Read two sources and pair their tensors.

    Raises `PairingError` if no tensor at all has a counterpart, or if shapes or kinds of dtype do not fit.

    >>> import torch
    >>> opened = open_pair({"a": torch.ones(2, 3)}, {"a": torch.zeros(2, 3)})
    >>> opened.rows("a", slice(0, 1))
    (array([[1., 1., 1.]]), array([[0., 0., 0.]]))
    """
    ours, theirs = read(fine_tuned), read(pretrained)
    names = match(ours.tensors, theirs.tensors, (ours.prefix, theirs.prefix))
    if ours.tensors and not any(names.values()):
        raise PairingError(
            "no tensor of the fine-tuned model has a counterpart in the pretrained one; names begin with "
            f"{next(iter(ours.tensors))!r} and {next(iter(theirs.tensors), 'nothing')!r}"
        )
    for name, other in names.items():
        if other is not None:
            check_fit(name, ours.tensors[name], theirs.tensors[other])
    return Pairing(ours, theirs, names)


def check_fit(name: str, fine_tuned: torch.Tensor, pretrained: torch.Tensor) -> None:
    """Raise `PairingError` unless the rows of a tensor can be paired with those of its counterpart.

    They can if the shapes are equal, or differ in extra leading rows of the fine-tuned tensor alone (resized
    embeddings), and if both are floating-point or both are not.
    """
    ours, theirs = tuple(fine_tuned.shape), tuple(pretrained.shape)
    longer = len(ours) == len(theirs) > 0 and ours[1:] == theirs[1:] and ours[0] > theirs[0]
    if ours != theirs and not longer:
        raise PairingError(
            f"{name}: fine-tuned is {ours}, pretrained is {theirs}; only extra leading rows can be paired"
        )
    if fine_tuned.is_floating_point() != pretrained.is_floating_point():
        raise PairingError(f"{name}: fine-tuned is {fine_tuned.dtype}, pretrained is {pretrained.dtype}")
