"""What belongs to a model and is no weight comes along, from disk to disk; what does not is named."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import command_line
import pytest
import torch
import transformers
from safetensors.torch import load, load_file, save_file
from transformers import BertConfig, BertModel

import ken
from ken.errors import FormatError, PairingError
from ken.models.checkpoints import other_files
from ken.models.checkpoints.other_files import gather
from ken.storage import model_files

TINY = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
POOLING = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
]


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)


@pytest.fixture
def pair(tmp_path):
    """Two small folders of weights alone."""
    for seed, place in enumerate(("pretrained", "fine_tuned")):
        torch.manual_seed(seed)
        BertModel(BertConfig(**TINY)).save_pretrained(tmp_path / place)
    return tmp_path / "fine_tuned", tmp_path / "pretrained"


def through(pair, tmp_path, how):
    """The subnetwork of a pair, and the folder that it becomes, made in one of the ways there are."""
    fine_tuned, pretrained = pair
    out, folder = tmp_path / "net.ken.safetensors", tmp_path / "out"
    if how == "memory":
        net = ken.prune(fine_tuned, pretrained, 0.5)
        ken.export(net, pretrained, folder)
    elif how == "file":
        net = ken.prune(fine_tuned, pretrained, 0.5, out=out)
        ken.export(net, pretrained, folder)
    elif how == "saved":
        net = ken.load(ken.prune(fine_tuned, pretrained, 0.5).save(out))
        ken.export(net, pretrained, folder)
    else:
        assert command_line.prune(fine_tuned, pretrained, out).status == 0
        assert command_line.inject(out, pretrained, folder).status == 0
        net = ken.load(out)
    return net, folder


def files_in(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("how", ["memory", "file", "saved", "command line"])
def test_everything_that_belongs_to_a_model_comes_along_wherever_it_lies(pair, tmp_path, how):
    dense = tmp_path / "dense.safetensors"
    save_file({"linear.weight": torch.ones(4, 8)}, dense)
    files = {
        "modules.json": json.dumps(MODULES),
        "1_Pooling/config.json": json.dumps(POOLING),
        "2_Dense/config.json": "{}",
        "2_Dense/model.safetensors": dense.read_bytes(),
        "bpe.codes": "a b\n",
        "vocab": "a\n",
        "empty.txt": "",
        "100% sure.json": "{}",
        "tokenizer.model.v3": "x",
        "additional_chat_templates/tool_use.jinja": "{{ tools }}",
        "README.md": "# Card",
        "LICENSE": "free",
        "language_model/unigrams.txt": "a",
        "tokenizer/vocab.json": "{}",
        "spiece.model": b"\n\x0e\x00",
    }
    write(pair[0], files)
    net, folder = through(pair, tmp_path, how)
    tensor = files.pop("2_Dense/model.safetensors")
    wanted = {name: content if isinstance(content, bytes) else content.encode() for name, content in files.items()}
    written = files_in(folder)
    assert set(written) == {*wanted, "config.json", "model.safetensors", "2_Dense/model.safetensors"}
    assert load(written["2_Dense/model.safetensors"])["linear.weight"].equal(load(tensor)["linear.weight"])
    for name, data in wanted.items():
        assert written[name] == data, name
        assert net.files[name] == data, name
    assert net.notes == ()
    assert load_file(folder / "model.safetensors").keys() == load_file(pair[1] / "model.safetensors").keys()


@pytest.mark.parametrize("how", ["memory", "command line"])
def test_what_does_not_belong_stays_behind_and_is_named_with_the_reason(pair, tmp_path, how):
    left = {
        "modeling.py": "code",
        "sub/code.py": "code",
        "run.sh": "code",
        "pytorch_model.bin": "pickle",
        "training_args.bin": "training",
        "optimizer.pt": "training",
        "trainer_state.json": "training",
        "eval_results.json": "training",
        "scheduler.pt": "training",
        "tf_model.h5": "another form",
        "model.onnx": "another form",
        "flax_model.msgpack": "another form",
        "other.safetensors": "not read",
        "model.fp16.safetensors.index.json": "index",
        "adapter_config.json": "adapter",
        "adapter_model.safetensors": "adapter",
        "data/train.json": "not known",
        "notes.md": "not known",
        "events.out.tfevents.1": "training",
        "NUL.json": "not known",
        "weights.npy": "pickle",
    }
    write(pair[0], dict.fromkeys(left, "x"))
    write(pair[0], {"onnx/config.json": "{}", "checkpoint-5/tokenizer.json": "{}", "runs/a/b.json": "{}"})
    write(pair[0], {".git/config.json": "{}", ".gitattributes": "*", "vocab.txt": b"\x80\x04K\x01."})
    net, folder = through(pair, tmp_path, how)
    assert set(files_in(folder)) == {"config.json", "model.safetensors"}
    (note,) = net.notes
    assert note.startswith("folder fine_tuned: left behind: ")
    parts = note.split("left behind: ")[1].split("; ")
    groups = dict(reversed(part.removesuffix(")").split(" (", 1)) for part in parts)
    for name, word in {**left, "onnx/": "another form", "checkpoint-5/": "training", "runs/": "training"}.items():
        (why,) = [why for why, names in groups.items() if name in names.split(", ")]
        assert word in why, name
    assert "vocab.txt" in note
    assert ".git" not in note
    out = tmp_path / "again.ken.safetensors"
    assert "left behind: " in command_line.prune(*pair, out).said
    assert "left behind: " in command_line.inject(out, pair[1], tmp_path / "again").said
    assert "left behind: " in command_line.ken("info", out).said


def test_what_stays_behind_of_the_pretrained_folder_is_not_told(pair):
    write(pair[1], {"optimizer.pt": "x", "code.py": "x"})
    assert ken.prune(*pair, 0.5).notes == ()


def test_weights_of_another_module_as_a_pickle_are_named_with_what_to_do(pair):
    write(pair[0], {"modules.json": json.dumps(MODULES[::2]), "2_Dense/config.json": "{}"})
    write(pair[0], {"2_Dense/rest.bin": "x"})
    (note,) = ken.prune(*pair, 0.5).notes
    assert "2_Dense/rest.bin (weights of another module as a pickle; save the model anew" in note


def test_a_module_that_is_not_there_is_named(pair):
    write(pair[0], {"modules.json": json.dumps(MODULES[:2])})
    (note,) = ken.prune(*pair, 0.5).notes
    assert "1_Pooling/ (named by modules.json, and not there)" in note


@pytest.mark.parametrize("text", ["", "[", "{}", "[1, {}]", '[{"path": 3}]', '[{"path": "../x"}]', '[{"path": "/"}]'])
def test_a_list_of_modules_that_is_none_leads_nowhere(tmp_path, text):
    (tmp_path / "a").mkdir()
    (tmp_path / "x").mkdir()
    write(tmp_path / "a", {"modules.json": text, "config.json": "{}"})
    write(tmp_path / "x", {"config.json": "{}"})
    assert set(gather(tmp_path / "a").files) == {"modules.json", "config.json"}


def test_every_file_that_a_tokenizer_of_transformers_reads_belongs():
    names = set()
    for source in Path(transformers.__file__).parent.glob("models/*/tokenization_*.py"):
        listed = re.search(r"VOCAB_FILES_NAMES = {(.*?)}", source.read_text(encoding="utf-8"), re.DOTALL)
        names |= set(re.findall(r': "([^"]+)"', listed[1])) if listed else set()
    assert len(names) > 20
    assert {name for name in names if not other_files.belongs(name)} == set()


def test_links_out_of_the_folder_are_not_followed_whatever_they_are(pair, tmp_path):
    secret = tmp_path / "secret"
    write(secret, {"secret.json": "{}", "inner/config.json": "{}"})
    fine_tuned = pair[0]
    (fine_tuned / "tokenizer.json").symlink_to(secret / "secret.json")
    (fine_tuned / "1_Pooling").symlink_to(secret / "inner")
    (fine_tuned / "gone.json").symlink_to(secret / "none.json")
    write(fine_tuned, {"real.json": "{}"})
    (fine_tuned / "inside.json").symlink_to("real.json")
    net = ken.prune(*pair, 0.5)
    assert set(net.files) == {"config.json", "real.json", "inside.json"}
    (note,) = net.notes
    assert "tokenizer.json (a link out of the folder, not followed)" in note
    assert "1_Pooling/ (a link to a folder)" in note
    assert "gone.json (a link that leads nowhere)" in note
    (fine_tuned / "config.json").rename(secret / "config.json")
    (fine_tuned / "config.json").symlink_to(secret / "config.json")
    with pytest.raises(PairingError, match=r"config\.json is a link that leads out of its folder"):
        ken.prune(*pair, 0.5)
    ended = command_line.prune(*pair, tmp_path / "net.ken.safetensors")
    assert ended.status == 1
    assert "is a link that leads out of its folder" in ended.said


@pytest.mark.parametrize("name", ["tokenizer.json", "spiece.model", "vocab.txt", "1_Pooling/config.json"])
def test_a_pointer_of_git_lfs_in_the_place_of_a_file_is_told_before_anything_is_written(pair, tmp_path, name):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 466062\n"
    write(pair[0], {name: pointer})
    out = tmp_path / "net.ken.safetensors"
    with pytest.raises(PairingError, match=rf"{name} is a git-lfs pointer \(to 466062 bytes\).* git lfs pull"):
        ken.prune(*pair, 0.5, out=out)
    ended = command_line.prune(*pair, out)
    assert (ended.status, out.exists()) == (1, False)
    assert "git lfs pull" in ended.said
    model = BertModel(BertConfig(**TINY))  # only here is the tokenizer of the pretrained folder needed
    net = ken.prune(model, pair[0], 0.5)
    with pytest.raises(PairingError, match="git-lfs pointer"):
        ken.export(net, pair[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_large_tokenizers_come_along_in_parts_and_no_more_than_one_is_in_memory(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "LONGEST_PART", 1000)
    data = os.urandom(2500)
    write(pair[0], {"tokenizer.json": data, "1_Pooling/vocab.txt": data[:1000], "empty.json": b""})
    out = tmp_path / "net.ken.safetensors"
    net = ken.prune(*pair, 0.5, out=out)
    assert net.files["tokenizer.json"] == data
    assert list(map(len, net.files.parts("tokenizer.json"))) == [1000, 1000, 500]
    assert net.files.size("tokenizer.json") == 2500
    again = ken.load(ken.prune(*pair, 0.5).save(tmp_path / "again"))
    assert dict(again.files) == dict(net.files)
    ken.verify(out)
    assert (ken.export(net, pair[1], tmp_path / "out") / "tokenizer.json").read_bytes() == data


@pytest.mark.parametrize("length", [500, 2500])
def test_a_file_that_changes_while_it_is_read_is_an_error(pair, tmp_path, monkeypatch, length):
    monkeypatch.setattr(model_files, "LONGEST_PART", 1000)
    write(pair[0], {"tokenizer.json": bytes(1500)})

    def names_of(files):
        names = list(model_files.names_of(files))
        write(pair[0], {"tokenizer.json": bytes(length)})
        return names

    monkeypatch.setattr("ken.storage.writer.names_of", names_of)
    with pytest.raises(FormatError, match="while it was read"):
        ken.prune(*pair, 0.5, out=tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_a_huge_tokenizer_is_known_by_its_name_and_a_huge_file_of_data_is_not(tmp_path):
    for name in ("tokenizer.json", "vocab.txt", "train.json"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**26 + 1)
    belongings = gather(tmp_path)
    assert set(belongings.files) == {"tokenizer.json", "vocab.txt"}
    assert belongings.left == {"train.json": "larger than 64 MiB, and not known to belong to a model"}


def test_a_left_over_adapter_config_of_an_older_subnetwork_is_not_exported(pair, tmp_path):
    from dataclasses import replace

    net = replace(ken.prune(*pair, 0.5), files={"config.json": b"{}", "adapter_config.json": b"{}"})
    folder = ken.export(ken.load(net.save(tmp_path / "net")), pair[1], tmp_path / "out")
    assert set(files_in(folder)) == {"config.json", "model.safetensors"}


def test_a_subnetwork_of_a_live_model_takes_the_folders_of_the_pretrained_one(pair, tmp_path):
    write(pair[1], {"1_Pooling/config.json": "{}", "vocab.txt": "a\n"})
    net = ken.prune(BertModel(BertConfig(**TINY)), pair[1], 0.5)
    folder = ken.export(net, pair[1], tmp_path / "out")
    assert set(files_in(folder)) == {"1_Pooling/config.json", "vocab.txt", "config.json", "model.safetensors"}


def test_many_files_end_the_look_around(tmp_path, monkeypatch):
    monkeypatch.setattr(other_files, "_MOST", 5)
    write(tmp_path, {f"{number}.json": "{}" for number in range(9)})
    belongings = gather(tmp_path)
    assert list(belongings.files) == [f"{number}.json" for number in range(5)]
    assert belongings.left == {"5.json and what follows": "more than 5 files"}


SENTENCES = """
import sys, ken
from sentence_transformers import SentenceTransformer, models
body, ours, theirs, out = sys.argv[1:]
for place in (ours, theirs):
    parts = [models.Transformer(body), models.Pooling(8), models.Dense(8, 4)]
    SentenceTransformer(modules=parts, device="cpu").save(place)
net = ken.prune(ours, theirs, 0.5)
assert {"1_Pooling/config.json", "2_Dense/config.json"} <= set(net.files), [*net.files]
assert {"2_Dense.linear.weight", "2_Dense.linear.bias"} <= set(net), [*net]
print(SentenceTransformer(str(ken.export(net, theirs, out)), device="cpu").encode(["a b"]).shape)
"""


@pytest.mark.skipif(find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed")
def test_what_is_exported_opens_in_sentence_transformers(pair, tmp_path):
    vocabulary = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"])
    write(pair[0], {"vocab.txt": vocabulary, "tokenizer_config.json": '{"tokenizer_class": "BertTokenizer"}'})
    words = map(str, (pair[0], tmp_path / "sentences", tmp_path / "base", tmp_path / "out"))
    command = [sys.executable, "-W", "ignore", "-c", SENTENCES, *words]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "(1, 4)"
