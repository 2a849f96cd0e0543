"""Metrics against their definitions written out, and against scikit-learn."""

import copy
import math
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from ken.errors import TrainingError
from ken.evaluation.classification import Evaluation


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Labels, predictions and the number of classes, not all of which need occur."""
    classes = draw(st.integers(2, 6))
    pairs = draw(st.lists(st.tuples(*[st.integers(0, classes - 1)] * 2), min_size=1, max_size=40))
    return [right for right, _ in pairs], [said for _, said in pairs], classes


def f1(labels: list[int], predicted: list[int], label: int) -> float:
    pairs = list(zip(labels, predicted, strict=True))
    true_positives = sum(right == label and said == label for right, said in pairs)
    false_positives = sum(right != label and said == label for right, said in pairs)
    false_negatives = sum(right == label and said != label for right, said in pairs)
    return 2 * true_positives / (2 * true_positives + false_positives + false_negatives)


@given(answers())
def test_metrics_are_those_of_the_definitions_and_of_scikit_learn(given: Any) -> None:
    labels, predicted, classes = given
    evaluation = Evaluation.of(labels, predicted, classes)
    assert evaluation.n == len(labels)
    assert evaluation.outcomes.tolist() == [right == said for right, said in zip(labels, predicted, strict=True)]
    assert evaluation.correct == sum(evaluation.outcomes)
    assert float(evaluation) == evaluation.accuracy == metrics.accuracy_score(labels, predicted)
    assert evaluation.confusion.tolist() == metrics.confusion_matrix(labels, predicted, labels=range(classes)).tolist()
    occurring = sorted({*labels, *predicted})
    by_definition = sum(f1(labels, predicted, label) for label in occurring) / len(occurring)
    assert math.isclose(evaluation.macro_f1, by_definition, rel_tol=1e-12, abs_tol=1e-15)
    assert math.isclose(evaluation.macro_f1, metrics.f1_score(labels, predicted, average="macro", zero_division=0))
    assert evaluation.metrics == {"macro_f1": evaluation.macro_f1}
    assert math.isclose(evaluation.standard_error, evaluation.outcomes.std() / math.sqrt(evaluation.n), abs_tol=1e-12)


@given(answers(), answers())
def test_equal_if_every_text_fared_alike(first: Any, second: Any) -> None:
    a, b, again = Evaluation.of(*first), Evaluation.of(*second), Evaluation.of(*first)
    assert a == again == copy.deepcopy(a) == pickle.loads(pickle.dumps(a))  # noqa: S301 (our own)
    assert hash(a) == hash(again)
    same = a.confusion.tolist() == b.confusion.tolist() and a.outcomes.tolist() == b.outcomes.tolist()
    assert (a == b) is same
    assert len({a, again, b}) == 2 - same


def test_it_equals_nothing_else() -> None:
    assert Evaluation.of([0], [0], 2) != 1.0
    assert Evaluation.of([0, 0], [0, 1], 2) != Evaluation.of([0, 0], [1, 0], 2)
    assert Evaluation.of([0], [0], 2) != Evaluation.of([0], [0], 3)


def test_it_reads_as_percent_with_its_standard_error() -> None:
    right = np.zeros(2000, int)
    evaluation = Evaluation.of(right, (np.arange(2000) >= 1424).astype(int), 2)
    assert str(evaluation) == "71.2 % ± 1.0 (2000 texts)"
    assert repr(evaluation) == "Evaluation(71.2 % ± 1.0 (2000 texts))"
    assert str(Evaluation.of([1] * 7, [1] * 7, 2)) == "100.0 % ± 0.0 (7 texts)"


def test_its_arrays_cannot_be_changed_not_even_by_those_it_was_made_of() -> None:
    confusion, outcomes = np.array([[1, 1], [0, 1]], np.int32), np.array([True, False, True])
    evaluation = Evaluation(confusion, outcomes)
    confusion[0, 0], outcomes[0] = 7, False
    assert evaluation == Evaluation.of([0, 0, 1], [0, 1, 1], 2)
    assert evaluation.confusion.dtype == np.int64
    for array in (evaluation.confusion, evaluation.outcomes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    table = evaluation.table()
    table.loc[0, 0] = 9
    assert evaluation.confusion[0, 0] == 1


def test_the_table_has_labels_down_and_predictions_across() -> None:
    evaluation = Evaluation.of([0, 0, 1], [0, 1, 1], 2)
    table = evaluation.table(["red", "blue"])
    assert table.loc["red", "blue"] == 1
    assert table.loc["blue", "red"] == 0
    assert (table.index.name, table.columns.name) == ("label", "predicted")
    assert isinstance(evaluation.table(), pd.DataFrame)
    assert evaluation.table().index.tolist() == evaluation.table().columns.tolist() == [0, 1]
    with pytest.raises(TrainingError, match="names must be of 2 classes, got 3"):
        evaluation.table(["a", "b", "c"])


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([], [], r"labels must be one or more integers, got \(0,\)"),
        ([0, 1], [0], "got 2 labels and 1 predictions"),
        ([0, 2], [0, 0], "labels must be in 0 … 1, but label 1 is 2"),
        ([0, 1], [0, -1], "predictions must be in 0 … 1, but prediction 1 is -1"),
        ([0.0, 1.0], [0, 1], "labels must be one or more integers, got .* of float64"),
        ([[0], [1]], [0, 1], r"labels must be one or more integers, got \(2, 1\)"),
    ],
)
def test_impossible_answers_are_errors(labels: Any, predicted: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        Evaluation.of(labels, predicted, 2)


@pytest.mark.parametrize(
    ("confusion", "outcomes", "message"),
    [
        ([[1, 0]], [True], r"square of integers, got \(1, 2\)"),
        ([[1.0]], [True], "square of integers, got .* float64"),
        ([[1]], [1], "outcomes must be one or more booleans, got .* int64"),
        ([[0]], [], "outcomes must be one or more booleans"),
        (
            [[1, 0], [0, 0]],
            [False],
            "counts 1 texts, 1 of them correct, but outcomes are of 1 texts, 0 of them correct",
        ),
        ([[2, 0], [0, 0]], [True], "counts 2 texts, 2 of them correct, but outcomes are of 1 texts"),
        ([[1, 1], [-1, 0]], [True], "counts 1 texts"),
    ],
)
def test_arrays_that_contradict_each_other_are_errors(confusion: Any, outcomes: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        Evaluation(confusion, outcomes)
