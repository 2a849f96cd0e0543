"""Quantised models are read as the values that the library which made them gives, bit for bit, and pruned."""

import json

import gguf
import pytest
import torch
import transformers
from checkpoints import llama_folders, weights
from quantised_models import (
    GROUPS,
    bitsandbytes,
    compressed,
    fp8,
    gguf_llama,
    gpt_oss,
    linear,
    plain_folder,
    silent,
)

import ken
from ken.models.adapters.sources import is_adapter
from ken.models.checkpoints.checkpoint import read
from ken.models.tensors.tensor_bytes import fingerprint

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the libraries


def auto(folder, **more):
    with silent():
        return transformers.AutoModelForCausalLM.from_pretrained(folder, **more)


def again(folder, config):
    """As transformers loads codes with its own dequantisation."""
    return auto(folder, quantization_config=config)


NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
FP4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "fp4", "bnb_4bit_use_double_quant": True}
#: How a folder of codes is made, how the library reads it, and what the notes say.
CASES = {
    "fp8 blocks": (fp8, auto, "(fp8 with a scale per block) were read dequantised, as bfloat16"),
    "fp8 tensors": (lambda plain, place: fp8(plain, place, None), auto, "(fp8 with a scale per tensor)"),
    "nf4": (lambda plain, place: bitsandbytes(plain, place, **NF4), lambda f: auto(f).dequantize(), "4-bit, nf4)"),
    "fp4": (lambda plain, place: bitsandbytes(plain, place, **FP4), lambda f: auto(f).dequantize(), "fp4, nested)"),
    "int8": (
        lambda plain, place: bitsandbytes(plain, place, load_in_8bit=True),
        lambda f: auto(f).dequantize(),
        "(bitsandbytes 8-bit)",
    ),
    "mxfp4": (
        lambda _, place: gpt_oss(place),
        lambda f: again(f, transformers.Mxfp4Config(dequantize=True)),
        "2 tensors of a quantised model (MXFP4)",
    ),
    **{
        kind: (
            lambda plain, place, kind=kind: compressed(plain, place, kind),
            lambda f: again(f, transformers.CompressedTensorsConfig(dequantize=True)),
            f"compressed-tensors {kind.split()[0]}",
        )
        for kind in GROUPS
    },
}


def check(path, model, names=None):
    """What is read of a path is what the library has: shape, dtype and every bit; nothing is known but by headers."""
    checkpoint, wanted = read(path), model.state_dict()
    assert set(checkpoint.tensors) == set(wanted)
    for name, tensor in wanted.items():
        shown = checkpoint.tensors[name]
        assert (shown.shape, shown.dtype) == (tensor.shape, tensor.dtype), name
        assert fingerprint(checkpoint.whole(name)) == fingerprint(tensor), name
        assert checkpoint.entries(name).fingerprint() == fingerprint(tensor), name
    assert checkpoint.config.get("quantization_config") is None
    return checkpoint


