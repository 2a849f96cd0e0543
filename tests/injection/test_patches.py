"""Indices and values: applied to the pretrained tensors they give the injected ones, bit for bit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ken
from ken.errors import SubnetworkError
from ken.injection.patches import patches

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]


def applied(pretrained, net):
    """The pretrained tensors with all patches applied, as a server would."""
    tensors = {name: tensor.clone() for name, tensor in pretrained.items()}
    for patch in patches(net, pretrained):
        if patch.indices is None:
            tensors[patch.name] = patch.values.reshape(patch.shape)
        else:
            assert (patch.indices[1:] > patch.indices[:-1]).all()
            assert patch.indices.dtype == torch.int64
            assert patch.values.dtype == patch.dtype
            width = f"i{patch.dtype.itemsize}"
            flat = tensors[patch.name].reshape(-1).view(torch.uint8).numpy().view(width)
            flat[patch.indices.numpy()] = patch.values.view(torch.uint8).numpy().view(width)
    return tensors


def same(one, other):
    return one.dtype == other.dtype and torch.equal(one.view(torch.uint8), other.view(torch.uint8))


@given(st.sampled_from(DTYPES), st.integers(1, 5), st.integers(1, 40), st.integers(0, 1000), st.floats(0.01, 1))
def test_patches_lead_to_the_injected_model(dtype, rows, columns, seed, k):
    random = torch.Generator().manual_seed(seed)
    base = {"w": torch.randn(rows, columns, generator=random).to(dtype)}
    tuned = {"w": torch.where(torch.rand(rows, columns, generator=random) < 0.5, base["w"].float(), 1.0).to(dtype)}
    net = ken.prune(tuned, base, k, "update", progress=False)
    assert same(applied(base, net)["w"], ken.inject(net, base)["w"])
    lossless = ken.prune(tuned, base, rule="changed", progress=False)
    assert same(applied(base, lossless)["w"], tuned["w"])


def test_only_what_changes_is_told():
    base = {"same": torch.ones(3, 4), "w": torch.zeros(2, 4), "b": torch.arange(4)}
    tuned = {"same": torch.ones(3, 4), "w": torch.tensor([[0.0, -0.0, 1.0, 0.0], [0.0] * 4]), "b": torch.arange(4)}
    tuned |= {"head": torch.ones(2, 2), "c": torch.tensor([1, 2])}
    base["c"] = torch.tensor([1, 3])
    told = {patch.name: patch for patch in patches(ken.prune(tuned, base, rule="changed"), base)}
    assert set(told) == {"w", "head", "c"}
    assert told["c"].indices is None
    assert told["w"].indices.tolist() == [1, 2]
    assert told["w"].values.signbit().tolist() == [True, False]
    assert told["head"].indices is None
    assert told["head"].values.tolist() == [1.0] * 4


def test_another_pretrained_model_is_refused():
    base = {"w": torch.zeros(2, 4)}
    net = ken.prune({"w": torch.ones(2, 4)}, base, 2)
    with pytest.raises(SubnetworkError, match="not the pretrained tensor"):
        list(patches(net, {"w": torch.full((2, 4), 0.5)}))
