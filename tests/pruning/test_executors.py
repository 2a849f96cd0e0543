"""A pruning by the workers of any executor: the bytes of one machine, whatever the workers do and suffer."""

import json
import random
import threading
import warnings
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import faulty
import pytest
import torch
from kenviz_models import small_pair
from part_models import saved, whole
from safetensors.torch import save_file

import ken
from ken.errors import ExecutorError, KenWarning, OutputError, PairingError, PartsError, RuleError, ValuesError
from ken.pruning import executors
from ken.subnetwork.executors.own_workers import RenewingPool


class InAnyOrder(Executor):
    """Makes calls when the last has been given away, in a random order; keeps what passed through it."""

    def __init__(self, seed, total):
        self.random, self.total, self.calls, self.passed = random.Random(seed), total, [], []

    def submit(self, function, *arguments):
        future = Future()
        self.calls.append((future, function, arguments))
        if len(self.calls) == self.total:
            self.random.shuffle(self.calls)
            for one, called, given in self.calls:
                try:
                    one.set_result(called(*given))
                except Exception as error:
                    one.set_exception(error)
                else:
                    self.passed += [json.dumps(given), json.dumps(one.result())]
        return future


@pytest.fixture
def paths(tmp_path):
    return saved(tmp_path, *small_pair())


@pytest.fixture
def folder(tmp_path):
    """A pair that faults are planted beside, and the bytes of one machine."""
    return faulty.folder(tmp_path)


def one(folder):
    return (folder / "one.ken.safetensors").read_bytes()


@pytest.mark.parametrize("parts", [1, 3, 40])
def test_in_any_parts_and_any_order_it_is_the_file_of_one_machine(paths, tmp_path, parts):
    want = whole(tmp_path, paths, {"k": 0.5})
    for seed in range(3):
        executor = InAnyOrder(seed, parts)
        net = ken.prune(*paths, 0.5, out=tmp_path / "net", executor=executor, parts=parts, progress=False)
        assert (tmp_path / "net").read_bytes() == want
        assert net.retained > 0
        assert len(executor.calls) == parts
        # Names and checksums alone pass through it.
        assert max(map(len, executor.passed)) < 3000
        assert {path.name for path in tmp_path.iterdir()} == {
            *("net", "fine_tuned", "pretrained", "whole.ken.safetensors")
        }


def test_the_number_of_parts_follows_from_the_models_alone(paths, tmp_path):
    with ThreadPoolExecutor(1) as few, ThreadPoolExecutor(3) as many:
        for pool in (few, many):
            ken.prune(*paths, 5, out=tmp_path / "net", executor=pool, parts_folder=tmp_path / "PARTS", progress=False)
    assert len([path for path in (tmp_path / "PARTS").iterdir() if path.suffix == ".kenpart"]) == 8


def test_after_an_error_the_same_call_makes_what_is_missing(paths, tmp_path, monkeypatch):
    real, plan = executors.worker_part, ken.parts(*paths, 5, parts=4)
    words = {"out": tmp_path / "net", "parts": 4, "progress": False}
    monkeypatch.setattr(executors, "worker_part", lambda text, index, *where: real(text, index % 4, *where))
    with pytest.raises(PartsError, match="parts are counted from 1 to 4, got 0") as error:
        ken.prune(*paths, 5, executor=InAnyOrder(0, 4), **words)
    assert error.value.__notes__[0] == "in part 4 of 4"
    folder = tmp_path / "net.parts"
    made = sorted(int(path.name[5:10]) for path in folder.iterdir() if path.suffix == ".kenpart")
    assert f"{len(made)} of 4 parts are in {folder}: the same call goes on from there" in error.value.__notes__[1]
    assert made
    monkeypatch.undo()
    executor = InAnyOrder(0, 4)
    ken.prune(*paths, 5, executor=executor, **words)
    answers = [json.loads(text) for text in map(json.loads, executor.passed[1::2])]
    assert sorted(answer["part"] for answer in answers if not answer["made"]) == made
    assert not folder.exists()
    assert plan.digest[:12] in answers[0]["name"]


