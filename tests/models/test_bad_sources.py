"""Whatever is wrong with a model on disk, `ken prune` says limit, place and value, and leaves everything as it was."""

import json
import os
import re
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, BertModel

import ken
from ken.cli import main
from ken.errors import KenError

TINY = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
NAME = "bert.encoder.layer.1.output.dense.weight"
FIRST = "model-00001-of-00002.safetensors"


@pytest.fixture
def folders(tmp_path):
    torch.manual_seed(0)
    BertModel(BertConfig(**TINY)).save_pretrained(tmp_path / "pretrained")
    BertForSequenceClassification(BertConfig(**TINY)).save_pretrained(tmp_path / "ours", max_shard_size="6KB")
    names = {path.name for path in (tmp_path / "ours").glob("*.safetensors")}
    for number, name in enumerate(sorted(names), 1):  # two shards are enough to tell them apart
        assert name.startswith(f"model-{number:05d}-of-")
    return tmp_path / "pretrained", tmp_path / "ours"


def index_of(folder):
    return folder / "model.safetensors.index.json"


def shard_of(folder, name):
    return json.loads(index_of(folder).read_text())["weight_map"][name]


def point_to(folder, file):
    """Let the index say that the tensor is in another file."""
    index = json.loads(index_of(folder).read_text())
    index["weight_map"][NAME] = str(file)
    index_of(folder).write_text(json.dumps(index))


def change(folder, name, value):
    file = folder / shard_of(folder, name)
    state = load_file(file)
    state[name] = value(state[name])
    save_file(state, file)


def missing_shard(pretrained, fine_tuned):
    gone = shard_of(fine_tuned, NAME)
    (fine_tuned / gone).unlink()
    return rf"model.safetensors.index.json names {gone}, which is not there"


def truncated_file(pretrained, fine_tuned):
    file = fine_tuned / shard_of(fine_tuned, NAME)
    os.truncate(file, file.stat().st_size - 1)
    return rf"{file.name} is not a whole safetensors file: "


def parent(pretrained, fine_tuned):
    point_to(fine_tuned, "../pretrained/model.safetensors")
    return r"names '\.\./pretrained/model\.safetensors', which is not the name of a file in its folder"


def absolute(pretrained, fine_tuned):
    point_to(fine_tuned, pretrained / "model.safetensors")
    return r"names '.*/pretrained/model\.safetensors', which is not the name of a file in its folder"


def link(pretrained, fine_tuned):
    (fine_tuned / "model-x.safetensors").symlink_to(pretrained / "model.safetensors")
    point_to(fine_tuned, "model-x.safetensors")
    return r"model-x\.safetensors is a link that leads out of its folder, to .*/pretrained/model\.safetensors"


def collision(pretrained, fine_tuned):
    state = load_file(pretrained / "model.safetensors")
    state["bert.pooler.dense.bias"] = state["pooler.dense.bias"] + 1
    save_file(state, fine_tuned / "model.safetensors")
    return r"bert\.pooler\.dense\.bias and pooler\.dense\.bias would both be paired with pooler\.dense\.bias|" + (
        r"pooler\.dense\.bias and bert\.pooler\.dense\.bias would both be paired with pooler\.dense\.bias"
    )


def long_header(pretrained, fine_tuned):
    file = fine_tuned / shard_of(fine_tuned, NAME)
    data = file.read_bytes()
    file.write_bytes(struct.pack("<Q", len(data) + 1) + data[8:])
    return rf"{file.name} is not a whole safetensors file: .*header"


def huge_header(pretrained, fine_tuned):
    file = fine_tuned / shard_of(fine_tuned, NAME)
    file.write_bytes(struct.pack("<Q", 2**63) + file.read_bytes()[8:])
    return rf"{file.name} is not a whole safetensors file: .*header"


def other_rows(pretrained, fine_tuned):
    change(fine_tuned, NAME, lambda tensor: torch.cat([tensor, tensor[:, :3]], 1))
    return rf"{NAME}: fine-tuned is \(8, 19\), pretrained is \(8, 16\)"


