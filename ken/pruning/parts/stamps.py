"""What the files of a model are known by: names, sizes and dates on the disk, the commit on the hub, tags of a URL.

Headers say nothing about values: a model that was trained on and saved again under its name has the same ones. Parts
made before and after that must not be joined.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ken.models.checkpoints.as_data import source_of
from ken.models.checkpoints.checkpoint_files import companions
from ken.models.checkpoints.hub import locate
from ken.models.checkpoints.location import place_of
from ken.models.checkpoints.origins import origin_of
from ken.models.checkpoints.remote.mirror import remote_behind
from ken.models.checkpoints.weight_files import ENDINGS
from ken.models.tensors.tensor_bytes import digest

_ENDINGS = (*ENDINGS, ".gguf")


def stamps(description: Mapping[str, Any]) -> dict[str, str]:
    """A digest for each model, by what it is called."""
    models = {"the fine-tuned model": description["fine_tuned"], "the pretrained model": description["pretrained"]}
    return {what: _stamp(source) for what, source in models.items() if source is not None}


def _stamp(data: Any) -> str:
    if isinstance(data, Mapping) and "adapters" in data:
        return digest("".join(_stamp(folder) for folder in data["adapters"].values()).encode())
    source = source_of(data)
    place, path = place_of(source), locate(source)
    commit = origin_of(place, path).commit if place.address is not None else ""
    # Of a revision of the hub nothing changes, and each machine has copies with dates of their own.
    lines = [f"commit {commit}"] if commit else sorted(_lines(path))
    return digest("\n".join(lines).encode("utf-8", "surrogatepass"))


def _lines(path: Path) -> Iterator[str]:
    """A line for every file of weights."""
    if path.is_dir():
        files = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    else:
        files = [path, *companions(path)]
    for file in files:
        if file.suffix not in _ENDINGS:
            continue
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        remote = remote_behind(file)
        if remote is not None:
            yield f"{name} {remote.stamp!r}"
            continue
        status = file.stat()
        yield f"{name} {status.st_size} {status.st_mtime_ns}"
