"""Which rows or columns of a tensor belong to which attention head, from its role and the model's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken.models.tensors.tensor_roles import role

_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_WIDTH = ("true_hidden_size", "hidden_size", "d_model", "n_embd", "dim", "emb_dim")
_HEAD_WIDTH = ("head_dim", "d_kv")

# Models whose linear layers are stored with inputs as rows, and query, key and value side by side.
_INPUTS_AS_ROWS = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer"}
# Models whose fused matrix has query, key and value of the first head, then of the second, and so on.
_HEAD_BY_HEAD = {"bloom", "gpt_neox", "deberta"}


class Heads(NamedTuple):
    """The heads of one tensor.

    axis is "rows" or "columns". group gives for every index along that axis the number of its group (int64), and
    groups for every group its role ("query", "key", "value" or "attention output") and its head.
    """

    axis: str
    group: NDArray[np.int64]
    groups: list[tuple[str, int]]


class _Sizes(NamedTuple):
    heads: int
    key_heads: int
    width: int


def heads_of(name: str, shape: tuple[int, ...], config: Mapping[str, Any] | None) -> Heads | None:
    """The heads of a tensor.

    Outputs of query, key and value, and inputs of the attention output, are consecutive, head by head. Where heads
    share keys and values (num_key_value_heads), those are counted by themselves. The sizes must agree exactly with the
    configuration (that of transformers, as a dict): heads of a configuration with parts (text, vision) and of layers
    that differ from it are left alone.

    Args:
        name: Its name.
        shape: The shape of the whole tensor.
        config: The configuration of the model, as transformers writes it; None if it is unknown.

    Returns:
        The heads; None if it has none, or if anything about them is unsure.

    Example:
        >>> config = {"hidden_size": 8, "num_attention_heads": 4, "num_key_value_heads": 2}
        >>> of_keys = heads_of("model.layers.0.self_attn.k_proj.weight", (4, 8), config)
        >>> of_keys.axis, of_keys.group.tolist(), of_keys.groups
        ('rows', [0, 0, 1, 1], [('key', 0), ('key', 1)])
    """
    full = role(name)
    vector = full.endswith(" bias")
    kind = full.removesuffix(" bias").removeprefix("cross ")
    if config is None or len(shape) != (1 if vector else 2):
        return None
    sizes = _sizes(config, name)
    if sizes is None:
        return None
    model = config.get("model_type")
    inputs_as_rows = model in _INPUTS_AS_ROWS
    if kind == "attention output":
        if vector:  # its outputs are sums over the heads
            return None
        axis, parts = int(not inputs_as_rows), [kind]
    elif kind in {"query", "key", "value", "query key value"}:
        axis, parts = int(vector or inputs_as_rows), kind.split()
        if len(parts) > 1 and not inputs_as_rows and model not in _HEAD_BY_HEAD:
            return None
    else:
        return None
    count = sizes.key_heads if kind in {"key", "value"} else sizes.heads
    if len(parts) > 1 and sizes.key_heads != sizes.heads:
        return None
    size = shape[0] if vector else shape[axis]
    if size != len(parts) * count * sizes.width:
        return None
    index = np.arange(size) // sizes.width  # one number for each head of each part
    interleaved = len(parts) > 1 and model in _HEAD_BY_HEAD
    group = index % len(parts) * count + index // len(parts) if interleaved else index
    return Heads("columns" if axis else "rows", group, [(part, head) for part in parts for head in range(count)])


def _sizes(config: Mapping[str, Any], name: str) -> _Sizes | None:
    if any(isinstance(part, Mapping) and _number(part, _HEADS) for part in config.values()):
        return None  # which of the parts, the name does not say
    if config.get("head_ratio"):
        return None  # ConvBERT: some of its heads are convolutions
    sides = [part for part in name.split(".") if part in {"encoder", "decoder"}]
    sided = [f"{side}_attention_heads" for side in sides[:1]]
    count = _number(config, sided) or _number(config, _HEADS)
    width = _number(config, _WIDTH)
    head_width = _number(config, _HEAD_WIDTH) or (width // count if count and width and width % count == 0 else None)
    if not count or not head_width:
        return None
    return _Sizes(count, _number(config, ["num_key_value_heads"]) or count, head_width)


def _number(config: Mapping[str, Any], names: Any) -> int | None:
    """The first of these settings that there is, None unless it is a positive whole number."""
    value = next((config[name] for name in names if config.get(name) is not None), None)
    return value if type(value) is int and value > 0 else None
