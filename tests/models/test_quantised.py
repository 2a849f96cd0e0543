"""Codes of quantised models are never read as weights, on either side, by whatever way they come in.

Of those that are read dequantised from files tells test_dequantised.
"""

import json
import warnings
from types import SimpleNamespace

import command_line
import pytest
import torch
from architectures import quiet, tiny_models
from safetensors.torch import save_file

import ken
from ken.errors import KenError, PairingError
from ken.models.checkpoints import quantised

NAME = "model.layers.0.mlp.up_proj"
F8 = torch.float8_e4m3fn


def plain():
    generator = torch.Generator().manual_seed(0)
    names = {f"{NAME}.weight": (32, 64), f"{NAME}.bias": (32,), "model.norm.weight": (64,), "head.scale": (8,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in names.items()}


def instead(**others):
    """The model with the tensors of its layer instead of the weight; two underscores stand for a point."""
    state = plain()
    weight = state.pop(f"{NAME}.weight")
    made = {name.replace("__", "."): value for name, value in others.items()}
    return state | {f"{NAME}.{name}": value(weight) if callable(value) else value for name, value in made.items()}


def whole(*shape, dtype=torch.uint8):
    return torch.zeros(shape, dtype=dtype)


def expert(**others):
    return plain() | {f"model.layers.0.mlp.experts.{name}": value for name, value in others.items()}


def quantised_by_torch(weight):
    with warnings.catch_warnings(action="ignore"):  # torch will not have them for ever
        return torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8)


INT = torch.int32
SCHEMES = {
    "fp8 with a scale per tensor": instead(weight=lambda w: w.to(F8), weight_scale=torch.ones(())),
    "fp8 with a scale per row": instead(weight=lambda w: w.to(F8), weight_scale=torch.ones(32, 1)),
    "fp8 with a scale per block": instead(weight=lambda w: w.to(F8), weight_scale_inv=torch.ones(2, 4)),
    "fp8 with a scale per tensor ": instead(
        weight=lambda w: w.to(torch.float8_e5m2), scale=torch.ones(1), input_scale=torch.ones(())
    ),
    "fp8": instead(weight=lambda w: w.to(F8), input_scale=torch.ones(())),
    "fp8 with a scale per tensor  ": instead(weight=lambda w: w.to(F8), scale_weight=torch.ones(())),
    "fp8, half dequantised": instead(weight=lambda w: w.to(torch.bfloat16), weight_scale_inv=torch.ones(2, 4)),
    "fp8 with a scale per block ": expert(
        gate_up_proj=whole(4, 32, 64, dtype=F8), gate_up_proj_scale_inv=torch.ones(4, 2, 4)
    ),
    "GPTQ": instead(
        qweight=whole(8, 32, dtype=INT),
        qzeros=whole(1, 4, dtype=INT),
        scales=torch.ones(1, 32).half(),
        g_idx=whole(64, dtype=INT),
    ),
    "GPTQ ": instead(qweight=whole(8, 32, dtype=INT), qzeros=whole(1, 4, dtype=INT), scales=torch.ones(1, 32).half()),
    "AWQ": instead(qweight=whole(64, 4, dtype=INT), qzeros=whole(1, 4, dtype=INT), scales=torch.ones(1, 32).half()),
    "bitsandbytes 4-bit": instead(
        weight=whole(1024, 1),
        weight__absmax=torch.ones(32),
        weight__quant_map=torch.ones(16),
        weight__quant_state__bitsandbytes__nf4=whole(80),
    ),
    "bitsandbytes 4-bit ": instead(
        weight=whole(1024, 1), weight__absmax=whole(32), weight__nested_absmax=torch.ones(1)
    ),
    "bitsandbytes 8-bit": instead(weight=whole(32, 64, dtype=torch.int8), SCB=torch.ones(32), weight_format=whole()),
    "compressed-tensors": instead(
        weight_packed=whole(32, 8, dtype=INT),
        weight_shape=torch.tensor([32, 64]),
        weight_scale=torch.ones(32, 2),
        weight_zero_point=whole(4, 2, dtype=INT),
    ),
    "integers with scales": instead(weight=whole(32, 64, dtype=torch.int8), weight_scale=torch.ones(32, 1)),
    "MXFP4": expert(gate_up_proj_blocks=whole(4, 64, 2, 16), gate_up_proj_scales=whole(4, 64, 2)),
    "HQQ": instead(W_q=whole(1024), scale=torch.ones(32, 1), zero=torch.ones(32, 1), nbits=torch.tensor(4)),
    "HQQ ": instead(W_q=whole(1024), meta={"nbits": 4, "group_size": 64}),
    "quanto": instead(weight___data=whole(32, 64, dtype=torch.int8), weight___scale=torch.ones(32, 1)),
    "torchao": instead(_weight_qdata=whole(32, 64, dtype=torch.int8), _weight_scale=torch.ones(32, 1)),
    "AQLM": instead(codes=whole(4, 8, 2, dtype=torch.int16), codebooks=torch.ones(2, 256, 1, 8), scales=torch.ones(4)),
    "EETQ": instead(weight=whole(64, 32, dtype=torch.int8), weight_scales=torch.ones(32).half()),
    "NVFP4": instead(
        weight=whole(32, 32),
        weight_scale=torch.ones(32, 4).to(F8),
        weight_scale_2=torch.ones(()),
        input_scale=torch.ones(()),
    ),
    "MLX": instead(weight=whole(32, 8, dtype=torch.uint32), scales=torch.ones(32, 1), biases=torch.ones(32, 1)),
    "HIGGS": instead(weight=whole(8, 16, dtype=torch.int16), scales=torch.ones(1, 32), tables=torch.ones(16, 1)),
    "torch's own quantisation": instead(weight=quantised_by_torch),
}


