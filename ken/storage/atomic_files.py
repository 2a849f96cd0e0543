"""Files and folders are written whole or not at all: under a temporary name beside the target, synced, then renamed."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from ken.models.checkpoints.remote.urls import protocol_of
from ken.storage.uploads import uploading, uploading_folder

_PART = re.compile(r"\.(.{1,40})\.[0-9a-f]{16}\.part", re.DOTALL)


def being_written(folder: str | Path, name: str = "") -> list[Path]:
    """Files in a folder that are being written, or were when their process was killed; with name, those of that file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.bin"):
    ...         len(being_written(folder)), len(being_written(folder, "a.bin")), len(being_written(folder, "b.bin"))
    (1, 1, 0)
    """
    named = [(path, _PART.fullmatch(path.name)) for path in Path(folder).iterdir()]
    return sorted(path for path, part in named if part and part[1] == (name[:40] or part[1]) and path.is_file())


@contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A new binary file that takes the place of path when the block ends; on any error the old file stays as it was.

    A URL is a place, too (`ken.storage.uploads`).

    Whoever opens the path meanwhile, or after a crash, finds the old file or the new one, never a part. Raises
    `OSError` if the folder is not there, the path is a folder, or the disk refuses.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a.bin") as file:
    ...         _ = file.write(b"whole")
    ...     (Path(folder) / "a.bin").read_bytes()
    b'whole'
    """
    if isinstance(path, str) and protocol_of(path):
        with uploading(path) as file:
            yield file
        return
    # A link is followed: the file it names is replaced, not the link.
    path = Path(os.path.realpath(path))
    check_place(path)
    part = _part_of(path)
    try:
        with open(part, "xb", opener=_private) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(_mode(path, 0o666))
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """A new folder to fill with files, which gets its name when the block ends; on any error nothing is left.

    The folder must not exist yet, or be empty: raises `FileExistsError` otherwise, before anything is written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with replacing_folder(Path(parent) / "model") as folder:
    ...         _ = (folder / "config.json").write_text("{}")
    ...     sorted(p.name for p in (Path(parent) / "model").iterdir())
    ['config.json']
    """
    if isinstance(path, str) and protocol_of(path):
        with uploading_folder(path) as folder:
            yield folder
        return
    path = Path(os.path.realpath(path))
    check_new_folder(path)
    part = _part_of(path)
    try:
        part.mkdir(mode=0o700)
        yield part
        for inside in part.rglob("*"):
            sync(inside)
        sync(part)
        part.chmod(_mode(path, 0o777))
        part.replace(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync(path.parent)


def check_place(path: Path) -> None:
    """Raise `OSError` if a file cannot be put there: without its folder, over a folder, or over a device."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} cannot be written: it is a folder")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} cannot be written: it is no file, but a device or the like; give another name")


def check_new_folder(path: Path) -> None:
    """Raise `OSError` if a folder cannot be made there: it is there, and not empty, or its own folder is not."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} is there already, and not an empty folder; give another name, or remove it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be made: there is no folder {path.parent}")


def write_text(path: Path | str, text: str) -> Path | str:
    """Write UTF-8 text whole or not at all, as `replacing` does. Returns the path.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder) / "a.txt", "σ").read_text(encoding="utf-8")
    'σ'
    """
    with replacing(path) as file:
        file.write(text.encode("utf-8"))
    return path


def write_texts(texts: Mapping[Path | str, str]) -> None:
    """Write several files as `write_text` does: all of them, or none.

    They get their names one after the other, when all of them are on the disk: a crash in that moment alone parts them.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     try:
    ...         write_texts({Path(folder) / "a.txt": "a", Path(folder) / "none" / "b.txt": "b"})
    ...     except OSError:
    ...         list(Path(folder).iterdir())
    []
    """
    with ExitStack() as stack:
        files = [(stack.enter_context(replacing(path)), text) for path, text in texts.items()]
        for file, text in files:
            file.write(text.encode("utf-8"))
        for file, _ in files:
            file.flush()
            os.fsync(file.fileno())


def _part_of(path: Path) -> Path:
    """A name for the part of a file or folder, beside it, that nothing has.

    The name is known before anything bears it, so that Ctrl-C just after it was made finds what to remove. Of a long
    name only the beginning: with what is added it must not exceed what a file system allows.
    """
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}.part")


def _private(name: str, flags: int) -> int:
    """Open a new file that nobody else may read until it is complete."""
    return os.open(name, flags, 0o600)


def _mode(path: Path, new: int) -> int:
    """The rights that the old file has, or that a new one would get."""
    if path.exists():
        return path.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return new & ~umask


def sync(path: Path) -> None:
    """Make a file, or what is in a folder, last; where folders cannot be opened (Windows), the system sees to it."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
