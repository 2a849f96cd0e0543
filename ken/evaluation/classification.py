"""How well a classifier did: which texts it got right, and what it took them for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ken.errors import TrainingError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Evaluation:
    """What a classifier said of n texts, beside what is right. Equal to another if every text fared alike.

    As a number (`float`) it is the accuracy, so that an evaluation can stand wherever a metric is wanted.

    Attributes:
        confusion: (classes, classes) int64: texts by their label (row) and by what was predicted (column).
        outcomes: (texts,) bool: whether each was labelled correctly, in the order in which they were given.

    Example:
        >>> evaluation = Evaluation.of(labels=[0, 0, 1, 2], predicted=[0, 1, 1, 1], classes=3)
        >>> print(evaluation)
        50.0 % ± 25.0 (4 texts)
        >>> float(evaluation), evaluation.outcomes.tolist()
        (0.5, [True, False, True, False])
        >>> evaluation.table(["red", "green", "blue"])
        predicted  red  green  blue
        label
        red          1      1     0
        green        0      1     0
        blue         0      1     0
    """

    confusion: NDArray[np.int64]
    outcomes: NDArray[np.bool_]

    def __post_init__(self) -> None:
        confusion, outcomes = np.array(self.confusion), np.array(self.outcomes)
        if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or confusion.dtype.kind not in "iu":
            raise TrainingError(f"confusion must be a square of integers, got {confusion.shape} of {confusion.dtype}")
        if outcomes.ndim != 1 or outcomes.dtype != bool or outcomes.size < 1:
            raise TrainingError(f"outcomes must be one or more booleans, got {outcomes.shape} of {outcomes.dtype}")
        counted, given = (int(confusion.sum()), int(np.trace(confusion))), (outcomes.size, int(outcomes.sum()))
        if confusion.min() < 0 or counted != given:
            both = "{} texts, {} of them correct".format
            raise TrainingError(f"confusion counts {both(*counted)}, but outcomes are of {both(*given)}")
        for name, array in (("confusion", confusion.astype(np.int64)), ("outcomes", outcomes)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @classmethod
    def of(cls, labels: ArrayLike, predicted: ArrayLike, classes: int) -> Evaluation:
        """From the right and the predicted class of each text.

        Args:
            labels: (texts,) integers in 0 … classes − 1.
            predicted: The same.
            classes: How many there are.

        Returns:
            The evaluation.

        Raises:
            TrainingError: no texts, unequal numbers of them, or a class out of range.
        """
        right, answers = _classes("label", labels, classes), _classes("prediction", predicted, classes)
        if right.size != answers.size:
            raise TrainingError(
                f"each text needs one prediction, got {right.size} labels and {answers.size} predictions"
            )
        counts = np.bincount(right * classes + answers, minlength=classes * classes)
        return cls(counts.reshape(classes, classes), right == answers)

    @property
    def n(self) -> int:
        """How many texts."""
        return self.outcomes.size

    @property
    def correct(self) -> int:
        """How many of them were labelled correctly."""
        return int(self.outcomes.sum())

    @property
    def accuracy(self) -> float:
        """Share of correct labels, 0 to 1."""
        return self.correct / self.n

    @property
    def standard_error(self) -> float:
        """sqrt(p (1 - p) / n), of the accuracy p: the spread from another draw of texts, not of training."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.n)

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur among labels or predictions, 0 to 1.

        F1 = 2 TP / (2 TP + FP + FN) of each class, its true positives, false positives and false negatives counted.
        """
        twice = 2 * self.confusion.diagonal()
        occurs = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)  # 2 TP + FP + FN
        return float(np.mean(twice[occurs > 0] / occurs[occurs > 0]))

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric besides the accuracy, by name."""
        return {"macro_f1": self.macro_f1}

    def table(self, names: Sequence[Any] | None = None) -> pd.DataFrame:
        """The confusion as a table.

        Args:
            names: Those of the classes; None: their numbers.

        Returns:
            Labels down and predictions across.
        """
        import pandas as pd

        names = range(len(self.confusion)) if names is None else list(names)
        if len(names) != len(self.confusion):
            raise TrainingError(f"names must be of {len(self.confusion)} classes, got {len(names)}")
        return pd.DataFrame(
            self.confusion.copy(), pd.Index(names, name="label"), pd.Index(names, name="predicted"), dtype=np.int64
        )

    def __float__(self) -> float:
        return self.accuracy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Evaluation):
            return NotImplemented
        return np.array_equal(self.confusion, other.confusion) and np.array_equal(self.outcomes, other.outcomes)

    def __hash__(self) -> int:
        return hash((self.confusion.tobytes(), self.outcomes.tobytes()))

    def __str__(self) -> str:
        return f"{100 * self.accuracy:.1f} % ± {100 * self.standard_error:.1f} ({self.n} texts)"

    def __repr__(self) -> str:
        return f"Evaluation({self})"


def _classes(name: str, values: ArrayLike, classes: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size < 1 or array.dtype.kind not in "iu":
        raise TrainingError(f"{name}s must be one or more integers, got {array.shape} of {array.dtype}")
    wrong = np.flatnonzero((array < 0) | (array >= classes))
    if wrong.size:
        raise TrainingError(f"{name}s must be in 0 … {classes - 1}, but {name} {wrong[0]} is {array[wrong[0]]}")
    return array.astype(np.int64)