def fewer_rows(pretrained, fine_tuned):
    change(fine_tuned, NAME, lambda tensor: tensor[:5].clone())
    return rf"{NAME}: fine-tuned is \(5, 16\), pretrained is \(8, 16\)"


def nan(pretrained, fine_tuned):
    def spoil(tensor):
        tensor[3, 7] = torch.nan
        return tensor

    change(fine_tuned, NAME, spoil)
    return rf"fine-tuned values must be finite, got nan in row 3, column 7\nin tensor '{NAME}'"


def infinity(pretrained, fine_tuned):
    state = load_file(pretrained / "model.safetensors")
    state[NAME.removeprefix("bert.")][2, 1] = -torch.inf
    save_file(state, pretrained / "model.safetensors")
    return rf"pretrained values must be finite, got -inf in row 2, column 1\nin tensor '{NAME}'"


def quantised_on_one_side(pretrained, fine_tuned):
    change(fine_tuned, NAME, lambda tensor: (tensor * 100).to(torch.int8))
    return rf"{NAME}: fine-tuned is torch\.int8, pretrained is torch\.float32"


def unsupported_dtype(pretrained, fine_tuned):
    file = fine_tuned / shard_of(fine_tuned, NAME)
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header[NAME]["dtype"] = "F3_E1M1"
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    return rf"{file.name} is not a whole safetensors file: .*F3_E1M1"


def no_checkpoint(pretrained, fine_tuned):
    for path in fine_tuned.iterdir():
        if path.name != "config.json":
            path.unlink()
    return r"ours has none of model\.safetensors, model\.safetensors\.index\.json, pytorch_model\.bin"


def no_model_at_all(pretrained, fine_tuned):
    for path in fine_tuned.iterdir():
        path.unlink()
    (fine_tuned / "model.safetensors").write_bytes(b"<!DOCTYPE html><html>404</html>")
    return r"model\.safetensors is not a whole safetensors file: "


def nothing_in_common(pretrained, fine_tuned):
    save_file({"w": torch.zeros(2, 2)}, fine_tuned / "model.safetensors")
    return r"no tensor of the fine-tuned model has a counterpart in the pretrained one"


BAD = [
    *(missing_shard, truncated_file, parent, absolute, link, collision, long_header, huge_header, other_rows),
    *(fewer_rows, nan, infinity, quantised_on_one_side, unsupported_dtype, no_checkpoint, no_model_at_all),
    nothing_in_common,
]


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_it_is_refused_in_words_and_nothing_is_written(folders, monkeypatch, capsys, spoil):
    pretrained, fine_tuned = folders
    message = spoil(pretrained, fine_tuned)
    out = fine_tuned.parent / "out.ken.safetensors"
    ken.prune({"w": torch.ones(4)}, {"w": torch.zeros(4)}, 1).save(out)
    before = out.read_bytes()
    files = sorted(fine_tuned.parent.rglob("*"))
    with pytest.raises(KenError) as error:
        ken.prune(fine_tuned, pretrained, 0.5, out=out, progress=False)
    text = "\n".join([str(error.value), *getattr(error.value, "__notes__", [])])
    assert re.search(message, text), text
    monkeypatch.setattr("sys.argv", ["ken", "prune", str(fine_tuned), str(pretrained), "-k", "0.5", "-o", str(out)])
    with pytest.raises(SystemExit) as code:
        main()
    assert code.value.code == 1
    assert text in capsys.readouterr().err
    assert out.read_bytes() == before
    assert sorted(fine_tuned.parent.rglob("*")) == files


def test_the_same_model_twice_is_told(folders, monkeypatch, capsys):
    pretrained, _ = folders
    out = pretrained.parent / "out.ken.safetensors"
    monkeypatch.setattr("sys.argv", ["ken", "prune", str(pretrained), str(pretrained), "-k", "0.5", "-o", str(out)])
    with pytest.raises(SystemExit) as code:
        main()
    assert code.value.code == 0
    assert "the models do not differ in what was pruned" in capsys.readouterr().out
    assert set(ken.load(out).table()["status"]) == {"unchanged"}
