import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from zstd_frames import compressed

from ken.errors import FormatError
from ken.models.tensors.tensor_reader import Entries
from ken.storage.value_codec import Decoder, Encoder, decode
from ken.storage.zstd_codec import unpack


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


def encoded(distances, cuts=(), plain=False):
    encoder = Encoder(distances.itemsize, distances.size)
    for part in np.split(distances, sorted(cuts)):
        encoder.add(part)
    finished = encoder.finish()
    finished = encoder.plain() if plain else finished
    stored = [b"".join(plane.parts) for plane in finished]
    assert [plane.length for plane in finished] == [*map(len, stored)]
    return stored


def decoded(data, lengths, retained, dtype, cuts=()):
    """Both ways to decode: whole, and a stretch at a time."""
    at_once = lambda: decode(memoryview(data), lengths, retained, dtype=dtype)  # noqa: E731

    def in_stretches():
        decoder = Decoder(Entries.from_tensor(torch.tensor([*data], dtype=torch.uint8)), lengths, retained, dtype=dtype)
        steps = np.diff([0, *sorted(cuts), retained])
        return np.concatenate([decoder.take(int(step)) for step in steps])

    return at_once, in_stretches


@st.composite
def cut_ulps(draw):
    distances = draw(ulps())
    return distances, draw(st.lists(st.integers(0, distances.size), max_size=4))


@given(cut_ulps())
def test_distances_are_stored_in_planes_of_zigzag_compressed_where_that_is_shorter(given):
    distances, cuts = given
    want = planes(distances)
    assert encoded(distances, cuts, plain=True) == want
    for plane, stored in zip(want, encoded(distances, cuts), strict=True):
        assert stored == (compressed(plane) if len(compressed(plane)) < len(plane) else plane)


def test_large_distances_go_through_a_file_and_are_stored_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("ken.storage.spools._IN_MEMORY", 1000)
    rng = np.random.default_rng(0)
    distances = rng.integers(-9, 10, 1 << 18).astype(np.int16).view(np.uint16)
    encoder = Encoder(2, distances.size, tmp_path)
    for part in np.array_split(distances, 7):
        encoder.add(part)
    stored = [b"".join(plane.parts) for plane in encoder.finish()]
    assert list(tmp_path.iterdir()) == []
    for plane, data in zip(planes(distances), stored, strict=True):
        assert len(data) < len(plane)
        assert unpack(memoryview(data), len(plane)) == plane
    monkeypatch.undo()
    assert stored == encoded(distances, cuts=[5, 70_000])  # however it is cut, wherever it waits


@given(cut_ulps(), st.booleans())
def test_distances_come_back(given, compress):
    distances, cuts = given
    data = planes(distances)
    if compress:
        # a frame as long as the plane would be read as the plane itself
        data = [compressed(p) if len(compressed(p)) != len(p) else p for p in data]
    for stored in (data, encoded(distances, cuts, plain=not compress)):
        for way in decoded(b"".join(stored), [*map(len, stored)], distances.size, dtype=distances.dtype, cuts=cuts):
            actual = way()
            assert actual.dtype == distances.dtype
            np.testing.assert_array_equal(actual, distances)


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
@pytest.mark.parametrize("way", [0, 1])
def test_bytes_that_are_not_the_distances_are_refused(data, lengths, message, way):
    with pytest.raises(FormatError, match=message):
        decoded(data, lengths, 300, dtype=np.dtype(np.uint16), cuts=[7, 100])[way]()
