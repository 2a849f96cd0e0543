"""The laws of pruning, bit for bit, on any pair: of modules of one class, and of modules and folders in two layouts."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from architectures import quiet
from safetensors.torch import load_file, save_file
from transformers import core_model_loading

import ken
from ken.errors import PairingError, SubnetworkError
from ken.models.checkpoints.checkpoint import read
from ken.models.pairing.pairing import open_pair
from ken.models.pairing.rows import row_budget, row_shape
from ken.models.pairing.weight_names import IN_MEMORY, align

# --- the models


def fine_tune(model: torch.nn.Module, seed: int = 1) -> torch.nn.Module:
    """A copy whose every parameter and floating-point buffer is another one, tied ones by the same amount.

    Buffers only grow, since among them are variances.
    """
    tuned = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    parameters = {parameter.data_ptr() for parameter in tuned.parameters()}
    with torch.no_grad():
        for tensor in {tensor.data_ptr(): tensor for tensor in tuned.state_dict().values()}.values():
            if tensor.is_floating_point():
                change = torch.randn(tensor.shape, generator=generator) * 0.02
                tensor += (change if tensor.data_ptr() in parameters else change.abs()).to(tensor.dtype)
    return tuned


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are the same to the bit."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(bytes_of(a), bytes_of(b))


def bytes_of(tensor: torch.Tensor) -> torch.Tensor:
    """Its bytes, flat."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def snapshot(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def expect_same(got: Mapping[str, torch.Tensor], want: Mapping[str, torch.Tensor], what: str) -> None:
    assert set(got) == set(want), f"{what}: other names: {sorted(set(got) ^ set(want))[:5]}"
    different = [name for name in want if not same(got[name], want[name])]
    assert not different, f"{what}: {different[0]} differs ({len(different)} such tensors)"


