"""One part of a plan: read, decided about, encoded, and written into a file of its own, unless it is there already."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ken.errors import FormatError, at_tensor, warn
from ken.models.checkpoints.as_data import source_of
from ken.models.pairing.pairs import Pair
from ken.models.tensors.tensor_reader import Entries
from ken.pruning.head import Seen
from ken.pruning.making import Making
from ken.pruning.parts.packing import Piece, Work
from ken.pruning.parts.planned_parts import PlannedParts, plan_name, plan_of
from ken.pruning.parts.stamps import stamps
from ken.storage.atomic_files import replacing, write_text
from ken.storage.file_kinds import PART
from ken.storage.outputs import check_outputs, models_of
from ken.storage.part_files import ItemRecord, PartReader, PartRecord, PartWriter, SumsRecord
from ken.storage.records import reference
from ken.storage.schema import CarriedRecord, PrunedRecord
from ken.storage.writer import Container, TensorWriter, write_carried
from ken.subnetwork.extract import Subject


class PartDone(NamedTuple):
    """A part that is there: all that need be told of it.

    Attributes:
        part: Its number, from 1 on.
        name: The name of its file.
        checksum: 32 hexadecimal digits for the whole of it, the same wherever it is made.
        made: Whether it was made now; False if it was there before, and whole.
    """

    part: int
    name: str
    checksum: str
    made: bool


def run_part(
    description: Mapping[str, Any],
    index: int,
    folder: str | Path,
    *,
    copies: bool = False,
    progress: bool = False,
) -> PartDone:
    """Make a part of a plan that another process has made, unless it is there and whole.

    All arguments are plain data, so that any executor can send them.

    Args:
        description: `PartPlan.description`, or what JSON made of it.
        index: Which part, from 1 to their number.
        folder: Where the parts lie, on a disk that all processes share; it is made if it is not there.
        copies: The models may be copies with dates of their own: a part is not made again because of another date.
        progress: Whether to show a progress bar.

    Returns:
        The number, name and checksum of the part, and whether it was made now.

    Raises:
        PartsError: The models here, or what computes the parts, are others than those of the plan.
        ValuesError: A value is NaN or infinite.

    Example:
        ```python
        plan = ken.parts("FINE_TUNED", "PRETRAINED", k=0.5, parts=64)
        with concurrent.futures.ProcessPoolExecutor() as pool:
            done = [pool.submit(ken.run_part, plan.description, index, "PARTS") for index in range(1, 65)]
        ```
    """
    return run(plan_of(description), index, folder, copies=copies, progress=progress)


def run(plan: PlannedParts, index: int, folder: str | Path, *, copies: bool, progress: bool) -> PartDone:
    """See `PartPlan.run`."""
    plan.check(index)
    path = Path(folder) / plan.name(index)
    description = plan.description
    models = models_of(Pair(*(source_of(description[name]) for name in ("fine_tuned", "pretrained"))))
    check_outputs([(path, PART)], models, new_folder=True)
    now = {} if copies else stamps(description)
    path.parent.mkdir(exist_ok=True)
    described = path.with_name(plan_name(plan.digest))
    if not described.exists():
        write_text(described, json.dumps(description, indent=2) + "\n")
    if (checksum := _whole(path, plan, now)) is not None:
        return PartDone(index, path.name, checksum, made=False)
    with replacing(path) as file, _bar(plan, index, progress) as bar:
        writer = PartWriter(file)
        items = []
        for number, (work, piece) in enumerate(plan.works(index)):
            bar.set_postfix_str(work.name, refresh=False)
            container = writer.item(number)
            with at_tensor(work.name):
                items.append(_item(plan.pruning, work, piece, container=container, folder=path.parent, bar=bar))
        record = PartRecord(
            digest=plan.digest,
            index=index,
            parts=len(plan),
            stamps=now,
            items=tuple(items),
            blobs=writer.blobs,
        )
        checksum = writer.finish(record)
    return PartDone(index, path.name, checksum, made=True)


def _whole(path: Path, plan: PlannedParts, now: Mapping[str, str]) -> str | None:
    """The checksum of a part that is there, and need not be made again; else it is said why."""
    if not path.exists():
        return None
    try:
        reader = PartReader(path)
        reader.check()
    except FormatError as error:
        warn(f"{error}; it is made again")
        return None
    if reader.record.digest != plan.digest:
        warn(f"{path} is of another plan; it is made again")
        return None
    then = reader.record.stamps
    if changed := [what for what in now if then.get(what, now[what]) != now[what]]:
        warn(f"{path} was made when the files of {' and '.join(changed)} were others, by their dates; it is made again")
        return None
    return reader.digest


@contextmanager
def _bar(plan: PlannedParts, index: int, progress: bool) -> Iterator[Any]:
    from tqdm.auto import tqdm

    with tqdm(
        total=sum(work.bytes_in(piece.start, piece.stop) for work, piece in plan.works(index)),
        desc=f"part {index}/{len(plan)}",
        unit="B",
        unit_scale=True,
        disable=not progress,
        delay=1.0,
        leave=False,
    ) as bar:
        yield bar


class _Sink:
    """Brings one tensor, or a span of one, into a container."""

    def __init__(self, container: Container, folder: Path) -> None:
        self._container, self._folder = container, folder
        self.records: list[PrunedRecord | CarriedRecord] = []

    def pruned(self, subject: Subject) -> TensorWriter:
        """See `ken.pruning.collector.Sinks`."""
        return TensorWriter(self._container, self.records, folder=self._folder, subject=subject)

    def carried(self, name: str, value: Entries, reason: str, pretrained: Any) -> str:
        """See `ken.pruning.collector.Sinks`."""
        record = write_carried(self._container, name, value, reason=reason, pretrained=pretrained)
        self.records.append(record)
        return record.checksum


def _item(pruning: Making, work: Work, piece: Piece, *, container: Container, folder: Path, bar: Any) -> ItemRecord:
    """What is made of a tensor, or of a span of it."""
    if not work.width:
        read = pruning.prepared.pairing.pretrained.entries(work.name).reference(work.name)
        bar.update(work.bytes)
        return ItemRecord(name=work.name, stop=work.end, reference=reference(read))
    sink = _Sink(container, folder)
    if reason := pruning.prepared.reasons[work.name]:
        pruning.carry(work.name, reason, sink)
        bar.update(work.bytes)
        return ItemRecord(name=work.name, stop=work.end, tensor=sink.records[0])
    pruning.seen = Seen(pruning.seen.notes)
    tensor, span = pruning.prepared.tensors[work.name], (piece.start, piece.stop)
    whole = span == (0, work.end)
    entries_read = piece.start

    def done(entries: int) -> None:
        nonlocal entries_read
        bar.update(work.bytes_in(entries_read, entries_read + entries))
        entries_read += entries

    pruning.prune(tensor, pruning.retained_in(tensor, span), sink, span=None if whole else span, done=done)
    sums = [SumsRecord.taken(matrix, numbers) for _, matrix, numbers in pruning.seen.sums.condensed()]
    return ItemRecord(
        name=work.name,
        start=piece.start,
        stop=piece.stop,
        whole=whole,
        tensor=sink.records[0],
        sums=sums[0] if sums else None,
        stood_in=pruning.seen.stood_in.get(work.name, 0),
    )
