"""Pairs of models of random numbers, made once and kept in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

import large
import numpy as np
import torch
from safetensors.torch import save_file

import ken
from ken.storage.atomic_files import replacing_folder

SMALL, SHAPE = 2867, (95, 96)
FILE = "model.safetensors"


class Models(NamedTuple):
    """Both folders; what they are called, and how many bytes they have together."""

    fine_tuned: Path
    pretrained: Path

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for folder in self for path in folder.glob("*.safetensors"))


def minilm(folder: Path) -> Models:
    """A classifier of MiniLM's shapes, 22.7 million entries in float32."""
    return _bert(folder / "minilm", hidden_size=384, num_hidden_layers=6, intermediate_size=1536)


def bert(folder: Path) -> Models:
    """A classifier of BERT-base's shapes, 109 million entries in float32."""
    return _bert(folder / "bert")


def _bert(folder: Path, **settings: int) -> Models:
    from transformers import BertConfig, BertForSequenceClassification

    models = Models(folder / "fine-tuned", folder / "pretrained")
    if not all(path.exists() for path in models):
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        model = BertForSequenceClassification(BertConfig(**settings))
        for path in reversed(models):
            if not path.exists():
                with replacing_folder(path) as part:
                    model.save_pretrained(part)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(5e-4 * torch.randn_like(parameter))
    return models


def small(folder: Path) -> tuple[Models, Models]:
    """2,867 small tensors, 26 million entries in float32; and the same entries as one matrix."""
    many, one = (Models(folder / name / "fine-tuned", folder / name / "pretrained") for name in ("small", "small-one"))
    if not all(path.exists() for path in (*many, *one)):
        rng = np.random.default_rng(1)
        base = torch.from_numpy(rng.normal(0, 0.04, (SMALL, *SHAPE))).float()
        tuned = base + 1e-3 * torch.from_numpy(rng.normal(0, 1, base.shape)).float()
        for tensors, *folders in ((tuned, many[0], one[0]), (base, many[1], one[1])):
            named = {f"layer.{i}.weight": tensor.clone() for i, tensor in enumerate(tensors)}
            for path, content in zip(folders, (named, {"weight": tensors.flatten(0, 1)}), strict=True):
                path.mkdir(parents=True, exist_ok=True)
                save_file(content, path / FILE, {"format": "pt"})
    return many, one


def shards(folder: Path, model: str, layers: int) -> Models:
    """A large model in bfloat16, in shards; see `large.MODELS`."""
    models = Models(*(folder / f"{model}-{layers}" / name for name in ("fine-tuned", "pretrained")))
    for path in models:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            large.make(path, layers, path.name == "fine-tuned", model=model)
    return models


def sparse(folder: Path, model: str, layers: int) -> Models:
    """The same shapes without values: files whose bytes were never written, and take no room on a disk."""
    models = Models(*(folder / f"{model}-{layers}-sparse" / name for name in ("fine-tuned", "pretrained")))
    config, tensors = large.shapes(layers, model=model)
    for path in models:
        path.mkdir(parents=True, exist_ok=True)
        config.save_pretrained(path)
        header, size = _header(tensors)
        with (path / FILE).open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + size)
    return models


def _header(tensors: Mapping[str, tuple[int, ...]]) -> tuple[bytes, int]:
    blobs, at = {}, 0
    for name, shape in tensors.items():
        size = 2 * prod(shape)
        blobs[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **blobs})
    return (text + " " * (-len(text) % 8)).encode(), at


def net(models: Models) -> Path:
    """A subnetwork of half of every row, in a file beside the models."""
    path = models.fine_tuned.parent / "half.ken.safetensors"
    if not path.exists():
        ken.prune(*models, 0.5, out=path, progress=False)
    return path