def save(model: torch.nn.Module, folder: Path, rename: Mapping[str, str] | None = None) -> Path:
    """A folder as `save_pretrained` writes it, which refuses some of the tiny configurations; with some words changed.

    Aliases go as they do there.
    """
    with quiet():
        kept = transformers.modeling_utils.remove_tied_weights_from_state_dict(dict(model.state_dict()), model)
        tensors = core_model_loading.revert_weight_conversion(model, kept)
    for old, new in (rename or {}).items():
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    folder.mkdir()
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / "model.safetensors")
    config = {**json.loads(model.config.to_json_string()), "architectures": [type(model).__name__]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def on_disk(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


# --- the laws


def check_modules(
    fine_tuned: torch.nn.Module, pretrained: torch.nn.Module, rule: str, path: Path, *, also_unsaved: bool = True
) -> torch.nn.Module:
    """All the laws on two modules of one class; the subnetwork is injected from its file, and before it was saved.

    Returns the model injected from the file.
    """
    tuned_model, base_model = fine_tuned.state_dict(), pretrained.state_dict()
    before = snapshot(tuned_model), snapshot(base_model)
    net = ken.prune(fine_tuned, pretrained, 0.5, rule=rule, progress=False)
    want = check_net(net, tuned_model, base_model)
    assert list(net.table().index) == [*net, *net.tied]
    if also_unsaved:
        expect_same(ken.inject(net, pretrained).state_dict(), want, "inject")
    loaded = ken.load(net.save(path, progress=False))
    assert loaded.table().equals(net.table())
    injected = ken.inject(loaded, pretrained)
    expect_same(injected.state_dict(), want, "inject after save and load")
    expect_same(fine_tuned.state_dict(), before[0], "the fine-tuned model was changed")
    expect_same(pretrained.state_dict(), before[1], "the pretrained model was changed")
    return injected


def check_net(
    net: ken.Subnetwork,
    tuned_model: Mapping[str, torch.Tensor],
    base_model: Mapping[str, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """The laws on a subnetwork of half of every row; gives the state dict that must come of it."""
    # Files do not have the names that their class ties.
    assert set(net) <= set(tuned_model) <= {*net, *net.tied}, "names of the subnetwork"
    assert not set(net) & set(net.tied), "a tied name has an entry of its own"
    places = {name: (tensor.data_ptr(), tensor.shape) for name, tensor in tuned_model.items() if tensor.numel()}
    once = {place: tuned_model[name].numel() for name, place in places.items()}
    assert net.entries == sum(once.values()) == net.table()["entries"].sum(), "tied tensors count once"

    want = {}
    for name, stored in net.items():
        tensor = tuned_model[name]
        if isinstance(stored, ken.CarriedTensor):
            assert same(stored.value, tensor), f"{name} is carried, but not as it was"
            want[name] = tensor
            continue
        base = base_model[stored.pretrained.name]
        rows, n = row_shape(tensor.shape)
        per_row = stored.row_mask().sum(axis=1)
        assert per_row.shape == (rows,), f"{name}: {per_row.shape} rows"
        assert (per_row == row_budget(0.5, n)).all(), f"{name}: {np.unique(per_row)} of {n} retained"
        want[name] = torch.where(torch.from_numpy(stored.mask()), tensor, base)
    return want | {alias: want[name] for alias, name in net.tied.items()}


# --- the two layouts of a model, on disk and in memory


def reloads(model: torch.nn.Module, folder: Path) -> bool:
    """Whether the library makes a model of the configuration of a folder."""
    try:
        with quiet(), torch.device("meta"):
            type(model)(type(model.config).from_json_file(folder / "config.json"))
    except Exception:  # whatever transformers raises
        return False
    return hasattr(transformers, type(model).__name__)


def check_pairs(fine_tuned: torch.nn.Module, pretrained: torch.nn.Module, tuned_model: Path, base_model: Path) -> None:
    """Whatever the layout, a module is paired with a folder as a folder is, and every tensor has its counterpart."""
    files = on_disk(tuned_model), on_disk(base_model)
    assert set(files[0]) == set(files[1])
    for here, counterpart in ((fine_tuned, base_model), (tuned_model, pretrained)):
        pairing = open_pair(here, counterpart)
        counted = [name for name in pairing.names if name not in pairing.fine_tuned.tied]
        assert len(counted) >= len(files[0]) or here is fine_tuned
        for name in counted:
            other = pairing.names[name]
            assert other is not None, f"{name} has no counterpart"
            on_file = other if here is fine_tuned else name
            for side, tensor in zip(
                files, (pairing.fine_tuned.tensors[name], pairing.pretrained.tensors[other]), strict=True
            ):
                assert same(tensor.contiguous(), side[on_file]), f"{name} and {other} are not {on_file}"


def has_other_tensors(model: torch.nn.Module, folder: Path) -> bool:
    """Whether a folder has other tensors than the module, and not just other names."""
    return not set(align(read(model), read(folder))[0].tensors) <= set(model.state_dict())


def is_refused(state: Mapping[str, torch.Tensor], folder: Path) -> bool:
    """Whether a pair is refused since its layouts differ; with a state dict, nobody can bring them together."""
    try:
        open_pair(state, folder)
    except PairingError as error:
        return IN_MEMORY in "".join([str(error), *getattr(error, "__notes__", ())])
    return False


def check_layouts(
    fine_tuned: torch.nn.Module, pretrained: torch.nn.Module, tuned_model: Path, base_model: Path
) -> None:
    files = on_disk(tuned_model), on_disk(base_model)
    for here, counterpart in ((fine_tuned, base_model), (tuned_model, pretrained)):
        net = ken.prune(here, counterpart, 0.5, rule="random", progress=False)
        pairing = open_pair(here, counterpart)
        mine = {name: pairing.fine_tuned.tensors[name] for name in [*net, *net.tied]}
        want = check_net(net, mine, pairing.pretrained.tensors)
        for name, stored in net.items():
            if isinstance(stored, ken.RetainedTensor):
                on_file = stored.pretrained.name if here is fine_tuned else name
                mask = torch.from_numpy(stored.mask())
                assert same(torch.where(mask, files[0][on_file], files[1][on_file]), want[name]), name
        expect_same(ken.inject(net, base_model), want, "inject")
        if not has_other_tensors(pretrained, base_model):
            injected = ken.inject(net, pretrained).state_dict()
            if here is fine_tuned:
                expect_same(injected, want, "inject into the module")
            else:
                expect_same({n: injected[pairing.names[n]] for n in net}, {n: want[n] for n in net}, "into the module")
        else:
            with pytest.raises(SubnetworkError, match="different layouts; inject into the checkpoint folder"):
                ken.inject(net, pretrained)
