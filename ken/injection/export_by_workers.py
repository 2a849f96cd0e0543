"""An export by the workers of an executor: each writes the bytes of some tensors where they belong in their file.

The client makes every file in its full length, with its header, under the temporary name of the folder; a worker opens
it on the disk that all share, writes its range and waits until the disk has it. Two machines must never write into one
page of a file: a network file system may write whole pages back, with what was there before. So a worker writes the
whole blocks of its range alone, and the ends, which share their blocks with its neighbours, into a small file beside;
the client puts them in place. A worker makes no file: if it wakes when all is done, it can leave nothing behind.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ken.errors import ExecutorError, hearing
from ken.injection.export_layout import METADATA, ExportLayout
from ken.models.checkpoints.as_data import source_of
from ken.models.checkpoints.checkpoint import read
from ken.storage.shared_places import reopened
from ken.subnetwork.executors.groups import answers, spans
from ken.subnetwork.subnetwork import SubnetworkData

#: A block of a file, which one process alone writes into: a multiple of every machine's page.
BLOCK = 1 << 16


class ByteRange(NamedTuple):
    """The place of some tensors in a file.

    Attributes:
        file: Its path.
        start: Where the first of them begins.
        stop: Where the last of them ends.
        ends: The path of the file for what is in no whole block.
    """

    file: str
    start: int
    stop: int
    ends: str

    @property
    def whole_blocks(self) -> tuple[int, int]:
        """Where the whole blocks begin and end.

        >>> ByteRange("", 5, 3 * BLOCK + 1, "").whole_blocks, ByteRange("", 5, 9, "").whole_blocks
        ((65536, 196608), (9, 9))
        """
        first = min(self.stop, -(-self.start // BLOCK) * BLOCK)
        return first, max(first, self.stop // BLOCK * BLOCK)


class _Group(NamedTuple):
    """What one call is about: tensors that follow one another, where they go, and how many entries they have."""

    names: list[str]
    place: ByteRange
    entries: int


def write_by_workers(
    layout: ExportLayout, folder: Path, places: tuple[str, str], *, executor: Any, timeout: float | None, bar: Any
) -> None:
    """Have the files of weights written into a folder; places are those of the subnetwork and of the pretrained model.

    Raises `ExecutorError` if workers are gone, hang or do not share the disk, and what they raise.
    """
    groups = list(_groups(layout, folder))
    for group in groups:
        Path(group.place.ends).touch(mode=0o600, exist_ok=False)
    calls = [(*places, json.dumps(group.names), json.dumps(group.place)) for group in groups]
    for number, written in answers(executor, worker_range, calls, timeout=timeout):
        place = groups[number].place
        if written != place.stop - place.start:
            raise ExecutorError(f"a worker has written {written} bytes of {place.stop - place.start} of {place.file}")
        _place_ends(place)
        bar.update(groups[number].entries)


def worker_range(net: str, pretrained: str, names: str, place: str) -> str:
    """What a worker does: the bytes of some tensors into their range of a file. Gives their number."""
    where = ByteRange(*json.loads(place))
    with hearing():
        layout = ExportLayout(reopened(net, SubnetworkData), read(source_of(json.loads(pretrained))))
        parts = (part for name in json.loads(names) for part in layout.parts(name))
        with _shared(where.file) as file, _shared(where.ends) as ends:
            written = _write(where, parts, file=file, ends=ends)
    return json.dumps(written)


def _groups(layout: ExportLayout, folder: Path) -> Iterator[_Group]:
    """Make each file in its full length, with its header; what is to be written into it."""
    token, number = secrets.token_hex(8), 0
    for shard, members in layout.shards.items():
        with (folder / shard).open("wb") as file:
            writer = layout.writer(file, shard)
            ranges = []
            for name in members:
                stored_name, dtype, shape = layout.blob(name, shard)
                ranges.append(writer.leave(stored_name, dtype=dtype, shape=shape, length=layout.size(name)))
            writer.finish(METADATA)
            file.truncate(ranges[-1][1])
        entries = [layout.entries(name) for name in members]
        for start, stop in spans(entries):
            number += 1
            ends = str(folder / f".{token}.{number}.ends")
            place = ByteRange(str(folder / shard), ranges[start][0], ranges[stop - 1][1], ends=ends)
            yield _Group(members[start:stop], place, entries=sum(entries[start:stop]))


def _shared(path: str) -> BinaryIO:
    """A file that the client has made, to be written into."""
    try:
        return Path(path).open("r+b")
    except FileNotFoundError:
        raise ExecutorError(
            f"a worker finds no file {path}: the folder must lie on a disk that all workers and this process share, "
            "under the same path"
        ) from None


def _write(place: ByteRange, parts: Iterator[memoryview], *, file: BinaryIO, ends: BinaryIO) -> int:
    """Write whole blocks into the file, and what is before and behind them into that of the ends; how many bytes."""
    (first, last), at = place.whole_blocks, place.start
    file.seek(first)
    for part in parts:
        before, behind = (min(max(border - at, 0), len(part)) for border in (first, last))
        ends.write(part[:before])
        file.write(part[before:behind])
        ends.write(part[behind:])
        at += len(part)
    for written in (file, ends):
        written.flush()
        os.fsync(written.fileno())
    return at - place.start


def _place_ends(place: ByteRange) -> None:
    """Put the ends of a range where they belong, and remove their file."""
    (first, last), ends = place.whole_blocks, Path(place.ends)
    data = ends.read_bytes()
    if len(data) != first - place.start + place.stop - last:
        raise ExecutorError(f"{ends} has {len(data)} bytes here, not what a worker has written: the disk is not shared")
    with Path(place.file).open("r+b") as file:
        file.seek(place.start)
        file.write(data[: first - place.start])
        file.seek(last)
        file.write(data[first - place.start :])
    ends.unlink()
