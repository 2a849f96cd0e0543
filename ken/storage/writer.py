"""A subnetwork file written as a stream, so that it can be made while a model is being pruned.

SubnetworkWriter   the file: reserves room for the record, takes tensors one after the other, writes the record
TensorWriter       one pruned tensor: takes its entries a stretch at a time
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken.errors import FormatError, at_tensor
from ken.models.checkpoints.safetensors_file import BYTES, Writer, stored_dtype
from ken.models.pairing.mixups import widest
from ken.models.tensors.tensor_bytes import Reference, bytes_of, digest, dtype_name, dtype_named, new_digest
from ken.models.tensors.tensor_reader import Entries
from ken.storage import mask_codec, value_codec, zstd_codec
from ken.storage.atomic_files import replacing
from ken.storage.lazy_tensors import blob_name
from ken.storage.model_files import names_of, parts_of
from ken.storage.records import NO_HASH, draft, plausible, reference, threshold_record, to_record
from ken.storage.schema import (
    LONGEST_PART,
    CarriedRecord,
    FileRecord,
    MaskRecord,
    PrunedRecord,
    ValuesRecord,
    to_metadata,
)
from ken.storage.spools import Spool
from ken.storage.uploads import target
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.extract import Subject
from ken.subnetwork.outline import Outline
from ken.subnetwork.retained_tensor import RetainedTensor
from ken.subnetwork.subnetwork import SubnetworkData
from ken.subnetwork.ulp_distances import keys

if TYPE_CHECKING:
    import xxhash

#: From the kind of a blob to its length and its parts, where it has been stored before.
Stored: TypeAlias = "Callable[[str], tuple[int, Iterable[Any]]]"
#: What is known of the tensors to come: their outlines, and their pretrained counterparts.
Plan: TypeAlias = Mapping[str, tuple[Outline, Reference | None]]


class Container(Protocol):
    """Takes blobs by name, one after the other."""

    def add(self, name: str, dtype: str, shape: Sequence[int], parts: Iterable[Any]) -> None:
        """Append a blob, given as parts that are bytes or the like."""


class SubnetworkWriter:
    """Writes a subnetwork tensor by tensor. Use it in a `with` block; without `finish` no file is left.

    head gives all but the tensors; what it says may change until `finish`, in fields of fixed width (fingerprints), and
    in what only the values tell: its relation, and a note about that.
    """

    def __init__(self, path: str | Path, head: SubnetworkData, plan: Plan) -> None:
        drafts = tuple(draft(name, outline, pretrained) for name, (outline, pretrained) in plan.items())
        blobs: dict[str, tuple[int, ...]] = {}
        for expected in drafts:
            if isinstance(expected, PrunedRecord):
                blobs |= {blob_name("mask", expected.name): (0,), blob_name("values", expected.name): (0,)}
            else:
                blobs[blob_name("carried", expected.name)] = expected.shape
        self._names = list(names_of(head.files))
        blobs |= {blob_name("file", name): (0,) for _, name in self._names}
        files = tuple(FileRecord(name=n, path=path, size=LONGEST_PART, checksum=NO_HASH) for path, n in self._names)
        path = target(path)
        notes, relation = widest(head.notes, head.relation)
        metadata = to_metadata(to_record(replace(head, notes=notes, relation=relation), drafts, files))

        self._stack = ExitStack()
        self._container = Writer(self._stack.enter_context(replacing(path)), blobs, metadata)
        self._folder = path.absolute().parent if isinstance(path, Path) else None
        self._records: list[PrunedRecord | CarriedRecord] = []
        self._finished = False

    def add(self, name: str, tensor: RetainedTensor | CarriedTensor) -> None:
        """Write what is stored of the next tensor."""
        with at_tensor(name):
            if isinstance(tensor, CarriedTensor):
                value = Entries.from_tensor(tensor.value)
                self.carried(name, value, reason=tensor.reason, pretrained=tensor.pretrained)
                return
            head = {field: getattr(tensor, field) for field in Subject._fields if field != "name"}
            sink = self.pruned(Subject(name, **head))
            sink.add(tensor.bits, tensor.ulps)
            sink.finish(tensor.pretrained, tensor.fine_tuned, tensor.result)

    def pruned(self, subject: Subject) -> TensorWriter:
        """What takes in the entries of the next tensor, a stretch at a time."""
        return TensorWriter(self._container, self._records, folder=self._folder, subject=subject)

    def carried(self, name: str, value: Entries, reason: str, pretrained: Reference | None) -> str:
        """Write the next tensor whole, a stretch at a time. Returns its fingerprint."""
        record = write_carried(self._container, name, value, reason=reason, pretrained=pretrained)
        self._records.append(record)
        return record.checksum

    def add_stored(
        self, record: PrunedRecord | CarriedRecord, blob: Callable[[str], tuple[int, Iterable[Any]]]
    ) -> None:
        """Write the next tensor as it has been stored elsewhere. blob gives length and parts by kind."""
        for kind, dtype, shape in blobs_of(record):
            length, parts = blob(kind)
            self._container.add(
                blob_name(kind, record.name), dtype=dtype, shape=(length,) if shape is None else shape, parts=parts
            )
        self._records.append(record)

    def finish(self, head: SubnetworkData) -> None:
        """Write the files and the record; the file takes its name when the block ends."""
        names = iter(self._names)
        files = tuple(
            self._file(path, data, next(names, None)) for path in head.files for data in parts_of(head.files, path)
        )
        if next(names, None) is not None:
            raise FormatError("a file of the fine-tuned model has become shorter while it was read")
        self._container.finish(to_metadata(to_record(head, tuple(self._records), files)))
        self._finished = True

    def _file(self, path: str, data: bytes, drafted: tuple[str, str] | None) -> FileRecord:
        if drafted is None or drafted[0] != path:
            raise FormatError(f"{path!r} has become longer or shorter while it was read")
        packed, name = zstd_codec.pack(data), drafted[1]
        self._container.add(blob_name("file", name), dtype=BYTES, shape=(len(packed),), parts=[packed])
        return FileRecord(name=name, path="" if path == name else path, size=len(data), checksum=digest(packed))

    def __enter__(self) -> SubnetworkWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and not self._finished:
            error = FormatError("the subnetwork was not finished: nothing has been written")
            self._stack.__exit__(FormatError, error, None)
            raise error
        self._stack.__exit__(kind, error, trace)


class TensorWriter:
    """A sink (see `ken.subnetwork.extract`) that writes what is stored of one tensor. Its mask alone is in memory."""

    def __init__(
        self,
        container: Container,
        records: list[PrunedRecord | CarriedRecord],
        folder: Path | None,
        subject: Subject,
    ) -> None:
        self._container, self._records, self._subject = container, records, subject
        self._bits: list[NDArray[np.uint8]] = []
        width, count = subject.dtype.itemsize, subject.retained
        self._values = Spool(folder) if subject.raw else value_codec.Encoder(width, count, folder)

    def add(self, bits: NDArray[np.uint8], distances: NDArray[Any]) -> None:
        """See `ken.subnetwork.extract.Sink`."""
        self._bits.append(bits)
        if isinstance(self._values, value_codec.Encoder):
            self._values.add(distances)
        else:
            self._values.write(keys(distances).data)

    def finish(self, pretrained: Reference, fine_tuned: str, result: str) -> None:
        """Write it, and what the record says of it."""
        subject = self._subject
        bits = self._bits[0] if len(self._bits) == 1 else np.concatenate(self._bits)
        coding, mask = mask_codec.encode(bits, math.prod(subject.shape), subject.retained)
        self._container.add(blob_name("mask", subject.name), dtype=BYTES, shape=(len(mask),), parts=[mask])
        lengths, dtype, size, parts = self._finished(pretrained)
        running = new_digest()
        self._container.add(
            blob_name("values", subject.name), dtype=dtype, shape=(size,), parts=_hashed(parts, running)
        )
        self._records.append(
            PrunedRecord(
                name=subject.name,
                shape=subject.shape,
                dtype=dtype_name(subject.dtype),
                cut=subject.cut,  # type: ignore[arg-type]
                retained=subject.retained,
                pretrained=reference(pretrained),
                fine_tuned=fine_tuned,
                result=result,
                mask=MaskRecord(coding=coding, length=len(mask), checksum=digest(mask)),  # type: ignore[arg-type]
                values=ValuesRecord(
                    coding="raw" if subject.raw else "ulps", lengths=lengths, checksum=running.hexdigest()
                ),
                threshold=threshold_record(subject.threshold),
            )
        )

    def _finished(self, pretrained: Reference) -> tuple[tuple[int, ...], str, int, Iterator[Any]]:
        """Lengths of the planes; dtype, entries and bytes of the blob of values."""
        subject = self._subject
        if not isinstance(self._values, value_codec.Encoder):
            return (), stored_dtype(subject.dtype), subject.retained, self._values.parts()
        planes = self._values.finish()
        length = sum(plane.length for plane in planes)
        if not plausible(subject.shape, pretrained.shape, width=subject.dtype.itemsize, length=length):
            planes = self._values.plain()
        lengths = tuple(plane.length for plane in planes)
        return lengths, BYTES, sum(lengths), chain.from_iterable(plane.parts for plane in planes)


def write_carried(
    container: Container, name: str, value: Entries, *, reason: str, pretrained: Reference | None
) -> CarriedRecord:
    """Write a carried tensor, a stretch at a time. Returns what the record says of it."""
    running = new_digest()
    parts = _hashed(map(bytes_of, value.stretches()), running)
    container.add(blob_name("carried", name), dtype=stored_dtype(value.dtype), shape=value.shape, parts=parts)
    return CarriedRecord(
        name=name,
        shape=value.shape,
        dtype=dtype_name(value.dtype),
        reason=reason,
        pretrained=None if pretrained is None else reference(pretrained),
        checksum=running.hexdigest(),
    )


def blobs_of(record: PrunedRecord | CarriedRecord) -> Iterator[tuple[str, str, tuple[int, ...] | None]]:
    """Kind, dtype and shape of the blobs of a tensor; the shape is None where it is the number of bytes."""
    stored = stored_dtype(dtype_named(record.dtype))
    if isinstance(record, CarriedRecord):
        yield "carried", stored, record.shape
        return
    yield "mask", BYTES, None
    raw = record.values.coding == "raw"
    yield "values", stored if raw else BYTES, (record.retained,) if raw else None


def _hashed(parts: Iterable[Any], running: xxhash.xxh3_128) -> Iterator[Any]:
    """The same parts, on their way through a digest."""
    for part in parts:
        running.update(part)
        yield part
