"""Bytes that wait until their turn comes: in memory, and in a nameless file when they become too many."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

_IN_MEMORY = 1 << 24
_CHUNK = 1 << 20


class Spool:
    """Written first, read then. The file, in the given folder, has no name that could be left behind.

    >>> spool = Spool()
    >>> spool.write(b"ab")
    >>> spool.write(b"c")
    >>> spool.length, b"".join(spool.parts())
    (3, b'abc')
    """

    def __init__(self, folder: Path | None = None) -> None:
        where = None if folder is None else str(folder)
        file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=where)  # noqa: SIM115 - closed with the spool
        weakref.finalize(self, file.close)
        self._file = cast(BinaryIO, file)
        self.length = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self._file.write(data)
        self.length += len(data)

    def parts(self) -> Iterator[bytes]:
        """All of them, some at a time."""
        file = self.rewound()
        while part := file.read(_CHUNK):
            yield part

    def rewound(self) -> BinaryIO:
        """All of them as a file, from its beginning."""
        self._file.seek(0)
        return self._file
