"""What a record says of a subnetwork: from objects to the classes of `ken.storage.schema`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict

from pydantic import ValidationError

from ken.errors import FormatError, at_tensor
from ken.models.checkpoints.safetensors_file import stored_dtype
from ken.models.tensors.tensor_bytes import Reference, dtype_name, dtype_named
from ken.storage.schema import (
    ArchitectureRecord,
    CarriedRecord,
    FileRecord,
    MaskRecord,
    ModelRecord,
    PrunedRecord,
    RecipeRecord,
    Record,
    ReferenceRecord,
    RelationRecord,
    ValuesRecord,
)
from ken.subnetwork.outline import Outline
from ken.subnetwork.subnetwork import Provenance, SubnetworkData

# Rows that a tensor adds may take this many bytes, and this many for every byte that is stored of the tensor.
_FREE, _EXPANSION = 1 << 22, 64
#: Stands for any fingerprint while room for the record is reserved, and a length that is as wide as any.
NO_HASH = "0" * 32
_WIDEST = 10**15


def plausible(shape: tuple[int, ...], pretrained: tuple[int, ...], width: int, length: int) -> bool:
    """Whether the values of rows that the pretrained tensor does not have may come from so few bytes.

    All other sizes are bounded by those of the pretrained model; these only by what the file says.
    """
    extra = math.prod(shape) - math.prod(pretrained)
    return extra * width <= _FREE + _EXPANSION * length


def draft(name: str, of: Outline, there: Reference | None) -> PrunedRecord | CarriedRecord:
    """A record with the widest of all numbers, to reserve room for; raises `FormatError` for what cannot be stored."""
    with at_tensor(name):
        stored_dtype(dtype_named(of.dtype))
        try:
            if of.reason is not None:
                pretrained = None if there is None else reference(there)
                return CarriedRecord(
                    name=name,
                    shape=of.shape,
                    dtype=of.dtype,
                    reason=of.reason,
                    pretrained=pretrained,
                    checksum=NO_HASH,
                )
            assert there is not None
            return PrunedRecord(
                name=name,
                shape=of.shape,
                dtype=of.dtype,
                cut=of.cut,  # type: ignore[arg-type]
                retained=of.entries,
                pretrained=reference(there),
                fine_tuned=NO_HASH,
                result=NO_HASH,
                mask=MaskRecord(coding="all", length=_WIDEST, checksum=NO_HASH),
                values=ValuesRecord(coding="ulps", lengths=(_WIDEST,) * 8, checksum=NO_HASH),
            )
        except ValidationError as error:
            raise FormatError(f"the tensor cannot be described in a file: {error.errors()[0]['msg']}") from None


def to_record(
    head: SubnetworkData, tensors: tuple[PrunedRecord | CarriedRecord, ...], files: tuple[FileRecord, ...]
) -> Record:
    """The record of a subnetwork; raises `FormatError` for what JSON cannot say."""
    of = head.architecture
    try:
        return Record(
            recipe=RecipeRecord(
                rule=head.recipe.rule,
                k=dict(head.recipe.k) if isinstance(head.recipe.k, Mapping) else head.recipe.k,
                on=head.recipe.on,
                bandwidth=head.recipe.bandwidth,
                kernel=head.recipe.kernel,
                seed=head.recipe.seed,
                include=head.recipe.include,
                exclude=head.recipe.exclude,
                layers_only=head.recipe.layers_only,
                rows=dict(head.recipe.rows),
                versions=dict(head.recipe.versions),
            ),
            fine_tuned=_model(head.fine_tuned),
            pretrained=_model(head.pretrained),
            architecture=None if of is None else ArchitectureRecord(class_name=of.class_name, config=of.config),
            prefix=head.prefix,
            tied=dict(head.tied),
            only_pretrained=dict(head.only_pretrained),
            shards=dict(head.shards),
            files=files,
            notes=head.notes,
            relation=None if head.relation is None else RelationRecord(**asdict(head.relation)),
            lacking={name: reference(there) for name, there in head.lacking.items()},
            tensors=tensors,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise FormatError(f"the subnetwork cannot be stored: {place}: {first['msg']}, got {first['input']!r}") from None


def _model(of: Provenance) -> ModelRecord:
    return ModelRecord(source=of.source, tensors=of.tensors, entries=of.entries, fingerprint=of.fingerprint or "")


def reference(of: Reference) -> ReferenceRecord:
    """The record of a pretrained tensor that is relied on."""
    return ReferenceRecord(name=of.name, shape=of.shape, dtype=dtype_name(of.dtype), fingerprint=of.fingerprint)
