import contextlib
import subprocess
import sys

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from zstd_frames import compressed

from ken.errors import FormatError
from ken.storage.zstd_codec import FrameReader, Stretch, pack, unpack


def streamed(data, size):
    """What `unpack` does, some bytes at a time."""
    if not size and not len(data):
        return b""
    reader = FrameReader(Stretch(lambda start, stop: data[start:stop], 0, len(data)), size)
    parts = [reader.read(min(97, size - at)) for at in range(0, size, 97)]
    return b"".join([*parts, reader.read(0)])


BOTH = pytest.mark.parametrize("unpack", [unpack, streamed])

ZIPPED = compressed(bytes(300))


@BOTH
@given(data=st.binary(max_size=2000), times=st.integers(1, 50))
def test_bytes_of_any_kind_come_back(unpack, data, times):
    data *= times
    assert unpack(memoryview(pack(data)), len(data)) == data


@BOTH
@pytest.mark.parametrize("content", [b"k", bytes(300), np.random.default_rng(0).bytes(300_000)])
def test_a_frame_that_is_cut_anywhere_is_refused(unpack, content):
    whole = compressed(content)
    cuts = range(len(whole)) if len(whole) < 100 else [0, 1, 5, 1000, 131_080, len(whole) - 4, len(whole) - 1]
    for cut in cuts:
        with pytest.raises(FormatError, match="compressed bytes"):
            unpack(memoryview(whole[:cut]), len(content))


@BOTH
@given(data=st.binary(max_size=60), size=st.integers(0, 100))
def test_whatever_comes_in_is_refused_or_unpacked(unpack, data, size):
    for start in (b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x20" + bytes([size])):
        with contextlib.suppress(FormatError):
            assert len(unpack(memoryview(start + data), size)) == size


@BOTH
def test_what_follows_a_frame_is_refused(unpack):
    for more in (ZIPPED, compressed(b"k"), b"k", bytes(8), compressed(b"") + b"k" * 8):
        with pytest.raises(FormatError, match="compressed bytes"):
            unpack(memoryview(ZIPPED + more), 300)


@BOTH
def test_a_frame_that_wants_a_large_window_is_refused(unpack):
    content = bytes(1 << 25)
    wants = zstandard.ZstdCompressionParameters(window_log=24)
    data = zstandard.ZstdCompressor(compression_params=wants).compress(content)
    with pytest.raises(FormatError, match=f"a window of at most {2**23}, their frame says {2**25} and {2**24}"):
        unpack(memoryview(data), len(content))


@BOTH
def test_exactly_one_frame_is_read_and_nothing_may_follow_it(unpack):
    frame, skippable = compressed(bytes(300)), b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    checked = zstandard.ZstdCompressor(write_checksum=True).compress(bytes(300))
    assert unpack(memoryview(checked), 300) == bytes(300)
    for data in (
        compressed(bytes(100)) + compressed(bytes(200)),
        frame + frame[:-1],
        frame + frame[:4],
        frame + compressed(b""),
        frame + skippable,
        skippable + frame,
        checked[:-1],
    ):
        with pytest.raises(FormatError, match="compressed bytes"):
            unpack(memoryview(data), 300)
    with pytest.raises(FormatError, match="compressed bytes"):
        unpack(memoryview(b"x"), 0)


# In a process of its own, so that the highest memory is that of this code. It is measured in its own address space
# (VmHWM) where there is such a thing, as ru_maxrss is passed on from the parent there.
BOMB = """
import re, resource
from pathlib import Path
import numpy as np, zstandard
from ken.storage import mask_codec, value_codec
from ken.errors import FormatError
from ken.storage.zstd_codec import FrameReader, Stretch, unpack

def highest():
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\\s*(\\d+) kB", status.read_text())[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def bomb(**size):
    stream = zstandard.ZstdCompressor(level=1).compressobj(**size)
    return memoryview(b"".join(stream.compress(bytes(1 << 20)) for _ in range(1 << 10)) + stream.flush())

said, unsaid = bomb(size=1 << 30), bomb()
assert zstandard.frame_content_size(said) == 1 << 30
assert len(said) < 1 << 20
before, refused = highest(), 0
for data in (said, unsaid):
    for use in (
        lambda: unpack(data, 100),
        lambda: unpack(data, 0),
        lambda: mask_codec.decode("bits+zstd", data, 800, 3),
        lambda: mask_codec.decode("gaps+zstd", data, 800, 3),
        lambda: value_codec.decode(data, [len(data)], 100, np.dtype("u1")),
        lambda: FrameReader(Stretch(lambda start, stop: data[start:stop], 0, len(data)), 100),
    ):
        try:
            use()
        except FormatError:
            refused += 1
grown = highest() - before
seen = np.ones(100 << 20, np.uint8)
print(refused, grown < 64 << 20, highest() - before > 90 << 20)
"""


def test_a_bomb_is_refused_without_the_memory_it_asks_for():
    done = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("12 True True\n", "")
