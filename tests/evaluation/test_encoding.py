"""Texts before models that know no padding, or have fewer positions than the texts have tokens."""

import copy
import threading
import warnings

import command_line
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    OPTConfig,
    OPTForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

import ken
from ken.errors import KenWarning, TrainingError
from ken.evaluation.encoding import encoder, positions
from ken.training import evaluate, fine_tune

WORDS = ["</s>", "<pad>", "<unk>", "a", "b", "c", "d"]
SMALL = {"vocab_size": 8, "num_labels": 2, "max_position_embeddings": 12, "hidden_size": 16, "num_attention_heads": 2}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 8, "n_positions": 12, "num_labels": 2}
TEXTS = ["a b c", "a", "d c b a d", "b b", "c a d d a b", "d", "a d b c"]
LABELS = [0, 1, 0, 1, 1, 0, 1]


def words(**special):
    made = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="</s>", **special)


def model_of(kind):
    torch.manual_seed(0)
    layers = {"num_hidden_layers": 1, "intermediate_size": 32}
    made = {
        "bert": lambda: BertForSequenceClassification(BertConfig(**SMALL, **layers)),
        "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SMALL, **layers, pad_token_id=1)),
        "gpt2": lambda: GPT2ForSequenceClassification(GPT2Config(**GPT2, bos_token_id=0, eos_token_id=0)),
        "llama": lambda: LlamaForSequenceClassification(LlamaConfig(**SMALL, **layers)),
        "opt": lambda: OPTForSequenceClassification(
            OPTConfig(**SMALL, num_hidden_layers=1, ffn_dim=32, word_embed_proj_dim=16)
        ),
    }[kind]()
    for parameter in made.parameters():  # so that answers differ
        parameter.data.normal_(std=0.5)
    return made.eval()


def one_by_one(model, tokenizer):
    """What the model says of each text by itself, without any padding."""
    with torch.no_grad():
        return [
            int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()) == label
            for text, label in zip(TEXTS, LABELS, strict=True)
        ]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("special", [{}, {"pad_token": "<pad>"}, {"pad_token": "</s>"}, {"pad_token": "beyond"}])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt"])
def test_a_model_that_reads_the_last_token_finds_it_whatever_is_padded_with(kind, special, side):
    model, tokenizer = model_of(kind), words(**special)
    if special == {"pad_token": "beyond"}:  # added, and the model was not resized
        tokenizer.add_tokens(["one more"])
        tokenizer.add_special_tokens({"pad_token": "last"})
        assert tokenizer.pad_token_id >= 8
    tokenizer.padding_side = side
    if kind == "opt" and side == "left":
        pytest.skip("its positions do not heed padding on the left alike")
    for pad_token in (None, 0, 1, 3):  # also another one than the tokenizer's
        model.config.pad_token_id = pad_token
        result = evaluate(model, tokenizer, TEXTS, labels=LABELS)
        assert model.config.pad_token_id == pad_token
        lone = copy.deepcopy(model)
        lone.config.pad_token_id = None
        assert result.outcomes.tolist() == one_by_one(lone, tokenizer)


def test_a_tokenizer_is_left_without_a_padding_token():
    tokenizer, model = words(), model_of("bert")
    result = evaluate(model, tokenizer, TEXTS, labels=LABELS)
    assert tokenizer.pad_token is None
    assert result == evaluate(model, words(pad_token="<pad>"), TEXTS, labels=LABELS)


@pytest.mark.parametrize("special", [{}, {"pad_token": "<pad>"}])
def test_a_gpt2_is_fine_tuned_without_a_padding_token_in_its_config(special):
    model = model_of("gpt2")
    tuned = fine_tune(
        model, words(**special), TEXTS, labels=LABELS, epochs=1, batch_size=3, validation=0.3, progress=False
    )
    assert model.config.pad_token_id is None
    assert tuned.model.config.pad_token_id == (1 if special else None)


