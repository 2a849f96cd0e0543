"""How files are kept in a subnetwork file: so that the first readers take them, and no path leads anywhere else."""

import json
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath

import pytest
import second_reader
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_format import reseal

import ken
from ken.errors import FormatError
from ken.models.checkpoints.other_files import belongs
from ken.storage import model_files
from ken.storage.model_files import stored_name

# What readers of version 1.0 and 1.1 ask of the name of a file, from their code.
FIRST_SUFFIXES = {".json", ".txt", ".model", ".jinja", ".tiktoken", ".bpe", ".spm", ".vocab"}
FIRST_REFUSED = {
    *("model.safetensors.index.json", "pytorch_model.bin.index.json", "trainer_state.json", "all_results.json"),
}
PARTS = st.sampled_from(["config", "a", "%2F", "%", "%25", "b.json", "c", "é", "c%2", "vocab"])
ENDS = st.sampled_from(["", ".json", ".txt", ".codes", "%.txt", "%2.txt"])
PATHS = st.builds(lambda parts, end: "/".join(parts) + end, st.lists(PARTS, min_size=1, max_size=3), ENDS)


def taken_by_the_first_readers(name):
    plain = not name.startswith(".") and name.isprintable() and not set(name) & set('/\\:*?"<>|')
    short = 0 < len(name.encode()) <= 255
    return plain and short and PurePosixPath(name).suffix in FIRST_SUFFIXES and name not in FIRST_REFUSED


@given(st.sets(PATHS.filter(belongs), min_size=1))
def test_every_path_has_a_name_of_its_own_that_the_first_readers_take(paths):
    names = [stored_name(path, number) for path in paths for number in (1, 2, 12)]
    assert len(set(names)) == len(names)
    assert all(map(taken_by_the_first_readers, names))


@given(
    st.text(st.one_of(st.sampled_from("./\\:ab\0\n* "), st.characters()), max_size=12), st.sampled_from([".json", ""])
)
def test_a_path_that_belongs_stays_in_its_folder_on_every_system(text, end):
    path = text + end
    if not belongs(path):
        return
    for folder in (PurePosixPath("/models/one"), PureWindowsPath("C:/models/one")):
        inside = folder / path
        assert folder in inside.parents
        assert ".." not in inside.parts
        assert len(inside.parts) <= len(folder.parts) + 6


def test_long_paths_have_short_names():
    path = "/".join(["x" * 100] * 4) + ".json"
    assert taken_by_the_first_readers(stored_name(path))
    assert stored_name(path) != stored_name(path, 2)


FILES = {
    "config.json": b"{}",
    "1_Pooling/config.json": b"[1]",
    "bpe.codes": b"a b",
    "bpe.codes.txt": b"c",
    "e.txt": b"",
}
PRETRAINED = {"w": torch.zeros(4, 4)}


@pytest.fixture
def net():
    return replace(ken.prune({"w": torch.ones(4, 4)}, PRETRAINED, 2), files=FILES)


def record_of(path):
    return second_reader.read(path)["record"]


def test_files_come_back_by_their_path_for_every_reader(net, tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "LONGEST_PART", 2)
    path = net.save(tmp_path / "net")
    assert dict(ken.load(path).files) == FILES
    assert second_reader.files(path) == FILES
    names = [file["name"] for file in record_of(path)["files"]]
    assert all(map(taken_by_the_first_readers, names))
    assert {"config.json", "1_Pooling%2Fconfig.json", "1_Pooling%2Fconfig.json%2.txt", "bpe.codes%.txt"} <= set(names)
    assert {name: second_reader.inject(path, {"w": PRETRAINED["w"].numpy().view("u4")})["w"].shape for name in "w"} == {
        "w": (4, 4)
    }


@pytest.mark.parametrize(
    "path",
    [
        *(
            "../config.json",
            "a/../config.json",
            "/config.json",
            "a//config.json",
            "a/.hidden/config.json",
            ".config.json",
        ),
        *(
            "a/run.py",
            "run.sh",
            "a/model.bin",
            "model.safetensors",
            "a/optimizer.pt",
            "a\\config.json",
            "c:config.json",
        ),
        *("a/b/c/d/e/f/config.json", "model.safetensors.index.json", "a/model.safetensors.index.json", "nul.json"),
        *("a./config.json", "a /config.json", "aux/config.json", "a\n/config.json", "config.json/x.json", " "),
    ],
)
def test_paths_that_lead_elsewhere_or_to_code_are_refused_in_both_directions(net, tmp_path, path):
    target = net.save(tmp_path / "net")
    data = target.read_bytes()

    def change(record):
        record["files"][1]["path"] = path

    target.write_bytes(reseal(data, None, change))
    with pytest.raises(FormatError, match="is not the name of a configuration|cannot be a file and a folder"):
        ken.load(target)
    with pytest.raises(FormatError, match="is not the name of a configuration|cannot be a file and a folder"):
        replace(net, files={"config.json": b"", path: b""}).save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_file_in_too_many_parts_is_refused(net, tmp_path, monkeypatch):
    path = replace(net, files={f"{number}.json": b"" for number in range(65)}).save(tmp_path / "net")

    def change(record):
        for file in record["files"]:
            file["path"] = "tokenizer.json"

    path.write_bytes(reseal(path.read_bytes(), None, change))
    with pytest.raises(FormatError, match="'tokenizer.json' is in 65 parts, more than 64"):
        ken.load(path)
    monkeypatch.setattr(model_files, "LONGEST_PART", 2)
    with pytest.raises(FormatError, match="'a.json' has 129 bytes; a subnetwork file takes 128"):
        replace(net, files={"a.json": bytes(129)}).save(tmp_path / "other")


def test_a_damaged_part_is_told(net, tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "LONGEST_PART", 2)
    path = net.save(tmp_path / "net")
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    begin = 8 + int.from_bytes(data[:8], "little") + header["file:1_Pooling%2Fconfig.json%2.txt"]["data_offsets"][0]
    path.write_bytes(data[:begin] + bytes([data[begin] ^ 1]) + data[begin + 1 :])
    with pytest.raises(FormatError, match="1_Pooling/config.json.*is damaged"):
        ken.verify(path)
