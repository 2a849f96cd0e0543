"""Hold texts out: a part to train on and a part to measure with, each class in both as in the whole."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import TrainingError
from ken.evaluation.datasets import Labels, Texts, columns
from ken.models.scalars import LARGEST_OF_TRAINING, checked_seed


def split(
    texts: Texts, labels: Labels = None, share: float = 0.2, seed: int = 0, *, text: str = "text", label: str = "label"
) -> tuple[Any, Any]:
    """Two parts of the texts, to train on and to hold out, as `stratified` says; each keeps its order.

    From a `pandas.DataFrame` (its columns named by `text` and `label`) come two frames, their index kept; from texts
    and labels two pairs (texts, labels) of lists. Either part is what `ken.training.fine_tune` and `evaluate` take.
    A text that is there twice may end up in both: drop duplicates before.

    >>> (texts, labels), (held_out, _) = split(["a", "b", "c", "d"], ["x", "x", "y", "y"], share=0.5)
    >>> labels, sorted(texts + held_out)
    (['x', 'y'], ['a', 'b', 'c', 'd'])

    Raises:
        TrainingError: as `stratified`, or texts and labels that cannot be used.
    """
    text_list, label_list = columns(texts, labels, text, label)
    parts = stratified(label_list, share, seed)
    if hasattr(texts, "iloc") and labels is None:
        return texts.iloc[parts[0]], texts.iloc[parts[1]]
    first, second = (([text_list[i] for i in part], [label_list[i] for i in part]) for part in parts)
    return first, second


def stratified(labels: Sequence[Hashable], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions to train on and positions to hold out, both rising: drawn at random, class by class.

    Of a class of n texts, `share` · n are held out, rounded up or down so that the whole comes as near to `share` of
    all as it can, but never the last one. The same labels, share and seed give the same split.

    Raises:
        TrainingError: a share that is not between 0 and 1, or one that holds nothing out; a label that is no class; a
            seed that is none.

    >>> train, held_out = stratified(["x", "y"] * 5, share=0.2, seed=0)
    >>> len(train), sorted(held_out % 2)
    (8, [np.int64(0), np.int64(1)])
    """
    seed = checked_seed(seed, 0, LARGEST_OF_TRAINING, TrainingError)
    if not 0 < share < 1:
        raise TrainingError(f"share must be between 0 and 1, got {share}")
    places: dict[Hashable, list[int]] = {}
    for place, label in enumerate(labels):
        try:
            places.setdefault(label, []).append(place)
        except TypeError as error:
            raise TrainingError(f"labels must be hashable, but label {place} is {label!r}") from error
    sizes = _held_out([len(found) for found in places.values()], share)
    if sum(sizes) == 0:
        counts = f"{len(labels)} texts in {len(places)} classes"
        raise TrainingError(f"share must be large enough to hold out one text, got {share} of {counts}")
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(found)[:size] for found, size in zip(places.values(), sizes, strict=True)]
    held_out = np.zeros(len(labels), bool)
    held_out[np.concatenate(drawn)] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _held_out(sizes: Sequence[int], share: float) -> list[int]:
    """How many of each class: by largest remainder, and one of each class left to train on."""
    wanted = [share * size for size in sizes]
    counts = [math.floor(each) for each in wanted]
    missing = round(share * sum(sizes)) - sum(counts)
    by_remainder = sorted(range(len(sizes)), key=lambda i: counts[i] - wanted[i])  # the first of equal ones first
    with_room = [i for i in by_remainder if counts[i] < wanted[i] and counts[i] < sizes[i] - 1]
    for i in with_room[: max(missing, 0)]:
        counts[i] += 1
    return counts
