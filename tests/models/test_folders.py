import json
from pathlib import PurePosixPath, PureWindowsPath

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from ken.errors import FormatError, PairingError
from ken.models.checkpoints.checkpoint_files import CONFIG, INDEX, WEIGHTS, open_path
from ken.models.checkpoints.other_files import belongs, plain

ONE = "model-00001-of-00002.safetensors"
TWO = "model-00002-of-00002.safetensors"
TENSORS = {"b": torch.tensor([[1.0, -0.0]]), "a": torch.arange(3), "c.d": torch.zeros(2, 0, dtype=torch.bfloat16)}


def sharded(folder, index=None, text=None):
    """A folder of two shards; its index is another one where that is asked for."""
    whole = {"weight_map": {"b": ONE, "a": TWO, "c.d": ONE}, "metadata": {"total_size": 32}}
    save_file({name: TENSORS[name] for name in ("b", "c.d")}, folder / ONE)
    save_file({"a": TENSORS["a"]}, folder / TWO)
    (folder / INDEX).write_text(json.dumps(whole if index is None else index) if text is None else text)
    return folder


def same(opened, wanted):
    assert set(opened) == set(wanted)
    assert len(opened) == len(wanted)
    for name, tensor in wanted.items():
        assert opened[name].dtype == tensor.dtype
        assert torch.equal(opened[name], tensor)


def test_a_single_file_is_its_tensors_and_nothing_else(tmp_path):
    path = tmp_path / "any name.safetensors"
    save_file(TENSORS, path)
    (tmp_path / "vocab.txt").write_text("a")
    for opened in (open_path(path), open_path(str(path))):
        same(opened.tensors, TENSORS)
        assert (opened.shards, opened.config, opened.files, opened.notes) == ({}, None, {}, ())


def test_a_folder_has_weights_a_configuration_and_files(tmp_path):
    save_file(TENSORS, tmp_path / WEIGHTS)
    (tmp_path / CONFIG).write_text('{"model_type": "bért"}', encoding="utf-8")
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    for opened in (open_path(tmp_path), open_path(str(tmp_path))):
        same(opened.tensors, TENSORS)
        assert opened.shards == {}
        assert opened.config == {"model_type": "bért"}
        assert opened.files == {CONFIG: tmp_path / CONFIG, "vocab.txt": tmp_path / "vocab.txt"}


def test_a_folder_needs_no_configuration(tmp_path):
    save_file(TENSORS, tmp_path / WEIGHTS)
    opened = open_path(tmp_path)
    assert (opened.config, opened.files) == (None, {})


def test_a_folder_of_shards_is_one_checkpoint_in_the_order_of_its_index(tmp_path):
    opened = open_path(sharded(tmp_path))
    same(opened.tensors, TENSORS)
    assert [*opened.tensors] == ["b", "a", "c.d"]
    assert opened.shards == {"b": ONE, "a": TWO, "c.d": ONE}
    assert (opened.config, opened.files) == (None, {})


def test_a_name_that_is_not_there_is_a_key_error(tmp_path):
    opened = open_path(sharded(tmp_path)).tensors
    assert "x" not in opened
    with pytest.raises(KeyError):
        opened["x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ('{"weight_map": ', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("\ud800".encode("utf-8", "surrogatepass"), "is not JSON"),
        ("[]", "must hold a JSON object, got list"),
        ("null", "must hold a JSON object, got NoneType"),
    ],
)
@pytest.mark.parametrize("name", [INDEX, CONFIG])
def test_an_index_or_configuration_that_is_not_json_is_refused(tmp_path, name, text, message):
    sharded(tmp_path)
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PairingError, match=f"/{name} {message}"):
        open_path(tmp_path)


@pytest.mark.parametrize(
    "index",
    [
        {},
        {"weight_map": None},
        {"weight_map": [ONE, TWO]},
        {"weight_map": {"b": 1}},
        {"weight_map": {"b": None}},
        {"weight_map": {"b": [ONE]}},
    ],
)
def test_an_index_without_a_map_of_names_is_refused(tmp_path, index):
    with pytest.raises(PairingError, match=f"/{INDEX} has no weight_map from tensor names to file names"):
        open_path(sharded(tmp_path, index))


