"""Files and folders behind URLs are written like those on the disk: here first, whole, then there; or not at all.

An object store shows an object when all of it has come. Elsewhere it goes under another name first, and is moved.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from ken.errors import RemoteError
from ken.models.checkpoints.remote.remote_file import file_system, tried
from ken.models.checkpoints.remote.urls import joined, name_of, on_disk, protocol_of, shown

# What is put there appears when it is complete; to move it would be to copy it.
_AT_ONCE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "r2")
_LAST = ("config.json", "model_index.json")


def target(place: str | Path) -> Path | str:
    """Where something is to be written: a path, or a URL as it is.

    >>> target("s3://bucket/net.ken.safetensors"), target("file:///a/b").as_posix(), target("a").name
    ('s3://bucket/net.ken.safetensors', '/a/b', 'a')
    """
    if isinstance(place, str) and protocol_of(place):
        return place
    return (on_disk(place) if isinstance(place, str) else None) or Path(place)


def size_of(place: Path | str) -> int:
    """The length of what was written."""
    if isinstance(place, Path):
        return place.stat().st_size
    fs, path = file_system(place)
    return _size(fs, path, shown(place))


def files_in(folder: Path | str) -> list[str]:
    """The paths of the files that were written into a folder."""
    if isinstance(folder, Path):
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    fs, root = file_system(folder)
    return sorted(path.removeprefix(root).strip("/") for path in fs.find(root))


@contextmanager
def uploading(url: str) -> Iterator[BinaryIO]:
    """A new file on the disk that is put behind a URL when the block ends; on any error nothing is.

    Raises `RemoteError` if it cannot be put there: what was there before stays.
    """
    with tempfile.TemporaryDirectory(prefix="ken-upload-") as folder:
        part = Path(folder) / "part"
        with part.open("xb") as file:
            yield file
        _put(part, url)


@contextmanager
def uploading_folder(url: str) -> Iterator[Path]:
    """A new folder to fill with files, which are put behind a URL when the block ends; on any error none is left.

    Each appears whole, and what makes it a model last. Raises `FileExistsError` if there is anything already.
    """
    check_new(url)
    with tempfile.TemporaryDirectory(prefix="ken-upload-") as above:
        folder = Path(above) / "folder"
        folder.mkdir()
        yield folder
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        files.sort(key=lambda path: (path.name in _LAST, path.name.endswith(".index.json")))
        placed: list[str] = []
        try:
            for file in files:
                place = joined(url, file.relative_to(folder).as_posix())
                placed.append(place)
                _put(file, place)
        except BaseException:
            for place in placed:
                with suppress(Exception):  # what could not be put can often not be removed either
                    fs, path = file_system(place)
                    fs.rm_file(path)
            raise


def check_new(url: str) -> None:
    """Raise `FileExistsError` if there is a file, or anything in a folder, behind a URL."""
    fs, path = file_system(url)

    def look() -> bool:
        fs.invalidate_cache()
        return bool(fs.exists(path)) and (bool(fs.isfile(path)) or bool(fs.find(path)))

    if tried(look, f"{shown(url)}: to look at it"):
        raise FileExistsError(
            f"{shown(url)} is there already, and not an empty folder; give another name, or remove it"
        )


def _put(file: Path, url: str) -> None:
    text, size = shown(url), file.stat().st_size
    fs, path = file_system(url)
    at_once = protocol_of(url) in _AT_ONCE
    above = path.rpartition("/")[0]
    place = path if at_once else f"{above}/.{name_of(url)[:40]}.{secrets.token_hex(8)}.part"

    def put() -> None:
        fs.put_file(str(file), place)
        came = _size(fs, place, text)
        if came != size:
            raise OSError(f"{came} bytes arrived in place of {size}")

    try:
        with suppress(NotImplementedError):
            if above and not at_once:
                fs.makedirs(above, exist_ok=True)
        tried(put, f"{text}: to write it")
        if not at_once:
            tried(lambda: fs.mv(place, path), f"{text}: to give it its name")
    except BaseException as error:
        if not at_once:
            with suppress(Exception):  # it may never have come
                fs.rm_file(place)
        if isinstance(error, RemoteError | KeyboardInterrupt):
            raise
        raise RemoteError(f"{text} cannot be written: {type(error).__name__}") from None


def _size(fs: Any, path: str, text: str) -> int:
    fs.invalidate_cache()
    size = tried(lambda: fs.info(path), f"{text}: to look at it").get("size")
    return size if isinstance(size, int) else -1
