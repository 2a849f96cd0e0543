"""Tied tensors of folders, modules and dictionaries: one count, one subnetwork, and every name has its value."""

from __future__ import annotations

import copy
import inspect
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from architectures import quiet
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from typer.testing import CliRunner

import ken
from ken.cli import commands as cli
from ken.cli import net_commands
from ken.errors import SubnetworkError
from ken.models.checkpoints.checkpoint import read

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 24, "vocab_size": 60}
LLAMA = {**SIZES, "num_attention_heads": 2, "num_key_value_heads": 1}
EMBEDDINGS = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

MODELS = {
    "llama": lambda tie: LlamaForCausalLM(LlamaConfig(**LLAMA, tie_word_embeddings=tie)),
    "bert": lambda tie: BertForMaskedLM(BertConfig(**SIZES, num_attention_heads=2, tie_word_embeddings=tie)),
    "gpt2": lambda tie: GPT2LMHeadModel(
        GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=60, n_positions=16, tie_word_embeddings=tie)
    ),
    "t5": lambda tie: T5ForConditionalGeneration(
        T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, vocab_size=60, tie_word_embeddings=tie)
    ),
}


@cache
def models(kind: str) -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]:
    """A model with ties, a fine-tuned one with ties, and one in which every tensor has values of its own."""
    torch.manual_seed(0)
    pretrained, tied, untied = (MODELS[kind](tie) for tie in (True, True, False))
    for model in (tied, untied):
        model.load_state_dict(pretrained.state_dict())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
    return pretrained, tied, untied


def saved(model: torch.nn.Module, folder: Path, how: str) -> Path:
    """A folder with a model: as save_pretrained writes it, with all names, or as .bin with shared memory."""
    with quiet():
        model.save_pretrained(folder)
    if how == "twice":
        state = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    if how == "bin":
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


def sources(model: torch.nn.Module, folder: Path) -> dict[str, object]:
    kinds = {how: saved(model, folder / how, how) for how in ("once", "twice", "bin")}
    return {"module": model, "dictionary": model.state_dict(), **kinds}


def summary(net: ken.Subnetwork) -> tuple[object, ...]:
    results = {
        name: (stored.result if isinstance(stored, ken.RetainedTensor) else None, stored.retained)
        for name, stored in net.items()
    }
    provenance = net.fine_tuned.fingerprint, net.pretrained.fingerprint, net.pretrained.tensors
    return results, dict(net.tied), dict(net.only_pretrained), net.share, provenance


