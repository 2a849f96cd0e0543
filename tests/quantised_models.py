"""Tiny models as quantising libraries write them: folders, and what the library itself reads out of them."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import torch
import transformers
from checkpoints import llama, weights
from safetensors.torch import save_file

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_key_value_heads": 2, "num_attention_heads": 4}


@contextmanager
def silent():
    """Without what transformers says of kernels and devices that a test has no need of."""
    levels = transformers.logging.get_verbosity(), logging.root.manager.disable
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(levels[0])
        logging.disable(levels[1])


def plain_folder(folder: Path, seed=0, dtype=torch.bfloat16) -> Path:
    """A tiny Llama, not quantised."""
    llama(seed, **SIZES).to(dtype).save_pretrained(folder)
    return folder


def linear(name: str) -> bool:
    """Whether a tensor is the weight of a linear layer within the model."""
    return name.endswith("proj.weight")


def stored(plain: Path, folder: Path, codes, **quantization_config) -> Path:
    """A copy of a folder whose linear weights are stored as codes gives them: tensors by the end of their name."""
    folder.mkdir()
    tensors = {}
    for name, tensor in weights(plain).items():
        if linear(name):
            stem = name.removesuffix(".weight")
            tensors |= {f"{stem}.{leaf}": part.contiguous() for leaf, part in codes(tensor, stem).items()}
        else:
            tensors[name] = tensor
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((plain / "config.json").read_text())
    if quantization_config:
        config["quantization_config"] = quantization_config
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def fp8(plain: Path, folder: Path, block=(32, 32)) -> Path:
    """float8 with scales, as transformers quantises."""
    from transformers.integrations.finegrained_fp8 import Fp8Quantize

    settings = transformers.FineGrainedFP8Config(weight_block_size=block)
    quantise = Fp8Quantize(SimpleNamespace(quantization_config=settings))
    return stored(
        plain,
        folder,
        lambda tensor, _: (
            quantise.convert({"weight": tensor})
            if block
            else {
                leaf: part.reshape(()) if "scale" in leaf else part
                for leaf, part in quantise.convert({"weight": tensor}).items()
            }
        ),
        quant_method="fp8",
        activation_scheme="dynamic",
        weight_block_size=block and list(block),
    )


def bitsandbytes(plain: Path, folder: Path, **settings) -> Path:
    """A model that transformers has quantised with bitsandbytes."""
    with silent():
        config = transformers.BitsAndBytesConfig(**settings)
        model = transformers.AutoModelForCausalLM.from_pretrained(plain, quantization_config=config)
        model.save_pretrained(folder)
    return folder


GROUPS = {
    "pack-quantized": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True},
    "pack-quantized asymmetric": {
        "num_bits": 4,
        "type": "int",
        "strategy": "group",
        "group_size": 16,
        "symmetric": False,
    },
    "pack-quantized 8": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True},
    "int-quantized": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True},
    "float-quantized": {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True},
    "naive-quantized": {
        "num_bits": 8,
        "type": "float",
        "strategy": "block",
        "block_structure": [32, 32],
        "symmetric": True,
    },
}


def compressed(plain: Path, folder: Path, kind: str) -> Path:
    """A model that compressed-tensors has compressed."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    layout, group = kind.split()[0], GROUPS[kind]
    scheme = QuantizationScheme(targets=["Linear"], weights=group)
    compressor = BaseCompressor.get_value_from_registry(layout)

    def codes(tensor, _):
        rows, columns = tensor.shape
        if group["strategy"] == "block":
            parts = tensor.reshape(rows // 32, 32, columns // 32, 32).permute(0, 2, 1, 3).flatten(2)
        elif group["strategy"] == "tensor":
            parts = tensor.reshape(1, 1, -1)
        else:
            parts = tensor.reshape(rows, -1, group.get("group_size", columns))
        scale, zero = calculate_qparams(parts.amin(-1), parts.amax(-1), scheme.weights)
        scale, zero = (part.reshape(1) if group["strategy"] == "tensor" else part for part in (scale, zero))
        return compressor.compress({"weight": tensor, "weight_scale": scale, "weight_zero_point": zero}, scheme)

    settings = {"targets": ["Linear"], "weights": group}
    return stored(
        plain,
        folder,
        codes,
        quant_method="compressed-tensors",
        format=layout,
        config_groups={"group_0": settings},
        ignore=["lm_head"],
        quantization_status="compressed",
    )


def gpt_oss(folder: Path, seed=0, coded=True) -> Path:
    """A tiny gpt-oss with its experts in MXFP4, or the same without weights that are codes."""
    config = transformers.GptOssConfig(
        **{**SIZES, "head_dim": 16, "num_hidden_layers": 1, "vocab_size": 60, "num_local_experts": 4},
        num_experts_per_tok=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformers.GptOssForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    if not coded:
        return folder
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, tensor in weights(folder).items():
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            experts, inputs, outputs = tensor.shape
            shape = (experts, outputs, inputs // 32)
            tensors[f"{name}_blocks"] = torch.randint(256, (*shape, 16), dtype=torch.uint8, generator=generator)
            tensors[f"{name}_scales"] = torch.randint(110, 124, shape, dtype=torch.uint8, generator=generator)
        else:
            tensors[name] = tensor
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    settings = json.loads((folder / "config.json").read_text())
    settings["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


_GGUF_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    **{f"self_attn.{one}_proj": f"attn_{one}" for one in "qkv"},
    "self_attn.o_proj": "attn_output",
    **{f"mlp.{one}_proj": f"ffn_{one}" for one in ("gate", "up", "down")},
}


def gguf_llama(plain: Path, path: Path, kind=gguf.GGMLQuantizationType.Q8_0) -> Path:
    """A Llama as llama.cpp converts it: queries and keys permuted, matrices in blocks."""
    config = json.loads((plain / "config.json").read_text())
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tensor("rope_freqs.weight", np.ones(4, np.float32))
    for name, tensor in weights(plain).items():
        new = name.replace("model.layers.", "blk.")
        for old, other in _GGUF_NAMES.items():
            new = new.replace(old, other)
        values = tensor.float().numpy()
        if new.split(".")[-2] in heads:
            values = (
                values.reshape(heads[new.split(".")[-2]], 2, -1, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
            )
        if values.ndim == 2:
            writer.add_tensor(new, gguf.quants.quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
        else:
            writer.add_tensor(new, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
