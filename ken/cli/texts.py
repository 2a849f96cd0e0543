"""Texts for evaluations, read from the files that the command line names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import KenError

if TYPE_CHECKING:
    import pandas as pd


def labelled(path: Path, text_column: str, label_column: str, *, model: Any) -> tuple[list[str], list[int]]:
    """The texts of a CSV file and their labels as the model numbers them.

    Raises:
        KenError: It is no such file, or has a label that the model does not know.
    """
    table = _table(path, (text_column, label_column))
    numbers = {str(number): number for number in range(model.config.num_labels)}
    numbers |= {str(name): int(number) for name, number in (model.config.label2id or {}).items()}
    labels = []
    for line, label in enumerate(table[label_column]):
        if label not in numbers:
            known = sorted(numbers, key=numbers.__getitem__)[:50]
            raise KenError(f"{path}: label {line + 1} is {label!r}; the model knows {', '.join(map(repr, known))}")
        labels.append(numbers[label])
    return table[text_column].tolist(), labels


def alone(path: Path, text_column: str) -> list[str]:
    """The texts of a CSV file or, of a file that is called otherwise, its lines; empty lines are none.

    Raises:
        KenError: There is no text, or it is not UTF-8.
    """
    if path.suffix.lower() == ".csv":
        texts: list[str] = _table(path, (text_column,))[text_column].tolist()
        return texts
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # `splitlines` also cuts within lines, at U+2028
    except UnicodeDecodeError as error:
        raise KenError(f"{path} cannot be read as text in UTF-8: {error}") from error
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise KenError(f"{path} has no texts")
    return texts


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except ValueError as error:  # also of a file that is no text, or is empty
        raise KenError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    for column in columns:
        if column not in table:
            raise KenError(f"{path} has no column {column!r}; it has {', '.join(map(repr, table.columns))}")
    if not len(table):
        raise KenError(f"{path} has no texts")
    return table
