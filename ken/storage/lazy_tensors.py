"""Tensors of a subnetwork that lie in a file: what the record says of them is known, the rest is decoded on demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ken.errors import FormatError, at_tensor
from ken.models.checkpoints.safetensors_file import Reader
from ken.models.tensors.tensor_bytes import Reference, bits_of, bytes_of, digest, dtype_named, new_digest
from ken.models.tensors.tensor_reader import in_turn
from ken.rules.thresholds import Threshold
from ken.storage import mask_codec, value_codec, zstd_codec
from ken.storage.schema import CarriedRecord, FileRecord, PrunedRecord, ReferenceRecord
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.outline import Outline
from ken.subnetwork.retained_tensor import RetainedTensor
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")


def blob_name(kind: str, name: str) -> str:
    """The name in the container of what is stored of a tensor: kind is "mask", "values", "carried" or "file"."""
    return f"{kind}:{name}"


class StoredTensor(RetainedTensor):
    """A `RetainedTensor` in a file. bits and ulps are decoded, and checked, when they are first asked for."""

    def __init__(self, reader: Reader, record: PrunedRecord) -> None:
        self._reader, self._record = reader, record
        self.shape, self.dtype, self.cut = record.shape, dtype_named(record.dtype), record.cut
        self.pretrained = to_reference(record.pretrained)
        self.fine_tuned, self.result = record.fine_tuned, record.result
        self.raw = record.values.coding == "raw"
        self.threshold = to_threshold(record)

    @property
    def retained(self) -> int:
        """Entries that stay fine-tuned, as the record says."""
        return self._record.retained

    @cached_property
    def bits(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """The mask, packed."""
        mask = self._record.mask
        with at_tensor(self._record.name):
            data = self._blob("mask", mask.checksum)
            return mask_codec.decode(mask.coding, data, entries=self.entries, retained=self.retained)

    @cached_property
    def ulps(self) -> NDArray[Any]:  # type: ignore[override]
        """The distances of the retained entries."""
        values = self._record.values
        with at_tensor(self._record.name):
            data = self._blob("values", values.checksum)
            dtype = np.dtype(f"u{self.dtype.itemsize}")
            if not self.raw:
                return value_codec.decode(data, values.lengths, retained=self.retained, dtype=dtype)
            from ken.subnetwork.ulp_distances import keys

            return keys(np.frombuffer(data, dtype))

    def decoded(self) -> RetainedTensor:
        """The same in memory, without the file."""
        return RetainedTensor(
            **{field.name: getattr(self, field.name) for field in fields(RetainedTensor) if field.init}
        )

    def _distances(self) -> Callable[[int], NDArray[Any]]:
        """A function that gives the distances one after the other; no more of them than that are in memory."""
        values = self._record.values
        name = blob_name("values", self._record.name)
        check(self._reader, name, values.checksum)
        blob = self._reader.entries(name)
        if not self.raw:
            dtype = np.dtype(f"u{self.dtype.itemsize}")
            return value_codec.Decoder(blob, values.lengths, retained=self.retained, dtype=dtype).take
        from ken.subnetwork.ulp_distances import keys

        return in_turn(lambda start, stop: keys(bits_of(blob.read(start, stop))))

    def verify(self) -> None:
        """Compare the checksums; nothing is decoded."""
        with at_tensor(self._record.name):
            check(self._reader, blob_name("mask", self._record.name), self._record.mask.checksum)
            check(self._reader, blob_name("values", self._record.name), self._record.values.checksum)

    def _blob(self, kind: str, checksum: str) -> memoryview:
        return checked(self._reader, blob_name(kind, self._record.name), checksum)


class StoredCarried(CarriedTensor):
    """A `CarriedTensor` in a file. Its value is read, and checked, when it is first asked for."""

    def __init__(self, reader: Reader, record: CarriedRecord) -> None:
        self._reader, self._record, self.reason = reader, record, record.reason
        self.pretrained = None if record.pretrained is None else to_reference(record.pretrained)

    @cached_property
    def value(self) -> torch.Tensor:  # type: ignore[override]
        """The tensor."""
        name = blob_name("carried", self._record.name)
        with at_tensor(self._record.name):
            value = self._reader.whole(name)
            _compare(self._reader, name, actual=digest(bytes_of(value)), checksum=self._record.checksum)
            return value.reshape(self.shape).clone()

    def decoded(self) -> CarriedTensor:
        """The same in memory, without the file."""
        return CarriedTensor(self.value, self.reason, self.pretrained)

    def stretches(self) -> Iterator[NDArray[Any]]:
        """The tensor's bytes, a stretch at a time; with the last of them, all has been checked."""
        name, running = blob_name("carried", self._record.name), new_digest()
        for part in self._reader.entries(name).stretches():
            data = np.frombuffer(bytes_of(part), np.uint8)
            running.update(data.data)
            yield data
        _compare(self._reader, name, actual=running.hexdigest(), checksum=self._record.checksum)

    def verify(self) -> None:
        """Compare the checksum."""
        with at_tensor(self._record.name):
            check(self._reader, blob_name("carried", self._record.name), self._record.checksum)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the fine-tuned tensor."""
        return self._record.shape

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the fine-tuned tensor."""
        return dtype_named(self._record.dtype)


