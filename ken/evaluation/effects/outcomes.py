"""What came out of every intervention, kept in a file that only grows: none is made twice.

JSON Lines, as in `ken.results`: the first line says what all the others are about, each further one is one evaluation.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from ken import __version__
from ken.errors import ResultsError
from ken.storage.result_lines import Count, Number, Outcomes, Part, append, encoded, growing, whole_lines

FORMAT, VERSION = "ken effects", 1


class Intervention(NamedTuple):
    """What was done to the model.

    Attributes:
        way: "fine-tuned" and "pretrained", of all groups; "without" one, "only" one, or "control".
        group: The group; empty for the two models.
        entries: The fingerprint of what is in it.
        seed: That of the control, else -1.

    Example:
        >>> Intervention("without", "layer 2 query", "0f").seed
        -1
    """

    way: str
    group: str = ""
    entries: str = ""
    seed: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came out.

    Attributes:
        of_what: What was done.
        metric: The number that the evaluation gave.
        standard_error: That of the metric, NaN if unknown.
        metrics: Further numbers by name.
        outcomes: (items,) bool, or None.
        losses: (items,) float64, or None.

    Example:
        >>> Outcome(Intervention("fine-tuned"), 0.7).loss
        nan
    """

    of_what: Intervention
    metric: float
    standard_error: float = math.nan
    metrics: Mapping[str, float] = field(default_factory=dict)
    outcomes: NDArray[np.bool_] | None = None
    losses: NDArray[np.float64] | None = None

    @property
    def loss(self) -> float:
        """The mean loss; NaN where there is none."""
        return math.nan if self.losses is None else float(self.losses.mean())

    @property
    def items(self) -> int | None:
        """How many items there are; None where they are not told."""
        given = self.losses if self.losses is not None else self.outcomes
        return None if given is None else len(given)


class About(Part):
    """What all lines of a file have in common."""

    fine_tuned: str
    pretrained: str
    held: str  # fingerprint of what is reset, which a subnetwork may be
    exclude: tuple[str, ...] = ()
    evaluation: str = ""
    ken: str = __version__

    def line(self) -> bytes:
        """The first line of a file, with its end."""
        return encoded({"format": FORMAT, "version": VERSION, **self.model_dump()})


class _Losses(Part):
    count: Count
    float64: Annotated[str, Field(pattern="^[A-Za-z0-9+/=]*$")]

    @classmethod
    def packed(cls, losses: NDArray[np.float64]) -> _Losses:
        return cls(count=len(losses), float64=base64.b64encode(losses.astype("<f8").tobytes()).decode())

    def unpacked(self) -> NDArray[np.float64]:
        data = base64.b64decode(self.float64, validate=True)
        if len(data) != 8 * self.count:
            raise ValueError(f"{self.count} losses take {8 * self.count} bytes, got {len(data)}")
        return np.frombuffer(data, "<f8").astype(np.float64)


class _Line(Part):
    way: Literal["fine-tuned", "pretrained", "without", "only", "control"]
    group: str
    entries: str
    seed: int
    metric: Number
    standard_error: Number
    metrics: dict[str, Number]
    outcomes: Outcomes | None
    losses: _Losses | None


class Kept:
    """Outcomes by what was done, in memory and, if there is one, in a file."""

    def __init__(self, outcomes: Mapping[Intervention, Outcome], file: int | None = None) -> None:
        self._outcomes = dict(outcomes)
        self._file = file

    def get(self, key: Intervention) -> Outcome | None:
        """What came out of it; None if it was not done yet."""
        return self._outcomes.get(key)

    def add(self, outcome: Outcome) -> None:
        """Take a new one. It is on the disk when this returns."""
        if self._file is not None:
            append(self._file, encoded(_line(outcome).model_dump()))
        self._outcomes[outcome.of_what] = outcome


@contextmanager
def keeping(path: str | Path | None, about: About) -> Iterator[Kept]:
    """A block in which outcomes are added to those of a file, which is made if it is not there.

    Raises `ResultsError` if the file is about anything else, is damaged or another kind of file, or in use; it is as it
    was.
    """
    if path is None:
        yield Kept({})
        return
    place = Path(path)
    with growing(place, about.line(), lambda content: _parsed(content, place, about)) as (outcomes, file):
        yield Kept({outcome.of_what: outcome for outcome in outcomes or ()}, file)


def _parsed(content: bytes, path: Path, about: About) -> tuple[list[Outcome], int]:
    """The outcomes of a file, and where its last whole line ends."""
    lines, end = whole_lines(content, path, FORMAT, version=VERSION)
    number, outcomes = 1, []
    try:
        kept = About.model_validate_json(lines[0])
        for line in lines[1:]:
            number += 1
            outcomes.append(_outcome(_Line.model_validate_json(line)))
    except ValueError as error:
        why = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else error
        raise ResultsError(f"{path} is damaged in line {number}: {why}; it is left as it is") from None
    for name, asked in about.model_dump(exclude={"ken"}).items():
        there_is = getattr(kept, name)
        if asked != there_is:
            what = name.replace("_", "-").replace("held", "subnetwork")
            raise ResultsError(
                f"{path} has effects of another {what}, {there_is!r} and not {asked!r}; give another file"
            )
    return outcomes, end


def _line(outcome: Outcome) -> _Line:
    return _Line(
        **outcome.of_what._asdict(),
        metric=outcome.metric,
        standard_error=outcome.standard_error,
        metrics=dict(outcome.metrics),
        outcomes=None if outcome.outcomes is None else Outcomes.packed(outcome.outcomes),
        losses=None if outcome.losses is None else _Losses.packed(outcome.losses),
    )


def _outcome(line: _Line) -> Outcome:
    values: dict[str, Any] = dict(line)
    key = Intervention(**{name: values.pop(name) for name in Intervention._fields})
    values["outcomes"] = None if line.outcomes is None else line.outcomes.unpacked()
    values["losses"] = None if line.losses is None else line.losses.unpacked()
    return Outcome(key, **values)
