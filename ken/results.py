"""A file of results that only grows: what was evaluated once is never evaluated again.

JSON Lines, UTF-8. The first line says what all the others are about, each further line is one evaluation of one model:

    {"format": "ken results", "version": 1, "ken": "0.1.0", "fine_tuned": "<fingerprint>", "pretrained": ..., ...}
    {"model": "pruned", "rule": "ken", "on": "weights", "k": 0.5, ..., "metric": 0.71, "outcomes": {"count": 2000, ...}}

A line is on the disk before the next model is evaluated. Whoever is killed while writing one leaves a line without an
end, which the next reader passes over and the next writer removes. Numbers come back bit for bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ken import __version__
from ken.errors import ResultsError
from ken.storage.result_lines import FORMAT, VERSION, Line, Outcomes, Part, append, encoded, growing, whole_lines

if TYPE_CHECKING:
    import pandas as pd

#: The columns of every table of results, before those of further metrics.
COLUMNS = [
    *("model", "rule", "on", "k", "seed", "repeat", "scope"),
    *("retained", "entries", "share", "metric", "standard_error"),
]


class Key(NamedTuple):
    """What was evaluated.

    Attributes:
        model: "fine-tuned", "pretrained" (with all that is carried) or "pruned"; the first two have no rule and no k.
        rule: As `ken.prune` takes it, and so the next three.
        on: Empty for a rule to which it makes no difference.
        k: Entries or share of a row, or a mapping from name pattern to either; None for the two models.
        seed: -1 for a rule that does not draw.
        repeat: Counts evaluations of the same model, from 0.
        scope: As in `ken.prune`; "row" for the two models, too.

    Example:
        >>> Key("pruned", "ken", "weights", k=0.5).text
        '["pruned", "ken", "weights", 0.5, -1, 0]'
    """

    model: str
    rule: str = ""
    on: str = ""
    k: int | float | Mapping[str, int | float] | None = None
    seed: int = -1
    repeat: int = 0
    scope: str = "row"

    @property
    def text(self) -> str:
        """The key as one text, which tells 1 from 1.0 and heeds the order of patterns."""
        # As it was before there were scopes, where rows share nothing.
        return json.dumps(self[:-1] if self.scope == "row" else self)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One evaluation: what it was of, how much that retained, and what came out.

    Attributes:
        key: What was evaluated.
        retained: How many entries of the pruned tensors that model retains.
        entries: How many there are.
        metric: The number that the evaluation gave.
        standard_error: That of the metric, NaN if unknown.
        metrics: Further numbers by name.
        outcomes: (items,) bool, one an evaluated item, or None.

    Example:
        >>> Record(Key("pruned", "ken", "weights", k=0.5), retained=5, entries=10, metric=0.7).share
        0.5
    """

    key: Key
    retained: int
    entries: int
    metric: float
    standard_error: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)
    outcomes: NDArray[np.bool_] | None = None

    @property
    def share(self) -> float:
        """retained / entries; NaN for a model without entries."""
        return self.retained / self.entries if self.entries else math.nan

    @property
    def by_outcomes(self) -> bool:
        """Whether there are outcomes, and the metric is their mean: then two models can be compared item by item."""
        return self.outcomes is not None and math.isclose(self.metric, self.outcomes.mean(), abs_tol=1e-9)


class About(Part):
    """What all results of a file have in common.

    Attributes:
        fine_tuned: Fingerprint of the fine-tuned model.
        pretrained: Fingerprint of the pretrained one.
        exclude: Patterns of the tensors that were carried whole, sorted.
        bandwidth: As in `ken.prune`.
        kernel: As in `ken.prune`.
        evaluation: The user's own name for it.
        ken: The version that began the file; it may be another than the one that goes on with it.

    Example:
        >>> about = About(fine_tuned="a", pretrained="b", evaluation="texts")
        >>> about.kernel, about.line().endswith(b"\\n")
        ('gaussian', True)
    """

    fine_tuned: str
    pretrained: str
    exclude: tuple[str, ...] = ()
    bandwidth: str | float = "normal reference"
    kernel: str = "gaussian"
    evaluation: str = ""
    ken: str = __version__

    def line(self) -> bytes:
        """The first line of a file, with its end."""
        return encoded({"format": FORMAT, "version": VERSION, **self.model_dump()})


def _check_same(asked: About, kept: About, path: Path) -> None:
    words = {side: f"{side.replace('_', '-')} model, with the fingerprint" for side in ("fine_tuned", "pretrained")}
    for name in ("fine_tuned", "pretrained", "exclude", "bandwidth", "kernel", "evaluation"):
        wanted, other = getattr(asked, name), getattr(kept, name)
        if wanted != other:
            raise ResultsError(
                f"{path} has results of another {words.get(name, f'{name},')} {other!r} instead of {wanted!r}; "
                "give another file"
            )


class Results:
    """Records by key, in memory and, if there is one, in a file; `collecting` makes one.

    Args:
        records: Those there are, by the text of their key.
        file: Descriptor of an open file that new ones are appended to, or None.

    Example:
        >>> results = Results({})
        >>> results.add(Record(Key("fine-tuned"), 10, 10, metric=0.7))
        >>> results.get(Key("fine-tuned")).metric, results.get(Key("pretrained"))
        (0.7, None)
    """

    def __init__(self, records: Mapping[str, Record], file: int | None = None) -> None:
        self._records = dict(records)
        self._file = file

    def get(self, key: Key) -> Record | None:
        """The record of a key.

        Args:
            key: What was evaluated.

        Returns:
            Its record, None if there is none yet.
        """
        return self._records.get(key.text)

    def add(self, record: Record) -> None:
        """Take a new record. It is on the disk when this returns.

        Args:
            record: What was evaluated, and what came out.

        Raises:
            OSError: The disk refuses; the file is as it was.
        """
        line = encoded(_line(record).model_dump())
        if self._file is not None:
            append(self._file, line)
        self._records[record.key.text] = record