class Lazy(Mapping[str, Value]):
    """A mapping whose values are made anew whenever they are asked for, so that none stays in memory."""

    def __init__(self, records: Mapping[str, Any], make: Callable[[Any], Value]) -> None:
        self.records = records
        self._make = make

    def __getitem__(self, name: str) -> Value:
        return self._make(self.records[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)


def readers(tensors: Mapping[str, Any]) -> list[Reader]:
    """The files that tensors lie in, each once; none for tensors in memory. Nothing is decoded."""
    stored = [tensor for tensor in tensors.values() if isinstance(tensor, StoredTensor | StoredCarried)]
    return list(dict.fromkeys(tensor._reader for tensor in stored))


def file_of(net: SubnetworkData) -> Path | None:
    """The file that a subnetwork was opened from; None if it is in memory."""
    return next((reader.path for reader in readers(net.tensors)), None)


def stored_file(reader: Reader, record: FileRecord) -> bytes:
    """The bytes of a file that the subnetwork brings along, checked."""
    compressed = checked(reader, blob_name("file", record.name), record.checksum)
    return zstd_codec.unpack(compressed, record.size)


def checked(reader: Reader, name: str, checksum: str) -> memoryview:
    """A blob's bytes; raises `FormatError` if the checksum is not theirs."""
    data = bytes_of(reader.whole(name))
    _compare(reader, name, actual=digest(data), checksum=checksum)
    return data


def check(reader: Reader, name: str, checksum: str) -> None:
    """The same without its bytes."""
    _compare(reader, name, actual=reader.entries(name).fingerprint(), checksum=checksum)


def _compare(reader: Reader, name: str, actual: str, checksum: str) -> None:
    if actual != checksum:
        raise FormatError(f"{reader.path}: {name} is damaged (checksum {actual}, expected {checksum})")


def outline(record: PrunedRecord | CarriedRecord) -> Outline:
    """What the record says of a tensor."""
    if isinstance(record, CarriedRecord):
        return Outline(record.shape, record.dtype, retained=math.prod(record.shape), reason=record.reason)
    base = record.pretrained
    unchanged = (record.shape, record.dtype, record.fine_tuned) == (base.shape, base.dtype, base.fingerprint)
    whole = Outline(record.shape, record.dtype, retained=record.retained, reason=None)
    return whole._replace(unchanged=unchanged, cut=record.cut, threshold=to_threshold(record))


def to_threshold(record: PrunedRecord) -> Threshold | None:
    """The threshold that a record describes."""
    return None if record.threshold is None else Threshold(int(record.threshold.key, 16), record.threshold.ties)


def to_reference(record: ReferenceRecord) -> Reference:
    """The reference that a record describes."""
    return Reference(record.name, record.shape, dtype=dtype_named(record.dtype), fingerprint=record.fingerprint)
