"""Texts and their labels, as they are given: lists or tables, classes by number or by name."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, TypeAlias

from ken.errors import TrainingError

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
                there = ", ".join(repr(column) for column in texts.columns)
                raise TrainingError(f"the table must have one column {name!r}, but has {there or 'none'}")
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


def class_numbers(labels: Sequence[Any], classes: int, known: Mapping[Any, int]) -> list[int]:
    """Each label as a class number: integers are one already, anything else is looked up among the `known` names.

    Raises:
        TrainingError: a label that is neither in 0 … classes − 1 nor known, with its place.

    >>> class_numbers(["bad", 1], 2, {"bad": 0, "good": 1})
    [0, 1]
    """
    numbers = []
    for place, label in enumerate(labels):
        try:
            number = operator.index(label)
        except TypeError:
            number = _named(place, label, classes, known)
        if not 0 <= number < classes:
            raise TrainingError(f"labels must be in 0 … {classes - 1}, but label {place} is {label!r}")
        numbers.append(number)
    return numbers


def _named(place: int, label: Any, classes: int, known: Mapping[Any, int]) -> int:
    try:
        return operator.index(known[label])
    except (KeyError, TypeError) as error:  # not there, or cannot be a key at all
        names = [repr(name) for name in known]
        listed = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        raise TrainingError(
            f"labels must be integers in 0 … {classes - 1}, or among the model's label2id: {listed or 'none'}; "
            f"but label {place} is {label!r}"
        ) from error


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
