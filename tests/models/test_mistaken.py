"""Files and folders that are not what they are given for: called by what they are, with what to do."""

import gzip
import json
import pickle
import re

import command_line
import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save, save_file

import ken
from ken.errors import KenError
from ken.models.checkpoints.checkpoint_files import open_path
from ken.models.checkpoints.mistaken_files import pointer

TENSORS = {"a": torch.ones(4, 4), "b": torch.zeros(3)}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 417664\n"
PAGE = b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>"


def refused(source, tmp_path):
    """What is said of a source on either side, by Python and by the command line, with nothing written."""
    values = tmp_path / "values.safetensors"
    save_file(TENSORS, values)
    before = sorted(tmp_path.rglob("*"))
    texts = set()
    for pair in ((source, values), (values, source)):
        with pytest.raises(KenError) as error:
            ken.prune(*pair, 0.5, out=tmp_path / "net.ken.safetensors")
        texts.add(str(error.value))
        ended = command_line.prune(*pair, tmp_path / "net.ken.safetensors")
        assert ended.status == 1
        assert str(error.value) in ended.said
    assert sorted(tmp_path.rglob("*")) == before
    (text,) = texts
    assert not re.search(r"weights_only|arbitrary|do it if you (trust|got)", text)
    return text


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model-00001-of-00001.safetensors"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (POINTER, r"git-lfs pointer \(to 417664 bytes\), not the file itself; run git lfs pull"),
        (PAGE, "HTML page"),
        (b"<html>", "HTML page"),
        (b"", "is empty"),
        (bytes(4096), "begins with zeros"),
        (b'{"error": "Repository not found"}', "is JSON text|is text"),
        (b"Entry not found", "is text"),
        (b"GGUF\x03" + bytes(40), "is a GGUF file; name it so: with the ending .gguf"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
        (gzip.compress(b"x" * 99, mtime=0), "gzip"),
    ],
)
def test_weights_that_are_something_else_are_called_by_their_name(tmp_path, name, data, message):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).write_bytes(data)
    assert re.search(message, refused(folder, tmp_path))
    assert re.search(message, refused(folder / name, tmp_path))


def test_weights_under_the_ending_of_another_kind_are_told(tmp_path):
    torch.save(TENSORS, tmp_path / "x.safetensors")
    assert "is a file of torch.save, not of safetensors" in refused(tmp_path / "x.safetensors", tmp_path)
    (tmp_path / "x.bin").write_bytes(save(TENSORS))
    assert "is a safetensors file; name it so" in refused(tmp_path / "x.bin", tmp_path)


class Arguments:
    """Something that is pickled beside the weights."""


def test_what_is_more_than_weights_is_named_and_the_advice_to_run_it_never_repeated(tmp_path):
    torch.save({"a": torch.ones(2), "args": Arguments()}, tmp_path / "x.bin")
    text = refused(tmp_path / "x.bin", tmp_path)
    assert "there is more in it than tensors (test_mistaken.Arguments)" in text
    (tmp_path / "y.bin").write_bytes(pickle.dumps(Arguments()))
    assert "cannot be read as weights alone" in refused(tmp_path / "y.bin", tmp_path)
    (tmp_path / "z.bin").write_bytes(b"\xffgarbage" * 99)
    assert "it is damaged, or torch.save has not written it" in refused(tmp_path / "z.bin", tmp_path)


@pytest.mark.parametrize(("data", "message"), [(POINTER, "git-lfs pointer"), (PAGE, "HTML page"), (b"", "it is empty")])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_a_configuration_or_an_index_that_is_something_else_is_called_by_its_name(tmp_path, name, data, message):
    folder = tmp_path / "folder"
    folder.mkdir()
    if name == "config.json":
        save_file(TENSORS, folder / "model.safetensors")
    (folder / name).write_bytes(data)
    assert message in refused(folder, tmp_path)


def test_text_may_begin_like_a_page(tmp_path):
    for name in ("chat_template.jinja", "vocab.txt", "README.md"):
        (tmp_path / name).write_bytes(PAGE)
        assert pointer(tmp_path / name) == ""


def make(folder, files):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(save(TENSORS) if name.endswith(".safetensors") else b"{}")


