import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from ken.errors import FormatError
from ken.models.checkpoints.safetensors_file import Reader
from ken.models.tensors.tensor_bytes import Reference, fingerprint
from ken.models.tensors.tensor_reader import Entries

DTYPES = [torch.float64, torch.bfloat16, torch.float8_e5m2, torch.int64, torch.bool, torch.complex64]


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 7), max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tensor = torch.from_numpy(rng.integers(0, 2, shape)).to(draw(st.sampled_from(DTYPES)))
    if draw(st.booleans()):
        tensor = tensor.permute(rng.permutation(tensor.ndim).tolist())
    return tensor[..., :: draw(st.integers(1, 3))] if tensor.ndim else tensor


@given(tensors(), st.integers(1, 50))
def test_stretches_are_the_tensor_in_c_order(tensor, length):
    entries = Entries.from_tensor(tensor)
    assert (entries.shape, entries.dtype, entries.count) == (tuple(tensor.shape), tensor.dtype, tensor.numel())
    parts = list(entries.stretches(length))
    assert [len(part) for part in parts[:-1]] == [length] * (len(parts) - 1)
    assert all(part.is_contiguous() for part in parts)
    whole = torch.cat([torch.empty(0, dtype=tensor.dtype), *parts])
    assert fingerprint(whole) == fingerprint(tensor)


@given(tensors())
def test_what_is_taken_down_is_what_would_be_of_the_whole_tensor(tensor):
    assert Entries.from_tensor(tensor).reference("w") == Reference.to("w", tensor)


@pytest.mark.parametrize("change", [torch.conj, lambda tensor: tensor.conj().imag])
def test_views_that_torch_has_not_carried_out_are(change):
    tensor = change(torch.tensor([[1 + 2j, 3 - 4j]]))
    assert torch.equal(Entries.from_tensor(tensor).read(1, 2), tensor[0, 1:].resolve_conj().resolve_neg())


def test_it_is_a_view_of_what_is_trained():
    weight = torch.nn.Parameter(torch.ones(2, 2))
    part = Entries.from_tensor(weight).read(0, 3)
    assert not part.requires_grad
    assert part.data_ptr() == weight.data_ptr()


def test_a_file_that_was_cut_since_it_was_opened_is_told_by_its_name(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(4096), "b": torch.ones(4096)}, path)
    reader = Reader(path)
    os.truncate(path, 208)
    with pytest.raises(FormatError, match=r"model.safetensors: b cannot be read"):
        reader.tensor("b")


def test_a_tensor_may_begin_at_any_byte(tmp_path):
    header = (
        b'{"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"y":{"dtype":"F32","shape":[1,2],"data_offsets":[3,11]}}'
    )
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"abc" + np.array([1, 2], "<f4").tobytes())
    assert torch.equal(Reader(path).tensor("y"), torch.tensor([[1.0, 2.0]]))
