"""A folder of the demonstration's cache: whole or not there, checked when it is opened, and made by one process alone.

manifest.json, written last, has the size and the BLAKE2b of every other file.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b, file_digest
from pathlib import Path

from ken.errors import DemoError
from ken.storage.atomic_files import sync

_log = logging.getLogger(__name__)
_EXPECTED = {"task.json", "fine_tuned/config.json", "fine_tuned/model.safetensors"}


def digest(path: Path) -> str:
    """The BLAKE2b of a file."""
    with path.open("rb") as file:
        return file_digest(file, blake2b).hexdigest()


def damage(entry: Path, *, contents: bool = True) -> str | None:
    """What is wrong with an entry, None if nothing. Reading 90 MB for `contents` takes a tenth of a second."""
    try:
        expected = json.loads((entry / "manifest.json").read_bytes())["files"]
        if not expected.keys() >= _EXPECTED:
            return "its manifest does not list every file"
        for name, file in expected.items():
            path = entry / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != file["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, not {file['bytes']}"
            if contents and digest(path) != file["blake2b"]:
                return f"{name} is not what was written"
    except FileNotFoundError:
        return "manifest.json is missing"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"its manifest cannot be read ({error!r})"
    return None


def fill(
    entry: Path, build: Callable[[], Callable[[Path], None]], *, version: int, waiting: Callable[[], None]
) -> None:
    """Make an entry, in a folder beside it that is renamed once it is complete.

    build takes its time, and returns what writes the files into a folder. waiting is called if another process is at
    it. Raises `DemoError` if the cache directory cannot be written.
    """
    from filelock import FileLock, Timeout

    with _writing(entry.parent):
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{entry}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
    try:
        problem = damage(entry)
        if problem is None:  # made by another process, in the meantime
            return
        if entry.exists():
            _log.warning("the cached demonstration pair %s is damaged (%s); making it anew", entry, problem)
        with _writing(entry.parent):
            for killed in entry.parent.glob(f"{entry.name}.tmp-*"):  # nobody else builds while the lock is held
                shutil.rmtree(killed, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(prefix=f"{entry.name}.tmp-", dir=entry.parent))
        try:
            write = build()
            with _writing(entry.parent):
                write(temporary / "new")
                _seal(temporary / "new", version)
                if entry.exists():
                    entry.rename(temporary / "damaged")
                (temporary / "new").rename(entry)
                sync(entry.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    finally:
        lock.release()


def _seal(folder: Path, version: int) -> None:
    """Write the manifest, and have the disk take all."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "blake2b": digest(path)} for path in paths
    }
    (folder / "manifest.json").write_text(json.dumps({"format": version, "files": files}, indent=1), encoding="utf-8")
    for path in (*paths, folder / "manifest.json", *{path.parent for path in paths}):
        sync(path)


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Say which directory could not be written, and what to do."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        message = f"cannot write the cache directory {directory} ({error}); set KEN_CACHE to one that can be written"
        raise DemoError(message) from error
