"""The record of a subnetwork file: what its JSON may say, and nothing else. FORMAT.md explains every field.

The classes are the schema: pydantic parses and checks, without converting one type into another. Fields that a later
minor version adds are ignored.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ken.errors import FormatError
from ken.models.tensors.tensor_bytes import digest

#: Major and minor version of the format. Readers of the same major version can read the file.
VERSION = (1, 4)
#: A longer file is kept in parts.
LONGEST_PART = 2**26
#: Keys of the container's metadata.
RECORD, CHECKSUM, FORMAT = "ken.record", "ken.checksum", "ken.format"

Count = Annotated[int, Field(ge=0, lt=2**53)]
Shape = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**48)], ...], Field(max_length=64)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Text = Annotated[str, Field(max_length=100_000)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class ReferenceRecord(_Part):
    """The pretrained tensor that a pruned tensor relies on."""

    name: Text
    shape: Shape
    dtype: Text
    fingerprint: Hash


class MaskRecord(_Part):
    """How the mask is coded, the length of its blob, and its checksum."""

    coding: Literal["none", "all", "bits", "bits+zstd", "gaps+zstd"]
    length: Count
    checksum: Hash


class ValuesRecord(_Part):
    """How the retained values are coded: the lengths of their byte planes, or none if they are stored as they are."""

    coding: Literal["ulps", "raw"]
    lengths: Annotated[tuple[Count, ...], Field(max_length=8)]
    checksum: Hash


class ThresholdRecord(_Part):
    """What decided about each entry where rows shared a budget: `ken.rules.thresholds.Threshold`."""

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    ties: Count


class PrunedRecord(_Part):
    """A pruned tensor."""

    status: Literal["pruned"] = "pruned"
    name: Text
    shape: Shape
    dtype: Text
    cut: Literal["", "last", "first", "whole"] = ""
    retained: Count
    pretrained: ReferenceRecord
    fine_tuned: Hash
    result: Hash
    mask: MaskRecord
    values: ValuesRecord
    threshold: ThresholdRecord | None = None

    @model_validator(mode="after")
    def _fits(self) -> PrunedRecord:
        entries = math.prod(self.shape)
        extra = entries - math.prod(self.pretrained.shape)
        if not max(extra, 0) <= self.retained <= entries:
            raise ValueError(f"{self.retained} entries of a tensor of shape {self.shape} cannot be retained")
        if (self.mask.coding == "none") != (self.retained == 0 < entries):
            raise ValueError(f"a mask of coding {self.mask.coding!r} cannot retain {self.retained} entries")
        if (self.mask.coding == "all") != (self.retained == entries):
            raise ValueError(
                f"a mask of coding {self.mask.coding!r} cannot retain {self.retained} of {entries} entries"
            )
        return self


class CarriedRecord(_Part):
    """A carried tensor."""

    status: Literal["carried"] = "carried"
    name: Text
    shape: Shape
    dtype: Text
    reason: Text
    pretrained: ReferenceRecord | None
    checksum: Hash


class RecipeRecord(_Part):
    """How the subnetwork was made. k is empty for a rule that has none."""

    rule: Text
    k: int | float | dict[str, int | float]
    on: Text
    bandwidth: Text | float
    kernel: Text = "gaussian"
    scope: Literal["row", "tensor", "model"] = "row"
    rescale: Literal["none", "share"] = "none"
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)]
    include: tuple[Text, ...]
    exclude: tuple[Text, ...]
    layers_only: bool
    rows: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str]


class ModelRecord(_Part):
    """Where one of the two models came from."""

    source: Text
    tensors: Count
    entries: Count
    fingerprint: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]
    hub_id: Text = ""
    revision: Text = ""
    commit: Text = ""
    licence: Text = ""


class ArchitectureRecord(_Part):
    """The transformers class of the fine-tuned model, and its configuration as in config.json."""

    class_name: Text
    config: dict[str, Any]


class FileRecord(_Part):
    """A configuration or tokenizer file of the fine-tuned checkpoint folder, or a part of one.

    path says where it lies, if that is not its name; what has one path are the parts of one file.
    """

    name: Text
    path: Text = ""
    size: Annotated[int, Field(ge=0, le=LONGEST_PART)]
    checksum: Hash


_Norm = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RelationRecord(_Part):
    """How large the update is, and how far the two models are alike."""

    entries: Count
    update: _Norm | None
    fine_tuned: _Norm | None
    pretrained: _Norm | None
    matrices: Count
    matrix_entries: Count
    correlation: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] | None


class Record(_Part):
    """All of it."""

    recipe: RecipeRecord
    fine_tuned: ModelRecord
    pretrained: ModelRecord
    architecture: ArchitectureRecord | None
    prefix: Text
    tied: dict[str, str]
    only_pretrained: dict[str, Shape]
    shards: dict[str, str]
    files: tuple[FileRecord, ...]
    notes: tuple[Text, ...] = ()
    relation: RelationRecord | None = None
    lacking: dict[str, ReferenceRecord] = Field(default_factory=dict)
    tensors: tuple[Annotated[PrunedRecord | CarriedRecord, Field(discriminator="status")], ...]

    @model_validator(mode="after")
    def _names(self) -> Record:
        for what, names in (("tensor", [t.name for t in self.tensors]), ("file", [f.name for f in self.files])):
            if len(set(names)) != len(names):
                raise ValueError(f"a {what} is described twice")
        known = {tensor.name for tensor in self.tensors}
        for alias, name in self.tied.items():
            if name not in known or alias in known:
                raise ValueError(f"tied: {alias!r} cannot be an alias of {name!r}")
        for name in self.lacking:
            if name in known or name in self.tied:
                raise ValueError(f"lacking: {name!r} is described as a tensor, too")
        return self


def to_metadata(record: Record) -> dict[str, str]:
    """The container's metadata for a record."""
    text = record.model_dump_json()
    version = f"{VERSION[0]}.{VERSION[1]}"
    return {FORMAT: version, CHECKSUM: _checksum(version, text), RECORD: text}


def from_metadata(metadata: dict[str, str]) -> Record:
    """The record again. Raises `FormatError` for other files, newer major versions, and anything that is damaged."""
    missing = [key for key in (FORMAT, CHECKSUM, RECORD) if key not in metadata]
    if missing:
        raise FormatError(f"this is not a subnetwork file: its header has no {missing[0]!r}")
    version, text = metadata[FORMAT], metadata[RECORD]
    major, _, minor = version.partition(".")
    if not (major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit() and len(version) < 20):
        raise FormatError(f"the version of a subnetwork file must be two numbers, got {version[:20]!r}")
    if int(major) != VERSION[0]:
        raise FormatError(
            f"the file has version {version} of the format, this is a reader of version {VERSION[0]}; "
            + ("get a newer kenviz" if int(major) > VERSION[0] else "there is no such version")
        )
    if _checksum(version, text) != metadata[CHECKSUM]:
        raise FormatError("the record of the subnetwork file is damaged: its checksum differs")
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "record"
        raise FormatError(
            f"the record of the subnetwork file is wrong in {error.error_count()} places, the first at {place[:200]}: "
            f"{first['msg'][:200]}, got {str(first['input'])[:80]!r}"
        ) from None


def _checksum(version: str, text: str) -> str:
    return digest(version.encode(), b"\n", text.encode("utf-8", "surrogatepass"))
