"""An export by the workers of an executor: the files of one process, byte for byte, or none."""

import json
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise
from multiprocessing import get_context

import pytest
import torch
from checkpoints import llama_folders, weights, with_weights
from kenviz_models import small_pair
from part_models import saved
from safetensors.torch import load_file, save_file
from test_executors import InAnyOrder

import ken
from ken.errors import ExecutorError, PairingError, SubnetworkError
from ken.injection import export_by_workers
from ken.subnetwork.executors import groups


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A fine-tuned folder in shards, with a configuration, its pretrained one, and the folder of one process."""
    folder = tmp_path_factory.mktemp("sharded")
    fine_tuned, pretrained = saved(folder, *small_pair())
    state, shards = load_file(fine_tuned / "model.safetensors"), {}
    for number, name in enumerate(state):
        shards.setdefault(f"model-0000{number % 3 + 1}-of-00003.safetensors", []).append(name)
    (fine_tuned / "model.safetensors").unlink()
    for shard, names in shards.items():
        save_file({name: state[name] for name in names}, fine_tuned / shard, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: shard for shard, names in shards.items() for name in names}}
    (fine_tuned / "model.safetensors.index.json").write_text(json.dumps(index))
    ken.prune(fine_tuned, pretrained, 0.5, out=folder / "net", progress=False)
    ken.export(folder / "net", pretrained, folder / "alone", progress=False)
    return folder


@pytest.mark.parametrize("block", [16, 200, 1 << 16])
@pytest.mark.parametrize("entries", [1, 900, 10**9])
def test_in_any_groups_and_order_it_is_the_folder_of_one_process(sharded, tmp_path, monkeypatch, block, entries):
    monkeypatch.setattr(groups, "ENTRIES", entries)
    monkeypatch.setattr(export_by_workers, "BLOCK", block)
    want = contents(sharded / "alone")
    assert len(want) == 5
    counted = Counting()
    assert ken.export(sharded / "net", sharded / "pretrained", tmp_path / "out", executor=counted, progress=False)
    assert contents(tmp_path / "out") == want
    executor = InAnyOrder(entries + block, counted.calls)
    out = ken.export(sharded / "net", sharded / "pretrained", tmp_path / "again", executor=executor, progress=False)
    assert out == tmp_path / "again"
    assert contents(out) == want
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    # Names and paths alone pass through it.
    assert max(map(len, executor.passed)) < 2000


class Counting(ThreadPoolExecutor):
    """Counts what it is given."""

    def __init__(self):
        super().__init__(2)
        self.calls = 0

    def submit(self, *call):
        self.calls += 1
        return super().submit(*call)


def test_one_file_is_written_by_several_workers_side_by_side(tmp_path, monkeypatch):
    paths = saved(tmp_path, *small_pair())
    ken.prune(*paths, 0.5, out=tmp_path / "net", progress=False)
    ken.export(tmp_path / "net", paths[1], tmp_path / "alone")
    monkeypatch.setattr(groups, "ENTRIES", 1000)
    monkeypatch.setattr(export_by_workers, "BLOCK", 256)
    pool = Counting()
    with pool:
        ken.export(tmp_path / "net", paths[1], tmp_path / "out", executor=pool, timeout=600)
    assert pool.calls > 3
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


def test_two_workers_never_write_into_one_block(monkeypatch):
    """What a range writes into its file itself lies in blocks that no other range, and no header, has a byte of."""
    monkeypatch.setattr(export_by_workers, "BLOCK", 64)
    cuts = [8, 9, 63, 64, 65, 127, 128, 130, 600, 640, 1000]
    owners = {}
    for start, stop in pairwise(cuts):
        first, last = export_by_workers.ByteRange("", start, stop, "").whole_blocks
        assert start <= first <= last <= stop
        assert first == last or first % 64 == last % 64 == 0
        for block in range(first // 64, last // 64):
            assert owners.setdefault(block, start) == start
    assert sorted(owners) == [*range(3, 9), *range(10, 15)]


def test_what_stands_in_and_what_is_tied_is_written_too(tmp_path, monkeypatch):
    fine_tuned, pretrained = llama_folders(tmp_path)
    part = {name: tensor for name, tensor in weights(fine_tuned).items() if ".0." in name}
    lacking = with_weights(fine_tuned, part, tmp_path / "part")
    ken.prune(lacking, pretrained, 0.5, out=tmp_path / "net", progress=False)
    monkeypatch.setattr(groups, "ENTRIES", 300)
    with ThreadPoolExecutor(2) as pool:
        ken.export(tmp_path / "net", pretrained, tmp_path / "out", executor=pool)
        ken.export(tmp_path / "net", pretrained, tmp_path / "alone")
        assert contents(tmp_path / "out") == contents(tmp_path / "alone")
        tied = {"a": torch.ones(9, 7), "empty": torch.zeros(0, 3), "number": torch.tensor(2)}
        tied["b"] = tied["a"]
        torch.save(tied, tmp_path / "tied.bin")
        torch.save({name: tensor * 0 for name, tensor in tied.items()}, tmp_path / "base.bin")
        ken.prune(tmp_path / "tied.bin", tmp_path / "base.bin", 2, out=tmp_path / "tied-net", progress=False)
        ken.export(tmp_path / "tied-net", tmp_path / "base.bin", tmp_path / "tied out", executor=pool)
        ken.export(tmp_path / "tied-net", tmp_path / "base.bin", tmp_path / "tied alone")
        assert contents(tmp_path / "tied out") == contents(tmp_path / "tied alone")
    assert load_file(tmp_path / "tied out" / "model.safetensors").keys() == tied.keys()


def test_processes_of_a_pool_write_the_same(sharded, tmp_path):
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        ken.export(sharded / "net", sharded / "pretrained", tmp_path / "out", executor=pool, timeout=600)
    assert contents(tmp_path / "out") == contents(sharded / "alone")


def test_what_makes_no_sense_is_told_before_anything_is_made(sharded, tmp_path):
    net, base, out = sharded / "net", sharded / "pretrained", tmp_path / "out"
    with ThreadPoolExecutor(1) as pool:
        for words, error, message in [
            ((ken.load(net), base, out), ExecutorError, "workers open the subnetwork themselves: give its place"),
            ((net, small_pair()[1], out), PairingError, "the pretrained model must be a path"),
            ((net, base, "s3://bucket/model"), ExecutorError, "on a disk that all share, not behind a URL"),
            ((net, sharded / "fine_tuned", out), SubnetworkError, "not the pretrained tensor"),
        ]:
            with pytest.raises(error, match=message):
                ken.export(*words, executor=pool, progress=False)
    with pytest.raises(ExecutorError, match="executor must be"):
        ken.export(net, base, out, executor=3, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_fails_leaves_nothing(sharded, tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "ENTRIES", 900)
    real, calls = export_by_workers.worker_range, []

    def fail(*call):
        calls.append(call)
        return real(*call) if len(calls) < 3 else 1 / 0

    monkeypatch.setattr(export_by_workers, "worker_range", fail)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError) as error:
        ken.export(sharded / "net", sharded / "pretrained", tmp_path / "out", executor=pool)
    assert "on a worker" in error.value.__notes__[0]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(export_by_workers, "worker_range", lambda *call: json.dumps(json.loads(real(*call)) - 1))
    with ThreadPoolExecutor(1) as pool, pytest.raises(ExecutorError, match="a worker has written"):
        ken.export(sharded / "net", sharded / "pretrained", tmp_path / "out", executor=pool)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_fails_for_the_disk_alone_writes_again(sharded, tmp_path, monkeypatch):
    real, failures = export_by_workers._write, iter([2])

    def full(place, parts, **files):
        if next(failures, None):
            files["ends"].write(b"half")
            raise OSError("no space left")
        return real(place, parts, **files)

    monkeypatch.setattr(export_by_workers, "_write", full)
    with ThreadPoolExecutor(1) as pool, pytest.warns(ken.KenWarning, match="no space left; it is tried again"):
        ken.export(sharded / "net", sharded / "pretrained", tmp_path / "out", executor=pool)
    assert contents(tmp_path / "out") == contents(sharded / "alone")


def test_workers_that_do_not_share_the_disk_are_found_out_and_late_ones_leave_nothing(sharded, tmp_path, monkeypatch):
    real, calls = export_by_workers.worker_range, []

    def elsewhere(net, pretrained, names, place):
        return real(net, pretrained, names, place.replace("out", "there"))

    def kept(*call):
        calls.append(call)
        return real(*call)

    for worker in (elsewhere, kept):
        monkeypatch.setattr(export_by_workers, "worker_range", worker)
        with ThreadPoolExecutor(1) as pool:
            if worker is kept:
                ken.export(sharded / "net", sharded / "pretrained", tmp_path / "out", executor=pool)
                continue
            with pytest.raises(ExecutorError, match="must lie on a disk that all workers and this process share"):
                ken.export(sharded / "net", sharded / "pretrained", tmp_path / "out", executor=pool)
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ExecutorError, match="finds no file"):
        real(*calls[0])
    assert contents(tmp_path) == {f"out/{name}": data for name, data in contents(sharded / "alone").items()}