# Of these a file tells enough; what they lack here, and what else is in them, is in test_dequantised.
READ = {
    *("fp8 with a scale per tensor", "fp8 with a scale per row", "fp8 with a scale per block"),
    *("fp8 with a scale per block ", "GPTQ", "GPTQ ", "AWQ", "MXFP4"),
    *("bitsandbytes 4-bit", "bitsandbytes 4-bit ", "bitsandbytes 8-bit"),
}
NO_FILE = {"HQQ ", "torch's own quantisation"}


@pytest.mark.parametrize("scheme", SCHEMES, ids=str.strip)
def test_a_state_dict_of_codes_is_refused_on_either_side_and_the_scheme_named(scheme):
    codes, values = SCHEMES[scheme], plain()
    for fine_tuned, pretrained in ((codes, values), (values, codes), (codes, codes)):
        with pytest.raises(PairingError) as error:
            ken.prune(fine_tuned, pretrained, 0.5)
        text = str(error.value)
        assert "codes of a quantised model" in text
        assert f"({scheme.strip()})" in text
        assert "from before it was quantised" in text or "dequantize()" in text


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name not in READ | NO_FILE], ids=str.strip)
def test_a_file_and_a_folder_of_codes_are_refused_before_anything_is_written(tmp_path, scheme):
    for place, tensors in (("codes", SCHEMES[scheme]), ("values", plain())):
        (tmp_path / place).mkdir()
        save_file(tensors, tmp_path / place / "model.safetensors")
    file, folder, values = tmp_path / "codes/model.safetensors", tmp_path / "codes", tmp_path / "values"
    out = tmp_path / "net.ken.safetensors"
    for fine_tuned, pretrained in ((file, values), (values, folder)):
        with pytest.raises(PairingError, match="codes of a quantised model"):
            ken.prune(fine_tuned, pretrained, 0.5, out=out)
        ended = command_line.prune(fine_tuned, pretrained, out)
        assert ended.status == 1
        assert scheme.strip() in ended.said
        assert "Traceback" not in ended.said
    assert not out.exists()
    net = ken.prune(values, values, 0.5)
    with pytest.raises(PairingError, match="codes of a quantised model"):
        ken.inject(net, folder)
    with pytest.raises(PairingError, match="codes of a quantised model"):
        ken.plan(folder, 4)


class Params4bit(torch.nn.Parameter):
    """Like the class of bitsandbytes: packed bytes, and beside them what they mean."""


class Linear4bit(torch.nn.Module):
    def __init__(self, cls=Params4bit):
        super().__init__()
        self.weight = cls(torch.zeros(1024, 1, dtype=torch.uint8), requires_grad=False)
        self.bias = torch.nn.Parameter(torch.zeros(32))


@pytest.mark.parametrize("cls", [Params4bit, torch.nn.Parameter])
def test_a_live_module_of_codes_is_refused_on_either_side(cls):
    codes, values = torch.nn.Sequential(Linear4bit(cls)), torch.nn.Sequential(torch.nn.Linear(64, 32))
    for fine_tuned, pretrained in ((codes, values), (values, codes)):
        with pytest.raises(PairingError, match="codes of a quantised model"):
            ken.prune(fine_tuned, pretrained, 0.5)
    net = ken.prune(values, torch.nn.Sequential(torch.nn.Linear(64, 32)), 0.5)
    with pytest.raises(KenError):
        net.inject_(codes)
    assert codes[0].weight.sum() == 0


