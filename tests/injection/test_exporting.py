import json

import pytest
import torch
from safetensors.torch import load_file
from test_pruning import fingerprint
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
)

import ken
from ken.errors import SubnetworkError

CONFIG = {
    "vocab_size": 90,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
}


@pytest.fixture
def folders(tmp_path):
    """A pretrained folder and a fine-tuned one, in shards, with a tokenizer of its own."""
    torch.manual_seed(0)
    BertModel(BertConfig(**CONFIG)).save_pretrained(tmp_path / "pretrained")
    (tmp_path / "pretrained" / "tokenizer.json").write_text('{"of": "pretrained"}')
    model = BertForSequenceClassification(BertConfig(**CONFIG, id2label={0: "no", 1: "yes", 2: "σ"}))
    model.save_pretrained(tmp_path / "fine_tuned", max_shard_size="10KB")
    (tmp_path / "fine_tuned" / "tokenizer.json").write_text('{"of": "fine-tuned"}')
    (tmp_path / "fine_tuned" / "vocab.txt").write_text("[PAD]\n")
    (tmp_path / "fine_tuned" / "modeling.py").write_text("raise SystemExit")
    (tmp_path / "fine_tuned" / "training_args.bin").write_bytes(b"pickle")
    return tmp_path


def state_of(folder):
    return {k: v for path in sorted(folder.glob("*.safetensors")) for k, v in load_file(path).items()}


def test_a_checkpoint_folder_comes_back_with_its_sharding_configuration_and_tokenizer(folders):
    tuned, theirs, out = folders / "fine_tuned", folders / "pretrained", folders / "out"
    net = ken.load(ken.prune(tuned, theirs, 0.5).save(folders / "net"))
    assert ken.export(net, theirs, out) == out
    index = json.loads((tuned / "model.safetensors.index.json").read_text())
    again = json.loads((out / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) == 3
    assert again["weight_map"] == index["weight_map"]
    assert again["metadata"]["total_size"] == index["metadata"]["total_size"]
    for shard in set(index["weight_map"].values()):
        assert load_file(out / shard).keys() == load_file(tuned / shard).keys()
    assert {path.name for path in out.iterdir()} == {path.name for path in tuned.iterdir()} - {
        "modeling.py",
        "training_args.bin",
    }
    for name in ("config.json", "tokenizer.json", "vocab.txt"):
        assert (out / name).read_bytes() == (tuned / name).read_bytes()

    merged = ken.inject(net, theirs)
    assert fingerprint(state_of(out)) == fingerprint(merged)
    model = AutoModelForSequenceClassification.from_pretrained(out)
    assert type(model) is BertForSequenceClassification
    assert model.config.id2label[2] == "σ"
    assert fingerprint(model.state_dict()) == fingerprint(merged)
    whole = ken.export(ken.prune(tuned, theirs, 1.0), theirs, folders / "whole")
    assert fingerprint(state_of(whole)) == fingerprint(state_of(tuned))


def test_a_live_module_becomes_a_folder_with_the_pretrained_tokenizer(folders):
    pretrained = BertModel.from_pretrained(folders / "pretrained")
    fine_tuned = BertForSequenceClassification(BertConfig(**CONFIG, num_labels=4)).to(torch.bfloat16)
    net = ken.prune(fine_tuned, folders / "pretrained", 0.5)
    out = ken.export(net, folders / "pretrained", folders / "out")
    assert {path.name for path in out.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json"}
    assert (out / "tokenizer.json").read_text() == '{"of": "pretrained"}'
    model = AutoModelForSequenceClassification.from_pretrained(out)
    assert type(model) is BertForSequenceClassification
    assert model.config.num_labels == 4
    assert model.dtype == torch.bfloat16
    assert fingerprint(model.state_dict()) == fingerprint(ken.inject(net, pretrained).state_dict())
    with pytest.raises(FileExistsError, match="is there already, and not an empty folder"):
        ken.export(net, folders / "pretrained", folders / "out")


def test_tied_tensors_are_written_once_and_tied_again(tmp_path):
    torch.manual_seed(0)
    fine_tuned, pretrained = BertForMaskedLM(BertConfig(**CONFIG)), BertForMaskedLM(BertConfig(**CONFIG))
    net = ken.prune(fine_tuned, pretrained, 4)
    out = ken.export(net, pretrained, tmp_path / "out")
    assert "cls.predictions.decoder.weight" not in state_of(out)
    model = BertForMaskedLM.from_pretrained(out)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert fingerprint(model.state_dict()) == fingerprint(ken.inject(net, pretrained).state_dict())


def test_a_state_dict_becomes_a_file_with_all_its_names(tmp_path):
    shared = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    tuned = {"a": shared, "b": shared, "n": torch.tensor(3), "f": torch.tensor([True]), "d": torch.ones(3).double()}
    theirs = {"a": torch.zeros(4, 8), "n": torch.tensor(1), "d": torch.zeros(3).double()}
    net = ken.prune(tuned, theirs, 3)
    out = ken.export(net, theirs, tmp_path / "out")
    assert [path.name for path in out.iterdir()] == ["model.safetensors"]
    assert fingerprint(state_of(out)) == fingerprint(ken.inject(net, theirs))


def test_nothing_is_left_of_a_folder_that_could_not_be_finished(folders, monkeypatch):
    net = ken.prune(folders / "fine_tuned", folders / "pretrained", 0.5)
    before = sorted(path.name for path in folders.iterdir())
    with pytest.raises(SubnetworkError, match="not the pretrained tensor"):
        ken.export(net, folders / "fine_tuned", folders / "out")
    count = [0]

    def interrupt(*args, **named):
        count[0] += 1
        if count[0] == 9:
            raise KeyboardInterrupt
        return stretches(*args, **named)

    stretches = ken.injection.export_layout.merged_stretches
    monkeypatch.setattr(ken.injection.export_layout, "merged_stretches", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ken.export(net, folders / "pretrained", folders / "out")
    assert sorted(path.name for path in folders.iterdir()) == before
