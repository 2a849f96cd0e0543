"""Attributions as safetensors files: an array a tensor, the rest as JSON in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import EffectsError, FormatError
from ken.models.checkpoints.safetensors_file import Reader, Writer
from ken.storage.atomic_files import replacing
from ken.storage.file_kinds import ATTRIBUTION_KEY

_VERSION = "1"
#: What is known of an attribution besides its arrays.
FIELDS = ("pretrained_loss", "fine_tuned_loss", "steps", "item_count", "fingerprint", "config", "notes")


def save(
    arrays: Mapping[str, NDArray[np.float32]], about: Mapping[str, Any], path: str | Path, *, overwrite: bool
) -> Path:
    """Write arrays, and what is to be known of them. See `ken.Attribution.save`."""
    path = Path(path)
    if not overwrite and path.exists() and path.stat().st_size and not _is_one(path):
        raise EffectsError(f"{path} holds something else than an attribution; give another name, or remove it")
    metadata = {ATTRIBUTION_KEY: _VERSION, "about": json.dumps({name: about[name] for name in FIELDS})}
    shapes = {name: array.shape for name, array in arrays.items()}
    with replacing(path) as file:
        writer = Writer(file, shapes, metadata)
        for name, array in arrays.items():
            flat = np.ascontiguousarray(array, "<f4").reshape(-1)
            writer.add(name, "F32", array.shape, [flat.view(np.uint8).data])
        writer.finish(metadata)
    return path


def load(path: str | Path) -> dict[str, Any]:
    """The fields of a `ken.Attribution`. Raises `FormatError` if the file is none."""
    reader = Reader(path)
    if reader.metadata.get(ATTRIBUTION_KEY) != _VERSION:
        raise FormatError(f"{path} is no attribution that this version can read")
    try:
        about = json.loads(reader.metadata["about"])
        fields = {name: about[name] for name in FIELDS}
    except (KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{path} is damaged: its header does not say what it is about ({error})") from None
    for name in reader.names:
        if reader.layout(name)[0] != "F32":
            raise FormatError(f"{path} is damaged: {name} is not float32")
    arrays = {name: reader.tensor(name).numpy() for name in reader.names}
    return {**fields, "notes": tuple(fields["notes"]), "arrays": arrays}


def _is_one(path: Path) -> bool:
    try:
        return ATTRIBUTION_KEY in Reader(path).metadata
    except FormatError:
        return False
