"""A live model whose parameters have got other shapes: its modules and its configuration are made to say so, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ken.models.checkpoints.vocabularies import is_size

if TYPE_CHECKING:
    import torch


def fit_modules(model: torch.nn.Module) -> None:
    """Let embeddings and linear layers state the sizes that their weights have.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    >>> model[0].weight = torch.nn.Parameter(torch.zeros(5, 2))
    >>> fit_modules(model)
    >>> model[0]
    Linear(in_features=2, out_features=5, bias=True)
    """
    import torch

    for module in model.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, torch.Tensor) or weight.ndim != 2:
            continue
        if isinstance(module, torch.nn.Embedding | torch.nn.EmbeddingBag):
            module.num_embeddings = weight.shape[0]
        elif isinstance(module, torch.nn.Linear):
            module.out_features, module.in_features = weight.shape


def fit_vocabulary(config: Any, old: int, new: int) -> None:
    """Let a configuration (None is left alone), in all its parts, speak of `new` words where it spoke of `old` ones.

    >>> from types import SimpleNamespace
    >>> config = SimpleNamespace(vocab_size=100, type_vocab_size=2, hidden_size=100)
    >>> fit_vocabulary(config, 100, 103)
    >>> config
    namespace(vocab_size=103, type_vocab_size=2, hidden_size=100)
    """
    for name, value in list(getattr(config, "__dict__", {}).items()):
        if is_size(name) and value == old:
            setattr(config, name, new)
        elif name.endswith("_config"):
            fit_vocabulary(value, old, new)
