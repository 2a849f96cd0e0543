"""A checkpoint of the trained tensors alone: what it lacks is the pretrained model's, in every way out."""

import json

import pytest
import torch
from checkpoints import bert_config, llama, llama_folders, shifted, weights, with_weights, without_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import AutoModel, BertForMaskedLM, BertForSequenceClassification, BertModel, LlamaForCausalLM

import ken
from ken.errors import SubnetworkError


@pytest.fixture
def folders(tmp_path):
    """A checkpoint that has the first layer alone, the whole fine-tuned model it is of, and the pretrained one."""
    fine_tuned, pretrained = llama_folders(tmp_path)
    part = {name: tensor for name, tensor in weights(fine_tuned).items() if ".0." in name}
    return with_weights(fine_tuned, part, tmp_path / "part"), fine_tuned, pretrained


def merged_by_hand(part, pretrained, net):
    """Retained entries of what was trained, all else pretrained."""
    state = weights(pretrained)
    for name, tensor in net.pruned().items():
        mask = torch.from_numpy(tensor.mask())
        state[name] = torch.where(mask, weights(part)[name], state[name])
    return state


def same(new, old):
    return new.keys() == old.keys() and all(torch.equal(new[name], old[name]) for name in new)


def test_what_is_lacking_is_the_pretrained_models_in_every_way_out(folders, tmp_path):
    part, _, pretrained = folders
    net = ken.prune(part, pretrained, 0.5, out=tmp_path / "net")
    assert len(net) == 9
    assert len(net.lacking) == 12
    expected = merged_by_hand(part, pretrained, net)
    assert same(ken.inject(net, pretrained), expected)
    assert same(ken.reset(net, part, pretrained), expected)
    assert same(weights(ken.export(net, pretrained, tmp_path / "out")), expected)
    model, loading = LlamaForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loading.values())
    assert same(dict(model.state_dict()), expected)
    base = LlamaForCausalLM.from_pretrained(pretrained)
    assert same(dict(ken.inject(net, base).state_dict()), expected)
    with net.injected(base):
        assert same(dict(base.state_dict()), expected)
    assert same(dict(base.state_dict()), weights(pretrained))
    net.inject_(base)
    assert same(dict(base.state_dict()), expected)
    ken.verify(net, pretrained)


def test_it_is_said_first_and_stays_in_the_file(folders, tmp_path):
    part, _, pretrained = folders
    net = ken.prune(part, pretrained, 0.5)
    assert (
        "12 tensors of 11,616 entries are the pretrained model's, as the fine-tuned checkpoint lacks them"
        in (repr(net).splitlines()[0])
    )
    table = net.table()
    assert (table["status"] == "from pretrained").sum() == 12
    assert table.loc["lm_head.weight", "reason"] == "not in the fine-tuned checkpoint: lm_head.weight stands in"
    again = ken.load(net.save(tmp_path / "net"))
    assert again.lacking == net.lacking
    assert repr(again) == repr(net)
    from ken.storage.info import describe, text

    assert len(describe(tmp_path / "net")["lacking"]) == 12
    assert "the pretrained model's, as the fine-tuned checkpoint lacks them" in text(describe(tmp_path / "net"))


def test_another_pretrained_model_is_refused_also_where_it_stands_in(folders, tmp_path):
    part, _, pretrained = folders
    net = ken.prune(part, pretrained, 0.5)
    other = weights(pretrained)
    other["lm_head.weight"] = other["lm_head.weight"] + 1
    place = with_weights(pretrained, other, tmp_path / "other")
    base = LlamaForCausalLM.from_pretrained(place)
    for attempt in (
        lambda: ken.inject(net, place),
        lambda: ken.export(net, place, tmp_path / "out"),
        lambda: ken.inject(net, base),
        lambda: net.inject_(base),
        lambda: ken.reset(net, part, place),
        lambda: ken.verify(net, place),
    ):
        with pytest.raises(SubnetworkError, match="not the pretrained tensor"):
            attempt()
    assert not (tmp_path / "out").exists()
    assert same(dict(base.state_dict()), other)


def test_names_alone_tell_what_belongs_where_no_class_does(folders, tmp_path):
    part, _, pretrained = (weights(folder) for folder in folders)
    net = ken.prune(part, pretrained, 0.5)
    assert ken.inject(net, pretrained).keys() == pretrained.keys()
    save_file(part, tmp_path / "part.safetensors")
    assert ken.prune(tmp_path / "part.safetensors", folders[2], 0.5).lacking == net.lacking
    # Something new stands beside: then what begins like what was trained.
    net = ken.prune(part | {"score.weight": torch.ones(3, 32)}, pretrained, 0.5)
    assert set(ken.inject(net, pretrained)) == {*pretrained, "score.weight"} - {"lm_head.weight"}


def test_a_whole_model_lacks_nothing(tmp_path):
    torch.manual_seed(0)
    masked = BertForMaskedLM(bert_config())
    tuned = BertForSequenceClassification(bert_config(num_labels=3))
    for new, old in ((tuned, masked), (shifted(BertModel(bert_config(), add_pooling_layer=False)), masked)):
        assert not ken.prune(new, old, 0.5).lacking
        new.save_pretrained(tmp_path / "ours")
        masked.save_pretrained(tmp_path / "theirs")
        net = ken.prune(tmp_path / "ours", tmp_path / "theirs", 0.5)
        assert not net.lacking
        assert any(name.startswith("cls.") for name in net.only_pretrained)
    assert any("neither checkpoint has 'pooler.dense.bias'" in note for note in net.notes)


