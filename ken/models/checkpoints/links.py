"""Links in checkpoint folders: they may stay in their folder, or lead into a cache of the hub, and nowhere else.

A folder may come from a stranger, and what is read from it goes into files that are passed on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ken.errors import PairingError


def inside(folder: Path, name: str) -> Path:
    """The path of a file of a folder, given by its name or its path below the folder.

    Raises `PairingError` if it is a link that leads out of the folder, except into the blobs of a hub cache.
    """
    if leads_out(folder, name):
        where = (folder / name).resolve()
        raise PairingError(
            f"{folder / name} is a link that leads out of its folder, to {where}; copy the file, or give that folder"
        )
    return folder / name


def leads_out(folder: Path, name: str) -> bool:
    """Whether a file of a folder is a link to somewhere else, be it the file itself or a folder on the way to it."""
    file, here = (folder / name).resolve(), folder.resolve()
    if file.is_relative_to(here):
        return False
    for above in (here, *here.parents):  # the folder is in a cache itself, or is a part of a model in one
        if above.parent.name == "snapshots" and above.parents[1].name.startswith("models--"):
            return file.parent != above.parents[1] / "blobs"
    return not any(_of_a_model(file, cache) for cache in _caches())


def _of_a_model(file: Path, cache: Path) -> bool:
    """Whether a file is one of a model in a cache of the hub, as a blob or (where there are no links) as itself."""
    if not file.is_relative_to(cache):
        return False
    parts = file.relative_to(cache).parts
    if not parts[0].startswith("models--"):
        return False
    return (len(parts) == 3 and parts[1] == "blobs") or (len(parts) > 3 and parts[1] == "snapshots")


def _caches() -> Iterator[Path]:
    """The folders that the hub's library keeps models in. It is asked if it has been imported already."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    named = [os.environ.get(name) for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE")]
    set_there = getattr(sys.modules.get("huggingface_hub.constants"), "HF_HUB_CACHE", None)
    for place in (*named, Path(home, "hub"), set_there):
        if place:
            yield Path(place).expanduser().resolve()
