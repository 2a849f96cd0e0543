"""Records of evaluations as text: how one process sends them to another."""

from __future__ import annotations

from ken.results import Record, line_of, record_of
from ken.storage.result_lines import Line


def record_as_text(record: Record) -> str:
    """A record as other processes send it: a line of a file of results.

    >>> from ken.results import Key
    >>> record_from_text(record_as_text(Record(Key("fine-tuned"), 10, 10, metric=0.7))).metric
    0.7
    """
    return line_of(record).model_dump_json()


def record_from_text(text: str) -> Record:
    """The record that `record_as_text` has written, bit for bit."""
    return record_of(Line.model_validate_json(text))
