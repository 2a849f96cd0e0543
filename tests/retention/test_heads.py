import numpy as np
import pytest
import torch
import transformers
from architectures import build, model_classes, tiny_config

from ken.retention.attention_heads import heads_of as heads


def model_of(model_type):
    return build(next(iter(model_classes(model_type))), tiny_config(model_type))


def heads_of(model_type):
    """Parameter names to heads, as `heads` finds them from the configuration as a dict."""
    model = model_of(model_type)
    config = model.config.to_dict()
    return model, {name: heads(name, tuple(p.shape), config) for name, p in model.named_parameters()}


def short(by_name):
    return {name: None if parts is None else (parts.axis, len(parts.groups)) for name, parts in by_name.items()}


def test_heads_of_bert():
    by_name = short(heads_of("bert")[1])
    stem = "encoder.layer.1.attention."
    for part in ("query", "key", "value"):
        assert by_name[f"{stem}self.{part}.weight"] == ("rows", 4)
        assert by_name[f"{stem}self.{part}.bias"] == ("columns", 4)
    assert by_name[f"{stem}output.dense.weight"] == ("columns", 4)
    assert {name for name, parts in by_name.items() if parts is not None} == {
        name for name in by_name if ".attention.self." in name or name.endswith("attention.output.dense.weight")
    }


@pytest.mark.parametrize("model_type", ["llama", "mixtral", "qwen3"])
def test_grouped_queries_have_fewer_keys_and_values(model_type):
    by_name = short(heads_of(model_type)[1])
    stem = "layers.0.self_attn."
    assert [by_name[f"{stem}{part}_proj.weight"] for part in "qkvo"] == [
        *(("rows", 4), ("rows", 2), ("rows", 2), ("columns", 4)),
    ]


@pytest.mark.parametrize(
    "model_type",
    [
        *("bert", "roberta", "distilbert", "deberta", "deberta-v2", "electra", "ernie", "gpt2", "bloom", "llama"),
        *("mixtral", "t5", "bart", "vit", "gpt_neox", "albert", "openai-gpt", "mobilebert"),
    ],
)
def test_every_family_has_heads_and_groups_are_as_large_as_each_other(model_type):
    _, by_name = heads_of(model_type)
    known = {name: parts for name, parts in by_name.items() if parts is not None}
    assert known
    for name, parts in known.items():
        sizes = np.bincount(parts.group)
        assert (sizes == sizes[0]).all(), name
        assert len(sizes) == len(parts.groups) == len(set(parts.groups)), name


@pytest.mark.parametrize("model_type", ["convbert", "clip", "xlnet", "mamba"])
def test_whatever_is_unsure_has_no_heads(model_type):
    model, by_name = heads_of(model_type)
    # Some of convbert's heads are convolutions, clip has two configurations.
    assert not any(by_name.values()), [name for name, parts in by_name.items() if parts is not None]
    assert len(list(model.parameters())) > 0


def test_no_configuration_no_heads():
    assert heads("bert.encoder.layer.0.attention.self.query.weight", (8, 8), None) is None
    assert heads("bert.encoder.layer.0.attention.self.query.weight", (8, 8), {}) is None
    assert heads("encoder.layer.0.attention.self.query.weight", (9, 8), {"hidden_size": 8, "n_heads": 2}) is None
    assert heads("encoder.layer.0.attention.self.query.weight", (8,), {"hidden_size": 8, "n_heads": 2}) is None


PROBED = {
    "gpt2": ["h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias"],
    "bloom": ["h.0.self_attention.query_key_value.weight", "h.0.self_attention.query_key_value.bias"],
    "gpt_neox": ["layers.0.attention.query_key_value.weight"],
    "deberta": ["encoder.layer.0.attention.self.in_proj.weight"],
    "bert": ["encoder.layer.0.attention.self.value.weight"],
    "distilbert": ["transformer.layer.0.attention.v_lin.weight"],
    "deberta-v2": ["encoder.layer.0.attention.self.value_proj.bias"],
    "t5": ["encoder.block.0.layer.0.SelfAttention.v.weight"],
    "llama": ["layers.0.self_attn.v_proj.weight"],
    "openai-gpt": ["h.0.attn.c_attn.weight"],
}
OUTPUTS = {
    "gpt2": "h.0.attn.c_proj",
    "bloom": "h.0.self_attention.dense",
    "gpt_neox": "layers.0.attention.dense",
    "deberta": "encoder.layer.0.attention.output.dense",
    "bert": "encoder.layer.0.attention.output.dense",
    "distilbert": "transformer.layer.0.attention.out_lin",
    "deberta-v2": "encoder.layer.0.attention.output.dense",
    "t5": "encoder.block.0.layer.0.SelfAttention.o",
    "llama": "layers.0.self_attn.o_proj",
    "openai-gpt": "h.0.attn.c_proj",
}


@pytest.mark.parametrize("model_type", PROBED)
def test_the_model_itself_agrees_about_which_entries_make_the_value_of_a_head(model_type):
    """Nudging the value entries of one head changes the input of the attention output in that head's columns alone."""
    model, by_name = heads_of(model_type)
    output = model.get_submodule(OUTPUTS[model_type])
    seen = []
    output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    tokens = {"input_ids": torch.tensor([[5, 6, 7, 9]])}
    if model_type == "t5":
        tokens["decoder_input_ids"] = tokens["input_ids"]
    inputs_of_output = by_name[f"{OUTPUTS[model_type]}.weight"]
    shared = {"llama": 2}.get(model_type, 1)  # queries to a key and value
    for name in PROBED[model_type]:
        parameter, parts = model.get_parameter(name), by_name[name]
        values = [i for i, (part, _) in enumerate(parts.groups) if part == "value"]
        assert values
        for i in values:
            head = parts.groups[i][1]
            kept = parameter.detach().clone()
            seen.clear()
            with torch.no_grad():
                model(**tokens)
                marked = torch.from_numpy(parts.group == i)
                along = marked[:, None] if parts.axis == "rows" else marked
                parameter += along * torch.linspace(1, 2, parameter.numel()).reshape(parameter.shape)
                model(**tokens)
                parameter.copy_(kept)
            changed = (seen[0] != seen[-1]).reshape(-1, seen[0].shape[-1]).any(dim=0).numpy()
            heads_changed = {inputs_of_output.groups[g][1] for g in np.unique(inputs_of_output.group[changed])}
            assert heads_changed == set(range(head * shared, (head + 1) * shared)), name


def test_these_are_the_classes_of_transformers():
    assert isinstance(model_of("bert"), transformers.BertModel)
