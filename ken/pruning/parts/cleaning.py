"""leftovers: what interrupted work has left in a folder of parts, and what is of no use there any more."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ken.errors import FormatError, PartsError
from ken.pruning.parts.folder import NamedFile, named_files
from ken.storage.part_files import PartReader

#: Minutes for which a file that is being written is left alone after its last change: its process may be alive.
MINUTES = 60.0


class Leftover(NamedTuple):
    """A file in a folder of parts that is of no use.

    Attributes:
        path: Where it is.
        bytes: Its length.
        reason: Why it is of no use.
        removable: Whether it may be removed; a file that was written to a short while ago may be in work.
    """

    path: Path
    bytes: int
    reason: str
    removable: bool = True

    def remove(self) -> None:
        """Remove the file, if it may be and is still there."""
        if self.removable:
            self.path.unlink(missing_ok=True)


def leftovers(
    folder: str | Path, *, keep: str = "", every_part: bool = False, minutes: float = MINUTES
) -> list[Leftover]:
    """What is of no use in a folder of parts. All parts are read, to see whether they are whole; nothing is changed.

    Args:
        folder: Where the parts lie, or anything else that ken writes. Files are looked at if they have the name of a
            part, of a plan, or of what is being written.
        keep: The first digits of the digest of the plan whose parts are kept; by default the plan of the part that was
            written last.
        every_part: List whole parts of that plan, too: they have been joined.
        minutes: How long a file that is being written may be without a change before it counts as left behind.

    Returns:
        Files that were being written, damaged parts, parts and descriptions of other plans; each can be removed.

    Raises:
        PartsError: There is no such folder, or no plan of these digits.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "part-00001-of-00002-0123456789ab.kenpart").write_bytes(b"")
        ...     for leftover in leftovers(folder):
        ...         print(leftover.path.name, leftover.reason)
        ...         leftover.remove()
        part-00001-of-00002-0123456789ab.kenpart damaged
    """
    files = named_files(folder)
    plans = {file.plan for file in files if file.kind != "being written"}
    if keep and not any(plan.startswith(keep[:12]) for plan in plans):
        raise PartsError(f"{folder} has nothing of a plan {keep}; it has {', '.join(sorted(plans)) or 'none'}")
    kept = {plan for plan in plans if plan.startswith(keep[:12])} if keep else _last(files)
    return list(_leftovers(files, kept, every_part=every_part, minutes=minutes))


def _last(files: Sequence[NamedFile]) -> set[str]:
    """The plan of the part that was written last."""
    changed: dict[str, float] = defaultdict(float)
    for file in files:
        if file.kind == "part":
            with suppress(FileNotFoundError):
                changed[file.plan] = max(changed[file.plan], file.path.stat().st_mtime)
    return {max(changed, key=lambda plan: (changed[plan], plan))} if changed else set()


def _leftovers(files: Sequence[NamedFile], kept: set[str], *, every_part: bool, minutes: float) -> Iterator[Leftover]:
    for file in files:
        with suppress(FileNotFoundError):  # another process has finished it, or removed it
            status = file.path.stat()
            if file.kind == "being written":
                age = (time.time() - status.st_mtime) / 60
                reason = f"was being written, {age:,.0f} minutes ago for the last time"
                if age < minutes:
                    reason += f": a process may still be at it (removed after {minutes:g} minutes)"
                yield Leftover(file.path, status.st_size, reason, removable=age >= minutes)
            elif file.plan not in kept:
                what = "the description" if file.kind == "plan" else "a part"
                if file.kind == "part" or kept:
                    yield Leftover(file.path, status.st_size, f"{what} of another plan, {file.plan}")
            elif file.kind == "part" and (damage := _damage(file)):
                yield Leftover(file.path, status.st_size, damage)
            elif every_part:
                yield Leftover(file.path, status.st_size, "a part, or the description, of the plan itself")


def _damage(file: NamedFile) -> str:
    try:
        reader = PartReader(file.path)
        reader.check()
    except FormatError:
        return "damaged"
    named = (reader.record.index, reader.record.parts, reader.record.digest[:12])
    return "" if named == (file.index, file.parts, file.plan) else "of another plan than its name says"
