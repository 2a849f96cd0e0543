"""Subnetworks on a hub that answers as the real one does: put there, described, opened again."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
from hub_server import GOOD_TOKEN, OTHER_TOKEN, environment, serving
from huggingface_hub import ModelCard, constants
from kenviz_models import small_pair
from safetensors.torch import save

import ken
from ken.cli import commands as cli
from ken.errors import HubError, KenWarning, ResultsError
from ken.storage.info import describe
from ken.subnetwork.subnetwork import Provenance

# The hub's library sends files in a way that the library below it has a better word for.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serving(monkeypatch, tmp_path) as running:
        yield running


@pytest.fixture
def login(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", GOOD_TOKEN)
    return hub


def of_base(net, **more):
    """The subnetwork as if its pretrained model had come from the hub."""
    base = Provenance("model org/base", 3, 9, "0" * 32, hub_id="org/base", commit="0123abcd" * 5, **more)
    return replace(net, pretrained=base)


def files_of(hub, name, revision="main"):
    repository = hub.repositories[name]
    return repository.commits[repository.resolve(revision)]


def test_what_was_pushed_is_loaded_again(login, net):
    url = net.push_to_hub("user/task", private=True, commit_message="First")
    assert url == f"{login.endpoint}/user/task/commit/{login.repositories['user/task'].names['main']}"
    assert login.repositories["user/task"].private
    assert login.repositories["user/task"].messages[-1] == "First"
    login.log.clear()
    assert ken.load("user/task") == net
    assert ken.load("hf://user/task/net.ken.safetensors") == ken.load(ken.Location("user/task")) == net
    assert ken.verify("user/task", small_pair().pretrained) == net
    assert describe("user/task")["entries"] == net.entries
    assert login.got() == ["net.ken.safetensors"]


def test_the_command_line_takes_places_on_the_hub(login, pair, net, monkeypatch, capsys):
    login.add("org/base", {"model.safetensors": save(pair.pretrained)}, "v1")
    login.add(
        "org/tuned",
        {"sub/model.safetensors": save(pair.fine_tuned), "README.md": b"---\nbase_model: org/base@v1\n---\n"},
    )
    net.push_to_hub("user/task")
    for words in (
        "inject hf://user/task@main org/base@v1 -o out",
        "verify user/task hf://org/base@v1/model.safetensors",
        "report user/task hf://org/tuned/sub org/base@v1 -o report.html",
        "prune hf://org/tuned/sub org/base@v1 -k 0.5 -o net.ken.safetensors",
        "prune hf://org/tuned/sub -k 0.5 -o again.ken.safetensors",
    ):
        monkeypatch.setattr(sys, "argv", ["ken", *words.split()])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code, capsys.readouterr().err
    told = capsys.readouterr().out
    assert f"all {len(net)} tensors are whole, and it injects" in told
    assert "base_model that the model card names: org/base@v1" in told
    assert ken.load("again.ken.safetensors") == ken.load("net.ken.safetensors")
    assert dict(ken.load("net.ken.safetensors").pruned()) == dict(net.pruned())


def test_a_newer_subnetwork_is_seen_and_an_older_one_stays_reachable(login, pair, net):
    first = net.push_to_hub("user/task").rpartition("/")[2]
    other = ken.prune(*pair, 3)
    other.push_to_hub("user/task")
    assert ken.load("user/task") == other
    assert ken.load(f"user/task@{first}") == net
    login.log.clear()
    assert ken.load(f"hf://user/task@{first}/net.ken.safetensors") == net
    assert login.log == []  # a commit never changes


def test_a_branch_is_made(login, net):
    net.push_to_hub("user/task", revision="try/1")
    assert "net.ken.safetensors" not in files_of(login, "user/task")
    assert ken.load("hf://user/task@try%2F1") == net


def test_the_cache_stands_in_where_there_is_no_answer(login, net, monkeypatch):
    net.push_to_hub("user/task")
    ken.load("user/task")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert ken.load("user/task") == net
    with pytest.raises(HubError, match=r"no file user/other, and the hub's cache has nothing .* HF_HUB_OFFLINE"):
        ken.load("user/other")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        net.push_to_hub("user/task")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.warns(KenWarning, match="the hub cannot be reached, so the cache's copy"):
        assert ken.load("user/task") == net


def test_which_file_is_meant_must_be_clear(hub, net):
    net.save("net")
    data = (folder := net.save("a.ken.safetensors")).read_bytes()
    hub.add("user/two", {"a.ken.safetensors": data, "b/c.ken.safetensors": data, "model.safetensors": b""})
    hub.add("user/none", {"model.safetensors": save(small_pair().pretrained)})
    with pytest.raises(
        HubError, match=r"2 subnetworks, a.ken.safetensors, b/c.ken.safetensors; name one: hf://user/two/a"
    ):
        ken.load("user/two")
    assert ken.load("hf://user/two/b") == ken.load("hf://user/two@main/a.ken.safetensors") == net
    with pytest.raises(HubError, match=r"user/none has no subnetwork"):
        ken.load("user/none")
    with pytest.raises(HubError, match="user/gone"):
        ken.load("user/gone")
    hub.log.clear()
    with pytest.raises(FileNotFoundError):
        ken.load("nothing")
    with pytest.raises(FileNotFoundError):
        ken.load("user/gone.ken.safetensors")
    assert ken.load(folder) == net
    assert hub.log == []


def test_a_file_here_comes_first(hub, net, tmp_path):
    (tmp_path / "user").mkdir()
    net.save("user/task")
    assert ken.load("user/task") == net
    assert hub.log == []


def test_who_may_not_write_is_told(hub, net):
    with pytest.raises(HubError, match="does not accept the token|if it is private, give a token"):
        net.push_to_hub("user/task")
    with pytest.raises(HubError, match="does not allow this") as raised:
        net.push_to_hub("user/task", token=OTHER_TOKEN)
    assert OTHER_TOKEN not in str(raised.value)
    assert net.push_to_hub("user/task", token=GOOD_TOKEN)


def test_the_card_of_somebody_else_stays(login, net):
    theirs = b"---\nlicense: mit\n---\n\nMine.\n"
    login.add("user/task", {"README.md": theirs, "notes.txt": b"kept"})
    with pytest.raises(HubError, match="has a model card .* not written by ken: overwrite=True"):
        net.push_to_hub("user/task")
    assert files_of(login, "user/task") == {"README.md": theirs, "notes.txt": b"kept"}
    net.push_to_hub("user/task", overwrite=True)
    net.push_to_hub("user/task", facts={"language": "en"})  # its own card needs no word
    files = files_of(login, "user/task")
    assert ModelCard(files["README.md"].decode()).data.language == "en"
    assert files["notes.txt"] == b"kept"


def test_what_others_add_meanwhile_is_not_lost(login, net, monkeypatch):
    import huggingface_hub

    real = huggingface_hub.HfApi.create_commit

    def late(self, repository, *arguments, **named):
        login.add(repository, {"README.md": b"theirs"})
        return real(self, repository, *arguments, **named)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", late)
    with pytest.raises(HubError, match="changed by somebody else meanwhile"):
        net.push_to_hub("user/task")
    assert files_of(login, "user/task") == {"README.md": b"theirs"}


@pytest.mark.parametrize(
    ("repository", "more", "message"),
    [
        ("task", {}, "a repository is called user/name"),
        ("user/task@v1", {}, "a repository is called user/name"),
        ("user/task", {"file": "net.safetensors"}, "must be called NAME.ken.safetensors"),
        ("user/task", {"file": "../net.ken.safetensors"}, "must be called NAME.ken.safetensors"),
        ("user/task", {"base_model": "/some/folder"}, "base_model must be the id of a model"),
        ("user/task", {"facts": {"license": "mit"}}, "facts must not have 'license'"),
    ],
)
def test_wrong_names_are_told_before_anything_is_asked(login, net, repository, more, message):
    with pytest.raises(HubError, match=message):
        net.push_to_hub(repository, **more)
    assert login.log == []


def test_the_metadata_of_a_card_is_what_the_library_reads(net):
    card = ModelCard(
        of_base(net).model_card("user/task", licence="apache-2.0", facts={"tags": ["mine"], "language": "en"})
    )
    told = card.data.to_dict()
    assert told["base_model"] == "org/base"
    assert told["base_model_relation"] == "adapter"
    assert told["license"] == "apache-2.0"
    assert told["library_name"] == "ken-pruning"
    assert told["tags"] == ["ken", "pruning", "subnetwork", "mine"]
    assert "model-index" not in told
    for words in ("`ken`", "50 % of each row", f"{net.retained:,} of {net.entries:,} entries", "0123abcd"):
        assert words in card.text
    assert "base_model" not in ModelCard(net.model_card("user/task")).data.to_dict()
    assert ModelCard(net.model_card("user/task", base_model="a/b")).data.base_model == "a/b"


def test_the_licence_is_that_of_the_fine_tuned_model(net):
    tuned = replace(net, fine_tuned=replace(net.fine_tuned, licence="mit"))
    assert ModelCard(tuned.model_card("user/task")).data.license == "mit"
    own = ModelCard(net.model_card("user/task", licence="other (of our own)")).data
    assert (own.license, own.license_name) == ("other", "other (of our own)")


@pytest.fixture
def table(pair):
    return ken.sweep(pair, [0.5, 0.25, 2], ["ken", "random"], evaluate=lambda state: len(state) / 100, progress=False)


def test_results_become_a_model_index_with_their_standard_errors(net, table):
    table["standard_error"] = 0.0123
    table["metric"] = [0.5 + n / 100 for n in range(len(table))]
    card = ModelCard(
        net.model_card("user/task", results=table, metric="accuracy", task="text-classification", dataset="My texts")
    )
    (index,) = card.data.to_dict()["model-index"]
    assert index["name"] == "task"
    ((metric,),) = [result["metrics"] for result in index["results"]]
    line = table[(table["model"] == "pruned") & (table["rule"] == "ken") & (table["k"].map(repr) == "0.5")]
    assert metric["value"] == line["metric"].item()
    assert metric["args"] == {"standard_error": 0.0123}
    assert "0.012" in metric["name"]
    assert index["results"][0]["dataset"] == {"name": "My texts", "type": "my_texts"}
    assert card.text.count("± 0.012") == len(table)
    assert card.text.count("**50 % of each row**") == 1


def test_results_of_something_else_are_refused(net, table):
    for results, message in (
        (table[table["k"].map(repr) != "0.5"], "no line of this subnetwork: rule 'ken', on 'weights', k = 0.5"),
        (table.drop(columns="metric"), "no column 'metric'"),
        ([1], "must be a table of ken.sweep"),
    ):
        with pytest.raises(ResultsError, match=message):
            net.model_card("user/task", results=results)


def test_one_entry_is_not_the_whole_row(pair):
    one, all_of_it = ken.prune(*pair, 1), ken.prune(*pair, 1.0)
    line = {"model": "pruned", "rule": "ken", "on": "weights", "metric": 0.5, "standard_error": float("nan")}
    table = pd.DataFrame({**line, "k": pd.Series([1], dtype=object)})
    assert "**1 entries" in one.model_card("user/task", results=table)
    with pytest.raises(ResultsError):
        all_of_it.model_card("user/task", results=table)


def test_names_of_strangers_are_no_markup(net):
    evil = "<script>alert(1)</script> | `x` [a](b) \x1b[2J\n---\nlicense: gpl"
    changed = replace(
        net, notes=(evil,), fine_tuned=replace(net.fine_tuned, source=evil), recipe=replace(net.recipe, include=(evil,))
    )
    card = ModelCard(changed.model_card("user/task"))
    assert card.data.license is None
    assert "<script>" not in card.text.replace(f"``{'<script>'}", "").split("## Notes")[1]
    assert "\x1b" not in card.text
    assert "\n---\n" not in card.text


def test_the_lines_of_a_card_do_what_they_say(login, net, pair, tmp_path):
    login.add("org/base", {"model.safetensors": save(pair.pretrained)})
    net = ken.prune(pair.fine_tuned, "org/base", 0.5)
    net.push_to_hub("user/task")
    text = ModelCard(files_of(login, "user/task")["README.md"].decode()).text
    python, shell = text.split("```python\n")[1].split("```")[0], text.split("```sh\n")[1].split("```")[0]
    names = {}
    exec(compile(python, "card", "exec"), names)
    injected = ken.inject(net, pair.pretrained)
    assert all((names["state"][name] == value).all() for name, value in injected.items())
    assert (tmp_path / "injected" / "model.safetensors").is_file()
    info, inject = shell.strip().splitlines()
    assert inject == "ken inject hf://user/task/net.ken.safetensors org/base -o injected"
    asked = [sys.executable, "-m", "ken.cli", *info.split()[1:], "--json"]
    told = subprocess.run(asked, capture_output=True, text=True, env={**os.environ, **environment(login, tmp_path)})
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["pretrained"]["hub_id"] == "org/base"