def same(got: torch.nn.Module | dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> bool:
    state = got.state_dict() if isinstance(got, torch.nn.Module) else got
    return state.keys() >= want.keys() and all(torch.equal(state[name], tensor) for name, tensor in want.items())


@pytest.mark.parametrize("kind", MODELS)
def test_a_tied_model_counts_once_however_it_was_saved(kind, tmp_path):
    pretrained, fine_tuned, _ = models(kind)
    tuned, base = sources(fine_tuned, tmp_path / "ours"), sources(pretrained, tmp_path / "theirs")
    want = ken.prune(fine_tuned, pretrained, 0.5, progress=False)
    assert want.share == 0.5
    assert want.tied
    for here, mine in tuned.items():
        for form, other in base.items():
            if "module" not in (here, form) and here != form:
                continue
            net = ken.prune(mine, other, 0.5, progress=False)
            assert summary(net) == summary(want), (here, form)
            assert (net.table()["status"] == "tied").sum() == len(want.tied)
    beside = ken.prune(tuned["twice"], base["once"], 0.5, progress=False).notes
    assert all("is in the files beside" in note for note in beside)
    assert len(beside) == len(want.tied)


@pytest.mark.parametrize("kind", ["llama", "bert", "gpt2"])
def test_an_untied_model_of_a_tied_one_is_the_same_however_both_were_saved(kind, tmp_path):
    pretrained, _, fine_tuned = models(kind)
    tuned, base = sources(fine_tuned, tmp_path / "ours"), sources(pretrained, tmp_path / "theirs")
    want = ken.prune(fine_tuned.state_dict(), pretrained.state_dict(), 0.5, progress=False)
    assert not want.tied
    assert {outline.reason for outline in want.outlines.values()} == {None}
    values = ken.inject(want, pretrained.state_dict())
    for here, mine in tuned.items():
        for form in ("module", here):
            net = ken.prune(mine, base[form], 0.5, progress=False)
            assert summary(net) == summary(want), (here, form)
        model = ken.inject(net, pretrained)
        assert same(model, values), here
        assert not model.config.tie_word_embeddings
        with quiet():
            model.save_pretrained(tmp_path / "model")
            assert same(type(model).from_pretrained(tmp_path / "model"), values), here
        assert same(ken.reset(net, mine, pretrained), values)


@pytest.mark.parametrize("kind", ["llama", "bert", "gpt2"])
def test_a_tied_model_of_an_untied_one_has_its_value_in_all_places_and_both_come_back(kind, tmp_path):
    _, fine_tuned, pretrained = models(kind)
    tuned, base = sources(fine_tuned, tmp_path / "ours"), sources(pretrained, tmp_path / "theirs")
    want = ken.prune(fine_tuned.state_dict(), pretrained.state_dict(), 0.5, progress=False)
    before = {name: tensor.clone() for name, tensor in pretrained.state_dict().items()}
    values = ken.inject(want, before)
    assert len(want.tied) == len(before) - len(want)
    for here, mine in tuned.items():
        net = ken.prune(mine, base["once"], 0.5, progress=False)
        assert summary(net) == summary(want), here
        model = ken.inject(net, pretrained)
        assert same(model, values), here
        live = copy.deepcopy(pretrained)
        with net.injected(live):
            assert same(live, values), here
        assert same(live, before)
        net.inject_(live)
        assert same(live, values)
        ken.swap(live, current=net, to=None)
        assert same(live, before)
        if here == "dictionary":
            continue
        out = ken.export(net, base["once"], tmp_path / f"out {here}", progress=False)
        assert not net.tied.keys() & load_file(out / "model.safetensors").keys()
        with quiet():
            assert same(type(fine_tuned).from_pretrained(out), values), here
    assert same(pretrained, before)


def test_a_live_tied_model_is_not_touched_by_a_subnetwork_with_two_values_for_one_tensor():
    pretrained, _, fine_tuned = models("llama")
    net = ken.prune(fine_tuned, pretrained, 0.5, progress=False)
    before = {name: tensor.clone() for name, tensor in pretrained.state_dict().items()}
    message = f"{EMBEDDINGS} and {HEAD} are one tensor in the model, and .* other values .*; use ken.inject"
    for attempt in (
        lambda: net.inject_(pretrained),
        lambda: net.injected(pretrained).__enter__(),
        lambda: ken.swap(pretrained, current=None, to=net),
    ):
        with pytest.raises(SubnetworkError, match=message):
            attempt()
        assert same(pretrained, before)
    model = ken.inject(net, pretrained)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert same(ken.inject(ken.prune(fine_tuned.state_dict(), before, 0.5), pretrained), ken.inject(net, before))
    assert same(pretrained, before)


def test_equal_values_for_two_names_of_one_tensor_are_written_and_come_back():
    pretrained, tied, _ = models("llama")
    pretrained = copy.deepcopy(pretrained)
    apart = MODELS["llama"](False)
    apart.load_state_dict(tied.state_dict())
    before = {name: tensor.clone() for name, tensor in pretrained.state_dict().items()}
    net = ken.prune(apart, pretrained, 0.5, progress=False)
    assert not net.tied
    net.inject_(pretrained)
    assert same(pretrained, ken.inject(net, before))
    assert pretrained.lm_head.weight is pretrained.model.embed_tokens.weight
    ken.swap(pretrained, current=net, to=None)
    assert same(pretrained, before)


def test_what_a_guest_has_replaced_is_lost_in_another_model_and_that_is_said():
    _, fine_tuned, pretrained = models("llama")
    net = ken.prune(fine_tuned, pretrained, 0.5, progress=False)
    live = ken.inject(net, pretrained)
    with torch.no_grad():
        live.lm_head.weight = torch.nn.Parameter(live.lm_head.weight.clone())
    before = {name: tensor.clone() for name, tensor in live.state_dict().items()}
    with pytest.raises(SubnetworkError, match=f"{HEAD} apart from {EMBEDDINGS}.* so its pretrained values are lost"):
        ken.swap(live, current=net, to=None)
    assert same(live, before)


def test_names_that_are_tied_by_the_configuration_and_differ_are_two_tensors(tmp_path):
    pretrained, fine_tuned, untied = models("llama")
    base, tuned = saved(pretrained, tmp_path / "theirs", "once"), saved(untied, tmp_path / "ours", "once")
    shutil.copy(base / "config.json", tuned / "config.json")
    checkpoint = read(tuned)
    assert checkpoint.tied == {}
    assert "differ in the files: taken apart" in checkpoint.notes[0]
    net = ken.prune(tuned, base, 0.5, progress=False)
    values = ken.inject(net, base)
    assert same(values, ken.inject(ken.prune(untied, pretrained, 0.5, progress=False), pretrained.state_dict()))
    model = ken.inject(net, pretrained)
    assert same(model, values)
    assert not model.config.tie_word_embeddings
    with quiet():
        assert same(AutoModelForCausalLM.from_pretrained(ken.export(net, base, tmp_path / "out")), values)
    assert fine_tuned.config.tie_word_embeddings


def test_an_alias_that_no_configuration_ties_is_exported(tmp_path):
    _, _, untied = models("llama")
    fine_tuned = copy.deepcopy(untied)
    fine_tuned.lm_head.weight = fine_tuned.model.embed_tokens.weight  # by hand
    net = ken.prune(fine_tuned, untied, 0.5, progress=False)
    assert net.tied == {HEAD: EMBEDDINGS}
    out = ken.export(net, untied, tmp_path / "out", progress=False)
    with quiet():
        assert same(AutoModelForCausalLM.from_pretrained(out), ken.inject(net, untied.state_dict()))


def test_a_class_that_transformers_does_not_know_has_its_ties_by_the_vocabulary(tmp_path):
    pretrained, fine_tuned, _ = models("llama")
    folders = [saved(model, tmp_path / str(i), "twice") for i, model in enumerate((fine_tuned, pretrained))]
    for folder, tie in ((folders[0], True), (folders[1], None)):
        config = json.loads((folder / "config.json").read_text())
        config |= {"architectures": ["SomebodysForCausalLM"], "tie_word_embeddings": tie}
        (folder / "config.json").write_text(json.dumps(config))
    net = ken.prune(*folders, 0.5, progress=False)
    assert net.tied == {HEAD: EMBEDDINGS}
    assert net.share == 0.5
    assert any("as many rows as the vocabulary: taken as tied" in note for note in net.notes)
    out = ken.export(net, folders[1], tmp_path / "out", progress=False)
    assert load_file(out / "model.safetensors").keys() == load_file(folders[0] / "model.safetensors").keys()
    config["tie_word_embeddings"] = False
    for folder in folders:
        (folder / "config.json").write_text(json.dumps(config))
    assert ken.prune(*folders, 0.5, progress=False).tied == {}


def test_a_plan_of_a_folder_counts_a_tied_head_once(tmp_path):
    folder = saved(models("llama")[1], tmp_path / "twice", "twice")
    assert (
        ken.plan(folder, k=0.5).entries == ken.plan(saved(models("llama")[1], tmp_path / "once", "once"), k=0.5).entries
    )


def command(function: Callable[..., None], *options: str, **given: Path) -> str:
    """What a command prints; its arguments are given by name."""
    order = [name for name in inspect.signature(function).parameters if name in given]
    done = CliRunner().invoke(cli.app, [function.__name__, *(str(given[name]) for name in order), *options])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_line_counts_a_head_once_that_files_have_twice(tmp_path):
    pretrained, fine_tuned, untied = models("llama")
    tuned = saved(fine_tuned, tmp_path / "ours", "twice")
    for name, model in {"tied": pretrained, "apart": untied}.items():
        base, net, out = saved(model, tmp_path / name, "once"), tmp_path / f"{name}.net", tmp_path / f"out {name}"
        command(cli.prune, *("-k", "0.5", "-o", str(net)), fine_tuned=tuned, pretrained=base)
        assert ken.load(net).share == 0.5
        assert "1 tied" in command(net_commands.info, net=net)
        command(net_commands.inject, "-o", str(out), net=net, pretrained=base)
        with quiet():
            assert same(AutoModelForCausalLM.from_pretrained(out), ken.inject(ken.load(net), base))