def test_a_trained_adapter_like_part_of_a_model_with_a_new_head(tmp_path):
    torch.manual_seed(0)
    base = BertModel(bert_config())
    tuned = BertForSequenceClassification(bert_config(num_labels=3))
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "whole")
    trained = {n: w for n, w in weights(tmp_path / "whole").items() if "layer.1." in n or n.startswith("classifier")}
    part = with_weights(tmp_path / "whole", trained, tmp_path / "part")
    net = ken.prune(part, tmp_path / "base", 0.5, out=tmp_path / "net")
    ken.export(net, tmp_path / "base", tmp_path / "out")
    model, loading = BertForSequenceClassification.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(loading.values())
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, base.embeddings.word_embeddings.weight)
    again = ken.inject(net, base)
    assert type(again) is BertForSequenceClassification
    assert same(dict(again.state_dict()), dict(model.state_dict()))


def test_the_command_line_gives_a_whole_model(folders, tmp_path):
    from typer.testing import CliRunner

    from ken.cli import app

    part, _, pretrained = map(str, folders)
    net, out = str(tmp_path / "net"), str(tmp_path / "out")
    done = CliRunner().invoke(app, ["prune", part, pretrained, "-k", "0.5", "-o", net])
    assert "as the fine-tuned checkpoint lacks them" in done.output
    assert CliRunner().invoke(app, ["inject", net, pretrained, "-o", out]).exit_code == 0
    assert not any(LlamaForCausalLM.from_pretrained(out, output_loading_info=True)[1].values())
    assert CliRunner().invoke(app, ["verify", net, pretrained]).exit_code == 0


WRAPPERS = ["", "_orig_mod.", "module.", "module._orig_mod.", "_fsdp_wrapped_module."]


@settings(max_examples=25)
@given(data=st.data())
def test_random_parts_under_random_names_give_complete_models(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    head = data.draw(st.booleans())
    torch.manual_seed(0)
    whole = BertForSequenceClassification(bert_config(num_labels=3)) if head else BertModel(bert_config())
    based_on_head = data.draw(st.booleans())
    base = BertForMaskedLM(bert_config()) if based_on_head else BertModel(bert_config())
    base.save_pretrained(folder / "pretrained")
    whole.save_pretrained(folder / "whole")
    state = weights(folder / "whole")
    kept = data.draw(st.sets(st.sampled_from([name for name in state if "classifier" not in name]), min_size=1))
    # What the pretrained model cannot give must be there.
    needed = {name for name in state if "classifier" in name or (based_on_head and "pooler" in name)}
    wrapper = data.draw(st.sampled_from(WRAPPERS))
    part = {wrapper + name: state[name] for name in kept | needed}
    place = with_weights(folder / "whole", part, folder / "part")
    if data.draw(st.booleans()):
        old = {data.draw(st.sampled_from(WRAPPERS)) + n: w for n, w in weights(folder / "pretrained").items()}
        prefix = next(iter(old)).removesuffix(next(iter(weights(folder / "pretrained"))))
        old = {prefix + name: w for name, w in weights(folder / "pretrained").items()}
        pretrained = with_weights(folder / "pretrained", old, folder / "wrapped")
    else:
        pretrained = folder / "pretrained"
    if data.draw(st.booleans()):
        without_settings(folder / "pretrained", "architectures")
    net = ken.prune(place, pretrained, data.draw(st.sampled_from([1, 0.5])))
    ken.export(net, pretrained, folder / "out")
    model, loading = type(whole).from_pretrained(folder / "out", output_loading_info=True)
    assert not any(loading.values()), loading
    assert same(dict(model.state_dict()), ken.inject(net, pretrained) | {})
    for name, tensor in model.state_dict().items():
        if name not in kept | needed:
            bare = name.removeprefix("bert.")
            other = weights(folder / "pretrained")
            assert torch.equal(tensor, other.get(f"bert.{bare}", other.get(bare)))


def test_a_config_that_names_another_class_is_not_followed_blindly(folders, tmp_path):
    part, _, pretrained = folders
    config = json.loads((part / "config.json").read_text())
    (part / "config.json").write_text(json.dumps(config | {"architectures": ["NoSuchClass"]}))
    net = ken.prune(part, pretrained, 0.5)
    assert len(net.lacking) == 12
    assert AutoModel.from_pretrained(ken.export(net, pretrained, tmp_path / "out")) is not None


def test_what_is_live_is_whole():
    base, tuned = llama(), shifted(llama())
    assert not ken.prune(
        torch.nn.Sequential(tuned.model.layers[0]),
        {"0." + n: w for n, w in base.model.layers[0].state_dict().items()} | {"x": torch.ones(1)},
        1,
    ).lacking


def test_what_stands_in_is_read_once(folders, tmp_path, monkeypatch):
    from ken.models.tensors.tensor_reader import Entries

    part, _, pretrained = folders
    read = []
    monkeypatch.setattr(
        Entries, "reference", lambda self, name, original=Entries.reference: read.append(name) or original(self, name)
    )
    net = ken.prune(part, pretrained, 0.5, out=tmp_path / "net")
    assert sorted(read) == sorted(reference.name for reference in net.lacking.values())
