from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification, BertModel

import ken
from ken.errors import PairingError
from ken.models.checkpoints.hub import locate

SMALL = {"vocab_size": 90, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A hub cache, laid out as the hub's library does it, with no network behind it."""
    for name, value in (("HF_HUB_CACHE", str(tmp_path / "hub")), ("HF_HUB_OFFLINE", True)):
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def add(cache, name, save):
    """Put a model into the cache: files in blobs, links to them in a snapshot."""
    place = cache / f"models--{name.replace('/', '--')}"
    snapshot, blobs, made = place / "snapshots" / "0123abcd", place / "blobs", place / "made"
    for folder in (snapshot, blobs, place / "refs", made):
        folder.mkdir(parents=True)
    (place / "refs" / "main").write_text("0123abcd")
    save(made)
    for number, file in enumerate(sorted(made.iterdir())):
        file.rename(blobs / f"b{number}")
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", f"b{number}"))


def test_a_model_in_the_cache_is_found_by_its_id(cache):
    torch.manual_seed(0)
    base = BertModel(BertConfig(**SMALL))
    fine_tuned = BertForSequenceClassification(BertConfig(**SMALL))
    add(cache, "org/base", base.save_pretrained)
    add(cache, "tuned", fine_tuned.save_pretrained)
    net = ken.prune("tuned", "org/base", 4)
    assert net.pretrained.source == "model org/base"
    assert len(net.pruned()) == len(base.state_dict())
    merged = ken.inject(net, "org/base")
    assert torch.equal(merged["classifier.weight"], fine_tuned.classifier.weight)
    out = ken.export(net, "org/base", Path("out"))
    assert BertForSequenceClassification.from_pretrained(out).config.hidden_size == 16
    assert ken.plan("org/base", 4).retained == ken.plan(base, 4).retained


def test_what_is_neither_here_nor_in_the_cache_is_told_plainly(cache):
    with pytest.raises(
        PairingError, match=r"no file or folder org/none, and the hub's cache has no model .* HF_HUB_OFFLINE"
    ):
        locate("org/none")
    add(cache, "org/empty", lambda folder: (folder / "config.json").write_text("{}"))
    with pytest.raises(PairingError, match="the hub's cache has no model of that name"):
        locate("org/empty")


def test_what_looks_like_a_path_is_never_asked_of_the_hub(cache, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    for name in ("./none", "../none", "/none", "~/none", "a/b/c", "a b", "none.safetensors", "", ".", Path("org/none")):
        if name in ("", "."):
            assert locate(name) == Path()
            continue
        with pytest.raises(PairingError, match="there is no file or folder"):
            locate(name)


def test_a_folder_here_comes_before_a_model_of_the_same_name(cache):
    add(cache, "tuned", lambda folder: save_file({"w": torch.zeros(2)}, folder / "model.safetensors"))
    Path("tuned").mkdir()
    save_file({"w": torch.ones(2)}, "tuned/model.safetensors")
    assert ken.models.checkpoints.checkpoint.read("tuned").tensors["w"].tolist() == [1, 1]