def test_a_tensor_whose_class_comes_from_a_quantising_package_is_told_by_it():
    cls = type("Int4Tensor", (torch.Tensor,), {"__module__": "torchao.quantization.quantize_.workflows"})
    codes = plain()
    codes[f"{NAME}.weight"] = codes[f"{NAME}.weight"].as_subclass(cls)
    with pytest.raises(PairingError, match=r"codes of a quantised model \(torchao\), .* is a Int4Tensor"):
        ken.prune(codes, plain(), 0.5)


def test_dynamically_quantised_modules_of_torch_are_told():
    codes = {
        "0._packed_params.dtype": torch.qint8,
        "0._packed_params._packed_params": (torch.zeros(2), None),
        "0.scale": 1,
    }
    with pytest.raises(PairingError, match="torch's own quantisation"):
        ken.prune(codes, plain(), 0.5)


def test_integers_in_the_place_of_values_are_told_as_codes_whatever_their_shape():
    fine_tuned, pretrained = plain(), plain()
    for packed in (whole(1024, 1), whole(32, 64, dtype=torch.int8)):
        fine_tuned[f"{NAME}.weight"] = packed
        for pair in ((fine_tuned, pretrained), (pretrained, fine_tuned)):
            with pytest.raises(PairingError, match="codes of a quantised model"):
                ken.prune(*pair, 0.5)


CONFIGS = [
    ({"quantization_config": {"quant_method": "fp8", "dequantize": True}}, "fp8"),
    ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes"),
    ({"compression_config": {"format": "pack-quantized"}}, "pack-quantized"),
    ({"text_config": {"quantization_config": {"quant_method": "mxfp4"}}}, "mxfp4"),
    ({"quantization": {"group_size": 64, "bits": 4}}, "quantization without a name"),
]


@pytest.mark.parametrize(("config", "said"), CONFIGS)
def test_a_configuration_left_over_beside_plain_values_is_noted_and_the_values_are_read(tmp_path, config, said):
    for place in ("ours", "theirs"):
        (tmp_path / place).mkdir()
        save_file(plain(), tmp_path / place / "model.safetensors")
    (tmp_path / "ours/config.json").write_text(json.dumps(config))
    net = ken.prune(tmp_path / "ours", tmp_path / "theirs", 0.5)
    assert net.notes == (
        f"folder ours: the configuration speaks of quantisation ({said}), but the tensors are plain values and were "
        "read so",
    )
    assert said in repr(net)
    ended = command_line.prune(tmp_path / "ours", tmp_path / "theirs", tmp_path / "net.ken.safetensors")
    assert ended.status == 0
    assert said in ended.said
    (tmp_path / "theirs/config.json").write_text('{"quantization_config": null, "quantization": {}}')
    assert len(ken.prune(tmp_path / "ours", tmp_path / "theirs", 0.5).notes) == 1


def test_a_live_configuration_left_over_is_noted():
    model = torch.nn.Linear(8, 4)
    model.config = SimpleNamespace(quantization_config=SimpleNamespace(quant_method="gptq", bits=4))
    assert "(gptq)" in ken.prune(model, torch.nn.Linear(8, 4), 2).notes[0]


def test_float8_that_must_have_had_scales_is_refused_and_float8_alone_is_values(tmp_path):
    codes = {name: tensor.to(F8) for name, tensor in plain().items()}
    assert len(ken.prune(codes, plain(), 0.5).pruned()) == len(codes)
    save_file(codes, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "fp8"}}')
    with pytest.raises(PairingError, match="has no scale beside it although the configuration says fp8"):
        ken.prune(tmp_path, plain(), 0.5)


@pytest.mark.parametrize(
    "names",
    [
        *(["logit_scale"], ["a.scale", "a.weight"], ["a.scales", "a.weight"], ["a.gamma", "a.weight"]),
        *(["layer_scale1.lambda1"], ["a.weight_g", "a.weight_v"], ["router.per_expert_scale", "router.scale"]),
        *(["g_idx"], ["a.codes"], ["a.blocks", "a.scales"], ["a.zero"], ["meta"], ["a.absmax"], ["a.weight_scale"]),
    ],
)
def test_names_of_ordinary_models_raise_no_alarm(names):
    state = {name: torch.ones(4, 4) for name in names} | {"a.position_ids": torch.zeros(1, 4, dtype=torch.int32)}
    assert quantised.check(state) == ()


def test_no_model_of_transformers_is_taken_for_codes():
    types = ["bert", "llama", "gpt_oss", "deepseek_v4", "gemma3n_text", "mimi", "swinv2", "d_fine", "bark", "encodec"]
    built = 0
    with quiet():
        for tiny in tiny_models(types):
            if tiny.model is not None:
                built += 1
                state = tiny.model.state_dict()
                assert quantised.find(state) is None, tiny.model_type
                cast = {name: tensor.to(F8) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
                assert quantised.find(cast) is None, tiny.model_type
                quantised.check_module(tiny.model)
    assert built >= 8
