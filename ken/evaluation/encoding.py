"""Texts as a classifier takes them: token ids and masks, no longer than it has positions, and padded so that it knows.

A classifier that reads its answer at the last token (GPT-2, Llama, ...) finds that by the padding token of its own
config, which must be the one that the texts are padded with. Where tokenizer or config have none, one is lent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from ken.errors import TrainingError, warn

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

# What the tables of learned positions are called, one line a position.
_POSITIONS = {"position_embeddings", "position_embedding", "embed_positions", "wpe"}
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Encoder:
    """From texts to batches: a tokenizer, how many tokens of a text are taken, and what shorter ones are padded with.

    lent: the tokenizer has no padding token that the model knows; padding is a token that occurs in no text.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    padding: int
    lent: bool

    def lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, at least one."""
        lengths = [len(ids) for ids in _ids(self.tokenizer, texts, self.max_length)]
        if 0 in lengths:
            place = lengths.index(0)
            raise TrainingError(f"each text must have at least one token, but text {place} is {texts[place]!r}")
        return lengths

    def batch(self, texts: list[str]) -> Any:
        """Token ids and masks, each (texts, tokens of the longest)."""
        options = {"truncation": True, "max_length": self.max_length, "return_attention_mask": True}
        if not self.lent:
            return self.tokenizer(texts, **options, padding=True, return_tensors="pt")
        encoded = self.tokenizer(texts, **options)
        longest = max(map(len, encoded["input_ids"]))
        left = self.tokenizer.padding_side == "left"
        for name, lines in encoded.items():
            filler = self.padding if name == "input_ids" else 0
            more = [[filler] * (longest - len(line)) for line in lines]
            encoded[name] = [b + list(a) if left else list(a) + b for a, b in zip(lines, more, strict=True)]
        return encoded.convert_to_tensors("pt")


def encoder(model: Any, tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> Encoder:
    """How these texts are to be brought before this model.

    A text that is longer than the model has positions is cut there, and a `KenWarning` says so. Raises `TrainingError`
    for a token that the model has no embedding for.
    """
    most = positions(model)
    if most is not None and most < max_length:
        longer = sum(len(ids) > most for ids in _ids(tokenizer, texts, most + 1))
        if longer:
            warn(
                f"{longer:,} of {len(texts):,} texts have more than the {most} tokens for which the model has "
                f"positions, and are cut there (max_length is {max_length})"
            )
        max_length = most
    ids = _ids(tokenizer, texts, max_length)
    embeddings = _embeddings(model)
    highest = max((max(line) for line in ids if line), default=0)
    if embeddings is not None and highest >= embeddings:
        token = tokenizer.convert_ids_to_tokens(highest)
        raise TrainingError(
            f"the tokenizer knows tokens that the model does not: {token!r} is number {highest}, the model has "
            f"{embeddings} embeddings; take the model's own tokenizer, or call "
            "model.resize_token_embeddings(len(tokenizer))"
        )
    padding = tokenizer.pad_token_id if tokenizer.pad_token is not None else None
    if padding is not None and (embeddings is None or padding < embeddings):
        return Encoder(tokenizer, max_length, padding, lent=False)
    used = {token for line in ids for token in line}
    wanted = (getattr(_config(model), "pad_token_id", None), tokenizer.eos_token_id)
    first = (token for token in wanted if token is not None and 0 <= token < (embeddings or token + 1))
    every = range(embeddings) if embeddings is not None else count()
    padding = next((token for token in chain(first, every) if token not in used), None)
    if padding is None:
        raise TrainingError(
            "the tokenizer has no padding token, and each token of the model occurs in the texts: set "
            "tokenizer.pad_token"
        )
    return Encoder(tokenizer, max_length, padding, lent=True)


@contextmanager
def knowing(model: Any, padding: int) -> Iterator[None]:
    """A block in which the model's config names that padding token; it is as it was afterwards."""
    configs = {id(config): config for config in (getattr(model, "config", None), _config(model)) if config is not None}
    before = [(config, getattr(config, "pad_token_id", _MISSING)) for config in configs.values()]
    try:
        for config, _ in before:
            config.pad_token_id = padding
        yield
    finally:
        for config, value in before:
            if value is _MISSING:
                del config.pad_token_id
            else:
                config.pad_token_id = value


def positions(model: torch.nn.Module) -> int | None:
    """How many tokens the model has learned positions for; None if positions are computed, so that there is no end."""
    numbers = []
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if name.rpartition(".")[2] in _POSITIONS and getattr(weight, "ndim", 0) == 2:
            assert weight is not None
            # Roberta and its kin count positions from behind that of padding; Bart and OPT have an offset of their own.
            skipped = getattr(module, "padding_idx", None)
            offset = getattr(module, "offset", 0) or (0 if skipped is None else skipped + 1)
            numbers.append(int(weight.shape[0]) - int(offset))
    return min(numbers, default=None)


def _embeddings(model: Any) -> int | None:
    """How many tokens the model has embeddings for; None if it does not say."""
    try:
        weight = model.get_input_embeddings().weight
    except (AttributeError, NotImplementedError):
        return None
    return int(weight.shape[0])


def _config(model: Any) -> Any:
    """The config of the part that reads text."""
    config: Any = getattr(model, "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> list[list[int]]:
    return list(tokenizer(texts, truncation=True, max_length=max_length)["input_ids"])