def test_a_folder_with_something_else_in_it_stays(paths, tmp_path):
    (tmp_path / "net.parts").mkdir()
    (tmp_path / "net.parts" / "mine").write_text("")
    with pytest.warns(KenWarning, match="has more in it than the parts that were joined, and stays .*: mine"):
        ken.prune(*paths, 5, out=tmp_path / "net", executor=InAnyOrder(0, 8), progress=False)
    assert [path.name for path in (tmp_path / "net.parts").iterdir()] == ["mine"]


def test_what_workers_warn_of_is_said_here(paths, tmp_path):
    plan = ken.parts(*paths, 5, parts=2)
    plan.run(1, tmp_path / "PARTS", progress=False)
    path = tmp_path / "PARTS" / plan.name(1)
    path.write_bytes(path.read_bytes()[:-1])
    words = {"parts": 2, "parts_folder": tmp_path / "PARTS", "progress": False}
    with pytest.warns(KenWarning, match="it is made again"):
        ken.prune(*paths, 5, out=tmp_path / "net", executor=InAnyOrder(0, 2), **words)


def test_workers_that_write_elsewhere_are_found_out(paths, tmp_path, monkeypatch):
    real = executors.worker_part
    monkeypatch.setattr(
        executors, "worker_part", lambda text, index, folder, copies: real(text, index, f"{folder}-there", copies)
    )
    with pytest.raises(PartsError, match="must be on a disk that all workers and this process share"):
        ken.prune(*paths, 5, out=tmp_path / "net", executor=InAnyOrder(0, 2), parts=2, progress=False)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"out": None}, ExecutorError, "give out, on a disk"),
        ({"out": "s3://bucket/net"}, ExecutorError, "give parts_folder, too"),
        ({"lazy": True}, OutputError, "give one of them"),
        ({"lazy": True, "out": None}, ExecutorError, "give one of them"),
        ({"scope": "model"}, RuleError, "take scope='row'"),
        ({"parts": 0}, PartsError, "at least 1 part"),
        ({"executor": 3}, ExecutorError, "executor must be"),
        ({"executor": None, "parts": 3}, ExecutorError, "only with executor .*: parts"),
        ({"executor": None, "copies": True}, ExecutorError, "only with executor .*: copies"),
        ({"fine_tuned": {"w": torch.zeros(2, 2)}}, PairingError, "must be a path"),
        ({"parts_folder": "fine_tuned/parts"}, OutputError, "lies inside the fine-tuned model"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_done(paths, tmp_path, monkeypatch, words, error, message):
    monkeypatch.chdir(tmp_path)
    words = {"fine_tuned": paths[0], "pretrained": paths[1], "k": 5, "out": "net", "executor": InAnyOrder(0, 1)} | words
    with pytest.raises(error, match=message):
        ken.prune(**words, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"fine_tuned", "pretrained"}


def test_values_that_no_worker_could_rank_end_it_with_their_place(tmp_path):
    paths = [tmp_path / "tuned.safetensors", tmp_path / "base.safetensors"]
    values = torch.ones(40, 16)
    save_file({"w": values}, paths[1])
    values[7, 3] = float("nan")
    save_file({"w": values}, paths[0])
    with pytest.raises(ValuesError, match="row 7, column 3") as error:
        ken.prune(*paths, 5, out=tmp_path / "net", executor=InAnyOrder(0, 2), parts=2, progress=False)
    assert not any("goes on from there" in note for note in error.value.__notes__)


def test_processes_of_a_pool_that_are_killed_are_replaced(folder):
    pool = RenewingPool(2)
    try:
        faulty.plant(folder, {1: ("kill", 1)})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert faulty.prune(folder, pool, parts=4) == one(folder)
        said = " ".join(str(warning.message) for warning in caught)
        assert "a worker is gone" in said
    finally:
        pool.close()
    assert not [thread for thread in threading.enumerate() if "QueueManager" in thread.name]


def test_jobs_of_submitit_make_the_same_file(folder):
    import submitit

    executor = submitit.LocalExecutor(folder / "log")
    executor.update_parameters(timeout_min=10)
    paths = [folder / f"{name}.safetensors" for name in ("fine_tuned", "pretrained")]
    ken.prune(*paths, **faulty.RECIPE, out=folder / "net", executor=executor, parts=2, progress=False)
    assert (folder / "net").read_bytes() == one(folder)