@pytest.mark.parametrize("case", CASES)
def test_the_values_are_those_of_the_library_and_what_is_exported_loads_as_a_plain_model(tmp_path, case):
    make, load, said = CASES[case]
    base = gpt_oss(tmp_path / "plain", seed=1, coded=False) if case == "mxfp4" else plain_folder(tmp_path / "plain", 1)
    tuned = make(plain_folder(tmp_path / "whole"), tmp_path / "tuned")
    model = load(tuned)
    checkpoint = check(tuned, model)
    assert any(said in note for note in checkpoint.notes)
    net = ken.prune(tuned, base, 0.5, progress=False, out=tmp_path / "net.ken.safetensors")
    assert any(said in note for note in net.notes)
    assert ken.load(tmp_path / "net.ken.safetensors").notes == net.notes
    assert said in repr(net)
    ken.export(net, base, tmp_path / "out", progress=False)
    assert "quantization_config" not in json.loads((tmp_path / "out/config.json").read_text())
    injected, reset = ken.inject(net, base), ken.reset(net, tuned, base)
    exported = auto(tmp_path / "out").state_dict()
    for name, tensor in injected.items():
        assert torch.equal(tensor, reset[name])
        assert torch.equal(tensor, exported[name])
    whole = ken.inject(ken.prune(tuned, base, 1.0, progress=False), base)
    assert all(torch.equal(whole[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_1", "F16", "BF16"])
def test_a_gguf_file_is_read_as_transformers_reads_it(tmp_path, kind):
    plain = plain_folder(tmp_path / "plain")
    path = gguf_llama(plain, tmp_path / "model.gguf", gguf.GGMLQuantizationType[kind])
    checkpoint = check(path, auto(tmp_path, gguf_file="model.gguf"))
    assert f"16 of {kind}" in checkpoint.notes[0]
    assert "rope_freqs.weight" in checkpoint.notes[1]
    assert {tensor.dtype for tensor in checkpoint.tensors.values()} == {torch.float32}
    if kind == "F16":  # which holds all that bfloat16 has here: what was permuted is where it was
        for name, tensor in weights(plain).items():
            assert torch.allclose(checkpoint.whole(name), tensor.float(), atol=1e-4)


def test_a_gguf_file_is_pruned_exported_and_planned(tmp_path):
    base = plain_folder(tmp_path / "base", 1, torch.float32)
    path = gguf_llama(plain_folder(tmp_path / "plain"), tmp_path / "model.gguf")
    net = ken.prune(path, base, 0.5, progress=False)
    assert any("GGUF (16 of Q8_0" in note for note in net.notes)
    ken.export(net, base, tmp_path / "out", progress=False)
    reloaded = auto(tmp_path / "out")
    assert reloaded.config.model_type == "llama"
    assert reloaded.dtype == torch.float32
    for name, tensor in ken.inject(net, base).items():
        assert torch.equal(tensor, reloaded.state_dict()[name])
    built = ken.inject(net, auto(base))
    assert torch.equal(built.model.norm.weight, ken.inject(net, base)["model.norm.weight"])
    assert ken.plan(path, 4).entries == ken.plan(base, 4).entries


def test_either_side_may_be_quantised_or_both(tmp_path):
    first, second = (plain_folder(tmp_path / name, seed) for seed, name in enumerate(("first", "second")))
    coded = fp8(first, tmp_path / "fp8"), bitsandbytes(second, tmp_path / "nf4", **NF4)
    for tuned, base in ((coded[0], second), (first, coded[1]), coded):
        net = ken.prune(tuned, base, 0.5, progress=False)
        ours, theirs = read(tuned), read(base)
        dequantised = [note for note in net.notes if "dequantised" in note]
        assert len(dequantised) == (tuned in coded) + (base in coded)
        merged = ken.inject(net, base)
        for name, tensor in net.pruned().items():
            mask = torch.from_numpy(tensor.mask())
            assert torch.equal(merged[name], torch.where(mask, ours.whole(name), theirs.whole(name)))
        assert all(torch.equal(merged[name], tensor) for name, tensor in ken.reset(net, tuned, base).items())
        assert net.pruned()["model.layers.0.mlp.up_proj.weight"].fine_tuned == fingerprint(
            ours.whole("model.layers.0.mlp.up_proj.weight")
        )


def test_a_module_is_built_plain(tmp_path):
    plain = plain_folder(tmp_path / "plain", 1)
    net = ken.prune(fp8(plain_folder(tmp_path / "whole"), tmp_path / "fp8"), plain, 0.5, progress=False)
    model = ken.inject(net, auto(plain))
    assert getattr(model.config, "quantization_config", None) is None
    assert "quantization_config" not in net.architecture.config
    wanted = ken.inject(net, plain)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in model.state_dict().items())


def test_one_tensor_is_held_at_a_time_and_computed_once_for_all_its_stretches(tmp_path):
    folder = fp8(plain_folder(tmp_path / "plain"), tmp_path / "fp8")
    checkpoint = read(folder)
    names = [name for name in checkpoint.tensors if linear(name)]
    store = checkpoint.tensors._places[names[0]][0]
    first = checkpoint.entries(names[0])
    pieces = [first.read(start, start + 100).clone() for start in range(0, 1000, 100)]
    held = store._latest[1]
    assert first.read(0, 10).data_ptr() == held.data_ptr()
    assert torch.equal(torch.cat(pieces), held[:1000])
    checkpoint.entries(names[1]).read(0, 1)
    assert store._latest[0] == names[1]


def test_shards_keep_the_plain_names(tmp_path):
    folder = fp8(plain_folder(tmp_path / "plain"), tmp_path / "fp8")
    tensors = weights(folder)
    half = dict(list(tensors.items())[: len(tensors) // 2])
    from safetensors.torch import save_file

    parts = (half, {name: tensor for name, tensor in tensors.items() if name not in half})
    shards = {}
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        shards |= dict.fromkeys(part, file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    checkpoint = check(folder, auto(folder))
    assert set(checkpoint.shards) == set(checkpoint.tensors)


def test_gpt2_keeps_its_weights_with_inputs_first(tmp_path):
    """bitsandbytes has them the other way round."""
    config = transformers.GPT2Config(n_embd=64, n_layer=1, n_head=4, vocab_size=60, bos_token_id=0, eos_token_id=0)
    model = transformers.GPT2LMHeadModel(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "plain")
    folder = bitsandbytes(tmp_path / "plain", tmp_path / "nf4", **NF4)
    wanted = auto(folder).dequantize().state_dict()
    checkpoint = read(folder)
    for name in ("transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_proj.weight"):
        assert checkpoint.tensors[name].shape == model.state_dict()[name].shape
        assert torch.equal(checkpoint.whole(name), wanted[name].T)
    assert ken.prune(folder, tmp_path / "plain", 0.5, progress=False).notes


def test_an_adapter_on_a_quantised_base_is_merged_into_its_values(tmp_path):
    from peft import LoraConfig, get_peft_model

    plain = plain_folder(tmp_path / "plain")
    base = bitsandbytes(plain, tmp_path / "nf4", **NF4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = LoraConfig(
            r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", init_lora_weights=False
        )
        get_peft_model(auto(base), settings).save_pretrained(tmp_path / "adapter")
    assert is_adapter(tmp_path / "adapter")
    net = ken.prune(tmp_path / "adapter", base, 0.5, progress=False)
    assert any("(bitsandbytes 4-bit, nf4)" in note for note in net.notes)
    assert any("merged as it was read: 4 tensors" in note for note in net.notes)
    from peft import PeftModel

    dequantised = auto(base).dequantize()
    merged = PeftModel.from_pretrained(dequantised, tmp_path / "adapter").merge_and_unload(safe_merge=True)
    whole = ken.inject(ken.prune(tmp_path / "adapter", base, 1.0, progress=False), base)
    for name, tensor in merged.state_dict().items():
        assert torch.equal(whole[name], tensor), name


def test_live_quantised_models_stay_refused(tmp_path):
    base = plain_folder(tmp_path / "plain")
    model = auto(bitsandbytes(base, tmp_path / "nf4", **NF4))
    with pytest.raises(ken.errors.PairingError, match="codes of a quantised model"):
        ken.prune(model, base, 0.5)
    net = ken.prune(tmp_path / "nf4", base, 0.5, progress=False)
    with pytest.raises(ken.errors.KenError):
        net.inject_(model)


def test_a_configuration_left_over_is_not_exported_beside_plain_values(tmp_path):
    tuned, base = llama_folders(tmp_path)
    config = json.loads((tuned / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8"}
    (tuned / "config.json").write_text(json.dumps(config))
    net = ken.prune(tuned, base, 0.5, progress=False)
    ken.export(net, base, tmp_path / "out", progress=False)
    del config["quantization_config"]
    assert json.loads((tmp_path / "out/config.json").read_text()) == config
