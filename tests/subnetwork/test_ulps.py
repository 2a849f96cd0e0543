import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ken.subnetwork.ulp_avx512 import available
from ken.subnetwork.ulp_distances import PIECE, exchange, keys, marked_in, pieces, take, width

WIDTHS = [1, 2, 4, 8]
# Lengths around the vector (16), the block (4096) and the bytes of the mask (8); 0 among them.
LENGTHS = st.one_of(st.integers(0, 70), st.sampled_from([4088, 4095, 4096, 4097, 4104, 4111, 4112, 8191, 8192, 8209]))


def special(wide):
    """Patterns of any format that wide: zeros, smallest subnormals, infinities, NaN of every kind, largest."""
    w = 8 * wide
    infinities = {1: [0x78, 0x7C], 2: [0x7C00, 0x7F80], 4: [0x7F800000], 8: [0x7FF << 52]}[wide]
    positive = [0, 1, 2, 2 ** (w - 1) - 1, 2 ** (w - 2)] + [i + d for i in infinities for d in (-1, 0, 1)]
    return np.array([p | sign for p in positive for sign in (0, 1 << (w - 1))], f"u{wide}")


def floats(rng, n, wide):
    """Bit patterns: anything, neighbours of each other, and the special ones."""
    anything = np.frombuffer(rng.bytes(n * wide), f"u{wide}")
    return np.where(rng.random(n) < 0.3, rng.choice(special(wide), n), anything)


@st.composite
def masks(draw, n):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random(n) < draw(st.sampled_from([0.0, 0.02, 0.5, 0.97, 1.0]))