def test_an_index_leads_to_no_file_outside_its_folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        save_file({"a": TENSORS["a"]}, place / "x.safetensors")
    save_file({"a": TENSORS["a"]}, folder / ".x.safetensors")
    outside = ["../x.safetensors", str(tmp_path / "x.safetensors"), "sub/x.safetensors", ".x.safetensors"]
    for name in [*outside, "./" + ONE, "..\\x.safetensors", "c:x.safetensors", "", ".", ".."]:
        with pytest.raises(PairingError, match="which is not the name of a file in its folder"):
            open_path(sharded(folder, {"weight_map": {"b": ONE, "a": name}}))


def test_an_index_that_names_a_missing_tensor_is_refused(tmp_path):
    for name, file in (("x", ONE), ("a", ONE)):
        sharded(tmp_path, {"weight_map": {"b": ONE, name: file}})
        with pytest.raises(PairingError, match=f"says that {name} is in {file}, which has no such tensor"):
            open_path(tmp_path)


def test_damaged_weights_are_refused(tmp_path):
    sharded(tmp_path)
    (tmp_path / TWO).write_bytes((tmp_path / TWO).read_bytes()[:-1])
    with pytest.raises(FormatError, match=f"{TWO} is not a whole safetensors file"):
        open_path(tmp_path)
    with pytest.raises(FormatError, match=f"{TWO} is not a whole safetensors file"):
        open_path(tmp_path / TWO)
    (tmp_path / INDEX).rename(tmp_path / WEIGHTS)
    with pytest.raises(FormatError, match=f"/{WEIGHTS} is not a whole safetensors file"):
        open_path(tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(PairingError, match="there is no file or folder .*none"):
        open_path(tmp_path / "none")
    with pytest.raises(PairingError, match=f"has none of {WEIGHTS}, {INDEX}, pytorch_model.bin"):
        open_path(tmp_path)
    for name in ("model.pkl", "model", "safetensors"):
        torch.save(TENSORS, tmp_path / name)
        with pytest.raises(PairingError, match=f"/{name} is no file of weights that can be read"):
            open_path(tmp_path / name)
    with pytest.raises(PairingError, match=f"has none of {WEIGHTS}, {INDEX}, pytorch_model.bin"):
        open_path(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "added_tokens.json"),
        *("special_tokens_map.json", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "chat_template.jinja"),
        *("source.spm", "a.tiktoken", "a.bpe", "a.vocab", "über.json", "bpe.codes", "prophetnet.tokenizer", "vocab"),
        *(
            "tokenizer.model.v3",
            "README.md",
            "LICENSE",
            "LICENSE.txt",
            "USE_POLICY.md",
            "NOTICE",
            "1_Pooling/config.json",
        ),
        *("additional_chat_templates/tool_use.jinja", "a/b/tokenizer.json", "language_model/unigrams.txt"),
    ],
)
def test_files_of_configuration_and_tokenizer_belong_to_the_model(tmp_path, name):
    assert belongs(name)
    save_file(TENSORS, tmp_path / WEIGHTS)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("{}")
    assert open_path(tmp_path).files == {name: tmp_path / name}


@pytest.mark.parametrize(
    "name",
    [
        *("modeling.py", "notes.md", "optimizer.pt", "training_args.bin", "pytorch_model.bin", "other.safetensors"),
        *("trainer_state.json", "all_results.json", "pytorch_model.bin.index.json", ".hidden.json", ".json", "config"),
        *("config.JSON", "a.json.py", "a.so", "a\n.json", "a:b.json", "a*.json", " "),
    ],
)
def test_weights_code_and_records_of_training_do_not(tmp_path, name):
    assert not belongs(name)
    save_file(TENSORS, tmp_path / WEIGHTS)
    (tmp_path / name).write_text("{}")
    assert open_path(tmp_path).files == {}


def test_names_that_lead_elsewhere_never_belong():
    for name in ("../config.json", "a//config.json", "/config.json", "a\\config.json", "", ".", "..", INDEX, WEIGHTS):
        assert not belongs(name)


