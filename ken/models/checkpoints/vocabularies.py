"""Which tensors have a row for every word of a vocabulary: only they may have got rows added behind the old ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: Settings that count words, in any part of a configuration.
_SIZES = ("vocab_size", "vocabulary_size")
#: Named like them, but they count kinds of segments.
_NO_SIZES = ("type_vocab_size",)


def vocabularies(model: torch.nn.Module) -> frozenset[str]:
    """Names of the tensors that have a row for every word, by the kinds of a model's modules.

    Those are the weights of embeddings, and weight and bias of what transformers calls the output embeddings; all their
    aliases are named.

    >>> import torch
    >>> sorted(vocabularies(torch.nn.Sequential(torch.nn.Embedding(5, 2), torch.nn.Linear(2, 3))))
    ['0.weight']
    """
    import torch

    words = set()
    for module in model.modules():
        embeds = isinstance(module, torch.nn.Embedding | torch.nn.EmbeddingBag)
        if embeds or type(module).__name__.endswith("Embedding"):  # of other libraries
            words.add(id(getattr(module, "weight", None)))
    get_output = getattr(model, "get_output_embeddings", None)
    output = _called(get_output) if callable(get_output) else None
    if isinstance(output, torch.nn.Module):
        words |= {id(parameter) for parameter in output.parameters(recurse=False)}
    return frozenset(
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in words and parameter.ndim
    )


def _called(get_output: Any) -> Any:
    try:
        return get_output()
    except Exception:  # a class of the user's, or one that has none: then there is nothing to be known
        return None


def sizes(config: Mapping[str, Any]) -> frozenset[int]:
    """How many words a configuration speaks of, in any of its parts.

    >>> sorted(sizes({"vocab_size": 100, "type_vocab_size": 2, "text_config": {"vocab_size": 7}}))
    [7, 100]
    """
    own = {value for name, value in config.items() if isinstance(value, int) and is_size(name)}
    return frozenset(own).union(*(sizes(part) for part in config.values() if isinstance(part, Mapping)))


def is_size(setting: str) -> bool:
    """Whether a setting of that name counts words.

    >>> is_size("vocab_size"), is_size("decoder_vocab_size"), is_size("type_vocab_size")
    (True, True, False)
    """
    return setting.endswith(_SIZES) and setting not in _NO_SIZES
