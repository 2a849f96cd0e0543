"""Subnetwork files: save, load. FORMAT.md beside this file says what the bytes mean.

Subnetwork ──► record (JSON) and blobs ──► safetensors container                `save`, with `ken.writing`
container ──► record ──► Subnetwork whose tensors are decoded on demand         `load`
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ken.belongings import plain
from ken.checkpoint import Architecture
from ken.container import BYTES, Reader, stored_dtype
from ken.errors import FormatError, at_tensor
from ken.filekinds import SUBNETWORK
from ken.filing import StoredFiles
from ken.outputs import check_outputs
from ken.record import CarriedRecord, PrunedRecord, Record, from_metadata
from ken.recording import plausible
from ken.relation import Relation
from ken.retained import CarriedTensor, Outline, RetainedTensor, check_grown
from ken.stored import Lazy, StoredCarried, StoredTensor, blob_name, outline, to_reference
from ken.subnetwork import Provenance, Recipe, Subnetwork
from ken.tensors import dtype_named
from ken.writing import SubnetworkWriter


def save(net: Subnetwork, path: str | Path, *, overwrite: bool = False, progress: bool = True) -> Path:
    """Write a subnetwork into a file; an old subnetwork of that name is replaced when the new one is whole.

    Returns the path. A file that holds anything else is replaced only with `overwrite`, and the file that this very
    subnetwork is read from never.

    Raises `OutputError` for such a file and `FormatError` if the subnetwork cannot be stored (a dtype or a name that
    safetensors does not know), before anything is written, and `OSError` if the disk refuses.

    >>> import tempfile, torch, ken
    >>> net = ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, 2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(save(net, Path(folder) / "net.ken.safetensors"))
    Subnetwork(rule='ken', k=2: 8 of 16 entries retained; 1 tensors pruned, 0 carried)
    """
    from tqdm.auto import tqdm

    path = Path(path)
    check_outputs([(path, SUBNETWORK)], {"the file of this subnetwork": net}, overwrite=overwrite)
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


def load(path: str | Path) -> Subnetwork:
    """Open a subnetwork file. Only its header is read; tensors are decoded, and checked, when they are asked for.

    The file must stay where it is while the subnetwork is in use (`Subnetwork.in_memory` does without it); replacing
    it by another one does no harm. A subnetwork that is sent to another process, or pickled, opens it there again.
    Opening a file runs no code of it.

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
                partial(_stored, reader),
            ),
            Recipe(**dict(record.recipe)),
            record.tied,
            record.only_pretrained,
            architecture or None,
            record.prefix,
            Provenance(**dict(record.fine_tuned)),
            Provenance(**dict(record.pretrained)),
            StoredFiles(reader, record.files),
            record.shards,
            record.notes,
            {name: to_reference(there) for name, there in record.lacking.items()},
            None if record.relation is None else Relation(**dict(record.relation)),
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
