"""SHiRA adapters, of sparse differences: read as PEFT merges them, written where that gives the same bits."""

import json

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel, ShiraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import ken
from ken.errors import FormatError, PairingError, SubnetworkError
from ken.injection.shira_layers import best_r, sparse_layer

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's own


def bert(dtype, cls=transformers.BertForSequenceClassification):
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=60, max_position_embeddings=8, num_labels=3, **SIZES)
    return cls(config).to(dtype)


def same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype, name
        assert torch.equal(tensor.contiguous().view(torch.uint8), other[name].contiguous().view(torch.uint8)), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_adapter_that_peft_has_written_is_what_peft_merges(tmp_path, dtype):
    model = bert(dtype)
    model.save_pretrained(tmp_path / "base")
    settings = {"r": 3, "target_modules": ["query", "dense"], "init_weights": False, "task_type": "SEQ_CLS"}
    adapted = get_peft_model(model, ShiraConfig(**settings, random_seed=1))
    live = ken.prune(adapted, None, rule="changed")
    adapted.save_pretrained(tmp_path / "adapter")
    base = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "base", dtype=dtype)
    merged = PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload(safe_merge=True).state_dict()
    net = ken.prune(tmp_path / "adapter", tmp_path / "base", rule="changed")
    same(ken.inject(net, tmp_path / "base"), merged)
    assert {name: tensor.fine_tuned for name, tensor in live.pruned().items()} == {
        name: tensor.fine_tuned for name, tensor in net.pruned().items()
    }
    half = ken.Adapters({"a": tmp_path / "adapter"}, weights={"a": 0.5})
    again = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "base", dtype=dtype)
    weighted = PeftModel.from_pretrained(again, tmp_path / "adapter")
    for module in weighted.modules():
        if hasattr(module, "shira_weight"):
            module.set_scale("default", 0.5)
    expected = weighted.merge_and_unload(safe_merge=True).state_dict()
    same(ken.inject(ken.prune(half, tmp_path / "base", rule="changed"), tmp_path / "base"), expected)


def test_places_that_are_missing_or_lie_outside_are_errors(tmp_path):
    model = bert(torch.float32)
    model.save_pretrained(tmp_path / "base")
    get_peft_model(model, ShiraConfig(r=1, target_modules=["query"], init_weights=False)).save_pretrained(
        tmp_path / "a"
    )
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    name = next(name for name in tensors if name.endswith("shira_indices"))
    far = {**tensors, name: tensors[name] + 10_000}
    save_file(far, tmp_path / "a" / "adapter_model.safetensors")
    with pytest.raises(PairingError, match="PEFT cannot merge the adapter"):
        ken.prune(tmp_path / "a", tmp_path / "base", rule="changed")
    del far[name]
    save_file(far, tmp_path / "a" / "adapter_model.safetensors")
    with pytest.raises(FormatError, match="and not the places of its values, .*shira_indices"):
        ken.prune(tmp_path / "a", tmp_path / "base", rule="changed")


