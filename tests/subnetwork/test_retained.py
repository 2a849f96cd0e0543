import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import tensor_pairs
from test_pruning import bits

from ken.errors import SubnetworkError, ValuesError
from ken.models.tensors.tensor_bytes import Reference, fingerprint
from ken.subnetwork.retained_tensor import RetainedTensor


@given(tensor_pairs(), st.integers(0, 2**32 - 1), st.booleans())
def test_any_mask_is_kept_and_applied_bit_for_bit(pair, seed, raw):
    fine_tuned, pretrained = pair
    mask = np.random.default_rng(seed).random(tuple(fine_tuned.shape)) < 0.4
    tensor = RetainedTensor.of(fine_tuned, mask, pretrained, name="w", raw=raw)
    np.testing.assert_array_equal(tensor.mask(), mask)
    assert tensor.retained == mask.sum()
    merged = tensor.onto(pretrained)
    want = torch.where(torch.from_numpy(np.asarray(mask)), fine_tuned, pretrained)
    assert merged.dtype == fine_tuned.dtype
    assert bits(merged) == bits(want)
    assert tensor.result == fingerprint(want)
    assert tensor.pretrained == Reference(
        "w", tuple(pretrained.shape), pretrained.dtype, fingerprint=fingerprint(pretrained)
    )


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 20))
def test_the_mask_of_some_rows_is_a_part_of_the_whole(first, last, n):
    mask = np.random.default_rng(n).random((7, n)) < 0.5
    tensor = RetainedTensor.of(torch.ones(7, n), mask, torch.zeros(7, n))
    np.testing.assert_array_equal(tensor.row_mask(slice(first, last)), mask[first:last])
    np.testing.assert_array_equal(tensor.row_mask(), mask)


def test_an_empty_tensor_has_no_rows():
    tensor = RetainedTensor.of(torch.ones(3, 0), np.zeros((3, 0), bool), torch.ones(3, 0))
    assert tensor.row_mask().shape == (0, 0)


def by_hand(shape, mask, ulps):
    reference = Reference("w", shape, torch.float32, fingerprint="0" * 32)
    return RetainedTensor(
        shape,
        torch.float32,
        np.array(mask, np.uint8),
        ulps=np.array(ulps, np.uint32),
        pretrained=reference,
        fine_tuned="0" * 32,
        result="0" * 32,
    )


def test_a_tensor_that_contradicts_itself_is_refused():
    with pytest.raises(SubnetworkError, match=r"retains 2 entries of float32, but distances of shape \(3,\)"):
        by_hand((2, 2), [0b11000000], [1, 2, 3])
    with pytest.raises(SubnetworkError, match=r"mask of 9 entries must be uint8 of \(2,\), got uint8 of \(1,\)"):
        by_hand((3, 3), [0], [])
    with pytest.raises(SubnetworkError, match="the 4 spare bits behind the mask must be 0"):
        by_hand((2, 2), [0b00000001], [1])
    with pytest.raises(SubnetworkError, match="the mask has 3 entries, the tensor 4"):
        RetainedTensor.of(torch.zeros(4), np.zeros(3, bool), torch.zeros(4))


def test_only_the_pretrained_tensor_it_was_made_with_will_do():
    pretrained = torch.arange(6.0).reshape(3, 2)
    tensor = RetainedTensor.of(torch.ones(3, 2), np.array([[1, 0], [0, 0], [0, 0]], bool), pretrained)
    changed = pretrained.clone()
    changed[2, 1] = torch.nextafter(changed[2, 1], torch.tensor(9.0))
    for wrong, message in (
        (pretrained.reshape(2, 3), r"made with a pretrained tensor of float32 \(3, 2\), this one is float32 \(2, 3\)"),
        (pretrained.double(), r"float32 \(3, 2\), this one is float64 \(3, 2\)"),
        (changed, "not the pretrained tensor that the subnetwork was made with: its values are others"),
        (tensor.onto(pretrained), "it holds this subnetwork already"),
    ):
        with pytest.raises(SubnetworkError, match=message):
            tensor.onto(wrong)


def test_added_rows_must_be_retained():
    whole = RetainedTensor.of(torch.ones(3, 2), np.array([[0, 1], [0, 0], [1, 1]], bool), torch.zeros(2, 2))
    assert whole.onto(torch.zeros(2, 2)).tolist() == [[0, 1], [0, 0], [1, 1]]
    with pytest.raises(SubnetworkError, match="rows from 2 on are reset, but the pretrained tensor ends there"):
        RetainedTensor.of(torch.ones(3, 2), np.array([[1, 0], [0, 0], [0, 0]], bool), torch.zeros(2, 2))
    with pytest.raises(SubnetworkError, match=r"shape \(3, 2\), the pretrained tensor \(2, 3\)"):
        RetainedTensor.of(torch.ones(3, 2), np.ones((3, 2), bool), torch.zeros(2, 3))


def test_a_pretrained_value_that_the_fine_tuned_dtype_cannot_hold_is_an_error():
    half = torch.zeros(2, 3, dtype=torch.float16)
    pretrained = torch.zeros(2, 3)
    pretrained[1, 2] = 1e6
    with pytest.raises(ValuesError, match=r"the pretrained value 1e\+06 at \[1, 2\] does not fit into float16"):
        RetainedTensor.of(half, np.zeros((2, 3), bool), pretrained)


def test_a_tensor_that_fine_tuning_left_as_it_was_says_so():
    pretrained = torch.arange(6.0).reshape(3, 2)
    mask = np.array([[1, 0], [0, 1], [1, 0]], bool)
    assert RetainedTensor.of(pretrained.clone(), mask, pretrained).unchanged
    changed = pretrained.clone()
    changed[0, 1] += 1  # reset: the result is the pretrained tensor all the same
    tensor = RetainedTensor.of(changed, mask, pretrained)
    assert tensor.result == tensor.pretrained.fingerprint
    assert not tensor.unchanged
    assert not RetainedTensor.of(pretrained.double(), mask, pretrained).unchanged
