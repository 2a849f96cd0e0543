import itertools

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from zstd_frames import compressed, frame

from ken.errors import FormatError
from ken.storage import mask_codec as codings


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
    stored = {"bits": bits, "bits+zstd": compressed(bits), "gaps+zstd": compressed(gaps(mask))}
    return stored | ({} if mask.any() else {"none": b""}) | ({"all": b""} if mask.all() else {})


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
    coding, data = codings.encode(np.packbits(mask), mask.size, int(mask.sum()))
    decoded = codings.decode(coding, memoryview(data), mask.size, retained=int(mask.sum()))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.packbits(mask))


@given(masks())
def test_a_mask_in_any_coding_is_read(mask):
    for coding, data in ways(mask).items():
        decoded = codings.decode(coding, memoryview(data), mask.size, retained=int(mask.sum()))
        np.testing.assert_array_equal(decoded, np.packbits(mask), err_msg=coding)


@given(masks())
def test_the_smallest_coding_is_taken(mask):
    retained = int(mask.sum())
    allowed = ways(mask)
    if retained * 3 >= mask.size:
        del allowed["gaps+zstd"]
    coding, data = codings.encode(np.packbits(mask), mask.size, retained)
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
    assert codings.encode(np.packbits(mask), mask.size, int(mask.sum()))[0] == coding


@pytest.mark.parametrize("gap", [0, 127, 128, 2**14 - 1, 2**14, 2**21 - 1, 2**21])
def test_gaps_of_any_length_are_kept(gap):
    mask = np.zeros(gap + 1, bool)
    mask[gap] = True
    bits = np.packbits(mask)
    coding, data = codings.encode(bits, mask.size, 1)
    assert coding == ("gaps+zstd" if gap > 127 else coding)
    np.testing.assert_array_equal(codings.decode(coding, memoryview(data), mask.size, retained=1), bits)
    np.testing.assert_array_equal(
        codings.decode("gaps+zstd", memoryview(compressed(leb128(gap))), mask.size, retained=1), bits
    )


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
        codings.decode(coding, memoryview(data), entries, retained=retained)


def test_gaps_whose_frame_does_not_say_its_size_are_refused():
    stream = zstandard.ZstdCompressor().compressobj()
    data = stream.compress(b"\0\1") + stream.flush()
    with pytest.raises(FormatError, match="must give at most 2 bytes .*, their frame says nothing "):
        codings.decode("gaps+zstd", memoryview(data), 12, retained=2)


@given(st.sampled_from(["bits", "bits+zstd"]), st.binary(max_size=40), st.integers(0, 300), st.integers(0, 300))
def test_whatever_comes_in_is_refused_or_a_mask(coding, data, entries, retained):
    if coding != "bits":
        data = compressed(data)
    try:
        bits = codings.decode(coding, memoryview(data), entries, retained=retained)
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
            codings.decode("gaps+zstd", data, entries, retained=retained)
    else:
        decoded = np.unpackbits(codings.decode("gaps+zstd", data, entries, retained=retained))
        assert np.flatnonzero(decoded).tolist() == positions.tolist()
