"""Tiny models that have learned something, or so, and a tokenizer of a few words."""

import copy

import tokenizers
import torch
import transformers

TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10", "w1 w1", "w3 w2 w1 w0"]


def llama(seed=0):
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=60,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(config).eval()


def bert(seed=0, labels=3):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        num_labels=labels,
    )
    return transformers.BertForSequenceClassification(config)


def moved(model, by=0.05, seed=1):
    """A copy of a model that has learned something, or so."""
    torch.manual_seed(seed)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += by * torch.randn_like(parameter)
    return other


def word_tokenizer():
    vocabulary = {"[PAD]": 0, "[UNK]": 1, **{f"w{i}": i + 2 for i in range(40)}}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


def asked(model, batch):
    """Cross entropy, and whether the label is right."""
    ids, labels = batch
    logits = model(input_ids=ids).logits
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none"), logits.argmax(dim=1) == labels


def continued(model, ids):
    """The mean cross entropy of the next tokens of each text."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").mean(dim=1)


def states(pair):
    """Copies of all tensors of both models."""
    return [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in pair]


def same(before, pair):
    """Whether both models still have them, bit for bit."""
    return all(
        all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.items())
        for state, model in zip(before, pair, strict=True)
    )
