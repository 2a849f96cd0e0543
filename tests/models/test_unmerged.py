"""Weights in parts: adapters that are not merged, masks that are not applied, tensors that were not gathered."""

import command_line
import pytest
import torch
from architectures import quiet, tiny_models
from safetensors.torch import save_file
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune

import ken
from ken.errors import PairingError
from ken.models.checkpoints import unmerged

NAME = "model.layers.0.self_attn.q_proj"


def plain():
    generator = torch.Generator().manual_seed(0)
    names = {f"{NAME}.weight": (8, 8), "model.norm.weight": (8,), "lm_head.weight": (20, 8)}
    return {name: torch.randn(shape, generator=generator) for name, shape in names.items()}


def wrapped(parts, prefix=""):
    """The model with its layer wrapped as PEFT does, and the parts of an adapter beside it."""
    state = plain()
    state[f"{NAME}.base_layer.weight"] = state.pop(f"{NAME}.weight")
    state |= {f"{NAME}.{part}": torch.zeros(4, 8) for part in parts}
    return {prefix + name: tensor for name, tensor in state.items()}


ADAPTERS = {
    "LoRA": wrapped(["lora_A.default.weight", "lora_B.default.weight"]),
    "a PeftModel's own state": wrapped(["lora_A.default.weight", "lora_B.default.weight"], "base_model.model."),
    "DoRA": wrapped(["lora_A.x.weight", "lora_B.x.weight", "lora_magnitude_vector.x.weight"]),
    "IA3": wrapped(["ia3_l.default"]),
    "LoHa": wrapped(["hada_w1_a.default", "hada_w1_b.default"]),
    "VeRA": wrapped(["vera_lambda_b.default"]),
    "a file of an adapter": {f"base_model.model.{NAME}.lora_{x}.weight": torch.zeros(4, 8) for x in "AB"},
    "a file of kohya": {f"lora_unet_{x}.lora_down.weight": torch.zeros(4, 8) for x in "ab"},
    "modules to save": {
        "lm_head.original_module.weight": torch.zeros(20, 8),
        "lm_head.modules_to_save.default.weight": torch.zeros(20, 8),
        **{name: tensor for name, tensor in plain().items() if "lm_head" not in name},
    },
    "what is left when the adapter is dropped": wrapped([]),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_that_is_not_merged_is_refused_on_either_side_with_the_remedy(tmp_path, adapter):
    parts, values = ADAPTERS[adapter], plain()
    for fine_tuned, pretrained in ((parts, values), (values, parts)):
        with pytest.raises(PairingError, match=r"merge_and_unload\(\)"):
            ken.prune(fine_tuned, pretrained, 0.5)
    for place, tensors in (("parts", parts), ("values", values)):
        (tmp_path / place).mkdir()
        save_file(tensors, tmp_path / place / "model.safetensors")
    out = tmp_path / "net.ken.safetensors"
    for pair in ((tmp_path / "parts", tmp_path / "values"), (tmp_path / "values", tmp_path / "parts")):
        ended = command_line.prune(*pair, out)
        assert ended.status == 1
        assert "merge_and_unload()" in ended.said
    assert not out.exists()


class LoraLinear(torch.nn.Module):
    """A layer as PEFT wraps it."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = torch.nn.ModuleDict({"default": torch.nn.Linear(8, 4, bias=False)})
        self.lora_B = torch.nn.ModuleDict({"default": torch.nn.Linear(4, 8, bias=False)})


def test_a_live_adapter_is_refused_on_either_side():
    values, parts = torch.nn.Sequential(torch.nn.Linear(8, 8)), torch.nn.Sequential(LoraLinear(torch.nn.Linear(8, 8)))
    for fine_tuned, pretrained in ((parts, values), (values, parts)):
        with pytest.raises(
            PairingError, match=r"0\.lora_A\.default\.weight belongs to an adapter .* \(2 such tensors\)"
        ):
            ken.prune(fine_tuned, pretrained, 0.5)
    net = ken.prune(values, torch.nn.Sequential(torch.nn.Linear(8, 8)), 0.5)
    with pytest.raises(PairingError, match="merge_and_unload"):
        ken.inject(net, parts)


def test_masks_of_torch_are_refused_until_they_are_applied(tmp_path):
    values, masked = torch.nn.Sequential(torch.nn.Linear(8, 8)), torch.nn.Sequential(torch.nn.Linear(8, 8))
    torch_prune.l1_unstructured(masked[0], "weight", 0.5)
    save_file(masked.state_dict(), tmp_path / "masked.safetensors")
    save_file(values.state_dict(), tmp_path / "values.safetensors")
    for source in (masked, masked.state_dict(), tmp_path / "masked.safetensors"):
        for fine_tuned, pretrained in ((source, values), (values, source)):
            with pytest.raises(
                PairingError, match=r'0\.weight_orig and 0\.weight_mask .*prune\.remove\(module, "weight"\)'
            ):
                ken.prune(fine_tuned, pretrained, 0.5)
    out = tmp_path / "net.ken.safetensors"
    ended = command_line.prune(tmp_path / "masked.safetensors", tmp_path / "values.safetensors", out)
    assert (ended.status, out.exists()) == (1, False)
    assert "torch.nn.utils.prune.remove" in ended.said
    torch_prune.remove(masked[0], "weight")
    assert len(ken.prune(masked, values, 0.5).pruned()) == 2


def test_tensors_that_zero3_has_not_gathered_are_told(tmp_path):
    values = plain()
    hollow = {name: torch.zeros(0) if tensor.ndim > 1 else tensor for name, tensor in values.items()}
    for fine_tuned, pretrained in ((hollow, values), (values, hollow)):
        with pytest.raises(PairingError, match=r"ZeRO-3 .* zero_to_fp32\.py"):
            ken.prune(fine_tuned, pretrained, 0.5)
    save_file(hollow, tmp_path / "hollow.safetensors")
    save_file(values, tmp_path / "values.safetensors")
    ended = command_line.prune(tmp_path / "hollow.safetensors", tmp_path / "values.safetensors", tmp_path / "net")
    assert ended.status == 1
    assert "ZeRO-3" in ended.said
    empty = {"w": torch.ones(2, 2), "nothing": torch.zeros(0)}
    assert len(ken.prune(empty, empty, 1)) == 2


def test_layers_of_such_names_in_other_models_raise_no_alarm():
    names = [
        "base_layer.0.weight",
        "net.base_layer.weight",
        "prompt_encoder.points.weight",
        "conv.weight_orig",
        "conv.weight_u",
    ]
    unmerged.check(
        [*names, "attention_mask", "a.weight_mask", "w_lora.lora.0.weight", "original0", "adapter.down.weight"]
    )
    state = {name: torch.ones(2, 2) for name in names}
    assert len(ken.prune(state, state, 1)) == len(names)
    conv = torch.nn.Sequential(parametrizations.weight_norm(torch.nn.Conv1d(2, 2, 2)))
    assert len(ken.prune(conv, conv, 1)) == 3
    with quiet():
        for tiny in tiny_models(["sam", "phi4_multimodal", "granite_speech", "xmod", "bark", "bert", "rwkv"]):
            if tiny.model is not None:
                unmerged.check(tiny.model.state_dict())
