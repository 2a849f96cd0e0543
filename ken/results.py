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
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from ken import __version__
from ken.errors import ResultsError

try:
    import fcntl
except ImportError:  # Windows: nothing there keeps two writers apart
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import pandas as pd

FORMAT, VERSION = "ken results", 1
#: The columns of every table of results, before those of further metrics.
COLUMNS = ["model", "rule", "on", "k", "seed", "repeat", "retained", "entries", "share", "metric", "standard_error"]


class Key(NamedTuple):
    """What was evaluated.

    model is "fine-tuned", "pretrained" (with all that is carried) or "pruned"; the first two have no rule and no k.
    rule, on, k and seed are those of `ken.prune`; on is empty for a rule to which it makes no difference, and seed -1
    for one that does not draw. repeat counts evaluations of the same model.
    """

    model: str
    rule: str = ""
    on: str = ""
    k: int | float | Mapping[str, int | float] | None = None
    seed: int = -1
    repeat: int = 0

    @property
    def text(self) -> str:
        """The key as one text, which tells 1 from 1.0 and heeds the order of patterns."""
        return json.dumps(self)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One evaluation: what it was of, how much that retained, and what came out.

    standard_error is NaN if unknown. metrics are further numbers by name. outcomes is (items,) bool, or None.
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


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class About(_Part):
    """What all results of a file have in common: the two models (their fingerprints), the settings, the evaluation.

    evaluation is the user's own name for it. ken is the version that began the file; it may differ from ours.
    """

    fine_tuned: str
    pretrained: str
    exclude: tuple[str, ...] = ()
    bandwidth: str | float = "normal reference"
    kernel: str = "gaussian"
    evaluation: str = ""
    ken: str = __version__

    def line(self) -> bytes:
        """The first line of a file."""
        return _line({"format": FORMAT, "version": VERSION, **self.model_dump()})

    def check(self, found: About, path: Path) -> None:
        """Raise `ResultsError` if a file is about anything else."""
        for name, words in {
            "fine_tuned": "fine-tuned model, with the fingerprint",
            "pretrained": "pretrained model, with the fingerprint",
            "exclude": "exclude,",
            "bandwidth": "bandwidth,",
            "kernel": "kernel,",
            "evaluation": "evaluation,",
        }.items():
            ours, theirs = getattr(self, name), getattr(found, name)
            if ours != theirs:
                raise ResultsError(
                    f"{path} has results of another {words} {theirs!r} instead of {ours!r}; give another file"
                )


def _number(value: Any) -> Any:
    """JSON has no infinity and no NaN: they are spelled as text."""
    return float(value) if value in ("nan", "inf", "-inf") else value


Number = Annotated[
    float, BeforeValidator(_number), PlainSerializer(lambda value: value if math.isfinite(value) else str(value))
]
Count = Annotated[int, Field(ge=0)]


