"""A tensor that is in several parts, joined: encoded anew as a whole, and its fingerprints made over all of its bytes.

The fingerprints go over the bytes in order, and what is retained and what is reset take turns in those of the injected
tensor; so both models are read once more. Every piece has fingerprints of its own, which must be the same again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken.errors import PartsError
from ken.models.tensors.tensor_bytes import Reference, bytes_of, new_digest
from ken.models.tensors.tensor_reader import Entries, in_turn
from ken.pruning.making import Making
from ken.storage import mask_codec, value_codec
from ken.storage.lazy_tensors import blob_name
from ken.storage.part_files import ItemRecord, PartReader, item_blob
from ken.storage.schema import CarriedRecord, PrunedRecord
from ken.storage.writer import SubnetworkWriter
from ken.subnetwork import ulp_distances
from ken.subnetwork.extract import Subject, base_bits, whole_rows


class MadePiece(NamedTuple):
    """An item of a part."""

    part: PartReader
    number: int

    @property
    def item(self) -> ItemRecord:
        """What the part says of it."""
        return self.part.record.items[self.number]

    @property
    def record(self) -> PrunedRecord | CarriedRecord:
        """What it stores."""
        record = self.item.tensor
        assert record is not None
        return record

    def blob(self, kind: str) -> str:
        """The name of one of its blobs in the part, which has been checked."""
        name = item_blob(self.number, blob_name(kind, self.item.name))
        for _ in self.part.parts(name):
            pass
        return name

    def bits(self) -> NDArray[np.uint8]:
        """The mask, packed."""
        record = self.pruned
        name = self.blob("mask")
        data = memoryview(self.part.some(name, 0, self.part.length(name)))
        return mask_codec.decode(record.mask.coding, data, entries=math.prod(record.shape), retained=record.retained)

    def distances(self, width: int) -> Callable[[int], NDArray[Any]]:
        """A function that gives the distances one after the other."""
        import torch

        name, record = self.blob("values"), self.pruned

        dtype = np.dtype(f"u{width}")

        def bits(start: int, stop: int) -> NDArray[Any]:
            return np.frombuffer(self.part.some(name, start * width, stop * width), dtype)

        def some(start: int, stop: int) -> torch.Tensor:
            return torch.from_numpy(np.frombuffer(bytearray(self.part.some(name, start, stop)), np.uint8))

        if record.values.coding == "raw":
            return in_turn(lambda start, stop: ulp_distances.keys(bits(start, stop)))
        blob = Entries((self.part.length(name),), torch.uint8, some)
        return value_codec.Decoder(blob, record.values.lengths, retained=record.retained, dtype=dtype).take

    @property
    def pruned(self) -> PrunedRecord:
        """What it stores of a pruned tensor."""
        assert isinstance(self.record, PrunedRecord)
        return self.record


class _Fingerprints:
    """The three of a tensor, of bytes that come in order: pretrained, fine-tuned, injected."""

    def __init__(self) -> None:
        self._running = [new_digest() for _ in range(3)]

    def update(self, *data: Any) -> None:
        """Some bytes of each."""
        for running, part in zip(self._running, data, strict=True):
            running.update(part)

    def texts(self) -> tuple[str, ...]:
        """What they amount to."""
        return tuple(running.hexdigest() for running in self._running)


def join_pieces(
    pruning: Making, name: str, pieces: Sequence[MadePiece], *, writer: SubnetworkWriter, done: Callable[[int], object]
) -> None:
    """Write a tensor of which pieces were made. Raises `PartsError` if there are others than must be."""
    tensor = pruning.prepared.tensors.get(name)
    ends = [0, *(piece.item.stop for piece in pieces)]
    contiguous = [piece.item.start for piece in pieces] == ends[:-1]
    if tensor is None or not pieces or not contiguous or ends[-1] != tensor.fine_tuned.count:
        raise PartsError(f"{name}: the parts do not have all of it, each entry once")
    fine_tuned, pretrained, raw = tensor.fine_tuned, tensor.pretrained, pruning.prepared.raw
    subject = Subject(
        name,
        fine_tuned.shape,
        fine_tuned.dtype,
        retained=sum(piece.pruned.retained for piece in pieces),
        raw=raw,
        cut=pruning.prepared.selection.cut_of(name),
    )
    taking, whole = writer.pruned(subject), _Fingerprints()
    for piece in pieces:
        bits, distances = piece.bits(), piece.distances(fine_tuned.dtype.itemsize)
        first, last = piece.item.start, piece.item.stop
        own = _Fingerprints()
        for start, stop in whole_rows(*tensor.rows, within=(first, last)):
            some = bits[(start - first) // 8 : -(-(stop - first) // 8)]
            moved = distances(ulp_distances.marked_in(some))
            taking.add(some, moved)
            tuned = fine_tuned.read(start, stop)
            original = pretrained.read(*(min(at, pretrained.count) for at in (start, stop)))
            values = base_bits(original, fine_tuned.dtype, len(tuned))
            if raw:
                moved = moved - ulp_distances.take(values, np.zeros_like(values), some, retained=moved.size)
            ulp_distances.exchange(values, None, (some, moved))
            for fingerprints in (own, whole):
                fingerprints.update(bytes_of(original), bytes_of(tuned), values.data)
            done(tuned.nbytes + original.nbytes)
        record = piece.pruned
        if own.texts() != (record.pretrained.fingerprint, record.fine_tuned, record.result):
            raise PartsError(
                f"the values of the models are not those that part {piece.part.record.index} was made of "
                f"({piece.part.path.name}): give those models, or remove that part and make it again"
            )
    of_pretrained, of_fine_tuned, of_result = whole.texts()
    counterpart = Reference(tensor.other, pretrained.shape, pretrained.dtype, fingerprint=of_pretrained)
    taking.finish(counterpart, of_fine_tuned, of_result)
    pruning.seen.add(name, fine_tuned, of_fine_tuned, counterpart=counterpart)
