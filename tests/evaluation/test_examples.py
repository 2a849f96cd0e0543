"""Texts and labels in all the forms they come in."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ken.errors import TrainingError
from ken.evaluation.datasets import class_numbers, columns

TEXTS, LABELS = ["one", "two", "three"], ["a", "b", "a"]
FRAME = pd.DataFrame({"sentence": TEXTS, "topic": LABELS}, index=[7, 5, 7])


@pytest.mark.parametrize(
    "given",
    [
        (TEXTS, LABELS),
        (tuple(TEXTS), iter(LABELS)),
        (np.array(TEXTS), np.array(LABELS, object)),
        (FRAME["sentence"], FRAME["topic"]),
        (FRAME["sentence"], LABELS),
        (FRAME["sentence"].astype("string"), FRAME["topic"].astype("category")),
        (FRAME, None),
    ],
)
def test_every_form_gives_the_same_two_lists(given: Any) -> None:
    lists = columns(*given, text="sentence", label="topic")
    assert lists == (TEXTS, LABELS)
    assert {type(value) for value in lists[0] + lists[1]} == {str}


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1], np.int8),
        torch.tensor([0, 1]),
        [torch.tensor(0), torch.tensor(1)],
        [np.int64(0), np.uint8(1)],
        pd.Series([0, 1], index=["x", "y"], dtype="Int64"),
        (False, True),
        [np.False_, np.True_],
    ],
)
def test_labels_become_plain_numbers(labels: Any) -> None:
    _, plain = columns(["x", "y"], labels)
    assert plain == [0, 1]
    assert {type(label) for label in plain} <= {int, bool}
    assert class_numbers(plain, 2, {}) == [0, 1]


@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT])
def test_a_missing_value_is_an_error_with_its_place(missing: Any) -> None:
    with pytest.raises(TrainingError, match=r"^text 1 is missing \("):
        columns(["one", missing, "three"], LABELS)
    with pytest.raises(TrainingError, match=r"^label 2 is missing \("):
        columns(TEXTS, ["a", "b", missing])
    frame = pd.DataFrame({"text": ["one", missing], "label": [0, 1]}, index=["x", "y"])
    with pytest.raises(TrainingError, match=r"^text 1 \(index 'y'\) is missing"):
        columns(frame, None)
    with pytest.raises(TrainingError, match=r"^label 0 \(index 'x'\) is missing"):
        columns(frame.iloc[:1].assign(label=[missing]), None)


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ([], [], r"texts must be a list of at least one text, got \[\]"),
        ("a text", [0], "texts must be a list of at least one text, got 'a text'"),
        ({"a": 1}, [0], "texts must be a list of at least one text"),
        ({"a"}, [0], "texts must be a list of at least one text"),
        (None, [0], "texts must be a list of at least one text, got None"),
        (["a"], "b", "labels must be a list of at least one label, got 'b'"),
        (["a"], 0, "labels must be a list of at least one label, got 0"),
        (["a", "b"], [0], "got 2 texts and 1 labels"),
        (["a", 5], [0, 1], "texts must be strings, but text 1 is 5"),
        ([["a"], "b"], [0, 1], r"texts must be strings, but text 0 is \['a'\]"),
        (["a"], None, "labels must be given, unless the texts come in a pandas DataFrame"),
        (FRAME, LABELS, "a table has its labels in a column"),
        (FRAME, None, "the table must have one column 'text', but has 'sentence', 'topic'"),
        (pd.DataFrame(), None, "the table must have one column 'text', but has none"),
        (pd.DataFrame([["a", "b", 0]], columns=["text", "text", "label"]), None, "must have one column 'text'"),
        (pd.DataFrame({"text": [], "label": []}), None, "at least one text"),
    ],
)
def test_what_cannot_be_used_is_an_error(texts: Any, labels: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        columns(texts, labels)


def test_names_are_looked_up_and_numbers_are_taken_as_they_are() -> None:
    known = OrderedDict([("red", 0), ("blue", 1), ((1, 2), 2)])
    assert class_numbers(["blue", 0, (1, 2), "red"], 3, known) == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3], "labels must be in 0 … 2, but label 1 is 3"),
        ([-1], "labels must be in 0 … 2, but label 0 is -1"),
        ([1.5], "label2id: 'red', 'out'; but label 0 is 1.5"),
        (["red", "green"], "labels must be integers in 0 … 2, or among the model's label2id: 'red', 'out'; .* 'green'"),
        (["out"], "labels must be in 0 … 2, but label 0 is 'out'"),
        ([["red"]], r"but label 0 is \['red'\]"),
    ],
)
def test_a_label_the_model_does_not_know_is_an_error_with_those_it_knows(labels: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        class_numbers(labels, 3, {"red": 0, "out": 7})


def test_a_long_list_of_known_labels_is_cut() -> None:
    with pytest.raises(TrainingError, match=r"'l0', .*'l19', …; but label 0 is 'x'"):
        class_numbers(["x"], 99, {f"l{i}": i for i in range(99)})
    with pytest.raises(TrainingError, match="label2id: none; but label 0 is 'x'"):
        class_numbers(["x"], 99, {})