@contextmanager
def collecting(path: str | Path | None, about: About) -> Iterator[Results]:
    """A block in which results are added to those of a file, which is made if it is not there.

    Args:
        path: The file; None: results are kept in memory alone.
        about: What the results are about.

    Yields:
        The results, those of the file among them.

    Raises:
        ResultsError: The file is about anything else, is damaged or no file of results, or another process has it open
            for the same; it is as it was.
        OSError: The disk refuses.

    Example:
        >>> import tempfile
        >>> about = About(fine_tuned="a", pretrained="b")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for metric in (0.7, 0.8):
        ...         with collecting(Path(folder) / "r.jsonl", about) as results:
        ...             if results.get(Key("fine-tuned")) is None:
        ...                 results.add(Record(Key("fine-tuned"), 10, 10, metric))
        ...     read(Path(folder) / "r.jsonl")["metric"].tolist()
        [0.7]
    """
    if path is None:
        yield Results({})
        return
    place = Path(path)

    def parsed(content: bytes) -> tuple[list[Record], int]:
        kept, records, end = _parsed(content, place)
        _check_same(about, kept, place)
        return records, end

    with growing(place, about.line(), parsed) as (records, file):
        yield Results({record.key.text: record for record in records or ()}, file)


def read(path: str | Path) -> pd.DataFrame:
    """All results of a file, one line each, in the order in which they were added. A sweep may be writing to it.

    Args:
        path: The file.

    Returns:
        Columns: those of `ken.sweep`, without the differences; repeat, which counts evaluations of the same model; then
        the further metrics, by name; and outcomes: a (items,) bool array, such as which texts were labelled correctly,
        or None. Items are the same, in the same order, in all lines, so that two models can be compared item by item.

    Raises:
        ResultsError: It is no file of results, or damaged.
        OSError: It is not there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with collecting(Path(folder) / "r.jsonl", About(fine_tuned="a", pretrained="b")) as results:
        ...         results.add(Record(Key("fine-tuned"), 10, 10, metric=0.7, outcomes=np.array([True, False])))
        ...     read(Path(folder) / "r.jsonl")[["model", "metric", "outcomes"]].values.tolist()
        [['fine-tuned', 0.7, array([ True, False])]]
    """
    import pandas as pd

    lines = records(path)
    table = frame(lines)
    table["outcomes"] = pd.Series([record.outcomes for record in lines], index=table.index, dtype=object)
    return table


def records(path: str | Path) -> list[Record]:
    """All results of a file, as `read` makes a table of them.

    Args:
        path: The file.

    Returns:
        The records, in the order in which they were added.

    Example:
        >>> import tempfile
        >>> about = About(fine_tuned="a", pretrained="b")
        >>> with tempfile.TemporaryDirectory() as folder, collecting(Path(folder) / "r.jsonl", about) as results:
        ...     results.add(Record(Key("fine-tuned"), 10, 10, metric=0.7))
        ...     records(Path(folder) / "r.jsonl")[0].metric
        0.7
    """
    path = Path(path)
    return list(_parsed(path.read_bytes(), path)[1])


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """Records as a table.

    Args:
        records: Any records.

    Returns:
        One line each: `COLUMNS`, then a column for every further metric.

    Example:
        >>> frame([Record(Key("fine-tuned"), 10, 10, 0.7, metrics={"f1": 0.6})])[["share", "f1"]].values.tolist()
        [[1.0, 0.6]]
    """
    import pandas as pd

    records = list(records)
    names = list(dict.fromkeys(name for record in records for name in record.metrics))
    lines = [
        (
            *(record.key if record.key.model == "pruned" else record.key._replace(scope="")),
            *(record.retained, record.entries, record.share, record.metric, record.standard_error),
            *(record.metrics.get(name, math.nan) for name in names),
        )
        for record in records
    ]
    table = pd.DataFrame(lines, columns=[*COLUMNS, *names])
    # pandas makes shares of whole numbers where both occur: 1 entry would become 1.0, all of them.
    ks = [math.nan if record.key.k is None else record.key.k for record in records]
    shares = all(isinstance(k, float) for k in ks)
    table["k"] = pd.Series(ks, index=table.index, dtype=float if shares else object)
    return table


def _line(record: Record) -> Line:
    key, k = record.key._asdict(), record.key.k
    key["k"] = dict(k) if isinstance(k, Mapping) else k
    numbers = {name: getattr(record, name) for name in ("retained", "entries", "metric", "standard_error")}
    outcomes = None if record.outcomes is None else Outcomes.packed(record.outcomes)
    return Line(**key, **numbers, metrics=dict(record.metrics), outcomes=outcomes)


def _record(line: Line) -> Record:
    values = dict(line)
    key = Key(**{name: values.pop(name) for name in Key._fields})
    values["outcomes"] = None if line.outcomes is None else line.outcomes.unpacked()
    return Record(key, **values)


def _parsed(content: bytes, path: Path) -> tuple[About, list[Record], int]:
    """What a file is about, its records, and where its last whole line ends."""
    lines, end = whole_lines(content, path)
    number, records = 1, []
    try:
        about = About.model_validate_json(lines[0])
        for line in lines[1:]:
            number += 1
            records.append(_record(Line.model_validate_json(line)))
    except ValueError as error:
        why = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise ResultsError(f"{path} is damaged in line {number}: {why}; it is left as it is") from None
    return about, records, end