@st.composite
def cases(draw):
    """(fine-tuned bits, base bits, mask of one truth value an entry)."""
    n, wide = draw(LENGTHS), draw(st.sampled_from(WIDTHS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return floats(rng, n, wide), floats(rng, n, wide), draw(masks(n))


def key(bits, w):
    """The definition of FORMAT.md, in integers without end: the place of a float among all of its format."""
    return bits if bits < 1 << (w - 1) else (bits ^ ((1 << (w - 1)) - 1)) - (1 << w)


def unkey(place, w):
    place %= 1 << w
    return place if place < 1 << (w - 1) else place ^ ((1 << (w - 1)) - 1)


def distances(fine_tuned, base, mask):
    w = 8 * width(base)
    pairs = zip(fine_tuned[mask].tolist(), base[mask].tolist(), strict=True)
    return np.array([(key(a, w) - key(b, w)) % (1 << w) for a, b in pairs], base.dtype)


def moved(values, mask, moves, sign):
    w = 8 * width(values)
    out = values.copy()
    pairs = zip(values[mask].tolist(), moves.tolist(), strict=True)
    out[mask] = np.array([unkey(key(a, w) + sign * d, w) for a, d in pairs], values.dtype)
    return out


def packed(mask):
    return np.packbits(mask)


@given(cases())
def test_distances_are_differences_of_keys(case):
    fine_tuned, base, mask = case
    actual = take(fine_tuned, base, packed(mask), retained=int(mask.sum()))
    assert actual.dtype == base.dtype
    np.testing.assert_array_equal(actual, distances(fine_tuned, base, mask))


@given(cases(), st.booleans())
def test_the_base_and_the_distances_give_the_fine_tuned_bits_and_the_way_back_the_base(case, vector):
    fine_tuned, base, mask = case
    if vector and not available(width(base)):
        return
    step = packed(mask), distances(fine_tuned, base, mask)
    values = base.copy()
    exchange(values, None, step, vector=vector)
    np.testing.assert_array_equal(values, np.where(mask, fine_tuned, base))
    exchange(values, step, None, vector=vector)
    np.testing.assert_array_equal(values, base)


@given(cases(), st.data())
def test_one_pass_moves_down_by_one_mask_and_up_by_another(case, data):
    values, other, mask_down = case
    mask_up = data.draw(masks(values.size))
    down = distances(other, values, mask_down)
    up = distances(values, other, mask_up)
    want = moved(moved(values, mask_down, down, sign=-1), mask_up, up, sign=+1)
    step_down, step_up = (packed(mask_down), down), (packed(mask_up), up)
    for vector in (False, True, None):
        if vector and not available(width(values)):
            continue
        actual = values.copy()
        exchange(actual, step_down, step_up, vector=vector)
        np.testing.assert_array_equal(actual, want)
        exchange(actual, step_up, step_down, vector=vector)
        np.testing.assert_array_equal(actual, values)


@pytest.mark.parametrize("wide", WIDTHS)
def test_nothing_beside_the_values_is_touched_wherever_they_begin(wide):
    rng = np.random.default_rng(wide)
    for n in (1, 15, 16, 17, 33, 4097):
        for start in range(4):
            whole = floats(rng, n + 40, wide)
            before, mask = whole.copy(), rng.random(n) < 0.7
            moves = floats(rng, 3 + int(mask.sum()), wide)[3:]
            exchange(whole[start : start + n], None, (packed(mask), moves))
            before[start : start + n] = moved(before[start : start + n], mask, moves, sign=+1)
            np.testing.assert_array_equal(whole, before)


@pytest.mark.parametrize("wide", WIDTHS)
def test_nothing_to_move_leaves_every_bit(wide):
    values = special(wide)
    nothing = np.zeros(-(-values.size // 8), np.uint8), np.zeros(0, values.dtype)
    for down, up in ((None, None), (nothing, None), (None, nothing), (nothing, nothing)):
        actual = values.copy()
        exchange(actual, down, up)
        np.testing.assert_array_equal(actual, values)
    empty = values[:0].copy()
    exchange(empty, None, (nothing[0][:0], nothing[1]))
    assert empty.size == 0


def test_keys_put_all_numbers_of_float16_in_order():
    patterns = np.arange(2**16, dtype=np.uint16)
    places = keys(patterns).view(np.int16)
    np.testing.assert_array_equal(places, [key(b, 16) for b in range(2**16)])
    order = patterns[np.argsort(places)].view(np.float16)
    assert np.unique(places).size == 2**16
    nan = np.isnan(order)
    assert nan[:1023].all()
    assert nan[-1023:].all()
    assert not nan[1023:-1023].any()
    number = order[1023:-1023]
    np.testing.assert_array_equal(number, np.sort(number))
    assert (number[0], number[-1]) == (-np.inf, np.inf)
    zeros = np.flatnonzero(number == 0)
    assert np.signbit(number[zeros]).tolist() == [True, False]
    # from every number to the next is one step; numpy knows one zero, keys know two
    with np.errstate(over="ignore"):  # the next after the largest is infinity, as it should be
        after = np.nextafter(number[:-1], np.float16(np.inf))
    steps = np.flatnonzero((number[:-1] != 0) & (after != 0))
    assert steps.size == number.size - 4
    np.testing.assert_array_equal(after[steps], number[1:][steps])


@given(st.sampled_from([np.float16, np.float32, np.float64]), st.data())
def test_one_more_in_keys_is_the_next_number(kind, data):
    number = kind(data.draw(st.floats(allow_nan=False, allow_infinity=False, width=np.dtype(kind).itemsize * 8)))
    with np.errstate(over="ignore"):
        after = np.nextafter(number, kind(np.inf))
    if number == 0 or after == 0:  # numpy knows one zero, keys know two
        return
    actual = keys(np.array([number, after]).view(f"u{number.itemsize}"))
    assert (int(actual[1]) - int(actual[0])) % 2 ** (8 * number.itemsize) == 1


@given(cases())
def test_keys_are_those_of_the_definition_and_their_own_inverse(case):
    bits, w = case[0], 8 * width(case[0])
    actual = keys(bits)
    assert actual.dtype == bits.dtype
    assert actual.tolist() == [key(b, w) % (1 << w) for b in bits.tolist()]
    np.testing.assert_array_equal(keys(actual), bits)


@given(LENGTHS, st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_the_bits_of_a_mask_are_counted(size, seed, density):
    mask = packed(np.random.default_rng(seed).random(8 * size) < density)
    assert marked_in(mask) == sum(byte.bit_count() for byte in mask.tobytes())


@given(cases(), st.sampled_from([8, 16, 64, 4096]))
def test_pieces_cover_a_tensor_once_and_in_step(case, step):
    fine_tuned, base, mask = case
    n, bits, moves = mask.size, packed(mask), distances(fine_tuned, base, mask)
    values, entries, part_bytes, retained = base.copy(), [], [], []
    for entry, part, kept in pieces(bits, n, step):
        assert 0 < len(range(n)[entry]) <= step
        entries += range(n)[entry]
        part_bytes += range(bits.size)[part]
        retained += range(moves.size)[kept]
        exchange(values[entry], None, (bits[part], moves[kept]))
    assert entries == [*range(n)]
    assert part_bytes == [*range(bits.size)]
    assert retained == [*range(moves.size)]
    np.testing.assert_array_equal(values, np.where(mask, fine_tuned, base))


def test_a_large_tensor_is_cut_between_bytes_of_its_mask():
    n = 2 * PIECE + 13
    mask = np.random.default_rng(0).random(n) < 0.3
    actual = [*pieces(packed(mask), n)]
    assert [entry for entry, _, _ in actual] == [slice(0, PIECE), slice(PIECE, 2 * PIECE), slice(2 * PIECE, n)]
    for entry, part, kept in actual:
        assert (part.start * 8, kept.start) == (entry.start, mask[: entry.start].sum())
        assert kept.stop == mask[: entry.stop].sum()
    assert [*pieces(packed(mask[:PIECE]), PIECE)] == [(slice(0, PIECE), slice(None), slice(None))]
    assert not [*pieces(packed(mask[:0]), 0)]
