import re
from collections import Counter

import pytest
import torch
from architectures import model_classes, quiet, tiny_config

from ken.models.tensors.tensor_roles import Place, place, role, stack


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert.encoder.layer.11.output.dense.bias", Place(11, "bert.encoder.layer.*.output.dense.bias")),
        ("transformer.h.0.ln_1.weight", Place(0, "transformer.h.*.ln_1.weight")),
        ("model.layers.3.experts.5.w1.weight", Place(3, "model.layers.*.experts.5.w1.weight")),
        ("classifier.weight", Place(None, "classifier.weight")),
        ("layer1.conv2.weight", Place(None, "layer1.conv2.weight")),
        ("block.².weight", Place(None, "block.².weight")),
    ],
)
def test_layer_and_kind_come_from_the_name(name, expected):
    assert place(name) == expected


def test_the_stack_is_what_precedes_the_layer():
    assert stack("model.layers.3.mlp.experts.5.w1") == "model.layers"
    assert stack("0.weight") == stack("embed*.weight") == stack("shared") == ""


BERT = {
    "embeddings.word_embeddings.weight": "embedding",
    "embeddings.position_embeddings.weight": "embedding",
    "embeddings.LayerNorm.weight": "norm",
    "embeddings.LayerNorm.bias": "norm bias",
    "encoder.layer.*.attention.self.query.weight": "query",
    "encoder.layer.*.attention.self.query.bias": "query bias",
    "encoder.layer.*.attention.self.key.weight": "key",
    "encoder.layer.*.attention.self.key.bias": "key bias",
    "encoder.layer.*.attention.self.value.weight": "value",
    "encoder.layer.*.attention.self.value.bias": "value bias",
    "encoder.layer.*.attention.output.dense.weight": "attention output",
    "encoder.layer.*.attention.output.dense.bias": "attention output bias",
    "encoder.layer.*.attention.output.LayerNorm.weight": "norm",
    "encoder.layer.*.attention.output.LayerNorm.bias": "norm bias",
    "encoder.layer.*.intermediate.dense.weight": "mlp up",
    "encoder.layer.*.intermediate.dense.bias": "mlp up bias",
    "encoder.layer.*.output.dense.weight": "mlp down",
    "encoder.layer.*.output.dense.bias": "mlp down bias",
    "encoder.layer.*.output.LayerNorm.weight": "norm",
    "encoder.layer.*.output.LayerNorm.bias": "norm bias",
}
TYPES = {"embeddings.token_type_embeddings.weight": "embedding"}
POOLER = {"pooler.dense.weight": "pooler", "pooler.dense.bias": "pooler bias"}


def both(roles):
    """Weights and their biases."""
    return {f"{name}.weight": kind for name, kind in roles.items()} | {
        f"{name}.bias": f"{kind} bias" for name, kind in roles.items()
    }


def without(roles, *parts):
    return {name: kind for name, kind in roles.items() if not any(part in name for part in parts)}


def attention(stem, names, cross=""):
    return dict(
        zip(
            [f"{stem}.{name}" for name in names],
            [f"{cross}{kind}" for kind in ("query", "key", "value", "attention output")],
            strict=True,
        )
    )


def weights(roles):
    return {f"{name}.weight": kind for name, kind in roles.items()}


LLAMA = weights(
    attention("layers.*.self_attn", ("q_proj", "k_proj", "v_proj", "o_proj"))
    | {"embed_tokens": "embedding", "norm": "norm"}
    | {"layers.*.input_layernorm": "norm", "layers.*.post_attention_layernorm": "norm"}
)
_T5_SELF, _T5_CROSS = "block.*.layer.0.SelfAttention", "decoder.block.*.layer.1.EncDecAttention"
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")

