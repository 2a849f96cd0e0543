"""A line of the table, and the file that keeps lines as they are measured."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from whole.machine import Machine
from whole.measuring import Sample, Watch, median
from whole.words import WORDS


@dataclass(frozen=True)
class Line:
    """What was measured of one thing.

    Args:
        group: The part of the table.
        name: What is measured.
        kind: The words that say more of it, a key of `whole.words.WORDS`.
        unit: Of all times.
        rounds: How many samples the medians are of.
        wall: Wall time.
        cpu: Time of processors, the user's and the system's.
        peak: Bytes resident at most; 0 where it is not told.
        peer_wall: The same of the plain way; 0 where there is none.
        peer_cpu: Likewise.
        peer_peak: Likewise.
        floor: The time that its bytes take through memory, and to the disk; 0 where it has none.
        aim: What the project set itself.
        others: The share of the processors that other processes used meanwhile.
    """

    group: str
    name: str
    kind: str
    unit: str = "s"
    rounds: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    peer_wall: float = 0.0
    peer_cpu: float = 0.0
    peer_peak: int = 0
    floor: float = 0.0
    aim: str = ""
    others: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in WORDS:
            raise ValueError(f"whole.words has no line of prose for {self.kind!r}")


def line(
    group: str,
    name: str,
    kind: str,
    *,
    own: Sequence[Sample],
    peer: Sequence[Sample] = (),
    scale: float = 1.0,
    **more: Any,
) -> Line:
    """The medians of samples; scale is how many of the unit a second is."""
    a, b = median(own), median(peer or [Sample(0, 0)])
    return Line(
        group=group,
        name=name,
        kind=kind,
        rounds=len(own),
        wall=scale * a.wall,
        cpu=scale * a.cpu,
        peak=a.peak,
        peer_wall=scale * b.wall,
        peer_cpu=scale * b.cpu,
        peer_peak=b.peak,
        **more,
    )


@dataclass(frozen=True)
class Setting:
    """What a batch is given: how many rounds, the folder of the models, the machine, whether to take large models."""

    rounds: int
    folder: Path
    machine: Machine
    large: bool = False

    def floor(self, memory: int, written: int = 0) -> float:
        """Seconds that so many bytes take through memory, and so many to the disk."""
        return memory / self.machine.memory + written / self.machine.write


#: Gives lines as they are measured.
Batch = Callable[[Setting], Iterable[Line]]


@dataclass(frozen=True)
class Kept:
    """Lines in a file, under a head that says what they were measured with; another head begins anew.

    Args:
        path: The file: a JSON object a line, the first of them the head.
        head: What must be the same to go on.
    """

    path: Path
    head: dict[str, Any] = field(default_factory=dict)

    def batches(self) -> dict[str, list[Line]]:
        """What is there already, by batch."""
        if not self.path.exists():
            return {}
        first, *others = (json.loads(text) for text in self.path.read_text(encoding="utf-8").splitlines())
        if {name: first.get(name) for name in self.head} != self.head:
            return {}
        return {one["batch"]: [Line(**line) for line in one["lines"]] for one in others}

    def begin(self, machine: Machine) -> Machine:
        """The machine that the lines were measured on so far, or this one, with which the file begins."""
        if self.batches():
            kept = json.loads(self.path.read_text(encoding="utf-8").splitlines()[0])["machine"]
            return Machine(**kept)
        self.path.write_text(json.dumps({**self.head, "machine": machine.as_dict()}) + "\n", encoding="utf-8")
        return machine

    def measure(self, name: str, batch: Batch, setting: Setting) -> Iterator[Line]:
        """The lines of a batch, kept when all are there."""
        lines = []
        watch = Watch()
        for one in batch(setting):
            lines.append(one)
            yield one
        others = watch.others()
        lines = [replace(one, others=others) for one in lines]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"batch": name, "lines": [asdict(one) for one in lines]}) + "\n")


def to_csv(machine: Machine, lines: Iterable[Line]) -> str:
    """The table, after a line about the machine.

    >>> machine = Machine("1 May 2026", "x", 2, "Python", memory=1e9, read=2e8, write=1e8)
    >>> (line,) = from_csv(to_csv(machine, [Line("a", "b", "help", wall=1.5)]))[1]
    >>> line.name, line.wall, line.rounds
    ('b', 1.5, 0)
    """
    text = io.StringIO()
    text.write("# " + json.dumps(machine.as_dict()) + "\n")
    writer = csv.DictWriter(text, [one.name for one in fields(Line)], lineterminator="\n")
    writer.writeheader()
    for one in lines:
        values = asdict(one).items()
        writer.writerow({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in values})
    return text.getvalue()


def from_csv(text: str) -> tuple[Machine, list[Line]]:
    """Both again."""
    head, body = text.split("\n", 1)
    types = {one.name: {"float": float, "int": int}.get(str(one.type), str) for one in fields(Line)}
    lines = [
        Line(**{name: types[name](value) for name, value in one.items()}) for one in csv.DictReader(io.StringIO(body))
    ]
    return Machine(**json.loads(head.removeprefix("# "))), lines
