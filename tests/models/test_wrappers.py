"""Names that torch.compile, DDP, FSDP and others have wrapped are looked through: in files, dictionaries, objects."""

import pytest
import torch
from checkpoints import llama, llama_folders, shifted, weights, with_weights
from hypothesis import given
from hypothesis import strategies as st

import ken
from ken.errors import PairingError
from ken.models.checkpoints.checkpoint import read
from ken.models.checkpoints.wrappers import plain_names, unwrapped

PREFIXES = [
    "_orig_mod.",
    "module.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "module.module.",
    "_fsdp_wrapped_module.",
]


def compiled(model):
    """What torch.compile makes of a model; "eager" leaves out the compiler itself."""
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("side", ["fine_tuned", "pretrained", "both"])
def test_a_wrapped_folder_is_that_without_what_wraps_it(tmp_path, prefix, side):
    fine_tuned, pretrained = llama_folders(tmp_path)
    expected = ken.prune(fine_tuned, pretrained, 0.5)
    wrapped = {
        folder: with_weights(folder, {prefix + name: w for name, w in weights(folder).items()}, tmp_path / f"w{i}")
        for i, folder in enumerate((fine_tuned, pretrained))
    }
    new = wrapped[fine_tuned] if side != "pretrained" else fine_tuned
    old = wrapped[pretrained] if side != "fine_tuned" else pretrained
    net = ken.prune(new, old, 0.5)
    assert list(net) == list(expected)
    assert all(net[name].result == expected[name].result for name in net.pruned())
    assert any("without what wraps the model" in note for note in net.notes)
    assert weights(ken.export(net, old, tmp_path / "out")).keys() == weights(fine_tuned).keys()
    for base in (old, pretrained):
        for name, tensor in ken.inject(net, base).items():
            assert torch.equal(tensor, ken.inject(expected, pretrained)[name])


def test_parts_that_are_wrapped_are_looked_through(tmp_path):
    fine_tuned, pretrained = llama_folders(tmp_path)
    expected = ken.prune(fine_tuned, pretrained, 0.5)
    for inside in ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module._checkpoint_wrapped_module."):
        names = {name: name.replace("layers.0.", f"layers.0.{inside}") for name in weights(fine_tuned)}
        state = {names[name]: tensor for name, tensor in weights(fine_tuned).items()}
        net = ken.prune(state, weights(pretrained), 0.5)
        assert set(net) == set(expected)
    # DDP has a name that parts of models may have: the other model tells.
    state = {f"model.module.{n.removeprefix('model.')}" if n.startswith("model.") else n: w for n, w in state.items()}
    state = {name.replace(inside, ""): tensor for name, tensor in state.items()}
    assert "model.module.norm.weight" in state
    assert set(ken.prune(state, weights(pretrained), 0.5)) == set(expected)
    swapped = ken.prune(weights(fine_tuned), state, 0.5)
    assert set(swapped) == set(expected)
    assert set(ken.inject(swapped, state)) == set(expected)


def test_objects_are_looked_through():
    base, tuned = llama(), shifted(llama())
    expected = ken.prune(tuned, base, 0.5)
    for wrap in (compiled, torch.nn.DataParallel, torch.optim.swa_utils.AveragedModel):
        net = ken.prune(wrap(tuned), wrap(base), 0.5)
        assert list(net) == list(expected)
        assert net.architecture == expected.architecture
        model = ken.inject(net, wrap(base))
        assert type(model) is type(base)
        assert torch.equal(model.lm_head.weight, ken.inject(expected, base).lm_head.weight)
    for part in (torch.nn.DataParallel, compiled):
        wrapped = llama()
        wrapped.model.layers[1] = part(wrapped.model.layers[1])
        assert list(ken.prune(tuned, wrapped, 0.5)) == list(expected)
        with expected.injected(wrapped) as model:
            assert torch.equal(unwrapped(model.model.layers[1]).mlp.up_proj.weight, expected_weight(expected, base))
        expected.inject_(wrapped)
        ken.swap(wrapped, current=expected, to=None)
        assert torch.equal(wrapped.lm_head.weight, base.lm_head.weight)


def expected_weight(net, base):
    return ken.inject(net, base).model.layers[1].mlp.up_proj.weight


def test_a_live_model_that_is_wrapped_takes_a_subnetwork_and_gives_it_back():
    base, tuned = llama(), shifted(llama())
    net = ken.prune(tuned, base, 0.5)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    for wrap in (compiled, torch.nn.DataParallel):
        wrapped = wrap(base)
        with net.injected(wrapped):
            assert not torch.equal(base.lm_head.weight, before["lm_head.weight"])
        assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())


def test_names_that_only_look_wrapped_stay():
    # levit has a part of this name in every layer.
    names = ["layers.0.module.bias", "layers.1.module.bias", "head.weight"]
    assert list(plain_names(names).values()) == names
    net = ken.prune({name: torch.ones(4) for name in names}, {name: torch.zeros(4) for name in names}, 1)
    assert list(net) == names
    assert not net.notes


def test_what_cannot_be_looked_through_is_said():
    with pytest.raises(PairingError, match=r"a and _orig_mod\.a are both a"):
        read({"a": torch.ones(1), "_orig_mod.a": torch.ones(1)})
    with pytest.raises(PairingError, match=r"flat_param is a flat parameter of FSDP.*gather the full state dict"):
        read({"_fsdp_wrapped_module._flat_param": torch.ones(9)})


@given(
    st.lists(st.sampled_from(["_orig_mod", "module", "_fsdp_wrapped_module", "_forward_module"]), max_size=4),
    st.lists(st.sampled_from(["h.0.w", "h.1.w", "head", "a.module.b", "n"]), min_size=1, unique=True),
)
def test_wrapping_and_looking_through_gives_the_names_again(wrappers, names):
    wrapped = [".".join([*wrappers, name]) for name in names]
    assert list(plain_names(wrapped).values()) == names
