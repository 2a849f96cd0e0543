"""A model that is read by its hub id is an input like any other: all that the cache has of it, and its very name."""

import sys
from pathlib import Path

import pytest
from huggingface_hub import constants
from kenviz_models import small_pair
from safetensors.torch import save_file

import ken
from ken.cli import commands as cli
from ken.errors import OutputError
from ken.storage.file_kinds import FOLDER, SUBNETWORK
from ken.storage.outputs import check_outputs

ID = "org/tuned"


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """The folder in which a cache has the pretrained model; beside the cache, where we are, "org" is a folder."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = tmp_path / "hub" / "models--org--tuned"
    snapshot = place / "snapshots" / "0123abcd"
    for folder in (snapshot, place / "blobs", place / "refs", tmp_path / "here" / "org"):
        folder.mkdir(parents=True)
    (place / "refs" / "main").write_text("0123abcd")
    save_file(small_pair().pretrained, place / "blobs" / "b0")
    (snapshot / "model.safetensors").symlink_to(Path("..", "..", "blobs", "b0"))
    monkeypatch.chdir(tmp_path / "here")
    return place


def tree(folder):
    """Everything in a folder, with the bytes of its files."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(write, match, folder):
    before = tree(folder)
    with pytest.raises(OutputError, match=match):
        write()
    assert tree(folder) == before


def shell(monkeypatch, capsys, *words):
    """What a command says on its way out, with status 1."""
    monkeypatch.setattr(sys, "argv", ["ken", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("inner", ["refs/main", "refs/new", "blobs/b0", "blobs/new", "snapshots/new", "new"])
def test_all_that_the_cache_has_of_a_model_is_read(cached, inner, tmp_path, monkeypatch, capsys):
    out, tuned = cached / inner, small_pair().fine_tuned
    match = "cannot be written: it (is|lies inside) the pretrained model, "
    refused(lambda: ken.prune(tuned, ID, 0.5, out=out, overwrite=True), match, tmp_path)
    save_file(tuned, "ours.safetensors")
    before = tree(tmp_path)
    assert "the pretrained model" in shell(
        *(monkeypatch, capsys, "prune", "ours.safetensors", ID, "-k", "0.5", "-o", out, "--force")
    )
    assert tree(tmp_path) == before


def test_of_other_models_in_the_cache_nothing_is_read(cached):
    other = cached.parent / "models--org--other"
    other.mkdir()
    check_outputs([(other / "net", SUBNETWORK)], {"the pretrained model": ID})


def spellings(folder):
    """The path at which a hub id would be found from then on, by other names."""
    (folder / "link").symlink_to(Path("org", "tuned"))
    (folder / "above").symlink_to("org")
    return [
        ID,
        f"./{ID}",
        f"{ID}/",
        folder / ID,
        "org/../org/tuned",
        "link",
        Path("above", "tuned"),
    ]


def test_no_output_takes_the_name_of_a_model_that_is_read_by_it(cached, tmp_path):
    pair = small_pair()
    net = ken.prune(pair.fine_tuned, ID, 0.5)
    match = "cannot be written: from then on it would be read in place of the pretrained model, the hub's org/tuned"
    for out in spellings(Path.cwd()):
        refused(lambda out=out: ken.export(net, ID, out), match, tmp_path)
        refused(lambda out=out: ken.prune(pair.fine_tuned, ID, 0.5, out=out, overwrite=True), match, tmp_path)


@pytest.mark.parametrize("command", ["inject", "prune"])
def test_nor_on_the_command_line(cached, command, tmp_path, monkeypatch, capsys):
    tuned = small_pair().fine_tuned
    save_file(tuned, "ours.safetensors")
    ken.prune(tuned, ID, 0.5).save("net")
    words = {"inject": ("net", ID), "prune": ("ours.safetensors", ID, "-k", "0.5")}[command]
    before = tree(tmp_path)
    assert shell(monkeypatch, capsys, command, *words, "-o", ID) == (
        f"ken: {ID} cannot be written: from then on it would be read in place of the pretrained model, the hub's {ID}; "
        "give another name\n"
    )
    assert tree(tmp_path) == before


def test_nor_of_one_that_the_cache_does_not_have_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="in place of the fine-tuned model, the hub's tuned; give another name"):
        check_outputs([("tuned", FOLDER)], {"the fine-tuned model": "tuned"})


def test_another_name_is_free(cached, tmp_path):
    net = ken.prune(small_pair().fine_tuned, ID, 0.5, out="org/tuned.ken.safetensors")
    assert (ken.export(net, ID, "org/injected") / "model.safetensors").is_file()
    # A path is no id.
    check_outputs([("org/other", SUBNETWORK)], {"the pretrained model": Path(ID)})
