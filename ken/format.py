"""Subnetwork files: save, load. FORMAT.md beside this file says what the bytes mean.

    Subnetwork ──► record (JSON) and blobs ──► safetensors container                `SubnetworkWriter`, `save`
    container ──► record ──► Subnetwork whose tensors are decoded on demand         `load`

A file is written as a stream, a tensor at a time, so that it can be made while a model is being pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from ken import codings
from ken.checkpoint import Architecture
from ken.container import BYTES, Reader, Writer, stored_dtype
from ken.errors import FormatError, at_tensor
from ken.files import replacing
from ken.folders import belongs, plain
from ken.record import (
    CarriedRecord,
    FileRecord,
    MaskRecord,
    PrunedRecord,
    Record,
    ValuesRecord,
    from_metadata,
    to_metadata,
)
from ken.recording import NO_HASH, draft, plausible, reference, to_record
from ken.retained import CarriedTensor, Outline, RetainedTensor, check_grown
from ken.stored import Lazy, StoredCarried, StoredTensor, blob_name, outline, stored_file
from ken.subnetwork import Provenance, Recipe, Subnetwork
from ken.tensors import Reference, digest, dtype_name, dtype_named, fingerprint

#: What is known of the tensors to come: their outlines, and their pretrained counterparts.
Plan: TypeAlias = Mapping[str, tuple[Outline, Reference | None]]


def save(net: Subnetwork, path: str | Path, *, progress: bool = True) -> Path:
    """Write a subnetwork into a file; an old file of that name is replaced when the new one is whole. Returns the path.

    Raises `FormatError` if the subnetwork cannot be stored (a dtype or a name that safetensors does not know), before
    anything is written, and `OSError` if the disk refuses.

    >>> import tempfile, torch, ken
    >>> net = ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(save(net, Path(folder) / "net.ken.safetensors"))
    Subnetwork(rule='ken', k=2: 8 of 16 entries retained; 1 tensors pruned, 0 carried)
    """
    from tqdm.auto import tqdm

    path = Path(path)
    plan = {name: (of, net.tensors[name].pretrained) for name, of in net.outlines.items()}
    with (
        SubnetworkWriter(path, net, plan) as writer,
        tqdm(total=net.entries, desc="save", unit="entry", unit_scale=True, disable=not progress, delay=1.0) as bar,
    ):
        for name, of in net.outlines.items():
            bar.set_postfix_str(name, refresh=False)
            writer.add(name, net.tensors[name])
            bar.update(of.entries)
        writer.finish(net)
    return path


class SubnetworkWriter:
    """Writes a subnetwork tensor by tensor. Use it in a `with` block; without `finish` no file is left.

    head gives all but the tensors; what it says may change until `finish`, in fields of fixed width (fingerprints).
    """

    def __init__(self, path: str | Path, head: Subnetwork, plan: Plan) -> None:
        drafts = tuple(draft(name, of, there) for name, (of, there) in plan.items())
        blobs: dict[str, tuple[int, ...]] = {}
        for expected in drafts:
            if isinstance(expected, PrunedRecord):
                blobs |= {blob_name("mask", expected.name): (0,), blob_name("values", expected.name): (0,)}
            else:
                blobs[blob_name("carried", expected.name)] = expected.shape
        for name in head.files:
            if not belongs(name):
                raise FormatError(f"{name!r} is not the name of a configuration or tokenizer file")
            blobs[blob_name("file", name)] = (0,)
        files = tuple(FileRecord(name=name, size=2**26, checksum=NO_HASH) for name in head.files)
        metadata = to_metadata(to_record(head, drafts, files))

        self._stack = ExitStack()
        self._container = Writer(self._stack.enter_context(replacing(path)), blobs, metadata)
        self._records: list[PrunedRecord | CarriedRecord] = []
        self._finished = False

    def add(self, name: str, tensor: RetainedTensor | CarriedTensor) -> None:
        """Write what is stored of the next tensor."""
        with at_tensor(name):
            write = self._carried if isinstance(tensor, CarriedTensor) else self._pruned
            self._records.append(write(name, tensor))  # type: ignore[arg-type]

    def finish(self, head: Subnetwork) -> None:
        """Write the files and the record; the file takes its name when the block ends."""
        files = tuple(self._file(name, data) for name, data in head.files.items())
        self._container.finish(to_metadata(to_record(head, tuple(self._records), files)))
        self._finished = True

    def _pruned(self, name: str, tensor: RetainedTensor) -> PrunedRecord:
        coding, mask = codings.encode_mask(tensor.bits, tensor.entries, tensor.retained)
        self._container.add(blob_name("mask", name), BYTES, (len(mask),), [mask])
        if tensor.raw:
            from ken.ulps import keys

            lengths: tuple[int, ...] = ()
            parts = [keys(tensor.ulps).tobytes()]
            dtype, size = stored_dtype(tensor.dtype), tensor.retained
        else:
            parts = codings.encode_ulps(tensor.ulps)
            if not plausible(tensor.shape, tensor.pretrained.shape, tensor.dtype.itemsize, sum(map(len, parts))):
                parts = codings.encode_ulps(tensor.ulps, compress=False)
            lengths, dtype = tuple(map(len, parts)), BYTES
            size = sum(lengths)
        self._container.add(blob_name("values", name), dtype, (size,), parts)
        return PrunedRecord(
            name=name,
            shape=tensor.shape,
            dtype=dtype_name(tensor.dtype),
            retained=tensor.retained,
            pretrained=reference(tensor.pretrained),
            fine_tuned=tensor.fine_tuned,
            result=tensor.result,
            mask=MaskRecord(coding=coding, length=len(mask), checksum=digest(mask)),  # type: ignore[arg-type]
            values=ValuesRecord(coding="raw" if tensor.raw else "ulps", lengths=lengths, checksum=digest(*parts)),
        )

    def _carried(self, name: str, tensor: CarriedTensor) -> CarriedRecord:
        self._container.add_tensor(blob_name("carried", name), tensor.value)
        return CarriedRecord(
            name=name,
            shape=tensor.shape,
            dtype=dtype_name(tensor.dtype),
            reason=tensor.reason,
            pretrained=None if tensor.pretrained is None else reference(tensor.pretrained),
            checksum=fingerprint(tensor.value),
        )

    def _file(self, name: str, data: bytes) -> FileRecord:
        packed = codings.pack(data)
        self._container.add(blob_name("file", name), BYTES, (len(packed),), [packed])
        return FileRecord(name=name, size=len(data), checksum=digest(packed))

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


def load(path: str | Path) -> Subnetwork:
    """Open a subnetwork file. Only its header is read; tensors are decoded, and checked, when they are asked for.

    The file must stay where it is while the subnetwork is in use (`Subnetwork.in_memory` does without it); replacing
    it by another one does no harm. Opening a file runs no code of it.

    Raises `FormatError` if it is not a subnetwork file, is damaged, or of a newer major version.
    """
    reader = Reader(path)
    try:
        record = from_metadata(reader.metadata)
        _check_blobs(reader, record)
        tensors = {tensor.name: tensor for tensor in record.tensors}
        architecture = record.architecture and Architecture(record.architecture.class_name, record.architecture.config)
        return Subnetwork(
            _StoredTensors(
                tensors,
                lambda of: StoredTensor(reader, of) if isinstance(of, PrunedRecord) else StoredCarried(reader, of),
            ),
            Recipe(**dict(record.recipe)),
            record.tied,
            record.only_pretrained,
            architecture or None,
            record.prefix,
            Provenance(**dict(record.fine_tuned)),
            Provenance(**dict(record.pretrained)),
            Lazy({file.name: file for file in record.files}, lambda file: stored_file(reader, file)),
            record.shards,
        )
    except FormatError as error:
        error.add_note(f"in the file {path}")
        raise


class _StoredTensors(Lazy["RetainedTensor | CarriedTensor"]):
    """The tensors of a file by name."""

    @property
    def outlines(self) -> dict[str, Outline]:
        """What the record says of them."""
        return {name: outline(record) for name, record in self.records.items()}


def _check_blobs(reader: Reader, record: Record) -> None:
    """The container must hold the blobs that the record describes, of these dtypes and shapes, and no others."""
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    for tensor in record.tensors:
        with at_tensor(tensor.name):
            dtype = dtype_named(tensor.dtype)
            if isinstance(tensor, CarriedRecord):
                expected[blob_name("carried", tensor.name)] = stored_dtype(dtype), tensor.shape
                continue
            if not dtype.is_floating_point:
                raise FormatError(f"a pruned tensor must be floating-point, got {tensor.dtype}")
            check_grown(tensor.shape, tensor.pretrained.shape)
            length = sum(tensor.values.lengths)
            if tensor.values.coding == "ulps" and not plausible(
                tensor.shape, tensor.pretrained.shape, dtype.itemsize, length
            ):
                raise FormatError(f"{length} bytes of values are too few for all the rows that the tensor adds")
            expected[blob_name("mask", tensor.name)] = BYTES, (tensor.mask.length,)
            if tensor.values.coding == "raw":
                values = stored_dtype(dtype), (tensor.retained,)
            else:
                values = BYTES, (sum(tensor.values.lengths),)
            expected[blob_name("values", tensor.name)] = values
    for file in record.files:
        if not belongs(file.name):
            raise FormatError(f"{file.name[:80]!r} is not the name of a configuration or tokenizer file")
    for shard in set(record.shards.values()):
        if not plain(shard) or not shard.endswith(".safetensors"):
            raise FormatError(f"{shard[:80]!r} is not the name of a safetensors file")
    files = {blob_name("file", file.name) for file in record.files}
    found, wanted = set(reader.names), set(expected) | files
    if found != wanted:
        odd = sorted(found ^ wanted)[0]
        raise FormatError(f"{odd[:200]!r} is {'not in the file' if odd in wanted else 'not in the record'}")
    for name, layout in expected.items():
        if reader.layout(name) != layout:
            raise FormatError(f"{name} must be {layout[0]} {layout[1]}, the file has {reader.layout(name)}")
