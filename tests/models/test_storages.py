"""Views of memory: which are one, which overlap; and live models in which they do, as people have them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sharing import places_in_memory, state, values
from torch.nn.utils import parametrizations

import ken
from ken.errors import SubnetworkError
from ken.models.tensors.storages import Copy, aliases, entangled, spots


class Holder(torch.nn.Module):
    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            if isinstance(tensor, torch.nn.Parameter | torch.nn.Module):
                setattr(self, name, tensor)
            else:
                self.register_buffer(name, tensor)


def parameter(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype))


def fused(seed: int) -> Holder:
    """Three matrices that are parts of one, and the one, as a buffer."""
    whole = parameter(12, 6, seed=seed).data
    parts = {name: torch.nn.Parameter(whole[4 * i :][:4]) for i, name in enumerate("qkv")}
    return Holder(**parts, whole=whole)


def test_views_are_one_by_address_shape_and_stride_whoever_owns_the_memory():
    array = np.zeros((2, 3), np.float32)
    one, two = torch.from_numpy(array), torch.from_numpy(array)
    assert aliases({"a": one, "b": two, "row": one[:1], "same row": two[0].unsqueeze(0)}) == {
        "b": "a",
        "same row": "row",
    }
    assert aliases({"a": one, "cast": one.to(torch.bfloat16), "empty": one[:0], "nothing": one[:0]}) == {}
    assert aliases({"a": one, "bits": one.view(torch.int32)}) == {}


def test_parts_that_do_not_overlap_are_free_and_columns_are_taken_together():
    whole = torch.zeros(6, 4)
    assert entangled(spots({"a": whole[:3], "b": whole[3:]})) == []
    assert len(entangled(spots({"a": whole[:, :2], "b": whole[:, 2:]}))) == 1
    assert len(entangled(spots({"windows": whole.as_strided((3, 4), (2, 1))}))) == 1
    assert entangled(spots({"a": whole, "b": torch.zeros(6, 4), "one": whole.new_zeros(1, 1).expand(1, 1)})) == []


def test_a_copy_has_the_same_views_at_the_same_distances():
    whole = torch.arange(24.0).reshape(4, 6)
    group = spots({"a": whole[1:, 1:], "t": whole.T, "bits": whole.view(torch.int32)})
    copied = Copy(group)
    for spot, view in zip(group, copied.views, strict=True):
        assert torch.equal(view, spot.tensor)
        assert view.stride() == spot.tensor.stride()
    start = min(min(places_in_memory(view)) for view in copied.views) - whole.data_ptr()
    for spot, view in zip(group, copied.views, strict=True):
        assert {at - start for at in places_in_memory(view)} == places_in_memory(spot.tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_ties_of_any_dtype(dtype):
    shared = parameter(4, 8, dtype=dtype)
    tied = Holder(a=shared, b=shared)
    apart = Holder(a=parameter(4, 8, dtype=dtype, seed=1), b=parameter(4, 8, dtype=dtype, seed=2))
    before = values(tied), values(apart)
    net = ken.prune(apart, tied, 0.5, rule="random", progress=False)
    model = ken.inject(net, tied)
    assert values(model) == values(ken.inject(net, state(tied)))
    with pytest.raises(SubnetworkError, match="a and b are one tensor in the model"):
        net.inject_(tied)
    other = ken.prune(tied, apart, 0.5, rule="random", progress=False)
    model = ken.inject(other, apart)
    assert model.a is model.b
    other.inject_(apart)
    assert values(apart) == values(model)
    ken.swap(apart, current=other, to=None)
    assert (values(tied), values(apart)) == before


def test_a_cast_is_no_tie():
    weight = parameter(4, 8)
    tuned_model = Holder(a=weight, b=torch.nn.Parameter(weight.data.to(torch.bfloat16)))
    net = ken.prune(tuned_model, Holder(a=parameter(4, 8, seed=1), b=parameter(4, 8, dtype=torch.bfloat16, seed=1)), 2)
    assert not net.tied
    assert len(net) == 2


def test_a_module_that_is_there_twice_is_tied_and_cannot_be_taken_apart():
    once, twice = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    shared = torch.nn.Sequential(once, once)
    apart = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(8, 4))
    before = values(shared)
    net = ken.prune(apart, shared, 0.5, progress=False)
    for attempt in (lambda: ken.inject(net, shared), lambda: net.inject_(shared)):
        with pytest.raises(SubnetworkError, match=r"0\.weight and 1\.weight are one tensor"):
            attempt()
        assert values(shared) == before
    both = ken.prune(torch.nn.Sequential(twice, twice), shared, 0.5, progress=False)
    assert set(both) == {"0.weight", "0.bias"}
    assert values(ken.inject(both, shared)) == values(ken.inject(both, state(shared)))


def test_parts_of_one_matrix_are_written_through_each_other():
    pretrained, fine_tuned = fused(0), fused(1)
    before = values(pretrained)
    whole = ken.prune(fine_tuned, pretrained, 1.0, exclude=["*"], progress=False)
    with whole.injected(pretrained):
        assert values(pretrained) == values(fine_tuned)
    assert values(pretrained) == before
    model = ken.inject(whole, pretrained)
    assert values(model) == values(fine_tuned)
    assert model.q.data_ptr() == model.whole.data_ptr() != pretrained.whole.data_ptr()
    # The buffer is carried whole, the parts are not: they cannot be one memory.
    half = ken.prune(fine_tuned, pretrained, 0.5, progress=False)
    with pytest.raises(SubnetworkError, match=r"q shares memory with k and v and whole, .*; use ken\.inject"):
        half.inject_(pretrained)
    assert values(pretrained) == before
    assert values(ken.inject(half, pretrained)) == values(ken.inject(half, state(pretrained)))


def test_names_without_a_value_of_their_own_follow_the_memory_they_are():
    pretrained = fused(0)
    tuned = Holder(**{name: parameter(4, 6, seed=i + 5) for i, name in enumerate("qkv")})
    net = ken.prune(tuned, pretrained, 0.5, progress=False)
    model = ken.inject(net, pretrained)
    assert torch.equal(model.whole, torch.cat([model.q, model.k, model.v]))
    net.inject_(pretrained)
    assert values(pretrained) == values(model)


def test_what_a_checkpoint_lacks_does_not_change_with_what_it_has():
    weight = parameter(4, 6)
    pretrained = Holder(a=weight, b=torch.nn.Parameter(weight.data.T))
    before = values(pretrained)
    net = ken.prune({"a": parameter(4, 6, seed=1).data}, pretrained, 0.5, progress=False)
    assert set(net.lacking) == {"b"}
    with pytest.raises(SubnetworkError, match="a shares memory with b|b shares memory with a"):
        net.inject_(pretrained)
    assert values(pretrained) == before
    assert values(ken.inject(net, pretrained)) == values(ken.inject(net, state(pretrained)))


@pytest.mark.parametrize("seed", [0, 1])
def test_an_expanded_tensor_holds_what_is_equal_in_all_rows_and_nothing_else(seed):
    pretrained = Holder(a=torch.nn.Parameter(torch.zeros(6).expand(4, 6)))
    rows = parameter(6, seed=seed).data.expand(4, 6).contiguous()
    equal = ken.prune(Holder(a=torch.nn.Parameter(rows)), pretrained, 3, progress=False)
    want = values(ken.inject(equal, pretrained))
    with equal.injected(pretrained):
        assert values(pretrained) == want
        assert pretrained.a.stride() == (0, 1)
    assert not pretrained.a.any()
    other = ken.prune(Holder(a=parameter(4, 6, seed=seed)), pretrained, 3, progress=False)
    with pytest.raises(SubnetworkError, match=r"several entries of a are one place in memory \(it is expanded\)"):
        other.inject_(pretrained)
    assert not pretrained.a.any()


def test_complex_numbers_and_their_parts_are_one_memory():
    def pair(seed: int) -> Holder:
        number = torch.complex(parameter(4, 4, seed=seed).data, parameter(4, 4, seed=seed + 1).data)
        return Holder(a=torch.nn.Parameter(number), b=torch.nn.Parameter(torch.view_as_real(number)))

    pretrained, fine_tuned = pair(0), pair(2)
    whole = ken.prune(fine_tuned, pretrained, 1.0, progress=False)
    with whole.injected(pretrained):
        assert values(pretrained) == values(fine_tuned)
    assert values(pretrained) == values(pair(0))
    with pytest.raises(SubnetworkError, match="shares memory with"):
        ken.prune(fine_tuned, pretrained, 0.3, progress=False).inject_(pretrained)
    assert values(pretrained) == values(pair(0))


def test_models_made_in_inference_mode_are_written_too():
    with torch.inference_mode():
        live = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(8, 4))
    before = values(live)
    layer = torch.nn.Linear(8, 4)
    net = ken.prune(torch.nn.Sequential(layer, layer), live, 0.5, exclude=["*bias"], progress=False)
    want = values(ken.inject(net, live))
    with net.injected(live):
        assert values(live) == want
    assert values(live) == before


def test_weight_norm_of_both_kinds_and_recurrent_weights_in_one_vector():
    def old() -> torch.nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.nn.utils.weight_norm(torch.nn.Linear(8, 4))

    for make in (old, lambda: parametrizations.weight_norm(torch.nn.Linear(8, 4)), lambda: torch.nn.LSTM(4, 4, 2)):
        torch.manual_seed(0)
        fine_tuned, pretrained = make(), make()
        before = values(pretrained)
        net = ken.prune(fine_tuned, pretrained, 0.5, progress=False)
        want = values(ken.inject(net, state(pretrained)))
        with net.injected(pretrained):
            assert values(pretrained) == want
        assert values(pretrained) == before


def test_a_module_that_cannot_be_copied_is_refused_with_the_remedy():
    class Locked(torch.nn.Linear):
        def __deepcopy__(self, memo: object) -> None:
            raise RuntimeError("not this\none")

    fine_tuned, pretrained = torch.nn.Linear(8, 4), Locked(8, 4)
    net = ken.prune(fine_tuned, pretrained, 0.5, progress=False)
    message = r"the module Locked cannot be copied \(not this one\); write the subnetwork into it with net\.inject_"
    with pytest.raises(SubnetworkError, match=message):
        ken.inject(net, pretrained)
    want = values(ken.inject(net, state(pretrained)))
    net.inject_(pretrained)
    assert values(pretrained) == want


def test_tensors_without_values_are_refused():
    net = ken.prune(torch.nn.Linear(8, 4), torch.nn.Linear(8, 4), 2, progress=False)
    with pytest.raises(SubnetworkError, match=r"the model's tensor has no values \(it is on the meta device\)"):
        net.inject_(torch.nn.Linear(8, 4, device="meta"))


@pytest.mark.parametrize("after", [0, 1, 2, 4])
def test_an_interrupted_change_of_views_and_guests_is_undone(monkeypatch, after):
    def model() -> Holder:
        return Holder(x=fused(0), a=parameter(4, 6, seed=7), b=parameter(4, 6, seed=8))

    shared = parameter(4, 6, seed=9)
    net = ken.prune(Holder(x=fused(1), a=shared, b=shared), model(), 1.0, exclude=["x.*"], progress=False)
    want = values(ken.inject(net, model()))
    live, write, count = model(), ken.models.tensors.storages.write, [0]
    tuned_model = {slot.data_ptr() for slot in state(live).values()}

    def interrupted(tensor: torch.Tensor, new: torch.Tensor) -> None:
        write(tensor, new)
        if tensor.data_ptr() in tuned_model:
            count[0] += 1
            if count[0] == after + 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(ken.injection.changes, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.inject_(live)
    assert values(live) == values(model())
    monkeypatch.undo()
    net.inject_(live)
    assert values(live) == want
    ken.swap(live, current=net, to=ken.prune(model(), model(), 1, exclude=["*"], progress=False))
    assert values(live) == values(model())
