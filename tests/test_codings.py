import contextlib
import itertools
import struct
import subprocess
import sys

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ken.codings import decode_mask, decode_ulps, encode_mask, encode_ulps, pack, unpack
from ken.errors import FormatError


def compressed(data):
    return zstandard.ZstdCompressor(level=3).compress(bytes(data))


def frame(says, gives, last=True):
    """A zstd frame by hand: its header says one size, one block of equal bytes gives another."""
    window = b"\x58"  # 2 MiB
    block = struct.pack("<I", gives << 3 | 1 << 1 | last)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd\xc0" + window + struct.pack("<Q", says) + block


def leb128(number):
    out = []
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def gaps(mask):
    positions = [-1, *np.flatnonzero(mask).tolist()]
    return b"".join(leb128(b - a - 1) for a, b in itertools.pairwise(positions))


def ways(mask):
    """The bytes of a mask in every coding that can hold it, by FORMAT.md."""
    bits = np.packbits(mask).tobytes()
    found = {"bits": bits, "bits+zstd": compressed(bits), "gaps+zstd": compressed(gaps(mask))}
    return found | ({} if mask.any() else {"none": b""}) | ({"all": b""} if mask.all() else {})


@st.composite
def masks(draw):
    n = draw(st.one_of(st.integers(0, 70), st.integers(0, 20_000)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["share", "few", "runs", "two gaps", "all"]))
    if kind == "share":
        return rng.random(n) < draw(st.floats(0, 1))
    if kind == "few":
        return rng.random(n) < 3 / max(n, 3)
    if kind == "two gaps":  # these are shorter to tell than the bits, up to large shares
        mask = np.zeros(n, bool)
        mask[np.cumsum(rng.choice([3, draw(st.integers(4, 15))], n // 15)) - 1] = True
        return mask
    if kind == "runs":
        return np.arange(n) % 512 < 256
    return np.ones(n, bool)


@given(masks())
def test_masks_of_every_density_come_back(mask):
    coding, data = encode_mask(np.packbits(mask), mask.size, int(mask.sum()))
    found = decode_mask(coding, memoryview(data), mask.size, int(mask.sum()))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.packbits(mask))


@given(masks())
def test_a_mask_in_any_coding_is_read(mask):
    for coding, data in ways(mask).items():
        found = decode_mask(coding, memoryview(data), mask.size, int(mask.sum()))
        np.testing.assert_array_equal(found, np.packbits(mask), err_msg=coding)


@given(masks())
def test_the_smallest_coding_is_taken(mask):
    retained = int(mask.sum())
    allowed = ways(mask)
    if retained * 3 >= mask.size:
        del allowed["gaps+zstd"]
    coding, data = encode_mask(np.packbits(mask), mask.size, retained)
    assert data == allowed[coding]
    assert len(data) == min(map(len, allowed.values()))


@pytest.mark.parametrize(
    ("coding", "mask"),
    [
        ("none", np.zeros(1000, bool)),
        ("none", np.zeros(0, bool)),
        ("all", np.ones(1001, bool)),
        ("bits", np.random.default_rng(0).random(1000) < 0.5),
        ("bits+zstd", np.arange(5000) % 2 == 0),
        ("gaps+zstd", np.random.default_rng(0).random(50_000) < 0.002),
    ],
)
def test_every_coding_has_masks_that_it_suits(coding, mask):
    assert encode_mask(np.packbits(mask), mask.size, int(mask.sum()))[0] == coding


@pytest.mark.parametrize("gap", [0, 127, 128, 2**14 - 1, 2**14, 2**21 - 1, 2**21])
def test_gaps_of_any_length_are_kept(gap):
    mask = np.zeros(gap + 1, bool)
    mask[gap] = True
    bits = np.packbits(mask)
    coding, data = encode_mask(bits, mask.size, 1)
    assert coding == ("gaps+zstd" if gap > 127 else coding)
    np.testing.assert_array_equal(decode_mask(coding, memoryview(data), mask.size, 1), bits)
    np.testing.assert_array_equal(decode_mask("gaps+zstd", memoryview(compressed(leb128(gap))), mask.size, 1), bits)


@st.composite
def ulps(draw):
    wide, n = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from([0, 1, 2, 17, 300, 4095, 4096, 4097]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    w = 8 * wide
    extreme = np.array([0, 1, 2**w - 1, 2 ** (w - 1) - 1, 2 ** (w - 1), 2 ** (w - 1) + 1], f"u{wide}")
    kind = draw(st.sampled_from(["any", "small", "extreme", "zero"]))
    if kind == "any":
        return np.frombuffer(rng.bytes(n * wide), f"u{wide}")
    if kind == "small":
        return rng.integers(-9, 10, n).astype(f"i{wide}").view(f"u{wide}")
    return rng.choice(extreme, n) if kind == "extreme" else np.zeros(n, f"u{wide}")


def planes(distances):
    """The definition of FORMAT.md in Python's integers: zigzag, then byte by byte."""
    wide, signed = distances.itemsize, distances.view(f"i{distances.itemsize}").tolist()
    unsigned = [2 * d if d >= 0 else -2 * d - 1 for d in signed]
    return [bytes(z >> 8 * plane & 255 for z in unsigned) for plane in range(wide)]


@given(ulps())
def test_distances_are_stored_in_planes_of_zigzag_compressed_where_that_is_shorter(distances):
    want = planes(distances)
    assert encode_ulps(distances, compress=False) == want
    found = encode_ulps(distances)
    for plane, stored in zip(want, found, strict=True):
        assert stored == (compressed(plane) if len(compressed(plane)) < len(plane) else plane)


@given(ulps(), st.booleans())
def test_distances_come_back(distances, compress):
    data = planes(distances)
    if compress:
        # a frame as long as the plane would be read as the plane itself
        data = [compressed(p) if len(compressed(p)) != len(p) else p for p in data]
    found = decode_ulps(memoryview(b"".join(data)), [*map(len, data)], distances.size, distances.dtype)
    assert found.dtype == distances.dtype
    np.testing.assert_array_equal(found, distances)
    own = encode_ulps(distances, compress)
    found = decode_ulps(memoryview(b"".join(own)), [*map(len, own)], distances.size, distances.dtype)
    np.testing.assert_array_equal(found, distances)


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_bytes_of_any_kind_come_back(data, times):
    data *= times
    assert unpack(memoryview(pack(data)), len(data)) == data


BITS = b"\xf0\xf0"  # a mask of 12 entries with 8 retained


@pytest.mark.parametrize(
    ("coding", "data", "entries", "retained", "message"),
    [
        ("rle", BITS, 12, 8, "unknown coding of a mask: 'rle'"),
        ("", BITS, 12, 8, "unknown coding of a mask: ''"),
        ("all", b"x", 12, 12, "coding 'all' must have no bytes and fit its count, got 1 bytes"),
        ("all", b"", 12, 11, "coding 'all' must have no bytes and fit its count, got 0 bytes"),
        ("none", b"x", 12, 0, "coding 'none' must have no bytes and fit its count, got 1 bytes"),
        ("none", b"", 12, 1, "coding 'none' must have no bytes and fit its count, got 0 bytes"),
        ("bits", b"", 12, 8, "the mask must have 2 bytes, got 0"),
        ("bits", BITS[:1], 12, 8, "the mask must have 2 bytes, got 1"),
        ("bits", BITS + b"\0", 12, 8, "the mask must have 2 bytes, got 3"),
        ("bits", BITS, 12, 7, "the mask must retain 7 entries, got 8"),
        ("bits", BITS, 12, 2**53, "must retain 9007199254740992 entries, got 8"),
        ("bits", b"\xf0\xe1", 12, 8, "spare bits behind the mask must be 0"),
        ("bits+zstd", compressed(b"\xf0\xe1"), 12, 8, "spare bits behind the mask must be 0"),
        ("bits+zstd", compressed(BITS), 12, 9, "the mask must retain 9 entries, got 8"),
        ("bits+zstd", compressed(BITS[:1]), 12, 8, "must give 2 bytes .*, their frame says 1 "),
        ("bits+zstd", compressed(BITS + b"\0"), 12, 8, "must give 2 bytes .*, their frame says 3 "),
        ("bits+zstd", b"", 12, 8, "compressed bytes are damaged"),
        ("bits+zstd", BITS, 12, 8, "compressed bytes are damaged"),
        (
            "gaps+zstd",
            compressed([5, 129]),
            2**20,
            2,
            "gaps of the mask do not mark 2 of 1048576 entries",
        ),  # ends in a number
        ("gaps+zstd", compressed([5, 6]), 12, 2, "do not mark 2 of 12"),  # one past the end
        ("gaps+zstd", compressed([12]), 12, 1, "do not mark 1 of 12"),
        ("gaps+zstd", compressed([0x80 | 12, 1]), 200, 2, "do not mark 2 of 200"),  # one gap, two announced
        ("gaps+zstd", compressed([0, 0]), 12, 1, "must give at most 1 bytes .*, their frame says 2 "),
        ("gaps+zstd", compressed([0, 0, 0]), 200, 2, "do not mark 2 of 200"),  # too many that are marked
        ("gaps+zstd", compressed([0]), 12, 2, "do not mark 2 of 12"),
        ("gaps+zstd", compressed([128] * 100), 2**14, 100, "do not mark 100 of 16384"),  # a number that never ends
        ("gaps+zstd", compressed([128] * 9 + [1] * 91), 2**14, 92, "do not mark 92 of 16384"),  # more than 64 bits
        ("gaps+zstd", compressed([255] * 8 + [127]), 2**14, 9, "do not mark 9 of 16384"),  # the largest of nine bytes
        ("gaps+zstd", compressed([0] + [255] * 8 + [127]), 100, 10, "do not mark 10 of 100"),  # would overflow
        ("gaps+zstd", compressed([]), 12, 1, "do not mark 1 of 12"),
        ("gaps+zstd", b"", 12, 1, "compressed bytes are damaged"),
        ("gaps+zstd", b"garbage", 12, 1, "compressed bytes are damaged"),
        ("gaps+zstd", frame(2**60, 1), 12, 1, f"must give at most 1 bytes .*, their frame says {2**60} "),
        ("gaps+zstd", frame(10**5, 1), 2**20, 10**5, "compressed bytes are damaged"),
        ("gaps+zstd", frame(1, 2), 12, 1, "compressed bytes are damaged"),
    ],
)
def test_bytes_that_are_not_the_mask_are_refused(coding, data, entries, retained, message):
    with pytest.raises(FormatError, match=message):
        decode_mask(coding, memoryview(data), entries, retained)


def test_gaps_whose_frame_does_not_say_its_size_are_refused():
    stream = zstandard.ZstdCompressor().compressobj()
    data = stream.compress(b"\0\1") + stream.flush()
    with pytest.raises(FormatError, match="must give at most 2 bytes .*, their frame says nothing "):
        decode_mask("gaps+zstd", memoryview(data), 12, 2)


ZIPPED = compressed(bytes(300))


@pytest.mark.parametrize(
    ("data", "lengths", "message"),
    [
        (bytes(600), [600], r"2 byte planes of 600 bytes were expected, got lengths \[600\]"),
        (bytes(600), [], r"2 byte planes of 600 bytes were expected, got lengths \[\]"),
        (bytes(600), [300, 300, 0], r"got lengths \[300, 300, 0\]"),
        (bytes(600), [300, 299], r"2 byte planes of 600 bytes were expected, got lengths \[300, 299\]"),
        (bytes(600), [300, 301], r"got lengths \[300, 301\]"),
        (bytes(599), [300, 299], "compressed bytes are damaged"),
        (bytes(300), [300, 0], "compressed bytes are damaged"),
        (
            ZIPPED + compressed(bytes(299)),
            [len(ZIPPED), len(compressed(bytes(299)))],
            "must give 300 bytes .*, their frame says 299 ",
        ),
        (
            ZIPPED + compressed(bytes(301)),
            [len(ZIPPED), len(compressed(bytes(301)))],
            "must give 300 bytes .*, their frame says 301 ",
        ),
        (ZIPPED + ZIPPED, [len(ZIPPED) - 1, len(ZIPPED) + 1], "compressed bytes"),
        (ZIPPED + ZIPPED, [2 * len(ZIPPED), 0], "compressed bytes are damaged"),
    ],
)
def test_bytes_that_are_not_the_distances_are_refused(data, lengths, message):
    with pytest.raises(FormatError, match=message):
        decode_ulps(memoryview(data), lengths, 300, np.dtype(np.uint16))


@pytest.mark.parametrize("content", [b"k", bytes(300), np.random.default_rng(0).bytes(300_000)])
def test_a_frame_that_is_cut_anywhere_is_refused(content):
    whole = compressed(content)
    cuts = range(len(whole)) if len(whole) < 100 else [0, 1, 5, 1000, 131_080, len(whole) - 4, len(whole) - 1]
    for cut in cuts:
        with pytest.raises(FormatError, match="compressed bytes"):
            unpack(memoryview(whole[:cut]), len(content))


@given(st.binary(max_size=60), st.integers(0, 100))
def test_whatever_comes_in_is_refused_or_unpacked(data, size):
    for start in (b"", b"\x28\xb5\x2f\xfd", b"\x28\xb5\x2f\xfd\x20" + bytes([size])):
        with contextlib.suppress(FormatError):
            assert len(unpack(memoryview(start + data), size)) == size


@given(st.sampled_from(["bits", "bits+zstd"]), st.binary(max_size=40), st.integers(0, 300), st.integers(0, 300))
def test_whatever_comes_in_is_refused_or_a_mask(coding, data, entries, retained):
    if coding != "bits":
        data = compressed(data)
    try:
        bits = decode_mask(coding, memoryview(data), entries, retained)
    except FormatError:
        return
    mask = np.unpackbits(bits)
    assert (bits.size, mask.sum(), mask[:entries].sum()) == (-(-entries // 8), retained, retained)


@given(st.lists(st.integers(0, 300), max_size=30), st.integers(0, 20_000), st.integers(0, 30))
def test_gaps_are_refused_or_mark_what_they_say(steps, entries, retained):
    positions = np.cumsum([g + 1 for g in steps]) - 1
    data = memoryview(compressed(b"".join(map(leb128, steps))))
    if len(steps) != retained or (retained and positions[-1] >= entries):
        with pytest.raises(FormatError):
            decode_mask("gaps+zstd", data, entries, retained)
    else:
        found = np.unpackbits(decode_mask("gaps+zstd", data, entries, retained))
        assert np.flatnonzero(found).tolist() == positions.tolist()


def test_what_follows_a_frame_is_refused():
    for more in (ZIPPED, compressed(b"k"), b"k", bytes(8), compressed(b"") + b"k" * 8):
        with pytest.raises(FormatError, match="compressed bytes"):
            unpack(memoryview(ZIPPED + more), 300)


def test_a_frame_that_wants_a_large_window_is_refused():
    content = bytes(1 << 25)
    wants = zstandard.ZstdCompressionParameters(window_log=24)
    data = zstandard.ZstdCompressor(compression_params=wants).compress(content)
    with pytest.raises(FormatError, match=f"a window of at most {2**23}, their frame says {2**25} and {2**24}"):
        unpack(memoryview(data), len(content))


def test_exactly_one_frame_is_read_and_nothing_may_follow_it():
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
from ken.codings import decode_mask, decode_ulps, unpack
from ken.errors import FormatError

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
        lambda: decode_mask("bits+zstd", data, 800, 3),
        lambda: decode_mask("gaps+zstd", data, 800, 3),
        lambda: decode_ulps(data, [len(data)], 100, np.dtype("u1")),
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
    found = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("10 True True\n", "")
