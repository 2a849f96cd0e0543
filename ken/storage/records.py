"""What a record says of a subnetwork: from objects to the classes of `ken.storage.schema`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from pydantic import ValidationError

from ken.errors import FormatError, at_tensor
from ken.models.checkpoints.safetensors_file import stored_dtype
from ken.models.tensors.tensor_bytes import Reference, dtype_name, dtype_named
from ken.rules.thresholds import Threshold
from ken.storage.model_files import shard_name
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
    ThresholdRecord,
    ValuesRecord,
)
from ken.subnetwork.outline import Outline
from ken.subnetwork.subnetwork import Recipe, SubnetworkData

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


def draft(name: str, outline: Outline, pretrained: Reference | None) -> PrunedRecord | CarriedRecord:
    """A record with the widest of all numbers, to reserve room for; raises `FormatError` for what cannot be stored."""
    with at_tensor(name):
        stored_dtype(dtype_named(outline.dtype))
        try:
            base = None if pretrained is None else reference(pretrained)
            head: dict[str, Any] = {"name": name, "shape": outline.shape, "dtype": outline.dtype, "pretrained": base}
            if outline.reason is not None:
                return CarriedRecord(**head, reason=outline.reason, checksum=NO_HASH)
            return PrunedRecord(
                **head,
                cut=outline.cut,  # type: ignore[arg-type]
                retained=outline.entries,
                fine_tuned=NO_HASH,
                result=NO_HASH,
                mask=MaskRecord(coding="all", length=_WIDEST, checksum=NO_HASH),
                values=ValuesRecord(coding="ulps", lengths=(_WIDEST,) * 8, checksum=NO_HASH),
                threshold=threshold_record(outline.threshold and outline.threshold._replace(ties=_WIDEST)),
            )
        except ValidationError as error:
            raise FormatError(f"the tensor cannot be described in a file: {error.errors()[0]['msg']}") from None


def to_record(
    head: SubnetworkData, tensors: tuple[PrunedRecord | CarriedRecord, ...], files: tuple[FileRecord, ...]
) -> Record:
    """The record of a subnetwork; raises `FormatError` for what JSON cannot say."""
    recipe = {field.name: getattr(head.recipe, field.name) for field in fields(Recipe)}
    recipe = {name: dict(value) if isinstance(value, Mapping) else value for name, value in recipe.items()}
    recipe["k"] = {} if head.recipe.k is None else recipe["k"]  # which readers of every 1.x take
    built, relation = head.architecture, head.relation
    try:
        return Record(
            recipe=RecipeRecord(**recipe),
            fine_tuned=ModelRecord(**asdict(head.fine_tuned)),
            pretrained=ModelRecord(**asdict(head.pretrained)),
            architecture=None
            if built is None
            else ArchitectureRecord(class_name=built.class_name, config=built.config),
            prefix=head.prefix,
            tied=dict(head.tied),
            only_pretrained=dict(head.only_pretrained),
            shards={name: shard_name(path) for name, path in head.shards.items()},
            files=files,
            notes=head.notes,
            relation=None if relation is None else RelationRecord(**asdict(relation)),
            lacking={name: reference(lent) for name, lent in head.lacking.items()},
            tensors=tensors,
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise FormatError(f"the subnetwork cannot be stored: {place}: {first['msg']}, got {first['input']!r}") from None


def threshold_record(threshold: Threshold | None) -> ThresholdRecord | None:
    """The record of a threshold."""
    return None if threshold is None else ThresholdRecord(key=f"{threshold.key:016x}", ties=threshold.ties)


def reference(tensor: Reference) -> ReferenceRecord:
    """The record of a pretrained tensor that is relied on."""
    dtype = dtype_name(tensor.dtype)
    return ReferenceRecord(name=tensor.name, shape=tensor.shape, dtype=dtype, fingerprint=tensor.fingerprint)