@pytest.mark.parametrize(("kind", "most"), [("bert", 12), ("gpt2", 12), ("roberta", 10), ("opt", 12), ("llama", None)])
def test_texts_longer_than_the_positions_are_cut_there_and_it_is_said(kind, most):
    model, tokenizer = model_of(kind), words(pad_token="<pad>")
    assert positions(model) == most
    texts = [*TEXTS, "a b " * 20, "c " * 12 + "a"]
    labels = [*LABELS, 0, 1]
    if most is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            evaluate(model, tokenizer, texts, labels=labels, max_length=64)
        return
    with pytest.warns(KenWarning, match=rf"^2 of 9 texts have more than the {most} tokens .* \(max_length is 64\)"):
        result = evaluate(model, tokenizer, texts, labels=labels, max_length=64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert result == evaluate(model, tokenizer, texts, labels=labels, max_length=most)
        evaluate(model, tokenizer, TEXTS, labels=LABELS, max_length=64)  # there is nothing to cut
    with pytest.warns(KenWarning, match="2 of 9 texts"):
        fine_tune(model, tokenizer, texts, labels=labels, epochs=1, max_length=64, progress=False)


def test_tokens_that_the_model_does_not_know_are_an_error_before_work_begins():
    model, tokenizer = model_of("bert"), words(pad_token="<pad>")
    tokenizer.add_tokens(["new", "newer"])
    with pytest.raises(TrainingError, match="'newer' is number 8, the model has 8 embeddings; take the model's own"):
        evaluate(model, tokenizer, ["a newer b"], labels=[0])


def test_without_any_token_to_pad_with_there_is_an_error():
    every = [" ".join(WORDS[2:]), "a"]
    tokenizer = words(additional_special_tokens=["<pad>"])
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**{**SMALL, "vocab_size": 7}, num_hidden_layers=1))
    taking = encoder(model, tokenizer, every, max_length=32)
    assert taking.lent
    assert taking.padding == 0
    with pytest.raises(TrainingError, match="set tokenizer.pad_token"):
        encoder(model, tokenizer, [" ".join(WORDS)], max_length=32)


def test_the_command_line_sweeps_a_gpt2_without_a_padding_token(tmp_path):
    model, tokenizer = model_of("gpt2"), words()
    model.save_pretrained(tmp_path / "fine_tuned")
    tokenizer.save_pretrained(tmp_path / "fine_tuned")
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.transformer.save_pretrained(tmp_path / "pretrained")
    texts = [*TEXTS, "a b " * 20]
    pd.DataFrame({"text": texts, "label": [*LABELS, 0]}).to_csv(tmp_path / "texts.csv", index=False)
    folders = [str(tmp_path / name) for name in ("fine_tuned", "pretrained")]
    options = ["--texts", str(tmp_path / "texts.csv"), "-k", "0.5", "--rule", "ken"]
    done = command_line.ken("sweep", *folders, *options)
    assert done.status == 0, done.err
    assert "fine-tuned model" in done.out
    assert "1 of 8 texts have more than the 12 tokens" in done.err


@pytest.mark.parametrize("what", ["non-leaf", "lock", "generator", "file"])
def test_a_model_that_cannot_be_copied_is_an_error_with_the_remedy(what, tmp_path):
    model, tokenizer = model_of("bert"), words(pad_token="<pad>")
    (tmp_path / "file").write_text("")
    with (tmp_path / "file").open() as opened:
        model.bert.kept = {
            "non-leaf": model.classifier.weight * 2,
            "lock": threading.Lock(),
            "generator": (i for i in range(3)),
            "file": opened,
        }[what]
        with pytest.raises(TrainingError, match=r"cannot be copied \(.*\); take out what its modules hold"):
            fine_tune(model, tokenizer, TEXTS, labels=LABELS, progress=False)
        pair = ken.Pair(model_of("bert"), model)
        net = ken.prune(*pair, 0.5)
        with pytest.raises(ken.KenError, match=r"cannot be copied \(.*\); .*net\.inject_\(model\)"):
            ken.inject(net, model)
        with net.injected(model):
            evaluate(model, tokenizer, TEXTS, labels=LABELS)
        with pytest.raises(ken.KenError, match="cannot be copied"):
            ken.sweep(pair, [0.5], ["ken"], evaluate=lambda _: 1.0, progress=False)
