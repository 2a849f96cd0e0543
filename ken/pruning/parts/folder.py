"""What lies in a folder of parts: by their names, plans, parts, and what was being written when it was cut off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ken.errors import PartsError, in_brief
from ken.storage.atomic_files import being_written

_PART = re.compile(r"part-(\d+)-of-(\d+)-([0-9a-f]{12})\.kenpart")
_PLAN = re.compile(r"plan-([0-9a-f]{12})\.json")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file in a folder of parts, by its name alone.

    Attributes:
        path: Where it is.
        kind: "part", "plan", or "being written".
        plan: The first digits of the digest of its plan; empty for what is being written.
        index: The number of a part; 0 for anything else.
        parts: How many parts its plan has; 0 for anything that is no part.
    """

    path: Path
    kind: str
    plan: str = ""
    index: int = 0
    parts: int = 0


def named_files(folder: str | Path) -> list[NamedFile]:
    """All files in a folder that have such a name. Raises `PartsError` if there is no folder."""
    folder = Path(folder)
    if not folder.is_dir():
        raise PartsError(f"there is no folder of parts {folder}")
    return sorted(_named(folder), key=lambda file: file.path.name)


def _named(folder: Path) -> Iterator[NamedFile]:
    for path in folder.iterdir():
        if part := _PART.fullmatch(path.name):
            yield NamedFile(path, "part", part[3], index=int(part[1]), parts=int(part[2]))
        elif plan := _PLAN.fullmatch(path.name):
            yield NamedFile(path, "plan", plan[1])
    yield from (NamedFile(path, "being written") for path in being_written(folder))


def description_in(path: Path) -> dict[str, Any]:
    """The description of a plan. Raises `PartsError` if it is not there, or cannot be read."""
    remedy = "any part of it that is run again writes it"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(description, dict) and {"digest", "recipe", "parts", "raw"} <= description.keys():
            return description
    except FileNotFoundError:
        raise PartsError(f"{path}, which describes the plan, is not there; {remedy}") from None
    except (ValueError, RecursionError) as error:
        raise PartsError(f"{path} cannot be read ({in_brief(error)}); remove it: {remedy}") from None
    raise PartsError(f"{path} does not describe a plan; remove it: {remedy}")
