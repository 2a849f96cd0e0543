"""The lines of a file of results (`ken.results`): what JSON holds of an evaluation, and how a line is written."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from ken.errors import ResultsError

try:
    import fcntl
except ImportError:  # Windows: nothing there keeps two writers apart
    fcntl = None  # type: ignore[assignment]

FORMAT, VERSION = "ken results", 1

Known = TypeVar("Known")


def _number(value: Any) -> Any:
    """JSON has no infinity and no NaN: they are spelled as text."""
    return float(value) if value in ("nan", "inf", "-inf") else value


Number = Annotated[
    float, BeforeValidator(_number), PlainSerializer(lambda value: value if math.isfinite(value) else str(value))
]
Count = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """A JSON object: of these types exactly, and it may have more in it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Outcomes(Part):
    """(count,) booleans, eight a byte."""

    count: Count
    bits: Annotated[str, Field(pattern="^([0-9a-f]{2})*$")]

    @classmethod
    def packed(cls, outcomes: NDArray[np.bool_]) -> Outcomes:
        """From an array (items,) bool."""
        return cls(count=len(outcomes), bits=np.packbits(outcomes).tobytes().hex())

    def unpacked(self) -> NDArray[np.bool_]:
        """The array. Raises `ValueError` if there are more or fewer bytes than it takes."""
        packed = np.frombuffer(bytes.fromhex(self.bits), np.uint8)
        if len(packed) != -(-self.count // 8):
            raise ValueError(f"{self.count} outcomes take {-(-self.count // 8)} bytes, got {len(packed)}")
        return np.unpackbits(packed, count=self.count).view(np.bool_)


class Line(Part):
    """One evaluation."""

    model: Literal["fine-tuned", "pretrained", "pruned"]
    rule: str
    on: str
    k: int | float | dict[str, int | float] | None
    seed: int
    repeat: Count
    scope: Literal["row", "tensor", "model"] = "row"
    retained: Count
    entries: Count
    metric: Number
    standard_error: Number
    metrics: dict[str, Number]
    outcomes: Outcomes | None


def whole_lines(content: bytes, path: Path, form: str = FORMAT, *, version: int = VERSION) -> tuple[list[bytes], int]:
    """The lines of a file that have an end, and where the last of them ends.

    Raises `ResultsError` if the first does not say that it is a file of this form, or one of another version.
    """
    *lines, torn = content.split(b"\n")
    try:
        first = json.loads(lines[0])
        written = first["version"] if first["format"] == form else None
    except (IndexError, ValueError, KeyError, TypeError):
        written = None
    if written is None:
        what = form.removeprefix("ken ")
        raise ResultsError(f"{path} is no file of {what}: its first line does not say so; it is left as it is")
    if written != version:
        raise ResultsError(f"{path} has version {written!r} of the format, this is a reader of version {version}")
    return lines, len(content) - len(torn)


def encoded(data: Mapping[str, Any]) -> bytes:
    """A line, with its end."""
    return (json.dumps(data, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def lock(file: int, path: Path) -> None:
    """Keep a file, open for writing, to this process until it closes it. Raises `ResultsError` if another has it."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
        except BlockingIOError:
            raise ResultsError(f"{path} is in use: another sweep is writing to it") from None


@contextmanager
def growing(
    path: Path, first: bytes, parsed: Callable[[bytes], tuple[Known, int]]
) -> Iterator[tuple[Known | None, int]]:
    """A block in which lines are added to a file, which is made with a first line if it is not there.

    parsed gives what a file's content says, and where its last whole line ends; it raises where the file cannot be gone
    on with, which leaves it as it was. Yields what is known already, None of a new file, and the descriptor. Raises
    `ResultsError` if another process has it.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        lock(file, path)
        content = path.read_bytes()
        if first.startswith(content):  # new, or its maker was killed within the first line
            os.ftruncate(file, 0)
            append(file, first)
            yield None, file
            return
        known, end = parsed(content)
        os.ftruncate(file, end)
        yield known, file
    finally:
        os.close(file)


def append(file: int, line: bytes) -> None:
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