FOLDERS = {
    "nothing": ([], "it is empty"),
    "a name of its own": (
        ["config.json", "weights.safetensors"],
        r"it has config\.json, weights\.safetensors; to take the weights from weights\.safetensors, give that "
        r"file: .*/folder/weights\.safetensors",
    ),
    "several": (
        ["a.safetensors", "b.safetensors", "c.bin"],
        r"one of a\.safetensors, b\.safetensors, c\.bin, give that file",
    ),
    "sentences without their list": (
        ["0_Transformer/model.safetensors", "1_Pooling/config.json"],
        r"weights below, in 0_Transformer; to take them, give that folder: .*/folder/0_Transformer",
    ),
    "a cache of the hub": (
        ["snapshots/0a1b/model.safetensors", "refs/main"],
        r"weights below, in snapshots/0a1b; .*/folder/snapshots/0a1b",
    ),
    "a trainer's": (
        ["checkpoint-10/model.safetensors", "checkpoint-20/model.safetensors"],
        r"weights below, in checkpoint-10, checkpoint-20; ",
    ),
    "GGUF": (["model-q4_k.gguf"], r"model-q4_k\.gguf: GGUF: to take the weights .* give that file"),
    "TensorFlow": (["tf_model.h5", "config.json"], r"tf_model\.h5: weights of TensorFlow; .*from_tf=True"),
    "an old TensorFlow": (["model.ckpt.index", "model.ckpt.data-00000-of-00001"], "a checkpoint of TensorFlow"),
    "Flax": (["flax_model.msgpack"], r"flax_model\.msgpack: weights of Flax; .*from_flax=True"),
    "ONNX": (["model.onnx"], r"model\.onnx: ONNX"),
    "torch": (
        ["last.ckpt", "optimizer.pt"],
        r"to take the weights from last\.ckpt, give that file: .*/folder/last\.ckpt$",
    ),
    "NumPy": (["weights.npy"], r"weights\.npy: one array, which has no name"),
    "ZeRO": (
        ["global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt", "latest", "zero_to_fp32.py"],
        r"zero_to_fp32\.py FOLDER",
    ),
    "ZeRO's parts": (["zero_pp_rank_0_mp_rank_00_model_states.pt"], r"DeepSpeed ZeRO"),
    "FSDP": (["__0_0.distcp"], "accelerate merge-weights"),
    "training alone": (
        ["optimizer.bin", "training_args.bin", "config.json"],
        r"it has config\.json, optimizer\.bin, tr[a-z_.]*$",
    ),
    "shards, not all": (
        ["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"],
        r"has 2 of 3 shards and no index of them: model-00002-of-00003\.safetensors missing",
    ),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_a_folder_without_weights_says_what_it_has_and_what_to_give_instead(tmp_path, what):
    files, message = FOLDERS[what]
    (tmp_path / "folder").mkdir()
    make(tmp_path / "folder", files)
    text = refused(tmp_path / "folder", tmp_path)
    assert re.search(message, text, re.DOTALL), text
    if "shards" not in what:
        assert "has none of model.safetensors, model.safetensors.index.json, pytorch_model.bin" in text


def test_an_adapter_for_the_pretrained_model_is_told_with_whose_it_is(tmp_path):
    make(tmp_path / "folder", ["adapter_model.safetensors"])
    config = {"peft_type": "LORA", "base_model_name_or_path": "org/base"}
    (tmp_path / "folder/adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(KenError) as error:
        ken.prune(TENSORS, tmp_path / "folder", 0.5)
    assert "adapter_config.json: an adapter (of 'org/base'), not a model; merge it" in str(error.value)
    assert "merge_and_unload()" in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *(("m.ggml", "GGML: codes of a quantised model"), ("tf_model.h5", "TensorFlow"), ("m.msgpack", "Flax")),
        *(("m.pkl", "a pickle"), ("m.onnx", "ONNX"), ("a.npy", "no name")),
        ("config.json", "give the folder"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(tmp_path, name, message):
    file = tmp_path / "folder" / name
    file.parent.mkdir()
    file.write_bytes(b"x")
    text = refused(file, tmp_path)
    assert f"{name} is no file of weights that can be read (.safetensors, .bin, .pt" in text
    assert message in text


def shard(folder, number, count, tensors, ending="safetensors"):
    stem = "model" if ending == "safetensors" else "pytorch_model"
    file = folder / f"{stem}-{number:05d}-of-{count:05d}.{ending}"
    save_file(tensors, file) if ending == "safetensors" else torch.save(tensors, file)
    return file.name


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_all_shards_without_their_index_are_read_and_that_is_noted(tmp_path, ending):
    folder = tmp_path / "folder"
    folder.mkdir()
    shard(folder, 1, 2, {"a": TENSORS["a"]}, ending)
    shard(folder, 2, 2, {"b": TENSORS["b"], "a": TENSORS["a"]}, ending)
    opened = open_path(folder)
    assert {name: opened.tensors[name].tolist() for name in opened.tensors} == {
        n: t.tolist() for n, t in TENSORS.items()
    }
    assert opened.shards == {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    assert opened.left == {}
    net = ken.prune(folder, {"a": torch.zeros(4, 4), "b": torch.ones(3)}, 0.5)
    assert net.notes == ("the 2 shards have no index beside them; they were read in the order of their names",)
    shard(folder, 2, 2, {"b": TENSORS["b"], "a": -TENSORS["a"]}, ending)
    assert "different tensors a, and no index says which" in refused(folder, tmp_path)


def test_what_an_index_leaves_out_is_read_and_that_is_noted(tmp_path):
    folder, pretrained = tmp_path / "folder", tmp_path / "theirs"
    folder.mkdir(), pretrained.mkdir()
    one, two = shard(folder, 1, 2, {"a": TENSORS["a"]}), shard(folder, 2, 2, {"b": TENSORS["b"], "c": torch.ones(2)})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": one, "b": two}}))
    save_file(
        {name: tensor - 1 for name, tensor in {**TENSORS, "c": torch.ones(2)}.items()}, pretrained / "model.safetensors"
    )
    out = tmp_path / "net.ken.safetensors"
    net = ken.prune(folder, pretrained, 1.0)
    assert list(net) == ["a", "b", "c"]
    assert net.notes == (
        "model.safetensors.index.json leaves out 1 of the tensors in its files (c, …); they were read as well",
    )
    assert "leaves out 1 of the tensors" in command_line.prune(folder, pretrained, out).said
    exported = ken.export(net, pretrained, tmp_path / "out")
    assert json.loads((exported / "model.safetensors.index.json").read_text())["weight_map"]["c"] == two
    assert open_path(exported).tensors["c"].tolist() == [1.0, 1.0]


def test_links_into_a_cache_of_the_hub_are_followed_and_no_others(tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    blobs = cache / "models--org--name" / "blobs"
    snapshot = cache / "models--org--name" / "snapshots" / "0a1b"
    blobs.mkdir(parents=True), (snapshot / "1_Pooling").mkdir(parents=True)
    save_file(TENSORS, blobs / "9f8e")
    for number, name in enumerate(["config.json", "1_Pooling/config.json"]):
        (blobs / f"c{number}").write_text("{}")
        (snapshot / name).symlink_to(blobs / f"c{number}")
    (snapshot / "model.safetensors").symlink_to("../../blobs/9f8e")
    mine = tmp_path / "mine"
    (mine / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "1_Pooling/config.json"):
        (mine / name).symlink_to(snapshot / name)
    assert set(open_path(snapshot).files) == {"config.json", "1_Pooling/config.json"}
    with pytest.raises(KenError, match="leads out of its folder"):
        open_path(mine)
    for way in ("HF_HUB_CACHE", "HF_HOME", "constant"):
        with monkeypatch.context() as patch:
            if way == "constant":
                patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
            else:
                patch.setenv(way, str(cache if way == "HF_HUB_CACHE" else tmp_path))
            opened = open_path(mine)
            assert set(opened.files) == {"config.json", "1_Pooling/config.json"}
            assert opened.tensors.keys() == TENSORS.keys()
            net = ken.prune(mine, {name: tensor + 1 for name, tensor in TENSORS.items()}, 0.5)
            assert net.files["1_Pooling/config.json"] == b"{}"
            (tmp_path / "token").write_text("secret")
            (cache / "token.json").write_text("secret")
            for number, secret in enumerate(
                (tmp_path / "token", cache / "token.json", cache / "models--org--name/x.json")
            ):
                secret.write_text("{}")
                (mine / f"s{number}.json").symlink_to(secret)
            assert set(open_path(mine).left) == {"s0.json", "s1.json", "s2.json"}
            for number in range(3):
                (mine / f"s{number}.json").unlink()
