"""The files that a subnetwork brings along: where they lie, and how a subnetwork file keeps them.

A path has slashes and may lead below. In a subnetwork file each has a name without, and a long one is kept in parts:
so readers of the first versions, which knew of neither, can still read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from ken.errors import FormatError
from ken.models.checkpoints.other_files import DEEPEST, belongs, plain
from ken.models.checkpoints.safetensors_file import Reader
from ken.models.tensors.tensor_bytes import digest
from ken.storage.lazy_tensors import Lazy, stored_file
from ken.storage.schema import LONGEST_PART, FileRecord

# The endings that readers of version 1.0 know.
_ALWAYS = {".json", ".txt", ".model", ".jinja", ".tiktoken", ".bpe", ".spm", ".vocab"}
_LONGEST_NAME = 255
_MOST_PARTS = 64


class FilesOnDisk(Lazy[bytes]):
    """Files by their path; each is read when it is asked for, and none is kept."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        super().__init__(files, Path.read_bytes)

    def size(self, path: str) -> int:
        """The length of a file."""
        return int(self.records[path].stat().st_size)

    def parts(self, path: str) -> Iterator[bytes]:
        """A file, no more of it than one part in memory."""
        with self.records[path].open("rb") as file:
            while part := file.read(LONGEST_PART):
                yield part


class StoredFiles(Lazy[bytes]):
    """The files in a subnetwork file; each is decoded, and checked, when it is asked for.

    Raises `FormatError` if the record's paths are none, or cannot be in one folder.
    """

    def __init__(self, reader: Reader, records: Sequence[FileRecord]) -> None:
        self._reader = reader
        by_path: dict[str, list[FileRecord]] = {}
        for record in records:
            path = record.path or record.name
            if not plain(record.name) or not belongs(path):
                raise FormatError(f"{path[:80]!r} is not the name of a configuration or tokenizer file")
            by_path.setdefault(path, []).append(record)
        check_paths(by_path)
        for path, parts in by_path.items():
            if len(parts) > _MOST_PARTS:
                raise FormatError(f"{path[:80]!r} is in {len(parts)} parts, more than {_MOST_PARTS}")
        super().__init__(by_path, partial(_joined, reader))

    def size(self, path: str) -> int:
        """The length of a file."""
        return sum(record.size for record in self.records[path])

    def parts(self, path: str) -> Iterator[bytes]:
        """A file, no more of it than one part in memory."""
        for record in self.records[path]:
            yield stored_file(self._reader, record)


def _joined(reader: Reader, parts: Sequence[FileRecord]) -> bytes:
    return b"".join(stored_file(reader, part) for part in parts)


def parts_of(files: Mapping[str, bytes], path: str) -> Iterator[bytes]:
    """A file in parts that are short enough to be kept, at least one."""
    if isinstance(files, FilesOnDisk | StoredFiles):
        some = False
        for part in files.parts(path):
            some = True
            yield part
        if not some:
            yield b""
        return
    data = files[path]
    yield from (data[start : start + LONGEST_PART] for start in range(0, max(1, len(data)), LONGEST_PART))


def names_of(files: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """(path, name) of all parts, in the order in which they are kept.

    Raises `FormatError` if a path is none, two cannot be in one folder, or a file is too long.
    """
    check_paths(files)
    for path in files:
        if not belongs(path):
            raise FormatError(f"{path!r} is not the name of a configuration or tokenizer file")
        size = files.size(path) if isinstance(files, FilesOnDisk | StoredFiles) else len(files[path])
        count = max(1, -(-size // LONGEST_PART))
        if count > _MOST_PARTS:
            raise FormatError(f"{path!r} has {size:,} bytes; a subnetwork file takes {_MOST_PARTS * LONGEST_PART:,}")
        for number in range(1, count + 1):
            yield path, stored_name(path, number)


def stored_name(path: str, number: int = 1) -> str:
    """The name of a part of a file in a subnetwork file; the path itself wherever the first readers take it.

    >>> stored_name("config.json"), stored_name("1_Pooling/config.json"), stored_name("bpe.codes")
    ('config.json', '1_Pooling%2Fconfig.json', 'bpe.codes%.txt')
    >>> stored_name("tokenizer.json", 2)
    'tokenizer.json%2.txt'
    """
    name = path.replace("%", "%25").replace("/", "%2F")
    if number > 1:
        name += f"%{number}.txt"
    elif PurePosixPath(path).suffix not in _ALWAYS:
        name += "%.txt"
    return name if len(name.encode()) <= _LONGEST_NAME else f"%{digest(path.encode())}%{number}.txt"


def shard_name(path: str) -> str:
    """How the path of a file of weights is kept: as one name, as the first readers take it.

    >>> shard_name("unet/diffusion_pytorch_model.safetensors")
    'unet%2Fdiffusion_pytorch_model.safetensors'
    """
    return path.replace("%", "%25").replace("/", "%2F") if "/" in path else path


def shard_path(name: str) -> str:
    """The path that a name stands for. Raises `FormatError` if it is none of a safetensors file in a folder or below.

    >>> shard_path("unet%2Fdiffusion_pytorch_model.safetensors"), shard_path("a%25.safetensors")
    ('unet/diffusion_pytorch_model.safetensors', 'a%25.safetensors')
    """
    path = name.replace("%2F", "/").replace("%25", "%") if "%2F" in name else name
    parts = path.split("/")
    if not plain(name) or not path.endswith(".safetensors") or len(parts) > DEEPEST or not all(map(plain, parts)):
        raise FormatError(f"{name[:80]!r} is not the name of a safetensors file")
    return path


def check_paths(paths: Mapping[str, object]) -> None:
    """Raise `FormatError` if a path leads through another one, which is a file."""
    for path in paths:
        for parent in PurePosixPath(path).parents:
            if str(parent) in paths:
                raise FormatError(f"{str(parent)[:80]!r} cannot be a file and a folder")