def touched(model, share=0.02, seed=5):
    """The model with some entries of its linear layers changed a little, and a head that is another."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "attention" in name and parameter.ndim == 2:
                where = torch.rand(parameter.shape, generator=generator) < share
                parameter[where] = (parameter.float() * 1.03).to(parameter.dtype)[where]
        model.bert.encoder.layer[0].output.LayerNorm.bias += 0.25
        model.bert.encoder.layer[1].attention.self.query.bias += 0.5  # beside a weight that is sparsely changed
        model.classifier.weight += 1
    return model


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_adapter_that_is_written_is_the_fine_tuned_model_for_peft_too(tmp_path, dtype):
    base = bert(dtype)
    base.save_pretrained(tmp_path / "base")
    tuned = touched(bert(dtype))
    tuned.save_pretrained(tmp_path / "tuned")
    net = ken.prune(tmp_path / "tuned", tmp_path / "base", rule="changed")
    folder = ken.export_adapter(net, tmp_path / "base", tmp_path / "adapter")
    merged = PeftModel.from_pretrained(base, folder).merge_and_unload(safe_merge=True).state_dict()
    same(merged, tuned.state_dict())
    again = ken.prune(folder, None, rule="changed")  # the base is the one that the adapter names
    assert again.fine_tuned.fingerprint == net.fine_tuned.fingerprint
    written = load_file(folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["peft_type"], config["base_model_name_or_path"]) == ("SHIRA", str(tmp_path / "base"))
    assert config["modules_to_save"] == ["bert.encoder.layer.0.output.LayerNorm", "classifier"]
    sparse = [name for name in written if name.endswith("shira_weight")]
    assert len(sparse) == len(config["target_modules"]) == 8
    assert {len(written[name]) for name in sparse} == {config["r"] * 64}
    with pytest.raises(FileExistsError):
        ken.export_adapter(net, tmp_path / "base", folder)


def test_the_base_may_be_the_bare_model(tmp_path):
    base = bert(torch.bfloat16, transformers.BertModel)
    base.save_pretrained(tmp_path / "base")
    tuned = touched(bert(torch.bfloat16))
    tuned.save_pretrained(tmp_path / "tuned")
    net = ken.prune(tmp_path / "tuned", tmp_path / "base", rule="changed")
    folder = ken.export_adapter(net, tmp_path / "base", tmp_path / "adapter")
    loaded = transformers.BertForSequenceClassification.from_pretrained(
        tmp_path / "base", num_labels=3, dtype=torch.bfloat16
    )
    same(PeftModel.from_pretrained(loaded, folder).merge_and_unload(safe_merge=True).state_dict(), tuned.state_dict())


def test_another_rule_gives_its_own_injected_model(tmp_path):
    base, tuned = bert(torch.float32), touched(bert(torch.float32), share=0.3)
    base.save_pretrained(tmp_path / "base")
    net = ken.prune(tuned, base, 2, "update", exclude=["classifier.*"])
    folder = ken.export_adapter(net, tmp_path / "base", tmp_path / "adapter")
    loaded = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "base")
    merged = PeftModel.from_pretrained(loaded, folder).merge_and_unload(safe_merge=True)
    same(merged.state_dict(), ken.inject(net, base).state_dict())


def test_what_no_adapter_can_hold_is_refused_and_leaves_nothing(tmp_path):
    base = bert(torch.float32, transformers.BertModel)
    every = bert(torch.float32, transformers.BertModel)
    with torch.no_grad():
        for parameter in every.parameters():
            parameter += 1
    net = ken.prune(every, base, rule="changed")
    with pytest.raises(SubnetworkError, match="no linear layer is changed so sparsely"):
        ken.export_adapter(net, base, tmp_path / "adapter")
    plain = {"w": torch.zeros(3, 3)}
    nameless = ken.prune({"w": torch.eye(3)}, plain, rule="changed")
    with pytest.raises(SubnetworkError, match="an adapter needs the class of its model"):
        ken.export_adapter(nameless, plain, tmp_path / "adapter")
    assert [*tmp_path.iterdir()] == []


@settings(max_examples=60)
@given(st.sampled_from([torch.float64, *DTYPES]), st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 1e-2, 1.0, 1e3]))
def test_differences_reach_every_bit_or_there_are_none(dtype, seed, size):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(9, 14, generator=generator, dtype=torch.float64).to(dtype)
    where = torch.rand(9, 14, generator=generator) < 0.2
    update = torch.randn(9, 14, generator=generator, dtype=torch.float64) * size
    tuned = torch.where(where, (base.double() + update).to(dtype), base)
    base[0, 0] = tuned[0, 0] = -0.0
    layer = sparse_layer(tuned, base)
    if layer is None:  # only of float32, whose differences have no more digits: some value is out of reach of any
        assert dtype == torch.float32
        b, t = (side.numpy().reshape(-1)[where.numpy().reshape(-1)] for side in (base, tuned))
        near = (t.astype(float) - b.astype(float)).astype(np.float32)
        tries = np.stack([near, *(np.nextafter(near, np.float32(way)) for way in (-np.inf, np.inf))])
        assert ((b + tries) != t).all(axis=0).any()
        return
    r = best_r([layer]) or layer.need
    indices, values = layer.tensors(r)
    assert indices.shape == (2, r * 23) == (2, len(values))
    assert len(np.unique(indices[0].numpy() * 14 + indices[1].numpy())) == r * 23
    got = base.clone()
    got += torch.sparse_coo_tensor(indices, values, (9, 14), check_invariants=True)
    assert torch.equal(got.view(torch.uint8), tuned.view(torch.uint8))
