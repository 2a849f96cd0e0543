"""Models the wrong way round, and strangers, are warned of; the size of the update is taken down and shown."""

import json
import warnings
from dataclasses import replace

import command_line
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

import ken
import kenviz
from ken.errors import KenWarning
from ken.models.pairing.relation import Relation, Sums
from ken.storage.info import describe, text

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "vocab_size": 100}
BERT = BertConfig(**SIZES, num_attention_heads=2, max_position_embeddings=32)
LLAMA = LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=2, pad_token_id=0)


def made(cls, config, seed=0):
    torch.manual_seed(seed)
    return cls(config)


def changed(model, body, by=0.01):
    """Give a model the weights of a body, somewhat changed."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in body.named_parameters():
            for mine in (name, f"{model.base_model_prefix}.{name}"):
                if mine in own:
                    own[mine].copy_(value + by * torch.randn_like(value))
    return model


@pytest.mark.parametrize(
    ("fine_tuned", "pretrained", "config"),
    [
        (BertForSequenceClassification, BertModel, BERT),
        (BertForSequenceClassification, BertForMaskedLM, BERT),
        (LlamaForSequenceClassification, LlamaForCausalLM, LLAMA),
    ],
)
def test_a_task_head_on_the_wrong_side_is_warned_of_and_kept(fine_tuned, pretrained, config, tmp_path):
    base = made(pretrained, config)
    tuned = changed(made(fine_tuned, config, 1), base)
    assert not ken.prune(tuned, base, 0.5).notes
    with pytest.warns(KenWarning, match="may be the wrong way round: the pretrained one has a task head") as caught:
        net = ken.prune(base, tuned, 0.5)
    assert caught[0].filename == __file__
    assert len(caught) == 1
    assert net.notes == (str(caught[0].message),)
    assert "the wrong way round" in repr(net)
    with pytest.warns(KenWarning):  # a file has room for what is found out last
        assert ken.prune(base, tuned, 0.5, out=tmp_path / "net").notes == net.notes
    assert "the wrong way round" in text(describe(tmp_path / "net"))


def test_state_dicts_and_folders_are_warned_of_likewise(tmp_path):
    base = made(BertModel, BERT)
    tuned = changed(made(BertForSequenceClassification, BERT, 1), base)
    with pytest.warns(KenWarning, match="has a task head"):
        ken.prune({f"bert.{name}": tensor for name, tensor in base.state_dict().items()}, dict(tuned.state_dict()), 0.5)
    for name, model in (("sst2", tuned), ("base", base)):
        model.save_pretrained(tmp_path / name)
    with pytest.warns(KenWarning, match="is a BertForSequenceClassification, the fine-tuned one a BertModel"):
        ken.prune(tmp_path / "base", tmp_path / "sst2", 0.5)


def test_a_configuration_that_names_the_other_model_is_a_sign(tmp_path):
    base = made(LlamaForCausalLM, LLAMA)
    base.save_pretrained(tmp_path / "base")
    changed(made(LlamaForCausalLM, LLAMA, 1), base).save_pretrained(tmp_path / "chat")
    config = json.loads((tmp_path / "chat/config.json").read_text())
    (tmp_path / "chat/config.json").write_text(json.dumps(config | {"_name_or_path": "somebody/base"}))
    ken.prune(tmp_path / "chat", tmp_path / "base", 0.5)
    with pytest.warns(KenWarning, match="says that it was made from 'base', which is the fine-tuned one"):
        ken.prune(tmp_path / "base", tmp_path / "chat", 0.5)


@pytest.mark.parametrize(("cls", "config"), [(LlamaForCausalLM, LLAMA), (BertModel, BERT)])
def test_strangers_are_warned_of_and_kept(cls, config, tmp_path):
    models = made(cls, config, 1), made(cls, config, 2)
    with pytest.warns(KenWarning, match="look unrelated: the values of their 16 matrices correlate at -?0.0") as caught:
        net = ken.prune(*models, 0.5)
    assert caught[0].filename == __file__
    assert net.notes == (str(caught[0].message),)
    with pytest.warns(KenWarning, match="look unrelated"):
        stored = ken.prune(*models, 0.5, out=tmp_path / "a")
    assert (stored.notes, stored.relation) == (net.notes, net.relation)
    assert (tmp_path / "a").read_bytes() == net.save(tmp_path / "b").read_bytes()
    assert ken.load(tmp_path / "b").save(tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()
    with pytest.warns(KenWarning, match="look unrelated"):
        ken.sweep(ken.Pair(*models), [0.5], ["update"], evaluate=lambda _: 0.0, progress=False)


def test_small_tensors_that_were_made_up_are_not():
    generator = torch.Generator().manual_seed(0)
    for shapes in ([(600, 900)], [(8, 8)] * 20, [(30000,)] * 5):
        states = [{f"w{i}": torch.randn(shape, generator=generator) for i, shape in enumerate(shapes)} for _ in "ab"]
        assert not ken.prune(*states, 3, "update").notes


@pytest.mark.parametrize("by", [0.0, 1e-4, 0.02])
def test_fine_tuned_models_are_not_and_their_update_is_measured(by, tmp_path):
    base = made(LlamaForCausalLM, LLAMA)
    tuned = changed(made(LlamaForCausalLM, LLAMA, 1), base, by)
    net = ken.prune(tuned, base, 0.5, out=tmp_path / "net")
    assert not net.notes
    pairs = [(tensor.detach().double(), tuned.state_dict()[name].double()) for name, tensor in base.named_parameters()]
    norms = [
        sum((tensor**2).sum() for tensor in values) ** 0.5
        for values in (*zip(*pairs, strict=True), [b - a for a, b in pairs])
    ]
    relation = net.relation
    assert relation.entries == sum(tensor.numel() for _, tensor in pairs)
    assert relation.pretrained == pytest.approx(float(norms[0]), rel=1e-6)
    assert relation.fine_tuned == pytest.approx(float(norms[1]), rel=1e-6)
    assert relation.update == pytest.approx(float(norms[2]), rel=1e-4)
    assert relation.matrices == 16
    assert relation.correlation == 1.0 if by == 0 else 0.6 < relation.correlation < 1.0
    facts = describe(tmp_path / "net")
    assert facts["relation"]["correlation"] == relation.correlation
    assert facts["relation"]["size"] == relation.size
    json.dumps(facts, allow_nan=False)
    assert f"update      {relation}" in text(facts)
    assert ken.load(tmp_path / "net").relation == relation


def test_the_report_shows_size_and_notes(pair, tmp_path):
    net = ken.prune(*pair, 0.5)
    page = kenviz.report(net, pair, tmp_path / "r.html", sections=["summary", "provenance"], progress=False)
    said = page.read_text(encoding="utf-8")
    assert f"{net.relation}" in said
    turned_net = ken.prune({"w": torch.eye(4)}, {"w": torch.eye(4) * 2}, 2)
    turned_net = replace(turned_net, notes=("the two models <may> be the wrong way round",))
    pair = ken.Pair({"w": torch.eye(4)}, {"w": torch.eye(4) * 2})
    page = kenviz.report(turned_net, pair, tmp_path / "r.html", sections=["summary", "provenance"], progress=False)
    assert page.read_text(encoding="utf-8").count("the two models &lt;may&gt; be the wrong way round") == 2


@pytest.mark.parametrize("shape", [(3, 4), (5,), (), (2, 3, 20)])
def test_the_relation_of_anything_finite_is_stored(shape, tmp_path):
    for value in (0.0, 1.0, 1e300, -1e-300):
        state = {"w": torch.full(shape, value, dtype=torch.float64)}
        other = {"w": torch.full(shape, 1.0, dtype=torch.float64)}
        with np.errstate(all="ignore"):
            net = ken.prune(state, other, 1, rule="update")
        assert ken.load(net.save(tmp_path / "net")).relation == net.relation
        assert net.relation.correlation is None


@given(st.integers(0, 2**32 - 1), st.permutations(range(6)))
def test_sums_do_not_depend_on_the_order_in_which_they_come(seed, order):
    rng = np.random.default_rng(seed)
    parts = [(f"w{i % 2}", i % 2 == 0, *rng.normal(size=(2, 3, 7))) for i in range(6)]
    relations = []
    for those in (range(6), order):
        sums = Sums()
        for i in those:
            sums.add(*parts[i])
        relations.append(sums.relation())
    assert relations[0] == relations[1]
    x, y = (np.concatenate([parts[i][side].ravel() for i in (0, 2, 4)]) for side in (2, 3))
    assert relations[0].correlation == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)


def test_a_relation_of_nothing_is_one():
    assert Sums().relation() == Relation(0, 0.0, 0.0, pretrained=0.0, matrices=0, matrix_entries=0, correlation=None)
    assert str(Sums().relation()) == "not known"


def test_a_k_that_retains_everything_is_said(pair):
    net = ken.prune(*pair, 50, include=["layer.*"])
    assert net.notes == ("k = 50 retains every entry, as no row is longer than 48: nothing is reset",)
    assert not ken.prune(*pair, 1.0).notes
    assert not ken.prune(*pair, 24).notes


def test_that_nothing_is_pruned_is_said(pair):
    assert ken.prune(*pair, 0.5, exclude=["*"]).notes == ("nothing is pruned: all 8 tensors are carried whole",)
    assert ken.prune(*pair, 0.5, include=["head.*"]).notes == ("nothing is pruned: all 8 tensors are carried whole",)


def test_the_command_line_tells_warnings_in_a_line(tmp_path):
    base = made(BertModel, BERT)
    tuned = changed(made(BertForSequenceClassification, BERT, 1), base)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "sst2")
    warned = {}
    for first, second in (("sst2", "base"), ("base", "sst2")):
        models = [str(tmp_path / first), str(tmp_path / second)]
        words = ["prune", *models, "-k", "0.5", "-o", str(tmp_path / f"{first}.net")]
        ran = command_line.ken(*words)
        assert ran.status == 0, ran.err
        warned[first] = [line for line in ran.err.splitlines() if "warning" in line.lower()]
        if warned[first]:
            assert "note: the two models may be the wrong way round" in ran.out
    # One of the two orders is the right one.
    (one,) = [lines for lines in warned.values() if lines]
    assert len(one) == 1
    assert one[0].startswith("ken: warning: the two models may be the wrong way round: the pretrained one has a task")


def test_a_warning_is_an_error_for_those_who_want_that(pair):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KenWarning):
            ken.prune(made(BertModel, BERT), made(BertForSequenceClassification, BERT), 0.5)


def test_a_vocabulary_that_would_have_shrunk_is_a_sign():
    base = made(LlamaForCausalLM, LLAMA)
    tuned = changed(made(LlamaForCausalLM, LLAMA, 1), base)
    tuned.resize_token_embeddings(103, mean_resizing=False)
    ken.prune(tuned, base, 0.5)
    with pytest.warns(KenWarning, match=r"has more rows in 'model.embed_tokens.weight'"):
        ken.prune(base, tuned, 0.5)
