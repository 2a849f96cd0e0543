"""zstd frames: bytes compressed and back, whole or a stretch at a time, one strict frame each.

A frame must say how many bytes it gives before anything is reserved for them, must ask for no large window, and
nothing may follow it. So whatever bytes come in, the answer is the right number of bytes or a `FormatError`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import zstandard

from ken.errors import FormatError

_LEVEL = 3
# The most that a frame may ask of a decoder that works as a stream; ours ask for 2 MiB.
_WINDOW = 1 << 23
# A header of a frame takes no more bytes than this.
_HEADER = 18
_CHUNK = 1 << 18


class _Kept(threading.local):
    """What a thread compresses with: to make one takes as long as to compress a few thousand bytes."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)


_kept = _Kept()


def compress(data: bytes | memoryview) -> bytes:
    """One frame.

    >>> decompress(memoryview(compress(b"abc")), 3)
    b'abc'
    """
    return _kept.compressor.compress(data)


def compressor(size: int) -> Any:
    """Makes one frame of so many bytes, which come one after the other: `compress(data)`, in the end `flush()`."""
    return zstandard.ZstdCompressor(level=_LEVEL).compressobj(size=size)


def parts(file: BinaryIO) -> Iterator[bytes]:
    """What a frame of our own gives, some bytes at a time."""
    with zstandard.ZstdDecompressor().stream_reader(file, closefd=False) as reader:
        while part := reader.read(_CHUNK):
            yield part


def decompress(data: memoryview, size: int, at_most: bool = False) -> bytes:
    """What one frame gives, which must be `size` bytes (or at most that many), and nothing may follow it."""
    try:
        _check(data, size, at_most)
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _damaged(error) from None


def pack(data: bytes) -> bytes:
    """Bytes of any kind as one frame; of no bytes none."""
    return compress(data) if data else b""


def unpack(data: memoryview, size: int) -> bytes:
    """The bytes again, `size` of them."""
    return decompress(data, size) if size or len(data) else b""


class Stretch:
    """Some of the bytes that a function gives, to be read one after the other, as those of a file."""

    def __init__(self, get: Callable[[int, int], memoryview], start: int, stop: int) -> None:
        self._get, self.start, self.stop = get, start, stop

    @property
    def left(self) -> int:
        """How many bytes there are still."""
        return self.stop - self.start

    def peek(self, count: int, skip: int = 0) -> memoryview:
        """The next ones, which are not used up."""
        start = min(self.start + skip, self.stop)
        return self._get(start, min(start + count, self.stop))

    def read(self, count: int = -1) -> memoryview:
        """The next ones."""
        data = self.peek(self.left if count < 0 else count)
        self.start += len(data)
        return data


class FrameReader:
    """What one frame gives, which must be `size` bytes, to be read one after the other."""

    def __init__(self, stretch: Stretch, size: int) -> None:
        self._left = size
        try:
            header = stretch.peek(_HEADER)
            _check(header, size)
            if _length(stretch, header) != stretch.left:
                raise FormatError("compressed bytes are damaged: one frame was expected, and nothing behind it")
            unpacked = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
            self._reader = unpacked.stream_reader(stretch, read_size=_CHUNK)  # type: ignore[arg-type]
        except zstandard.ZstdError as error:
            raise _damaged(error) from None

    def read(self, count: int) -> bytes:
        """The next ones; with the last of them it is made sure that there are no more."""
        try:
            data = self._reader.read(count) if count else b""
            self._left -= len(data)
            if len(data) != count or (not self._left and self._reader.read(1)):
                raise FormatError("compressed bytes are damaged: they give another number of bytes than they say")
            return data
        except zstandard.ZstdError as error:
            raise _damaged(error) from None


def _check(header: memoryview, size: int, at_most: bool = False) -> None:
    frame = zstandard.get_frame_parameters(header)
    fits = 0 <= frame.content_size <= size if at_most else frame.content_size == size
    if not fits or frame.window_size > _WINDOW:
        says = "nothing" if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN else f"{frame.content_size}"
        limit = f"{'at most ' if at_most else ''}{size}"
        raise FormatError(
            f"compressed bytes must give {limit} bytes and need a window of at most {_WINDOW}, "
            f"their frame says {says} and {frame.window_size}"
        )


def _length(stretch: Stretch, header: memoryview) -> int:
    """How many bytes a frame takes: its header, its blocks (RFC 8878, sec. 3.1.1.2), its checksum.

    The library tells it only of a `decompressobj`, as what it leaves unused, and that has no limit on what it gives at
    a time: four bytes can be a block of 128 KiB. Fed little enough to stay within a few MiB (64 bytes a call), it takes
    eight to ten times as long; fed more, a frame gives more than it says before that is seen.
    """
    at, chunk, begin = zstandard.frame_header_size(header), memoryview(b""), 0
    while at < stretch.left:
        if not begin <= at <= begin + len(chunk) - 3:
            chunk, begin = stretch.peek(_CHUNK, at), at
        word = int.from_bytes(chunk[at - begin : at - begin + 3], "little")
        last, kind, size = word & 1, word >> 1 & 3, word >> 3
        at += 3 + (1 if kind == 1 else size)  # a block of kind 1 is one byte, repeated
        if last:
            return at + 4 * zstandard.get_frame_parameters(header).has_checksum
    raise FormatError("compressed bytes are damaged: they end before their last block")


def _damaged(error: zstandard.ZstdError) -> FormatError:
    return FormatError(f"compressed bytes are damaged: {error}")
