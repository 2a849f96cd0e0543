"""Where a tensor stands in a model, and what it does there: layer, kind and role, read from its name."""

from __future__ import annotations

import re
from typing import NamedTuple

#: What is said of a tensor whose name tells nothing that is sure.
OTHER = "other"


class Place(NamedTuple):
    """Where a tensor stands: its layer number, None outside of layers, and its kind, the name less the number."""

    layer: int | None
    kind: str


def place(name: str) -> Place:
    """Layer and kind of a tensor, read from its name: the first component that is a number is the layer.

    Two tensors of one model never share a place.

    >>> place("bert.encoder.layer.3.attention.self.query.weight")
    Place(layer=3, kind='bert.encoder.layer.*.attention.self.query.weight')
    >>> place("embeddings.word_embeddings.weight")
    Place(layer=None, kind='embeddings.word_embeddings.weight')
    """
    parts = name.split(".")
    for i, part in enumerate(parts):
        if part.isascii() and part.isdigit():
            return Place(int(part), ".".join([*parts[:i], "*", *parts[i + 1 :]]))
    return Place(None, name)


def stack(name: str) -> str:
    """What precedes the layer number: the stack of layers that a tensor is in, empty outside of layers.

    >>> stack("decoder.block.1.layer.0.SelfAttention.q.weight"), stack("shared.weight")
    ('decoder.block', '')
    """
    kind = place(name).kind
    return kind[: kind.index("*")].rstrip(".") if "*" in kind.split(".") else ""


_SELF = {"attention", "attn", "self_attn", "self_attention", "SelfAttention", "attentions"}
_CROSS = {"EncDecAttention", "encoder_attn", "crossattention", "cross_attn", "cross_attention"}

# Modules inside of attention; the name alone decides, whatever lies between the two.
_IN_ATTENTION = {
    "query": {"query", "query_proj", "q_proj", "q_lin", "q"},
    "key": {"key", "key_proj", "k_proj", "k_lin", "k"},
    "value": {"value", "value_proj", "v_proj", "v_lin", "v"},
    "query key value": {"query_key_value", "c_attn", "in_proj", "qkv_proj", "qkv", "Wqkv"},
    "attention output": {"out_proj", "o_proj", "out_lin", "o", "c_proj", "dense", "output.dense"},
}

# Modules by the last two components of their names, layer numbers written as *.
_MLP = {
    "mlp gate": {"mlp.gate_proj", "DenseReluDense.wi_0", "feed_forward.w1"},
    "mlp up": {
        *("intermediate.dense", "ffn.lin1", "mlp.c_fc", "mlp.dense_h_to_4h", "mlp.up_proj", "mlp.fc1", "*.fc1"),
        *("DenseReluDense.wi", "DenseReluDense.wi_1", "*.ffn", "feed_forward.w3"),
    },
    "mlp gate up": {"mlp.gate_up_proj", "experts.gate_up_proj"},
    "mlp down": {
        *("ffn.lin2", "mlp.c_proj", "mlp.dense_4h_to_h", "mlp.down_proj", "experts.down_proj", "mlp.fc2", "*.fc2"),
        *("DenseReluDense.wo", "*.ffn_output", "*.output.dense", "feed_forward.w2"),
    },
    "router": {"mlp.gate", "block_sparse_moe.gate"},
}
# Mixtral's files have the experts apart.
_EXPERT = {"w1": "mlp gate", "w2": "mlp down", "w3": "mlp up"}

_NORM = re.compile(
    r"(.*_)?(layer_?norm|rms_?norm|group_?norm|batch_?norm|norm|ln)(_?\d+|_f|_before|_after|_embedding)?"
)
# Detectors call their heads class_embed and bbox_embed.
_EMBEDDING = re.compile(
    r"(?!(.+_)?(class|bbox|box)_embed$)(.+_)?(embeddings?|embed)|embed_(tokens|positions|in)|wte|wpe|(cls|mask|distillation)_token|class_embedding"
)


def role(name: str) -> str:
    """What a tensor does: one of the roles below, with " bias" behind it for a bias; "other" when that is unsure.

    query, key, value, "query key value" (one matrix for all three) and "attention output", each with "cross " before it
    where a decoder looks at an encoder; "mlp up", "mlp gate", "mlp gate up" (one matrix for both), "mlp down" and
    router; embedding (of tokens, positions, types or patches), norm, pooler, "lm head", classifier.

    >>> role("bert.encoder.layer.3.attention.output.dense.bias"), role("decoder.block.0.EncDecAttention.k.weight")
    ('attention output bias', 'cross key')
    >>> role("backbone.layers.0.mixer.out_proj.weight")
    'other'
    """
    parts = ["*" if part.isascii() and part.isdigit() else part for part in name.split(".")]
    # A parameter is called weight or bias; some are parameters without a module, and then have its name.
    leaf = parts[-1]
    bias = leaf == "bias" or leaf in {"q_bias", "v_bias"}
    if leaf in {"q_bias", "v_bias"}:  # DeBERTa
        parts[-1] = {"q_bias": "query", "v_bias": "value"}[leaf]
    elif leaf in {"weight", "bias"}:
        parts.pop()
    module_role = _role_of_module(parts, in_a_module=leaf in {"weight", "bias"})
    return f"{module_role} bias" if bias and module_role != OTHER else module_role


def _role_of_module(parts: list[str], in_a_module: bool) -> str:
    if not parts:
        return OTHER
    last = parts[-1]
    if in_a_module and _NORM.fullmatch(last.lower()):
        return "norm"
    if _in_attention(parts):
        return _in_attention(parts)
    two, three = ".".join(parts[-2:]), ".".join(parts[-3:])
    for mlp_role, names in _MLP.items():
        if two in names or three in names:
            return mlp_role
    if parts[-4:-2] == ["block_sparse_moe", "experts"] and last in _EXPERT:
        return _EXPERT[last]
    if _EMBEDDING.fullmatch(last) or last == "shared" or two.startswith("patch_embeddings.proj"):
        return "embedding"
    if "pooler" in parts[-2:]:
        return "pooler"
    return {"lm_head": "lm head", "classifier": "classifier"}.get(last, OTHER)


def _in_attention(parts: list[str]) -> str:
    """The role of a module right inside of attention, or inside of attention.self or attention.output."""
    for inner in (1, 2):
        outside, inside = parts[:-inner], ".".join(parts[-inner:])
        if inner == 1 and outside and outside[-1] in {"self", "attention"}:
            outside = outside[:-1] if outside[-1] == "self" else outside
        while outside and outside[-1] == "*":  # XLM counts its attention modules
            outside = outside[:-1]
        if outside and outside[-1] in _SELF | _CROSS:
            for attention_role, names in _IN_ATTENTION.items():
                if inside in names:
                    return f"cross {attention_role}" if outside[-1] in _CROSS else attention_role
    return ""
