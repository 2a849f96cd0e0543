"""Values are moved on the device that the model is on: the same bits, and nothing but masks and distances is sent."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from device_laws import FLOAT8, FLOATS, go_through, random_bits, random_step, same_as_the_loop
from hypothesis import given
from hypothesis import strategies as st

from ken.errors import KenWarning
from ken.models.tensors.tensor_bytes import bits_of
from ken.subnetwork import ulp_distances, ulp_torch

TESTS = Path(__file__).parent.parent
SHARES = st.sampled_from([0.0, 0.02, 0.5, 1.0])


@pytest.fixture
def torch_everywhere(monkeypatch):
    """What is for other devices serves on the CPU too, some entries at a time."""
    monkeypatch.setattr(ulp_torch, "serves", lambda tensor: True)
    monkeypatch.setattr(ulp_torch, "PIECE", 64)


@given(st.sampled_from(FLOATS + FLOAT8), st.integers(0, 200), st.integers(0, 2**32 - 1), SHARES, SHARES)
def test_torch_moves_any_bits_as_the_compiled_loop_does(dtype, size, seed, share_down, share_up):
    rng = np.random.default_rng(seed)
    tensor = random_bits(rng, size, dtype)
    down, up = (random_step(rng, size, dtype, share=share) for share in (share_down, share_up))
    for moves in ((down, up), (None, up), (down, None)):
        assert same_as_the_loop(tensor, *moves)


@pytest.mark.parametrize("dtype", FLOAT8)
def test_every_value_of_eight_bits_goes_every_distance(dtype):
    values, distances = np.divmod(np.arange(2**16), 256)
    tensor = torch.from_numpy(values.astype(np.uint8)).view(dtype)
    step = np.full(2**13, 255, np.uint8), distances.astype(np.uint8)
    assert same_as_the_loop(tensor, None, step)
    assert same_as_the_loop(tensor, step, None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_value_of_sixteen_bits_goes_many_distances(dtype):
    tensor = torch.from_numpy(np.arange(2**16, dtype=np.uint16).view(np.int16)).view(dtype)
    for distance in [0, 1, 2**15 - 1, 2**15, 2**15 + 1, 2**16 - 1, *np.random.default_rng(0).integers(0, 2**16, 20)]:
        step = np.full(2**13, 255, np.uint8), np.full(2**16, distance, np.uint16)
        assert same_as_the_loop(tensor, None, step)


def test_a_tensor_longer_than_a_piece_is_moved_in_step_with_its_mask():
    rng = np.random.default_rng(0)
    size = ulp_torch.PIECE + 13
    tensor = random_bits(rng, size, torch.bfloat16)
    assert same_as_the_loop(tensor, random_step(rng, size, torch.bfloat16, share=0.5), None)


@pytest.mark.usefixtures("torch_everywhere")
def test_a_live_model_goes_through_everything_by_torch_too():
    assert go_through("cpu") == []


@pytest.mark.usefixtures("torch_everywhere")
def test_parameters_made_in_inference_mode_and_negative_views_are_moved_too():
    rng = np.random.default_rng(0)
    step = random_step(rng, 30, torch.float32, share=0.5)
    with torch.inference_mode():
        inferred = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    plain = inferred.clone()
    pair = torch.complex(plain, -plain)
    negative = pair.conj().imag  # equal to plain, stored with the other sign
    assert negative.is_neg()
    assert not negative.is_contiguous()
    for tensor in (inferred, negative):
        want = bits_of(tensor).copy()
        ulp_distances.exchange(want, None, step)
        ulp_torch.exchange(tensor, None, step)
        np.testing.assert_array_equal(bits_of(tensor), want)
    leaf = torch.nn.Parameter(plain.clone())
    loss = (leaf * leaf).sum()
    ulp_torch.exchange(leaf, None, step)
    loss.backward()  # around autograd: no graph, and no version that it would miss
    assert leaf.grad_fn is None


def test_a_device_that_moves_values_to_other_bits_is_noticed_and_one_without_memory_is_not_blamed(monkeypatch):
    able = ulp_torch._able.__wrapped__
    assert able(torch.device("cpu"), torch.float32)
    spread = ulp_torch._spread
    with monkeypatch.context() as patched:
        patched.setattr(ulp_torch, "_spread", lambda step, bits: spread(step, bits).clamp_(max=2**30))
        with pytest.warns(KenWarning, match=r"cpu cannot move float32 values .* \(its results are others\)"):
            assert not able(torch.device("cpu"), torch.float32)

    def full(*_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(ulp_torch, "_trial", full)
    with pytest.raises(torch.OutOfMemoryError):
        able(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def far():
    """What a pretend device was asked for, in a process of its own."""
    run = subprocess.run([sys.executable, TESTS / "far_checks.py"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_another_device_gets_the_same_bits(far):
    assert far["every_dtype"] == []
    assert far["traffic"]["wrong"] == []


def test_a_swap_sends_masks_and_distances_and_fetches_every_view_once_to_be_checked(far):
    traffic = far["traffic"]
    # Beside them a table of eight bytes for each mask of both, and the counter of eight that is carried.
    assert 0 < traffic["sent"] - traffic["masks and distances"] <= 2 * 8 * traffic["tensors"]
    # The counter three times: it is what the current one carries, is it the pretrained one, and kept to be put back.
    assert traffic["fetched"] == traffic["model"] + 2 * 8
    calls = traffic["calls"]
    work = [i for i, call in enumerate(calls) if call in {"__rshift__", "cumsum", "index_select"}]
    waits = [i for i, call in enumerate(calls) if call == "wait for far:0"]
    assert waits[0] < work[0]
    assert work[-1] < waits[-1]


def test_a_new_model_is_made_where_the_old_one_is(far):
    sent = far["new_model"]
    # Beside masks and distances a table of eight bytes for each, and the counter that is carried.
    assert 0 < sent["sent"] - sent["masks and distances"] <= 8 * (sent["tensors"] + 1)


def test_a_swap_that_fails_on_the_device_leaves_the_model_as_it_was(far):
    assert far["interrupted"] == {"failed": 12, "others": []}


def test_a_device_that_lacks_an_operation_is_served_by_the_cpu_and_that_is_said(far):
    assert far["unable"]["wrong"] == []
    said = "the device far:0 cannot move {} values by integer distances (the device has no cumsum)"
    assert [text.partition(";")[0] for text in far["unable"]["warnings"]] == [
        said.format(name) for name in ("bfloat16", "float16", "float32", "float64")
    ]


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="torch knows no accelerator on this machine")
def test_the_accelerator_of_this_machine_gets_the_same_bits():
    device = torch.accelerator.current_accelerator()
    dtypes = [dtype for dtype in FLOATS if device.type != "mps" or dtype != torch.float64]
    rng = np.random.default_rng(0)
    torch.use_deterministic_algorithms(True)
    try:
        for dtype in dtypes:
            steps = [random_step(rng, 100_003, dtype, share=0.5) for _ in range(2)]
            assert ulp_torch.serves(torch.zeros(1, dtype=dtype, device=device))
            assert same_as_the_loop(random_bits(rng, 100_003, dtype), *steps, device=device)
        assert go_through(device, dtypes) == []
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_pretend_device_is_none_of_this_process():
    assert torch._C._get_privateuse1_backend_name() == "privateuseone"
