"""One memory under several names: every name has what the subnetwork has for it, or nothing is changed."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sharing import Shared, places_in_memory, state, two_modules, values
from strategies import budgets

import ken
from ken.errors import KenError, PairingError


def promised(net: ken.Subnetwork, fine_tuned: torch.nn.Module, pretrained: torch.nn.Module) -> dict[str, bytes]:
    """What a model must have under every name, computed from the mask alone."""
    tuned, theirs, expected = state(fine_tuned), state(pretrained), {}
    for name in [*net, *net.tied]:
        owner = net.tied.get(name, name)
        stored = net[owner]
        expected[name] = tuned[owner]
        if isinstance(stored, ken.RetainedTensor):
            expected[name] = torch.where(torch.from_numpy(stored.mask()), tuned[owner], theirs[owner])
    return values(expected)


def check(got: Mapping[str, bytes], want: Mapping[str, bytes]) -> None:
    assert {name: got[name] for name in want} == want


@settings(max_examples=200)
@given(two_modules(), budgets(), st.sampled_from(["random", "update"]))
def test_every_name_has_what_the_subnetwork_has_for_it_or_nothing_is_changed(pair, k, rule):
    fine_tuned, pretrained = pair
    try:
        net = ken.prune(fine_tuned, pretrained, k, rule=rule, progress=False)
    except PairingError:  # shapes differ
        return
    before, tuned_before = values(pretrained), values(fine_tuned)
    want = promised(net, fine_tuned, pretrained)
    alone = names_that_share_nothing(pretrained)

    # By module and dictionary the subnetwork is one, as far as a dictionary tells buffers from parameters.
    buffers = {name for name, _ in fine_tuned.named_buffers(remove_duplicate=False)}
    if not buffers:
        as_dict = ken.prune(state(fine_tuned), state(pretrained), k, rule=rule, progress=False)
        assert (as_dict.tied, as_dict.retained) == (net.tied, net.retained)
        check(values(ken.inject(as_dict, state(pretrained))), want)

    # inject: a new model, which shares nothing with the old ones.
    try:
        model = ken.inject(net, pretrained)
    except KenError:
        pass
    else:
        check(values(model), want)
        taken = {at for module in pair for tensor in state(module).values() for at in places_in_memory(tensor)}
        assert not taken & {at for tensor in state(model).values() for at in places_in_memory(tensor)}
        check(values(model), {name: before[name] for name in alone if name not in want})
    merged = ken.inject(net, state(pretrained))
    check(values(merged), want)
    check(values(ken.reset(net, fine_tuned, pretrained)), want)
    assert (values(pretrained), values(fine_tuned)) == (before, tuned_before)

    with tempfile.TemporaryDirectory() as folder:
        ken.export(net, pretrained, Path(folder) / "out", progress=False)
        check(values(load_file(Path(folder) / "out" / "model.safetensors")), want)

    in_place(net, pretrained, before, want)
    assert (values(pretrained), values(fine_tuned)) == (before, tuned_before)


def in_place(
    net: ken.Subnetwork, model: torch.nn.Module, before: Mapping[str, bytes], want: Mapping[str, bytes]
) -> None:
    slots = dict(model.state_dict(keep_vars=True))
    try:
        with net.injected(model):
            check(values(model), want)
    except KenError:
        assert values(model) == before
    assert values(model) == before
    try:
        net.inject_(model)
    except KenError:
        assert values(model) == before
        return
    check(values(model), want)
    now = values(model)
    try:
        ken.swap(model, current=net, to=None)
    except KenError:  # what was carried whole, or has values as they are, does not tell the pretrained ones
        assert values(model) == now
        restore(model, before)
    assert all(tensor is slots[name] for name, tensor in model.state_dict(keep_vars=True).items())
    check(values(model), before)


def restore(model: torch.nn.Module, before: Mapping[str, bytes]) -> None:
    for name, tensor in state(model).items():
        old = torch.frombuffer(bytearray(before[name]), dtype=tensor.dtype).reshape(tensor.shape)
        row = (slice(0, 1) if step == 0 else slice(None) for step in tensor.stride())
        where = tuple(row)
        tensor[where] = old[where]


def names_that_share_nothing(module: torch.nn.Module) -> list[str]:
    tensors = state(module)
    at = {name: places_in_memory(tensor) for name, tensor in tensors.items()}
    return [name for name in at if not any(at[name] & at[other] for other in at if other != name)]


@settings(max_examples=80)
@given(two_modules(), two_modules(), budgets(), budgets())
def test_from_one_subnetwork_to_another_and_back_everything_is_as_promised_or_as_it_was(pair, other, k, j):
    (one, pretrained), (two, _) = pair, other
    try:
        a = ken.prune(one, pretrained, k, rule="random", progress=False)
        b = ken.prune(two, pretrained, j, rule="grid", progress=False)
    except PairingError:
        return
    want_a, want_b = promised(a, one, pretrained), promised(b, two, pretrained)
    live = pretrained
    before = values(live)
    try:
        a.inject_(live)
    except KenError:
        assert values(live) == before
        return
    now = values(live)
    try:
        ken.swap(live, current=a, to=b)
    except KenError:
        assert values(live) == now
    else:
        check(values(live), want_b)
        now = values(live)
        try:
            ken.swap(live, current=b, to=a)
        except KenError:
            assert values(live) == now
        else:
            check(values(live), want_a)


def test_interrupted_regions_are_undone():
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    model = Shared([], 0, torch.float32)
    model.a, model.b = torch.nn.Parameter(weight), torch.nn.Parameter(weight.T)
    tuned = copy.deepcopy(model)
    with torch.no_grad():
        tuned.a += 1
        tuned.b.copy_(tuned.a.T)
    net = ken.prune(tuned, model, 1.0)
    with net.injected(model):
        assert torch.equal(model.a, tuned.a)
        assert torch.equal(model.b, model.a.T)
        assert model.b.data_ptr() == model.a.data_ptr()
    assert torch.equal(model.a, weight)
