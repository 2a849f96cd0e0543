import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import tensor_pairs

import ken
from ken.errors import SubnetworkError
from ken.subnetwork import CarriedTensor, RetainedTensor


@given(tensor_pairs(), st.integers(0, 2**32 - 1))
def test_any_mask_is_kept_and_applied_bit_for_bit(pair, seed):
    fine_tuned, pretrained = pair
    mask = np.random.default_rng(seed).random(tuple(fine_tuned.shape)) < 0.4
    tensor = RetainedTensor.of(fine_tuned, mask)
    np.testing.assert_array_equal(tensor.mask(), mask)
    assert tensor.retained == mask.sum()
    merged = tensor.onto(pretrained)
    want = torch.where(torch.from_numpy(np.asarray(mask)), fine_tuned, pretrained)
    assert merged.dtype == fine_tuned.dtype
    assert merged.view(-1).view(torch.uint8).tolist() == want.view(-1).view(torch.uint8).tolist()


@given(st.integers(0, 9), st.integers(0, 9), st.integers(1, 20))
def test_the_mask_of_some_rows_is_a_part_of_the_whole(first, last, n):
    mask = np.random.default_rng(n).random((7, n)) < 0.5
    tensor = RetainedTensor.of(torch.ones(7, n), mask)
    np.testing.assert_array_equal(tensor.row_mask(slice(first, last)), mask[first:last])
    np.testing.assert_array_equal(tensor.row_mask(), mask)


def test_an_empty_tensor_has_no_rows():
    tensor = RetainedTensor.of(torch.ones(3, 0), np.zeros((3, 0), bool))
    assert tensor.row_mask().shape == (0, 0)


def test_a_tensor_that_contradicts_itself_is_refused():
    with pytest.raises(SubnetworkError, match=r"the mask retains 2 entries, but values of shape \(3,\)"):
        RetainedTensor((2, 2), np.array([0b11000000], np.uint8), torch.zeros(3))
    with pytest.raises(SubnetworkError, match=r"mask of 9 entries must be uint8 of \(2,\), got uint8 of \(1,\)"):
        RetainedTensor((3, 3), np.array([0], np.uint8), torch.zeros(0))
    with pytest.raises(SubnetworkError, match="the 4 spare bits behind the mask must be 0"):
        RetainedTensor((2, 2), np.array([0b00000001], np.uint8), torch.zeros(1))
    with pytest.raises(SubnetworkError, match="the mask has 3 entries, the tensor 4"):
        RetainedTensor.of(torch.zeros(4), np.zeros(3, bool))


def test_a_tensor_fits_its_own_shape_or_one_with_fewer_rows():
    tensor = RetainedTensor.of(torch.ones(3, 2), np.array([[1, 0], [0, 0], [0, 0]], bool))
    with pytest.raises(SubnetworkError, match=r"shape \(3, 2\), the pretrained tensor \(2, 3\)"):
        tensor.onto(torch.zeros(2, 3))
    with pytest.raises(SubnetworkError, match="rows from 2 on are reset, but the pretrained tensor ends there"):
        tensor.onto(torch.zeros(2, 2))


def test_subnetwork_is_a_mapping_that_describes_itself():
    pair = {"w": torch.ones(2, 4), "n": torch.ones(3, dtype=torch.int32)}
    net = ken.prune(pair, {"w": torch.zeros(2, 4), "n": torch.zeros(3, dtype=torch.int32)}, 1)
    assert list(net) == ["w", "n"]
    assert len(net) == 2
    assert isinstance(net["n"], CarriedTensor)
    assert net["n"].reason == "int32, not floating-point"
    assert list(net.pruned()) == ["w"]
    assert (net.retained, net.entries, net.share) == (5, 11, 5 / 11)
    assert repr(net) == "Subnetwork(rule='ken', k=1: 5 of 11 entries retained; 1 tensors pruned, 1 carried)"
    with pytest.raises(KeyError):
        net["missing"]


def test_a_model_without_tensors_gives_an_empty_subnetwork():
    net = ken.prune({}, {}, 1)
    assert len(net) == 0
    assert np.isnan(net.share)
    assert net.table().empty
    assert ken.inject(net, {}) == {}
