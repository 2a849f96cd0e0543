"""Outputs behind URLs: whole or not at all, never over what is read, nor over what is something else."""

import json
import pickle

import command_line
import pytest
import torch
from checkpoints import llama_folders
from safetensors.torch import load_file
from test_urls import memory as memory
from test_urls import put

import ken
import kenviz
from ken.errors import FormatError, OutputError, RemoteError
from ken.models.checkpoints.remote import remote_file
from ken.storage.atomic_files import replacing, replacing_folder, write_text

MODELS = {"w": torch.arange(16.0).reshape(4, 4)}, {"w": torch.zeros(4, 4)}
NET = "memory://b/net.ken.safetensors"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(remote_file, "FIRST_WAIT", 0.0)


@pytest.fixture
def net():
    return ken.prune(*MODELS, 2, progress=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return llama_folders(tmp_path_factory.mktemp("models"))


def names(fs, place="/b"):
    return sorted(path.removeprefix(f"{place}/") for path in fs.find(place))


def test_a_subnetwork_is_saved_and_opened_by_its_url(memory, net, tmp_path):
    assert net.save(NET) == NET
    path = net.save(tmp_path / "net.ken.safetensors")
    assert memory.cat_file("/b/net.ken.safetensors") == path.read_bytes()
    assert names(memory) == ["net.ken.safetensors"]
    opened = ken.load(NET)
    assert opened == net == opened.in_memory
    with pytest.raises(OutputError, match="it is the file of this subnetwork, memory://b/net.ken.safetensors"):
        opened.save(NET)
    net.save(NET)  # one of its kind is replaced


def test_a_subnetwork_is_pruned_into_a_url(memory, folders, tmp_path):
    disk = ken.prune(*folders, 2, out=tmp_path / "net.ken.safetensors", progress=False)
    remote = ken.prune(*folders, 2, out=NET, progress=False)
    assert remote == disk
    assert memory.cat_file("/b/net.ken.safetensors") == (tmp_path / "net.ken.safetensors").read_bytes()


def test_a_checkpoint_folder_is_exported_to_a_url(memory, folders, tmp_path):
    net = ken.prune(*folders, 2, progress=False)
    here = ken.export(net, folders[1], tmp_path / "out", progress=False)
    assert ken.export(net, folders[1], "memory://b/out", progress=False) == "memory://b/out"
    assert names(memory, "/b/out") == sorted(path.name for path in here.iterdir())
    for file in here.iterdir():
        assert memory.cat_file(f"/b/out/{file.name}") == file.read_bytes()
    with pytest.raises(FileExistsError, match=r"memory://b/out is there already, and not an empty folder"):
        ken.export(net, folders[1], "memory://b/out", progress=False)


def test_a_report_and_its_numbers_go_behind_urls(memory, net):
    pair = ken.Pair(*MODELS)
    numbers = "memory://b/r.json"
    place = kenviz.report(net, pair, "memory://b/r.html", json=numbers, sections=["summary"], progress=False)
    assert place == "memory://b/r.html"
    assert memory.cat_file("/b/r.html").lower().startswith(b"<!doctype html")
    assert json.loads(memory.cat_file("/b/r.json"))["schema_id"].startswith("urn:kenviz:report:")


def test_nothing_that_is_read_is_written_over(memory, folders, net):
    put(memory, folders[0], "/b/fine_tuned")
    put(memory, folders[1], "/b/pretrained")
    models = "memory://b/fine_tuned", "memory://b/pretrained"
    before = {name: memory.cat_file(f"/b/{name}") for name in names(memory)}
    for out in ("memory://b/fine_tuned", "memory:///b/pretrained/x.ken.safetensors", "memory://b/pretrained/a/b"):
        with pytest.raises(OutputError, match="memory://.*cannot be written: it (is|lies inside) the "):
            ken.prune(*models, 2, out=out, progress=False)
    one = "memory://b/fine_tuned/model.safetensors"
    with pytest.raises(OutputError, match="it is the fine-tuned model"):
        ken.prune(one, models[1], 2, out=one, overwrite=True, progress=False)
    with pytest.raises(OutputError, match="lies inside the pretrained model"):
        ken.export(net, models[1], "memory://b/pretrained/out", progress=False)
    assert before == {name: memory.cat_file(f"/b/{name}") for name in names(memory)}


def test_what_is_something_else_stays(memory, net):
    memory.pipe_file("/b/net.ken.safetensors", b"text,label\n")
    with pytest.raises(OutputError, match="memory://b/net.ken.safetensors is there already and holds text, not a sub"):
        net.save(NET)
    assert memory.cat_file("/b/net.ken.safetensors") == b"text,label\n"
    net.save(NET, overwrite=True)
    assert ken.load(NET) == net
    with pytest.raises(OutputError, match="are one file"):
        kenviz.report(net, ken.Pair(*MODELS), "memory://b/x", json="memory:///b/x", progress=False)
    with pytest.raises(OutputError, match="https://host/a cannot be written: web servers are read from alone"):
        net.save("https://host/a")
    with pytest.raises(IsADirectoryError, match="memory://b cannot be written: it is a folder"):
        net.save("memory://b")


def test_an_upload_that_breaks_off_leaves_nothing_under_the_name(memory, net, monkeypatch):
    net.save(NET)
    before = memory.cat_file("/b/net.ken.safetensors")
    tries = []

    def broken(self, local, remote, **_):
        tries.append(remote)
        self.pipe_file(remote, b"half")
        raise ConnectionResetError("gone")

    monkeypatch.setattr(type(memory), "put_file", broken)
    with pytest.raises(RemoteError, match=r"memory://b/net\.ken\.safetensors: to write it failed 4 times: Conn.*gone"):
        ken.prune(MODELS[1], MODELS[0], 2, out=NET, progress=False)
    assert len(tries) == remote_file.TRIES
    assert names(memory) == ["net.ken.safetensors"]
    assert memory.cat_file("/b/net.ken.safetensors") == before


def test_an_upload_of_which_less_arrives_is_not_taken(memory, monkeypatch):
    monkeypatch.setattr(type(memory), "put_file", lambda self, local, remote, **_: self.pipe_file(remote, b"hal"))
    with pytest.raises(RemoteError, match="3 bytes arrived in place of 5"):
        write_text("memory://b/a.txt", "whole")
    assert names(memory) == []


def test_an_upload_that_works_at_the_second_try(memory, monkeypatch):
    put_file, failures = type(memory).put_file, [1, 1]

    def flaky(self, *arguments, **options):
        if failures:
            failures.pop()
            raise TimeoutError
        return put_file(self, *arguments, **options)

    monkeypatch.setattr(type(memory), "put_file", flaky)
    write_text("memory://b/a.txt", "whole")
    assert memory.cat_file("/b/a.txt") == b"whole"


def fill_and_fail(place):
    with replacing(place) as file:
        file.write(b"half")
        raise ValueError("no")


def fill(place, files, failure=None):
    with replacing_folder(place) as folder:
        for name, text in files.items():
            (folder / name).write_text(text)
        if failure is not None:
            raise failure


def test_an_error_while_it_is_written_puts_nothing_there(memory):
    with pytest.raises(ValueError, match="no"):
        fill_and_fail("memory://b/a.bin")
    with pytest.raises(ValueError, match="no"):
        fill("memory://b/folder", {"a": "half"}, ValueError("no"))
    assert names(memory) == []


def test_a_folder_of_which_one_file_fails_is_taken_back(memory, monkeypatch):
    put_file = type(memory).put_file

    def refusing(self, local, remote, **options):
        if "config" in remote:
            raise PermissionError("no")
        return put_file(self, local, remote, **options)

    monkeypatch.setattr(type(memory), "put_file", refusing)
    with pytest.raises(RemoteError, match="config.json: to write it failed: PermissionError: no"):
        fill("memory://b/folder", {"config.json": "{}", "model.safetensors": "w"})
    assert names(memory) == []


def said(*words):
    ended = command_line.ken(*words)
    assert ended.status == 0, ended.said
    return ended.out


def test_the_command_line_takes_urls(memory, folders):
    put(memory, folders[0], "/b/fine_tuned")
    put(memory, folders[1], "/b/pretrained")
    models = "memory://b/fine_tuned", "memory://b/pretrained"
    printed = said("prune", *models, "-k", "2", "-o", NET)
    assert f"{NET}: {memory.size('/b/net.ken.safetensors'):,} bytes" in printed
    assert "net.ken.safetensors" in said("info", NET)
    assert "tensors are whole, and it injects into pretrained" in said("verify", NET, models[1])
    assert "memory://b/out: config.json, " in said("inject", NET, models[1], "-o", "memory://b/out")
    assert "model.safetensors" in names(memory, "/b/out")
    assert "memory://b/r.html: " in said("report", NET, *models, "-o", "memory://b/r.html")
    ended = command_line.ken("prune", *models, "-k", "2", "-o", f"{models[0]}/net")
    assert ended.status == 1
    assert "lies inside the fine-tuned model" in ended.err


def test_the_exported_folder_is_that_of_the_disk_and_loads(memory, folders, tmp_path):
    net = ken.prune(*folders, 2, progress=False)
    ken.export(net, folders[1], "memory://b/out", progress=False)
    memory.get("/b/out", str(tmp_path / "out"), recursive=True)
    here = ken.export(net, folders[1], tmp_path / "here", progress=False)
    one, other = load_file(tmp_path / "out" / "model.safetensors"), load_file(here / "model.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_subnetwork_behind_a_url_opens_again_where_it_is_sent(memory):
    net = ken.prune({"w": torch.ones(4, 8)}, {"w": torch.zeros(4, 8)}, 2, out="memory://b/n.ken.safetensors")
    sent = pickle.dumps(net)
    assert pickle.loads(sent) == net  # noqa: S301
    ken.prune({"w": torch.ones(4, 8)}, {"w": torch.zeros(4, 8)}, 3, out="memory://b/n.ken.safetensors")
    with pytest.raises(FormatError, match="n.ken.safetensors, which has become another since"):
        pickle.loads(sent)  # noqa: S301
