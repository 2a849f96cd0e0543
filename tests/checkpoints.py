"""Small checkpoints as people have them: folders of tiny Llamas and BERTs, fine-tuned a little."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, LlamaConfig, LlamaForCausalLM

LLAMA = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 60,
}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 50,
    "max_position_embeddings": 16,
}


def bert_config(**more):
    """The configuration of a tiny BERT."""
    return BertConfig(**{**BERT, **more})


def llama(seed=0, **more):
    """A tiny Llama."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**{**LLAMA, **more})).eval()


def shifted(model, seed=1):
    """The model, after a step in a random direction."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    return model


def llama_folders(folder: Path) -> tuple[Path, Path]:
    """fine_tuned and pretrained, as `save_pretrained` writes them."""
    model = llama()
    model.save_pretrained(folder / "pretrained")
    shifted(model).save_pretrained(folder / "fine_tuned")
    return folder / "fine_tuned", folder / "pretrained"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder of safetensors files."""
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def with_weights(folder: Path, tensors: dict[str, torch.Tensor], place: Path) -> Path:
    """A copy of a folder that holds other tensors."""
    shutil.copytree(folder, place)
    save_file(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()},
        place / "model.safetensors",
        metadata={"format": "pt"},
    )
    return place


def without_settings(folder: Path, *names: str) -> None:
    """Take settings out of a folder's config.json, as if an older library had written it."""
    config = json.loads((folder / "config.json").read_text())
    for name in names:
        config.pop(name, None)
    (folder / "config.json").write_text(json.dumps(config))
