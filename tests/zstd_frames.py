"""zstd frames made by the library, and by hand."""

import struct

import zstandard


def compressed(data):
    return zstandard.ZstdCompressor(level=3).compress(bytes(data))


def frame(says, gives, last=True):
    """A zstd frame by hand: its header says one size, one block of equal bytes gives another."""
    window = b"\x58"  # 2 MiB
    block = struct.pack("<I", gives << 3 | 1 << 1 | last)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd\xc0" + window + struct.pack("<Q", says) + block
