"""Adapters in place of the fine-tuned model: what is pruned is the merged model, bit for bit."""

import json
import sys
from pathlib import Path

import command_line
import pytest
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

import ken
from ken.errors import FormatError, OutputError, PairingError
from ken.models.adapters.sources import Adapters, is_adapter
from ken.models.pairing.pairing import open_pair

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100, "hidden_size": 32}
pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's own: of tied layers, of embeddings that are saved, …


def llama(tied=False, dtype=torch.float32):
    config = transformers.LlamaConfig(intermediate_size=64, num_key_value_heads=2, tie_word_embeddings=tied, **SMALL)
    return transformers.LlamaForCausalLM(config).to(dtype)


def bert():
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(intermediate_size=64, num_labels=5, **SMALL)
    )


def gpt2():
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=100))


def mixtral():
    config = transformers.MixtralConfig(intermediate_size=64, num_key_value_heads=2, num_local_experts=4, **SMALL)
    return transformers.MixtralForCausalLM(config)


CAUSAL, TEXTS = {"r": 4, "task_type": "CAUSAL_LM"}, {"r": 4, "task_type": "SEQ_CLS"}
CASES = {
    "lora": (llama, {**CAUSAL, "target_modules": ["q_proj", "v_proj"]}),
    "patterns in bfloat16": (
        lambda: llama(dtype=torch.bfloat16),
        {
            **CAUSAL,
            "target_modules": ["q_proj", "down_proj"],
            "rank_pattern": {"layers.1.self_attn.q_proj": 2},
            "alpha_pattern": {"down_proj": 3},
        },
    ),
    "rslora everywhere": (llama, {**CAUSAL, "use_rslora": True, "target_modules": "all-linear"}),
    "dora, an embedding, a head": (
        llama,
        {
            **CAUSAL,
            "use_dora": True,
            "target_modules": ["q_proj", "embed_tokens", "down_proj"],
            "modules_to_save": ["lm_head"],
        },
    ),
    "a tied embedding": (lambda: llama(tied=True), {**CAUSAL, "target_modules": ["q_proj", "embed_tokens"]}),
    "a head that was tied": (
        lambda: llama(tied=True),
        {**CAUSAL, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    ),
    "tokens": (llama, {**CAUSAL, "target_modules": ["q_proj"], "trainable_token_indices": [3, 7]}),
    "tied tokens": (
        lambda: llama(tied=True),
        {**CAUSAL, "target_modules": ["q_proj"], "trainable_token_indices": [3, 7]},
    ),
    "a classifier": (bert, {**TEXTS, "target_modules": ["query", "value"]}),
    "all biases": (bert, {**TEXTS, "target_modules": ["query", "dense"], "bias": "all"}),
    "biases of the adapter": (bert, {**TEXTS, "target_modules": ["query"], "lora_bias": True}),
    "fan_in_fan_out": (gpt2, {**CAUSAL, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "fan_in_fan_out, dora": (gpt2, {**CAUSAL, "target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True}),
    "attention beside experts": (mixtral, {**CAUSAL, "target_modules": ["q_proj"]}),
    "experts": (
        mixtral,
        {
            **CAUSAL,
            "target_modules": ["q_proj"],
            "target_parameters": ["experts.gate_up_proj", "experts.down_proj"],
        },
    ),
}


def trained(model, **settings):
    """A live model of PEFT whose adapter is far from nothing."""
    adapted = get_peft_model(model, LoraConfig(**settings))
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    return adapted


class Case:
    """A base and an adapter in folders, and the merged model as PEFT makes it."""

    def __init__(self, folder, make, settings):
        torch.manual_seed(0)
        base = make()
        self.cls, self.dtype = type(base), next(base.parameters()).dtype
        self.base, self.adapter = str(folder / "base"), str(folder / "adapter")
        base.save_pretrained(self.base)
        self.live = trained(base, **settings)
        self.live.peft_config["default"].base_model_name_or_path = self.base
        self.live.save_pretrained(self.adapter)

    def loaded(self):
        return self.cls.from_pretrained(self.base, dtype=self.dtype)

    def merged(self):
        return PeftModel.from_pretrained(self.loaded(), self.adapter).merge_and_unload(safe_merge=True)


def same(net, expected):
    """Whether two subnetworks have the same tensors, masks and fine-tuned models."""
    assert {*net} == {*expected}
    assert net.tied == expected.tied
    assert net.fine_tuned.fingerprint == expected.fine_tuned.fingerprint
    for name, tensor in expected.items():
        if isinstance(tensor, ken.RetainedTensor):
            assert (net[name].mask() == tensor.mask()).all(), name
            assert net[name].fine_tuned == tensor.fine_tuned, name
        else:
            assert torch.equal(net[name].value, tensor.value), name


@pytest.mark.parametrize("name", CASES)
def test_pruned_is_the_merged_model_from_folders_and_live(tmp_path, name):
    case = Case(tmp_path, *CASES[name])
    merged = case.merged()
    expected = ken.prune(merged, case.loaded(), 0.25)
    same(ken.prune(case.adapter, case.loaded(), 0.25), expected)
    if name not in ("attention beside experts", "experts"):  # the files have experts apart
        assert {n: t.fine_tuned for n, t in ken.prune(case.live, None, 0.25).pruned().items()} == {
            n: t.fine_tuned for n, t in expected.pruned().items()
        }
    if name == "experts":
        net = ken.prune(case.adapter, None, 0.25)
        assert net.fine_tuned.fingerprint == expected.fine_tuned.fingerprint
        assert any("loaded whole" in note for note in net.notes)
        return
    merged.save_pretrained(tmp_path / "merged")
    expected = ken.prune(tmp_path / "merged", case.base, 0.25)
    same(ken.prune(case.adapter, case.base, 0.25), expected)
    net = ken.prune(case.adapter, None, 0.25, out=tmp_path / "net.ken.safetensors")
    same(net, expected)
    assert any("its base with 1 adapter" in note for note in net.notes)
    assert not any("no place" in note or "left out" in note for note in net.notes)


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path, *CASES["lora"])


def test_what_an_adapter_leaves_alone_is_the_base_and_costs_nothing(case):
    """Nothing but the layers with an adapter is merged, one at a time, and the base stays as it is."""
    pairing = open_pair(case.adapter, case.base)
    before = {name: tensor.clone() for name, tensor in pairing.pretrained.tensors.items()}
    changed = [name for name in pairing.names if pairing.fine_tuned.tensors[name].is_meta]
    assert [name.rsplit(".", 2)[1] for name in changed] == ["q_proj", "v_proj"] * 2
    for name, other in pairing.names.items():
        ours, theirs = pairing.fine_tuned.entries(name), pairing.pretrained.entries(other)
        assert torch.equal(ours.read(0, ours.count), theirs.read(0, theirs.count)) == (name not in changed)
    assert all(torch.equal(pairing.pretrained.tensors[name], tensor) for name, tensor in before.items())


def test_a_live_model_stays_as_it_is(case):
    before = {name: tensor.clone() for name, tensor in case.live.state_dict().items()}
    first, again = (ken.prune(case.live, None, 0.25) for _ in range(2))
    same(again, first)
    after = case.live.state_dict()
    assert [*after] == [*before]
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_rest_of_the_toolkit_takes_an_adapter(case, tmp_path):
    pair = ken.Pair(case.adapter, case.base)
    net = ken.prune(*pair, 0.25)
    name = "model.layers.0.self_attn.q_proj.weight"
    merged = case.merged()
    merged.save_pretrained(tmp_path / "merged")
    why = ken.explain(net, pair, name, 3)
    assert why.table().equals(ken.explain(net, ken.Pair(tmp_path / "merged", case.base), name, 3).table())
    table = ken.retention.table(net, pair)
    assert table.equals(ken.retention.table(net, ken.Pair(tmp_path / "merged", case.base)))
    assert torch.equal(ken.reset(net, *pair)[name], ken.reset(net, tmp_path / "merged", case.base)[name])
    state = ken.inject(ken.prune(*pair, 1.0), case.base)
    assert all(torch.equal(state[name], tensor) for name, tensor in merged.state_dict().items())
    sweep = ken.sweep(pair, [0.5], ["ken"], evaluate=lambda state: float(state[name].sum()))
    whole = float(merged.state_dict()[name].sum())
    assert sweep.set_index("model").metric["fine-tuned"] == whole


def test_several_adapters_by_name_and_weight(case, tmp_path):
    torch.manual_seed(1)
    other = trained(case.loaded(), **{**CAUSAL, "target_modules": ["q_proj", "o_proj"]})
    other.save_pretrained(tmp_path / "other")
    adapters = Adapters({"one": case.adapter, "two": tmp_path / "other"}, weights={"two": 0.5})
    model = PeftModel.from_pretrained(case.loaded(), case.adapter, adapter_name="one")
    model.load_adapter(str(tmp_path / "other"), adapter_name="two")
    model.base_model.set_adapter(["one", "two"])
    for module in model.modules():
        if hasattr(module, "set_scale"):
            module.set_scale("two", 0.5)
    expected = ken.prune(model.merge_and_unload(safe_merge=True), case.loaded(), 0.25)
    same(ken.prune(adapters, case.loaded(), 0.25), expected)
    with pytest.raises(PairingError, match=r"weight for 'three', which is none of the adapters \['one'\]"):
        Adapters({"one": case.adapter}, weights={"three": 1.0})


def test_an_embedding_that_has_grown_comes_from_the_adapter(tmp_path):
    torch.manual_seed(0)
    base = llama()
    base.save_pretrained(tmp_path / "base")
    base.resize_token_embeddings(104)
    live = trained(base, **CAUSAL, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    live.save_pretrained(tmp_path / "adapter")
    net = ken.prune(tmp_path / "adapter", tmp_path / "base", 0.25)
    merged = live.merge_and_unload(safe_merge=True)
    merged.save_pretrained(tmp_path / "merged")
    expected = ken.prune(tmp_path / "merged", tmp_path / "base", 0.25)
    assert {n: t.fine_tuned for n, t in net.pruned().items()} == {n: t.fine_tuned for n, t in expected.pruned().items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"peft_type": "IA3"},
            "adapters of the kind IA3 are not merged here, only LORA, SHIRA, TRAINABLE_TOKENS; merge it",
        ),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa' changes the base when it is loaded; merge it"),
        ({"base_model_name_or_path": None}, "does not say what its base is; give the pretrained model"),
        ({"base_model_name_or_path": "nobody/nothing"}, "no file or folder nobody/nothing"),
        ({"target_modules": ["no_such"]}, "PEFT cannot put the adapter on its base: .*no_such"),
    ],
)
def test_what_cannot_be_merged_is_told_before_anything_is_read(case, change, message):
    path = f"{case.adapter}/adapter_config.json"
    with Path(path).open() as file:
        settings = json.load(file)
    with Path(path).open("w") as file:
        json.dump({**settings, **change}, file)
    with pytest.raises(PairingError, match=message):
        ken.prune(case.adapter, None, 0.5)


def test_an_adapter_of_another_model_is_refused(case, tmp_path):
    bert().save_pretrained(tmp_path / "bert")
    with pytest.raises(PairingError, match="PEFT cannot put the adapter on its base"):
        ken.prune(case.adapter, tmp_path / "bert", 0.5)


def test_an_adapter_stands_for_the_fine_tuned_model_alone(case):
    with pytest.raises(PairingError, match=r"an adapter \(of .*\), not a model; merge it"):
        ken.prune(case.base, case.adapter, 0.5)
    with pytest.raises(PairingError, match="belongs to an adapter that is not merged"):
        ken.prune(case.base, case.live, 0.5)
    with pytest.raises(PairingError, match="adapters may stand for the fine-tuned model of a pair, and for no other"):
        ken.prune(case.base, Adapters({"one": case.adapter}), 0.5)
    with pytest.raises(PairingError, match="may be left out only where the fine-tuned one is an adapter"):
        ken.prune(case.base, None, 0.5)


def test_a_merged_live_model_has_no_base_any_more(case):
    case.live.merge_adapter()
    with pytest.raises(PairingError, match="merged into the live model already"):
        ken.prune(case.live, None, 0.5)
    same(ken.prune(case.live, case.loaded(), 0.25), ken.prune(case.merged(), case.loaded(), 0.25))


def test_without_peft_the_error_says_what_to_install(case, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PairingError, match=r"takes peft, which is not installed: pip install 'kenviz\[peft\]'"):
        ken.prune(case.adapter, case.base, 0.5)


def test_a_folder_with_a_whole_model_is_a_model(case, tmp_path):
    assert is_adapter(case.adapter)
    assert not is_adapter(case.base)
    llama().save_pretrained(case.adapter)
    assert not is_adapter(case.adapter)


def test_the_command_line_takes_an_adapter_with_and_without_its_base(case, tmp_path):
    nets = []
    for name, models in (("with", [case.adapter, case.base]), ("without", [case.adapter])):
        out = tmp_path / f"{name}.ken.safetensors"
        done = command_line.ken("prune", *models, "-k", "0.25", "-o", out)
        assert done.status == 0, done.said
        nets.append(ken.load(out))
    same(*nets)
    done = command_line.ken("prune", case.base, "-k", "0.25", "-o", tmp_path / "net.ken.safetensors")
    assert done.status == 1
    assert "may be left out only where the fine-tuned one is an adapter" in done.said


def test_neither_the_adapter_nor_the_base_that_it_names_is_written_over(case):
    for folder in (case.adapter, case.base):
        with pytest.raises(OutputError, match="must stay"):
            ken.prune(case.adapter, None, 0.25, out=f"{folder}/net.ken.safetensors", overwrite=True)
    adapters = Adapters({"one": case.adapter})
    with pytest.raises(OutputError, match="must stay"):
        ken.prune(adapters, case.base, 0.25, out=f"{case.adapter}/net.ken.safetensors", overwrite=True)


def test_a_sweep_takes_an_adapter_that_names_its_base(case):
    name = "model.layers.0.self_attn.q_proj.weight"
    for source in (case.adapter, case.live):
        table = ken.sweep(ken.Pair(source), [0.5], ["ken"], evaluate=lambda state: float(state[name].sum()))
        assert table.set_index("model").metric["fine-tuned"] == float(case.merged().state_dict()[name].sum())


def test_a_damaged_adapter_and_one_that_lacks_tensors_are_refused(case):
    path = Path(case.adapter, "adapter_model.safetensors")
    whole, tensors = path.read_bytes(), load_file(path)
    path.write_bytes(whole[:-10])
    with pytest.raises(FormatError, match="the adapter in .* cannot be read"):
        ken.prune(case.adapter, case.base, 0.5)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, path)
    with pytest.raises(PairingError, match="PEFT cannot put the adapter on its base: Found missing adapter keys"):
        ken.prune(case.adapter, case.base, 0.5)
    path.unlink()
    with pytest.raises(PairingError, match="and none of adapter_model.safetensors, adapter_model.bin"):
        ken.prune(case.adapter, case.base, 0.5)


def test_tensors_of_an_adapter_without_a_place_are_noted(case):
    path = Path(case.adapter, "adapter_model.safetensors")
    save_file({**load_file(path), "base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": torch.ones(4, 32)}, path)
    net = ken.prune(case.adapter, case.base, 0.5)
    assert any("1 tensors of the adapter have no place of that name in the model" in note for note in net.notes)
    assert not any("no place" in note for note in ken.prune(case.live, None, 0.5).notes)