# Written by hand, from what the modules compute. Numbers behind the first stay, as in kinds.
ROLES = {
    "bert": BERT | TYPES | POOLER,
    "roberta": BERT | TYPES | POOLER,
    "electra": BERT | TYPES,
    "ernie": BERT | TYPES | POOLER,
    "distilbert": weights({"embeddings.word_embeddings": "embedding", "embeddings.position_embeddings": "embedding"})
    | both(
        attention("transformer.layer.*.attention", ("q_lin", "k_lin", "v_lin", "out_lin"))
        | {"embeddings.LayerNorm": "norm", "transformer.layer.*.sa_layer_norm": "norm"}
        | {"transformer.layer.*.output_layer_norm": "norm"}
        | {"transformer.layer.*.ffn.lin1": "mlp up", "transformer.layer.*.ffn.lin2": "mlp down"}
    ),
    "deberta": without(BERT, ".query.", ".key.", ".value.")
    | {
        "encoder.layer.*.attention.self.q_bias": "query bias",
        "encoder.layer.*.attention.self.v_bias": "value bias",
        "encoder.layer.*.attention.self.in_proj.weight": "query key value",
    },
    "deberta-v2": without(BERT, ".query.", ".key.", ".value.")
    | both(
        {f"encoder.layer.*.attention.self.{name}_proj": name for name in ("query", "key", "value")},
    ),
    "gpt2": weights({"wte": "embedding", "wpe": "embedding"})
    | both(
        {"h.*.ln_1": "norm", "h.*.ln_2": "norm", "ln_f": "norm"}
        | {"h.*.attn.c_attn": "query key value", "h.*.attn.c_proj": "attention output"}
        | {"h.*.mlp.c_fc": "mlp up", "h.*.mlp.c_proj": "mlp down"}
    ),
    "bloom": weights({"word_embeddings": "embedding"})
    | both(
        {"word_embeddings_layernorm": "norm", "h.*.input_layernorm": "norm", "ln_f": "norm"}
        | {"h.*.post_attention_layernorm": "norm", "h.*.self_attention.query_key_value": "query key value"}
        | {"h.*.self_attention.dense": "attention output"}
        | {"h.*.mlp.dense_h_to_4h": "mlp up", "h.*.mlp.dense_4h_to_h": "mlp down"}
    ),
    "llama": LLAMA | weights({f"layers.*.mlp.{name}_proj": f"mlp {name}" for name in ("gate", "up", "down")}),
    "mixtral": LLAMA
    | {
        "layers.*.mlp.gate.weight": "router",
        "layers.*.mlp.experts.gate_up_proj": "mlp gate up",
        "layers.*.mlp.experts.down_proj": "mlp down",
    },
    "t5": weights(
        attention(f"encoder.{_T5_SELF}", "qkvo")
        | attention(f"decoder.{_T5_SELF}", "qkvo")
        | attention(_T5_CROSS, "qkvo", "cross ")
        | {f"{side}.{_T5_SELF}.relative_attention_bias": "other" for side in ("encoder", "decoder")}
        | {f"encoder.block.*.layer.{i}.layer_norm": "norm" for i in range(2)}
        | {f"decoder.block.*.layer.{i}.layer_norm": "norm" for i in range(3)}
        | {"encoder.final_layer_norm": "norm", "decoder.final_layer_norm": "norm", "shared": "embedding"}
        | {
            "encoder.block.*.layer.1.DenseReluDense.wi": "mlp up",
            "encoder.block.*.layer.1.DenseReluDense.wo": "mlp down",
        }
        | {
            "decoder.block.*.layer.2.DenseReluDense.wi": "mlp up",
            "decoder.block.*.layer.2.DenseReluDense.wo": "mlp down",
        }
    ),
    "bart": weights(
        {"shared": "embedding", "encoder.embed_positions": "embedding", "decoder.embed_positions": "embedding"}
    )
    | both(
        attention("encoder.layers.*.self_attn", _PROJECTIONS)
        | attention("decoder.layers.*.self_attn", _PROJECTIONS)
        | attention("decoder.layers.*.encoder_attn", _PROJECTIONS, "cross ")
        | {
            f"{side}.layers.*.{norm}": "norm"
            for side in ("encoder", "decoder")
            for norm in ("self_attn_layer_norm", "final_layer_norm")
        }
        | {"decoder.layers.*.encoder_attn_layer_norm": "norm"}
        | {f"{side}.layernorm_embedding": "norm" for side in ("encoder", "decoder")}
        | {f"{side}.layers.*.fc1": "mlp up" for side in ("encoder", "decoder")}
        | {f"{side}.layers.*.fc2": "mlp down" for side in ("encoder", "decoder")}
    ),
    "vit": {"embeddings.cls_token": "embedding", "embeddings.position_embeddings": "embedding"}
    | both(
        attention("layers.*.attention", ("q_proj", "k_proj", "v_proj", "o_proj"))
        | {"embeddings.patch_embeddings.projection": "embedding", "pooler.dense": "pooler", "layernorm": "norm"}
        | {"layers.*.layernorm_before": "norm", "layers.*.layernorm_after": "norm"}
        | {"layers.*.mlp.fc1": "mlp up", "layers.*.mlp.fc2": "mlp down"}
    ),
}


