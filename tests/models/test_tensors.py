import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from strategies import shapes

from ken.errors import SubnetworkError
from ken.models.checkpoints.safetensors_file import DTYPES
from ken.models.tensors.tensor_bytes import (
    Reference,
    bits_of,
    bytes_of,
    digest,
    dtype_name,
    dtype_named,
    fingerprint,
    of_model,
)

FLOATS = [name for name in DTYPES if name.startswith(("float", "bfloat"))]
OF_NUMPY = ["float64", "float32", "float16", "complex64", "int64", "int32", "int8", "uint64", "uint16", "uint8", "bool"]


def patterns(shape, name, seed=0):
    """Every bit pattern can come, NaN among them."""
    dtype = getattr(torch, name)
    n = int(np.prod(shape))
    high = 2 if name == "bool" else 256
    data = np.random.default_rng(seed).integers(0, high, n * dtype.itemsize, np.uint8)
    return torch.from_numpy(data).view(dtype).reshape(shape) if data.size else torch.zeros(shape, dtype=dtype)


@given(shapes(), st.sampled_from(OF_NUMPY), st.integers(0, 9))
def test_bytes_and_fingerprint_are_those_of_numpy(shape, name, seed):
    tensor = patterns(shape, name, seed)
    want = tensor.numpy().tobytes()
    assert bytes(bytes_of(tensor)) == want
    assert fingerprint(tensor) == xxhash.xxh3_128_hexdigest(want)


@given(shapes(), st.sampled_from(FLOATS), st.integers(0, 9))
def test_bits_are_the_entries_as_integers_of_their_width(shape, name, seed):
    tensor = patterns(shape, name, seed)
    bits = bits_of(tensor)
    assert bits.dtype == f"u{tensor.element_size()}"
    assert bits.shape == (tensor.numel(),)
    want = b"".join(int(b).to_bytes(tensor.element_size(), "little") for b in bits)
    assert want == bytes(bytes_of(tensor))
    if name == "bfloat16":
        finite = ~torch.isnan(tensor.reshape(-1)).numpy()
        wide = tensor.reshape(-1).float().numpy().view(np.uint32) >> 16
        np.testing.assert_array_equal(bits[finite], wide[finite])


@given(shapes(), st.sampled_from(FLOATS))
def test_a_tensor_of_another_order_in_memory_is_read_in_c_order(shape, name):
    tensor = patterns(shape, name)
    other = tensor.permute([*reversed(range(tensor.dim()))])
    ordered = np.ascontiguousarray(bits_of(tensor).reshape(shape).T)
    np.testing.assert_array_equal(bits_of(other), ordered.reshape(-1))
    assert bytes(bytes_of(other)) == ordered.tobytes()
    assert fingerprint(other) == fingerprint(other.clone(memory_format=torch.contiguous_format))


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (2, 3, 4)])
def test_a_contiguous_tensor_is_viewed_and_not_copied(name, shape):
    tensor = patterns(shape, name)
    bits, data = bits_of(tensor), bytes_of(tensor)
    assert bits.ctypes.data == tensor.data_ptr() == np.frombuffer(data, np.uint8).ctypes.data
    bits[:] = 0
    assert tensor.reshape(-1).view(torch.uint8).count_nonzero() == 0
    assert not any(data)
    assert bits_of(tensor[..., None]).ctypes.data == tensor.data_ptr()


def test_slices_strides_and_gradients_make_no_difference():
    whole = torch.arange(24.0).reshape(4, 6)
    for part in (whole[1:3], whole[:, 1:4], whole[::2, ::3], whole[0].expand(3, 6), torch.nn.Parameter(whole)):
        want = part.detach().numpy().tobytes()
        assert bits_of(part).tobytes() == bytes(bytes_of(part)) == want
        assert fingerprint(part) == xxhash.xxh3_128_hexdigest(want)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_an_empty_tensor_has_no_bytes(shape):
    tensor = torch.zeros(shape, dtype=torch.bfloat16)
    assert bits_of(tensor).shape == (0,)
    assert bits_of(tensor).dtype == np.uint16
    assert len(bytes_of(tensor)) == 0
    assert fingerprint(tensor) == "99aa06d3014798d86001c324468d497f"  # XXH3-128 of nothing, by its specification


