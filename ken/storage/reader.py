"""Subnetwork files: save, read. ken/FORMAT.md says what the bytes mean.

Subnetwork ──► record (JSON) and blobs ──► safetensors container                `save`, with `ken.storage.writer`
container ──► record ──► Subnetwork whose tensors are decoded on demand         `read`
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TypeVar

from ken.errors import FormatError, at_tensor
from ken.models.checkpoints.architecture import Architecture
from ken.models.checkpoints.remote.remote_reader import open_reader
from ken.models.checkpoints.safetensors_file import BYTES, Reader, stored_dtype
from ken.models.pairing.relation import Relation
from ken.models.tensors.tensor_bytes import dtype_named
from ken.storage.file_kinds import SUBNETWORK
from ken.storage.lazy_tensors import Lazy, StoredCarried, StoredTensor, blob_name, outline, to_reference
from ken.storage.model_files import StoredFiles, check_paths, shard_path
from ken.storage.outputs import check_outputs
from ken.storage.records import plausible
from ken.storage.schema import CarriedRecord, PrunedRecord, Record, from_metadata
from ken.storage.uploads import target
from ken.storage.writer import SubnetworkWriter
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.outline import Outline
from ken.subnetwork.retained_tensor import RetainedTensor, check_grown
from ken.subnetwork.subnetwork import Provenance, Recipe, SubnetworkData

Net = TypeVar("Net", bound=SubnetworkData)


def save(net: SubnetworkData, path: str | Path, *, overwrite: bool = False, progress: bool = True) -> Path | str:
    """Write a subnetwork into a file; see `ken.Subnetwork.save`."""
    from tqdm.auto import tqdm

    path = target(path)
    check_outputs([(path, SUBNETWORK)], {"the file of this subnetwork": net}, overwrite=overwrite)
    if net.written(path, progress=progress):
        return path
    plan = {name: (outline, net.tensors[name].pretrained) for name, outline in net.outlines.items()}
    with (
        SubnetworkWriter(path, net, plan) as writer,
        tqdm(total=net.entries, desc="save", unit="entry", unit_scale=True, disable=not progress, delay=1.0) as bar,
    ):
        for name, outline in net.outlines.items():
            bar.set_postfix_str(name, refresh=False)
            writer.add(name, net.tensors[name])
            bar.update(outline.entries)
        writer.finish(net)
    return path


def read(path: str | Path, kind: type[Net]) -> Net:
    """What a subnetwork file holds, as an object of that kind; see `ken.load`."""
    reader = open_reader(path)
    try:
        record = from_metadata(reader.metadata)
        _check_blobs(reader, record)
        tensors = {tensor.name: tensor for tensor in record.tensors}
        files = StoredFiles(reader, record.files)
        shards = {name: shard_path(shard) for name, shard in record.shards.items()}
        check_paths(dict.fromkeys([*files, *shards.values()]))
        architecture = record.architecture
        return kind(
            tensors=_StoredTensors(tensors, partial(_stored, reader)),
            recipe=Recipe(**{**dict(record.recipe), "k": None if record.recipe.k == {} else record.recipe.k}),
            tied=record.tied,
            only_pretrained=record.only_pretrained,
            architecture=None if architecture is None else Architecture(**dict(architecture)),
            prefix=record.prefix,
            fine_tuned=Provenance(**dict(record.fine_tuned)),
            pretrained=Provenance(**dict(record.pretrained)),
            files=files,
            shards=shards,
            notes=record.notes,
            lacking={name: to_reference(lent) for name, lent in record.lacking.items()},
            relation=None if record.relation is None else Relation(**dict(record.relation)),
        )
    except FormatError as error:
        error.add_note(f"in the file {path}")
        raise


def _stored(reader: Reader, record: PrunedRecord | CarriedRecord) -> RetainedTensor | CarriedTensor:
    return StoredTensor(reader, record) if isinstance(record, PrunedRecord) else StoredCarried(reader, record)


class _StoredTensors(Lazy[RetainedTensor | CarriedTensor]):
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
            raw = tensor.values.coding == "raw"
            if not raw and not plausible(tensor.shape, tensor.pretrained.shape, width=dtype.itemsize, length=length):
                raise FormatError(f"{length} bytes of values are too few for all the rows that the tensor adds")
            values = (stored_dtype(dtype), (tensor.retained,)) if raw else (BYTES, (length,))
            expected[blob_name("mask", tensor.name)] = BYTES, (tensor.mask.length,)
            expected[blob_name("values", tensor.name)] = values
    files = {blob_name("file", file.name) for file in record.files}
    names, wanted = set(reader.names), set(expected) | files
    if names != wanted:
        odd = sorted(names ^ wanted)[0]
        raise FormatError(f"{odd[:200]!r} is {'not in the file' if odd in wanted else 'not in the record'}")
    for name, layout in expected.items():
        if reader.layout(name) != layout:
            raise FormatError(f"{name} must be {layout[0]} {layout[1]}, the file has {reader.layout(name)}")