def names_of(model_type):
    """The names of a tiny model's parameters."""
    config = tiny_config(model_type)
    with quiet(), torch.device("meta"):
        return [name for name, _ in next(iter(model_classes(model_type)))(config).named_parameters()]


@pytest.mark.parametrize("model_type", ROLES)
def test_roles_of_every_parameter_of_a_family(model_type):
    assert {place(name).kind: role(name) for name in names_of(model_type)} == ROLES[model_type]


@pytest.mark.parametrize("model_type", ROLES)
def test_a_prefix_changes_no_role(model_type):
    for name in names_of(model_type):
        assert role(f"model.{name}") == role(name), name


def test_roles_on_disk_where_they_are_others_than_in_memory():
    names = {
        "model.layers.0.block_sparse_moe.experts.3.w1.weight": "mlp gate",
        "model.layers.0.block_sparse_moe.experts.3.w2.weight": "mlp down",
        "model.layers.0.block_sparse_moe.experts.3.w3.weight": "mlp up",
        "model.layers.0.block_sparse_moe.gate.weight": "router",
        "vit.encoder.layer.0.attention.attention.query.weight": "query",
        "vit.encoder.layer.0.attention.output.dense.weight": "attention output",
        "vit.encoder.layer.0.output.dense.weight": "mlp down",
        "bert.encoder.layer.0.crossattention.self.query.bias": "cross query bias",
        "bert.encoder.layer.0.crossattention.output.dense.weight": "cross attention output",
        "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": "mlp gate",
        "encoder.block.0.layer.1.DenseReluDense.wi_1.weight": "mlp up",
        "transformer.attentions.0.q_lin.weight": "query",
        "classifier.weight": "classifier",
        "classifier.out_proj.weight": "other",
        "lm_head.weight": "lm head",
    }
    assert {name: role(name) for name in names} == names


@pytest.mark.parametrize(
    "name",
    [
        *("weight", "", "w", "layers.0.weight", "query.weight", "layers.0.mixer.in_proj.weight", "norm_proj.weight"),
        *("blocks.0.feed_forward.key.weight", "qformer.query_tokens", "model.layers.0.self_attn.q_a_proj.weight"),
        *(
            "model.bbox_embed.weight",
            "encoder_output_class_embed.bias",
            "decoder.bias",
            "adaln.norm.linear.weight",
            "normalizer.weight",
            "layers.0.linear_attn.out_proj.weight",
        ),
    ],
)
def test_a_name_that_says_too_little_is_other(name):
    assert role(name) == "other"


def test_roles_are_of_a_fixed_set():
    kinds = Counter(
        re.sub("^cross ", "", kind).removesuffix(" bias") for roles in ROLES.values() for kind in roles.values()
    )
    assert set(kinds) == {
        *("query", "key", "value", "query key value", "attention output", "mlp up", "mlp gate", "mlp gate up"),
        *("mlp down", "router", "embedding", "norm", "pooler", "other"),
    }