class _Outcomes(_Part):
    count: Count
    bits: Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]

    @classmethod
    def of(cls, outcomes: NDArray[np.bool_]) -> _Outcomes:
        return cls(count=len(outcomes), bits=np.packbits(outcomes).tobytes().hex())

    def unpacked(self) -> NDArray[np.bool_]:
        packed = np.frombuffer(bytes.fromhex(self.bits), np.uint8)
        if len(packed) != -(-self.count // 8):
            raise ValueError(f"{self.count} outcomes take {-(-self.count // 8)} bytes, got {len(packed)}")
        return np.unpackbits(packed, count=self.count).view(np.bool_)


class _Line(_Part):
    """A line of the file."""

    model: Literal["fine-tuned", "pretrained", "pruned"]
    rule: str
    on: str
    k: int | float | dict[str, int | float] | None
    seed: int
    repeat: Count
    retained: Count
    entries: Count
    metric: Number
    standard_error: Number
    metrics: dict[str, Number]
    outcomes: _Outcomes | None

    @classmethod
    def of(cls, record: Record) -> _Line:
        key = record.key._asdict()
        if isinstance(key["k"], Mapping):
            key["k"] = dict(key["k"])
        return cls(
            **key,
            retained=record.retained,
            entries=record.entries,
            metric=record.metric,
            standard_error=record.standard_error,
            metrics=dict(record.metrics),
            outcomes=None if record.outcomes is None else _Outcomes.of(record.outcomes),
        )

    def record(self) -> Record:
        key = Key(self.model, self.rule, self.on, self.k, self.seed, self.repeat)
        outcomes = None if self.outcomes is None else self.outcomes.unpacked()
        return Record(key, self.retained, self.entries, self.metric, self.standard_error, self.metrics, outcomes)


class Results:
    """Records by key, in memory and, if there is one, in a file."""

    def __init__(self, records: Mapping[str, Record], file: int | None = None) -> None:
        self._records = dict(records)
        self._file = file

    def get(self, key: Key) -> Record | None:
        """The record of a key, None if there is none yet."""
        return self._records.get(key.text)

    def add(self, record: Record) -> None:
        """Take a new record. It is on the disk when this returns; if the disk refuses, the file is as it was."""
        line = _line(_Line.of(record).model_dump())
        if self._file is not None:
            _append(self._file, line)
        self._records[record.key.text] = record


@contextmanager
def collecting(path: str | Path | None, about: About) -> Iterator[Results]:
    """A block in which results are added to those of a file, which is made if it is not there; None: to none.

    Raises `ResultsError`, with the file as it was, if it is about anything else, if it is damaged or no file of
    results, or if another process has it open for the same; `OSError` if the disk refuses.

    >>> import tempfile
    >>> about = About(fine_tuned="a", pretrained="b")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "results.jsonl"
    ...     for _ in range(2):
    ...         with collecting(path, about) as results:
    ...             known = results.get(Key("fine-tuned"))
    ...             print(known and known.metric)
    ...             results.add(Record(Key("fine-tuned"), 10, 10, metric=0.7))
    None
    0.7
    """
    if path is None:
        yield Results({})
        return
    path = Path(path)
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
            except BlockingIOError:
                raise ResultsError(f"{path} is in use: another sweep is writing to it") from None
        content, first = path.read_bytes(), about.line()
        if first.startswith(content):  # new, or its maker was killed within the first line
            os.ftruncate(file, 0)
            _append(file, first)
            yield Results({}, file)
            return
        found, records, end = _parsed(content, path)
        about.check(found, path)
        os.ftruncate(file, end)
        yield Results({record.key.text: record for record in records}, file)
    finally:
        os.close(file)


def read(path: str | Path) -> pd.DataFrame:
    """All results of a file, one line each, in the order in which they were added. A sweep may be writing to it.

    Columns: those of `ken.sweep`, without the differences; repeat, which counts evaluations of the same model; then
    the further metrics, by name; and outcomes: a (items,) bool array, such as which texts were labelled correctly, or
    None. Items are the same, in the same order, in all lines, so that two models can be compared item by item.

    Raises `ResultsError` if it is no file of results, or damaged; `OSError` if it is not there.
    """
    import pandas as pd

    found = records(path)
    table = frame(found)
    table["outcomes"] = pd.Series([record.outcomes for record in found], index=table.index, dtype=object)
    return table


def records(path: str | Path) -> list[Record]:
    """What `read` makes a table of; it raises what `read` raises."""
    path = Path(path)
    return list(_parsed(path.read_bytes(), path)[1])


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """Records as a table: `COLUMNS`, then a column for every further metric."""
    import pandas as pd

    records = list(records)
    names = list(dict.fromkeys(name for record in records for name in record.metrics))
    lines = [
        (
            *record.key,
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


def _line(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def _append(file: int, line: bytes) -> None:
    """Write a line at the end and have the disk take it: whole, or if there is an error, not at all."""
    end = os.lseek(file, 0, os.SEEK_END)
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    except BaseException:
        with suppress(OSError):
            os.ftruncate(file, end)
        raise


def _parsed(content: bytes, path: Path) -> tuple[About, list[Record], int]:
    """What a file is about, its records, and where its last whole line ends."""
    *lines, torn = content.split(b"\n")
    try:
        first = json.loads(lines[0])
        version = first["version"] if first["format"] == FORMAT else None
    except (IndexError, ValueError, KeyError, TypeError):
        version = None
    if version is None:
        raise ResultsError(f"{path} is no file of results: its first line does not say so; it is left as it is")
    if version != VERSION:
        raise ResultsError(f"{path} has version {version!r} of the format, this is a reader of version {VERSION}")
    number = 1
    try:
        about = About.model_validate_json(lines[0])
        records = []
        for line in lines[1:]:
            number += 1
            records.append(_Line.model_validate_json(line).record())
    except ValueError as error:
        why = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise ResultsError(f"{path} is damaged in line {number}: {why}; it is left as it is") from None
    return about, records, len(content) - len(torn)