def test_folders_and_huge_files_do_not_belong(tmp_path):
    save_file(TENSORS, tmp_path / WEIGHTS)
    (tmp_path / "folder.json").mkdir()
    for name, size in (("most.txt", 2**26), ("more.txt", 2**26 + 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "a.json").write_text("{}")
    assert [*open_path(tmp_path).files] == ["a.json", "b.json", "most.txt"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *((name, True) for name in ("a", "a.b", "a b", "a..b", "~", "-x", "語.json", "a" * 255, "é" * 127)),
        *((name, False) for name in ("", ".", "..", ".a", "a/b", "/a", "a/", "a\\b", "c:a", "a*", "a?", '"a"', "<a>")),
        *((name, False) for name in ("a|b", "a\0", "a\nb", "a\x7f", "a\u202eb", "a\ud800", "a" * 256, "é" * 128)),
    ],
)
def test_a_plain_name_is_one_file_that_can_be_seen(name, wanted):
    assert plain(name) is wanted


@given(st.text(st.one_of(st.sampled_from("./\\:ab\0\n*"), st.characters()), max_size=8))
def test_a_plain_name_stays_in_its_folder_on_every_system(name):
    if not plain(name):
        return
    for folder in (PurePosixPath("/models/one"), PureWindowsPath("C:/models/one")):
        assert (folder / name).parent == folder
        assert (folder / name).name == name
    assert name.isprintable()


def test_an_index_that_names_a_file_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "x.safetensors"}}')
    with pytest.raises(PairingError, match=r"names x\.safetensors, which is not there"):
        open_path(tmp_path)


def test_a_single_file_comes_before_an_index_as_in_transformers(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text("no JSON")
    assert list(open_path(tmp_path).tensors) == ["w"]


@pytest.mark.parametrize("newer", [True, False])
def test_old_weights_are_read_without_running_their_code(tmp_path, newer):
    torch.save(TENSORS, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=newer)
    for source in (tmp_path, tmp_path / "pytorch_model.bin"):
        opened = open_path(source).tensors
        assert opened.keys() == TENSORS.keys()
        assert all(torch.equal(opened[name], tensor) for name, tensor in TENSORS.items())


def test_old_weights_in_shards_become_names_of_newer_files(tmp_path):
    names = {"b": "pytorch_model-00001-of-00002.bin", "a": "pytorch_model-00002-of-00002.bin"}
    for name, file in names.items():
        torch.save({name: TENSORS[name]}, tmp_path / file)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
    opened = open_path(tmp_path)
    assert all(torch.equal(opened.tensors[name], TENSORS[name]) for name in names)
    assert opened.shards == {"b": "model-00001-of-00002.safetensors", "a": "model-00002-of-00002.safetensors"}


class Harm:
    """A pickle that would make a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_old_weights_that_are_more_than_weights_are_refused(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"w": torch.ones(2), "harm": Harm(tmp_path / "harm")}, path)
    with pytest.raises(
        FormatError, match=r"pytorch_model\.bin cannot be read as weights alone: there is more in it than tensors"
    ):
        open_path(path)
    assert not (tmp_path / "harm").exists()
    for data in (b"", b"PK", b"\x80\x02", b"garbage" * 99, path.read_bytes()[:300]):
        path.write_bytes(data)
        with pytest.raises(FormatError, match="cannot be read as weights alone"):
            open_path(path)
    torch.save([torch.ones(2)], path)
    with pytest.raises(PairingError, match="must hold tensors by name, got list"):
        open_path(path)


def test_links_stay_in_the_folder_or_lead_into_the_blobs_of_a_hub_cache(tmp_path):
    cache, other = tmp_path / "models--org--name", tmp_path / "other"
    snapshot = cache / "snapshots" / "0123abcd"
    for folder in (snapshot, cache / "blobs", other):
        folder.mkdir(parents=True)
    save_file(TENSORS, cache / "blobs" / "9f8e")
    (snapshot / WEIGHTS).symlink_to("../../blobs/9f8e")
    assert open_path(snapshot).tensors.keys() == TENSORS.keys()
    (other / WEIGHTS).symlink_to(cache / "blobs" / "9f8e")
    with pytest.raises(PairingError, match="is a link that leads out of its folder"):
        open_path(other)
    sharded(other, {"weight_map": {"a": "x.safetensors"}})
    (other / WEIGHTS).unlink()
    (other / "x.safetensors").symlink_to(snapshot / WEIGHTS)
    with pytest.raises(PairingError, match="is a link that leads out of its folder"):
        open_path(other)