def test_one_bit_makes_another_fingerprint_but_shape_and_dtype_do_not():
    tensor = torch.zeros(100)
    other = tensor.clone()
    other[77] = -0.0
    assert torch.equal(tensor, other)
    assert fingerprint(tensor) != fingerprint(other)
    assert fingerprint(tensor) == fingerprint(tensor.reshape(4, 25)) == fingerprint(torch.zeros(50, dtype=torch.int64))


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_a_digest_in_parts_is_that_of_the_whole(parts):
    assert digest(*parts) == xxhash.xxh3_128_hexdigest(b"".join(parts))


@pytest.mark.parametrize("dtype", sorted({d for d in vars(torch).values() if isinstance(d, torch.dtype)}, key=str))
def test_every_dtype_is_found_by_its_name(dtype):
    assert "." not in dtype_name(dtype)
    assert dtype_named(dtype_name(dtype)) is dtype


@pytest.mark.parametrize("name", ["", "float33", "nn", "Tensor", "torch.float32", "float32 ", "__name__", "strided"])
def test_a_dtype_that_torch_does_not_have_is_refused(name):
    with pytest.raises(SubnetworkError, match=f"torch has no dtype {name!r}"):
        dtype_named(name)


def test_a_reference_takes_down_what_it_refers_to():
    tensor = torch.ones(2, 3, dtype=torch.float16)
    reference = Reference.to("w", tensor)
    assert reference == Reference(
        "w", (2, 3), torch.float16, fingerprint=xxhash.xxh3_128_hexdigest(tensor.numpy().tobytes())
    )
    assert Reference.to("s", torch.tensor(1.0)).shape == ()


def test_the_fingerprint_of_a_model_is_that_of_its_sorted_list():
    tensors = [
        Reference("b.weight", (2, 3), torch.float32, fingerprint="0" * 32),
        Reference("a", (), torch.bfloat16, fingerprint="1" * 32),
        Reference("é", (4,), torch.int64, fingerprint="2" * 32),
        Reference("Z", (0,), torch.float8_e4m3fn, fingerprint="3" * 32),
    ]
    lines = [
        f"Z float8_e4m3fn [0] {'3' * 32}\n",
        f"a bfloat16 [] {'1' * 32}\n",
        f"b.weight float32 [2, 3] {'0' * 32}\n",
        f"é int64 [4] {'2' * 32}\n",
    ]
    want = xxhash.xxh3_128_hexdigest("".join(lines).encode())
    assert of_model(tensors) == of_model(reversed(tensors)) == of_model(sorted(tensors, key=lambda t: t.shape)) == want
    assert of_model([]) == xxhash.xxh3_128_hexdigest(b"")


@pytest.mark.parametrize(
    "other",
    [
        Reference("v", (2, 3), torch.float32, fingerprint="0" * 32),
        Reference("w", (3, 2), torch.float32, fingerprint="0" * 32),
        Reference("w", (2, 3), torch.int32, fingerprint="0" * 32),
        Reference("w", (2, 3), torch.float32, fingerprint="0" * 31 + "1"),
    ],
)
def test_another_name_shape_dtype_or_content_is_another_model(other):
    assert of_model([other]) != of_model([Reference("w", (2, 3), torch.float32, fingerprint="0" * 32)])


@pytest.mark.parametrize(
    "odd",
    [
        torch.ones(4, 6)[:1, ::6],
        torch.ones(6)[::2][:0],
        torch.ones(1).expand(5)[:0],
        torch.empty_strided((1,), (0,)).fill_(3),
        torch.from_numpy(np.zeros(0, np.float32)),
        torch._neg_view(torch.ones(3)),
    ],
    ids=range(6),
)
def test_tensors_of_odd_strides_have_bits_too(odd):
    plain = torch.tensor(odd.tolist(), dtype=odd.dtype).reshape(odd.shape)
    np.testing.assert_array_equal(bits_of(odd), bits_of(plain))
    assert bytes(bytes_of(odd)) == bytes(bytes_of(plain))
    assert fingerprint(odd) == fingerprint(plain)
