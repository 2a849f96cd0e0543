"""A part of a pruning in a file: what one process made of some stretches, until all parts are joined.

how it begins │ blobs, one after the other │ record (JSON) │ length and digest of the record

The record comes last, so that nothing need be known before it is written. It holds the checksum of every blob.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ken.errors import FormatError
from ken.models.tensors.tensor_bytes import digest, new_digest
from ken.storage.file_kinds import PART_BEGINS
from ken.storage.schema import CarriedRecord, Count, Hash, PrunedRecord, ReferenceRecord, Text
from ken.storage.writer import Container

_CHUNK = 1 << 20
_TAIL = 8 + 32
_LONGEST_RECORD = 1 << 30


class _Part(BaseModel):
    # Sums may be infinite; JSON has a word for it in Python's spelling.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", ser_json_inf_nan="constants")


class SumsRecord(_Part):
    """What the relation of the two models follows from: see `ken.models.pairing.relation.Sums.condensed`."""

    matrix: bool
    numbers: tuple[Annotated[tuple[float, ...], Field(min_length=6, max_length=6)], ...]

    @classmethod
    def taken(cls, matrix: bool, numbers: Iterable[Sequence[float]]) -> SumsRecord:
        """The record of condensed sums."""
        return cls(matrix=matrix, numbers=tuple(tuple(map(float, line)) for line in numbers))


class ItemRecord(_Part):
    """What was made of one tensor, or of a span of it.

    tensor describes what is stored, as in a subnetwork file; of a span, as of a flat tensor of its own. A pretrained
    tensor that was only read has a reference instead. rows is how many rows had no bandwidth of their own.
    """

    name: Text
    start: Count = 0
    stop: Count
    whole: bool = True
    tensor: Annotated[PrunedRecord | CarriedRecord, Field(discriminator="status")] | None = None
    reference: ReferenceRecord | None = None
    sums: SumsRecord | None = None
    stood_in: Count = 0


class BlobRecord(_Part):
    """Where a blob lies in the file."""

    start: Count
    length: Count
    checksum: Hash


class PartRecord(_Part):
    """All that a part says. stamps are what the files of the models were known by when it was made."""

    version: Literal[1] = 1
    digest: Hash
    index: Count
    parts: Count
    stamps: dict[str, str]
    items: tuple[ItemRecord, ...]
    blobs: dict[str, BlobRecord]


class PartWriter:
    """Writes the blobs of a part into an open file; `finish` writes the record behind them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = len(PART_BEGINS)
        self.blobs: dict[str, BlobRecord] = {}
        file.write(PART_BEGINS)

    def item(self, number: int) -> Container:
        """Takes the blobs of one item of the part."""
        return _ItemBlobs(self, number)

    def add(self, name: str, parts: Iterable[Any]) -> None:
        """Append a blob."""
        start, running = self._end, new_digest()
        for part in parts:
            running.update(part)
            self._file.write(part)
            self._end += len(part)
        self.blobs[name] = BlobRecord(start=start, length=self._end - start, checksum=running.hexdigest())

    def finish(self, record: PartRecord) -> str:
        """Write the record. Returns its digest, which stands for the whole file."""
        text = record.model_dump_json().encode("utf-8", "surrogatepass")
        checksum = digest(text)
        self._file.write(text + len(text).to_bytes(8, "little") + checksum.encode("ascii"))
        return checksum


class _ItemBlobs:
    def __init__(self, writer: PartWriter, number: int) -> None:
        self._writer, self._number = writer, number

    def add(self, name: str, dtype: str, shape: Sequence[int], parts: Iterable[Any]) -> None:
        """Append a blob; what dtype and shape it has, the record of its tensor says."""
        self._writer.add(item_blob(self._number, name), parts)


def item_blob(number: int, name: str) -> str:
    """The name of a blob of an item in a part.

    >>> item_blob(3, "mask:w")
    '3/mask:w'
    """
    return f"{number}/{name}"


class PartReader:
    """A part on the disk. Its record has been read and checked; blobs are read, and checked, when asked for.

    Raises `FormatError` if it is none, or not whole. It keeps no file open: there may be thousands of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            begins = file.read(len(PART_BEGINS))
            if begins != PART_BEGINS:
                raise FormatError(f"{path} is not a part of a pruning")
            file.seek(max(size - _TAIL, len(PART_BEGINS)))
            tail = file.read(_TAIL)
            length = int.from_bytes(tail[:8], "little")
            start = size - _TAIL - length
            if len(tail) < _TAIL or start < len(PART_BEGINS) or length > _LONGEST_RECORD:
                raise FormatError(f"{path} is damaged: it does not end as a part does")
            file.seek(start)
            text = file.read(length)
        self.digest = digest(text)
        if tail[8:] != self.digest.encode("ascii"):
            raise FormatError(f"{path} is damaged: the checksum of its record differs")
        try:
            self.record = PartRecord.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            raise FormatError(f"{path} was written by another version: {first['msg'][:200]}") from None

    def check(self) -> None:
        """Read all of it, and compare the checksums. Raises `FormatError` for the first blob that differs."""
        for name in self.record.blobs:
            for _ in self.parts(name):
                pass

    def length(self, name: str) -> int:
        """Bytes of a blob."""
        return self._blob(name).length

    def parts(self, name: str) -> Iterator[bytes]:
        """A blob, some bytes at a time; with the last of them, all has been checked."""
        blob, running = self._blob(name), new_digest()
        with self.path.open("rb") as file:
            file.seek(blob.start)
            left = blob.length
            while left:
                data = file.read(min(left, _CHUNK))
                if not data:
                    raise FormatError(f"{self.path} is damaged: it ends before {name!r} does")
                running.update(data)
                left -= len(data)
                yield data
        if running.hexdigest() != blob.checksum:
            raise FormatError(f"{self.path} is damaged: the checksum of {name!r} differs")

    def some(self, name: str, start: int, stop: int) -> bytes:
        """Some bytes of a blob, unchecked."""
        blob = self._blob(name)
        with self.path.open("rb") as file:
            file.seek(blob.start + start)
            data = file.read(min(stop, blob.length) - start)
        if len(data) != min(stop, blob.length) - start:
            raise FormatError(f"{self.path} is damaged: it ends before {name!r} does")
        return data

    def _blob(self, name: str) -> BlobRecord:
        try:
            return self.record.blobs[name]
        except KeyError:
            raise FormatError(f"{self.path} has no {name!r}") from None
