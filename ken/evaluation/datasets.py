"""Texts and their labels: lists or tables, classes by number or by name; and texts held out, class by class."""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken.errors import TrainingError
from ken.models.scalars import LARGEST_OF_TRAINING, checked_seed

if TYPE_CHECKING:
    import pandas as pd

Texts: TypeAlias = "Iterable[str] | pd.DataFrame"
Labels: TypeAlias = "Iterable[Any] | None"

_MOST_NAMES = 20


def columns(texts: Texts, labels: Labels, text: str = "text", label: str = "label") -> tuple[list[str], list[Any]]:
    """Texts and labels as two lists of one length, whatever they came in.

    A table (`pandas.DataFrame`) has both, in the columns named `text` and `label`; then `labels` must be left out.
    Lists, series and arrays are paired by position: the index of a series is not looked at, but named in errors.
    Labels become plain Python values.

    Raises:
        TrainingError: no texts, a column that is not there, texts and labels of unequal number, a text that is no
            string, or a missing value (None, NaN), with its place.

    >>> import pandas as pd
    >>> columns(pd.DataFrame({"text": ["so good", "so bad"], "label": ["+", "-"]}), None)
    (['so good', 'so bad'], ['+', '-'])
    """
    import pandas as pd

    if isinstance(texts, pd.DataFrame):
        if labels is not None:
            raise TrainingError("a table has its labels in a column: name it with label=, and give no labels besides")
        for name in (text, label):
            if list(texts.columns).count(name) != 1:
                names = ", ".join(repr(column) for column in texts.columns)
                raise TrainingError(f"the table must have one column {name!r}, but has {names or 'none'}")
        texts, labels = texts[text], texts[label]
    elif labels is None:
        raise TrainingError("labels must be given, unless the texts come in a pandas DataFrame")
    text_list, label_list = _listed("texts", texts), _listed("labels", labels)
    if not text_list:
        raise TrainingError(f"texts must be a list of at least one text, got {texts!r}")
    if len(text_list) != len(label_list):
        raise TrainingError(f"each text needs one label, got {len(text_list)} texts and {len(label_list)} labels")
    for kind, given, values in (("text", texts, text_list), ("label", labels, label_list)):
        for place, value in enumerate(values):
            if pd.api.types.is_scalar(value) and pd.isna(value):
                raise TrainingError(f"{kind} {place}{_in_index(given, place)} is missing ({value!r})")
            if kind == "text" and not isinstance(value, str):
                raise TrainingError(f"texts must be strings, but text {place}{_in_index(given, place)} is {value!r}")
    return text_list, label_list


def class_numbers(labels: Sequence[Any], classes: int, by_name: Mapping[Any, int]) -> list[int]:
    """Each label as a class number: integers are one already, anything else is looked up by its name.

    Raises:
        TrainingError: a label that is neither in 0 … classes − 1 nor a name, with its place.

    >>> class_numbers(["bad", 1], 2, {"bad": 0, "good": 1})
    [0, 1]
    """
    numbers = []
    for place, label in enumerate(labels):
        try:
            number = operator.index(label)
        except TypeError:
            try:
                number = operator.index(by_name[label])
            except (KeyError, TypeError) as error:  # not there, or cannot be a key at all
                names = [repr(name) for name in by_name]
                listed = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
                raise TrainingError(
                    f"labels must be integers in 0 … {classes - 1}, or among the model's label2id: "
                    f"{listed or 'none'}; but label {place} is {label!r}"
                ) from error
        if not 0 <= number < classes:
            raise TrainingError(f"labels must be in 0 … {classes - 1}, but label {place} is {label!r}")
        numbers.append(number)
    return numbers


def split(
    texts: Texts, labels: Labels = None, share: float = 0.2, seed: int = 0, *, text: str = "text", label: str = "label"
) -> tuple[Any, Any]:
    """Two parts of the texts, to train on and to hold out: drawn at random, class by class; each keeps its order.

    Of a class of n texts, `share` · n are held out, rounded up or down so that the whole comes as near to `share` of
    all as it can, but never the last one. The same labels, share and seed give the same split. A text that is there
    twice may end up in both parts: drop duplicates before.

    Args:
        texts: A list, series or array of texts; or a `pandas.DataFrame`, of which `text` and `label` name the columns.
        labels: As many, paired by position; None with a frame.
        share: Of the texts that are held out, between 0 and 1.
        seed: From 0 to 2³² − 1.
        text: Column of the texts.
        label: Column of the labels.

    Returns:
        Of a frame two frames, their index kept; else two pairs (texts, labels) of lists. Either part is what
        `ken.training.fine_tune` and `evaluate` take.

    Raises:
        TrainingError: a share that is not between 0 and 1, or one that holds nothing out; a label that is no class; a
            seed that is none; or texts and labels that cannot be used.

    Example:
        >>> (texts, labels), (held_out, _) = split(["a", "b", "c", "d"], ["x", "x", "y", "y"], share=0.5)
        >>> labels, sorted(texts + held_out)
        (['x', 'y'], ['a', 'b', 'c', 'd'])
    """
    text_list, label_list = columns(texts, labels, text, label=label)
    parts = stratified(label_list, share, seed)
    if hasattr(texts, "iloc") and labels is None:
        return texts.iloc[parts[0]], texts.iloc[parts[1]]
    first, second = (([text_list[i] for i in part], [label_list[i] for i in part]) for part in parts)
    return first, second


def stratified(labels: Sequence[Hashable], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions to train on and positions to hold out, both rising, as `split` draws them.

    >>> train, held_out = stratified(["x", "y"] * 5, share=0.2, seed=0)
    >>> len(train), sorted(held_out % 2)
    (8, [np.int64(0), np.int64(1)])
    """
    seed = checked_seed(seed, 0, LARGEST_OF_TRAINING, error=TrainingError)
    if not 0 < share < 1:
        raise TrainingError(f"share must be between 0 and 1, got {share}")
    places: dict[Hashable, list[int]] = {}
    for place, label in enumerate(labels):
        try:
            places.setdefault(label, []).append(place)
        except TypeError as error:
            raise TrainingError(f"labels must be hashable, but label {place} is {label!r}") from error
    sizes = _held_out([len(members) for members in places.values()], share)
    if sum(sizes) == 0:
        counts = f"{len(labels)} texts in {len(places)} classes"
        raise TrainingError(f"share must be large enough to hold out one text, got {share} of {counts}")
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(members)[:size] for members, size in zip(places.values(), sizes, strict=True)]
    held_out = np.zeros(len(labels), bool)
    held_out[np.concatenate(drawn)] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise TrainingError(f"{name} must be a list of at least one {name[:-1]}, got {values!r}")
    whole = values.tolist() if hasattr(values, "tolist") else list(values)  # arrays, tensors and series are quicker so
    return [value.item() if getattr(value, "ndim", None) == 0 else value for value in whole]


def _in_index(given: Any, place: int) -> str:
    """What a series calls the place, if it calls it otherwise."""
    import pandas as pd

    if isinstance(given, pd.Series) and given.index[place] != place:
        return f" (index {given.index[place]!r})"
    return ""


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
