"""Verifying and sweeping by the workers of an executor: what comes is what comes without them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from kenviz_models import small_pair
from part_models import saved

import ken
from ken.errors import ExecutorError, FormatError, PairingError
from ken.subnetwork.executors import groups


class Accuracy:
    """A number with outcomes and another metric, of a state dict."""

    def __init__(self, state):
        values = np.concatenate([np.asarray(tensor.float()).ravel() for tensor in state.values()])
        self.outcomes = values[:400] > 0
        self.metrics = {"sum": float(values.sum())}

    def __float__(self):
        return float(self.outcomes.mean())


@pytest.fixture
def paths(tmp_path):
    return saved(tmp_path, *small_pair())


@pytest.fixture
def pool():
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture
def net(paths, tmp_path):
    ken.prune(*paths, 0.5, out=tmp_path / "net.ken.safetensors", progress=False)
    return tmp_path / "net.ken.safetensors"


@pytest.mark.parametrize("entries", [1, 300, 10**9])
def test_workers_verify_each_some_tensors(paths, net, pool, monkeypatch, entries):
    monkeypatch.setattr(groups, "ENTRIES", entries)
    assert ken.verify(net, executor=pool).share == ken.load(net).share
    ken.verify(net, paths[1], executor=pool)
    damaged = bytearray(net.read_bytes())
    for at in (-3, -len(damaged) // 3, -len(damaged) // 2):
        damaged[at] ^= 1
    net.write_bytes(damaged)
    with pytest.raises(FormatError) as alone:
        ken.verify(net, paths[1])
    with pytest.raises(FormatError) as together:
        ken.verify(net, paths[1], executor=pool)
    assert str(together.value) == str(alone.value)
    assert "tensors fail" in str(alone.value)


def test_of_another_model_workers_say_the_same(paths, net, pool):
    with pytest.raises(FormatError) as alone:
        ken.verify(net, paths[0])
    with pytest.raises(FormatError) as together:
        ken.verify(net, paths[0], executor=pool)
    assert str(together.value) == str(alone.value)


def test_workers_open_files_themselves(paths, net, pool):
    with pytest.raises(ExecutorError, match="give its place"):
        ken.verify(ken.load(net), executor=pool)
    with pytest.raises(PairingError, match="the pretrained model must be a path"):
        ken.verify(net, small_pair()[1], executor=pool)
    with pytest.raises(PairingError, match="the fine-tuned model must be a path"):
        ken.sweep(ken.Pair(*small_pair()), [0.5], evaluate=Accuracy, executor=pool, progress=False)


def test_a_sweep_by_workers_is_the_same_table_and_goes_on(paths, pool, tmp_path):
    pair = ken.Pair(*paths)
    asked = {"on": ("weights", "update"), "seeds": range(2), "exclude": ["layer.1.*"], "progress": False}
    ks = [0.5, 1, 1.0, {"layer.0.*": 2, "*": 0.25}]
    alone = ken.sweep(pair, ks, ["ken", "random"], evaluate=Accuracy, **asked)
    asked["results"] = tmp_path / "results.jsonl"
    few = ken.sweep(pair, ks[:1], ["ken"], evaluate=Accuracy, **asked, executor=pool)
    assert len(few) == 4
    together = ken.sweep(pair, ks, ["ken", "random"], evaluate=Accuracy, **asked, executor=pool, timeout=600)
    pd.testing.assert_frame_equal(together, alone)
    assert len(asked["results"].read_text().splitlines()) == 1 + len(alone)

    def never(state):
        raise AssertionError("it has been evaluated")

    again = ken.sweep(pair, ks, ["ken", "random"], evaluate=never, **asked, executor=pool)
    pd.testing.assert_frame_equal(again, alone)


def test_an_evaluation_that_fails_is_named(paths, pool):
    with pytest.raises(ZeroDivisionError) as error:
        ken.sweep(ken.Pair(*paths), [0.5], evaluate=lambda state: 1 / 0, executor=pool, progress=False)
    assert "on a worker" in error.value.__notes__[0]


def test_groups_are_of_many_entries_or_one_tensor_and_not_too_many(monkeypatch):
    sizes = [5, 0, 1, 1, 9, 2, 0]
    for entries in (1, 2, 3, 6, 100):
        spans = groups.spans(sizes, entries)
        assert [index for span in spans for index in range(*span)] == list(range(len(sizes)))
        assert all(sum(sizes[start:stop]) >= entries > sum(sizes[start : stop - 1]) for start, stop in spans[:-1])
    assert groups.spans([]) == []
    assert groups.spans([0, 0]) == [(0, 2)]
    monkeypatch.setattr(groups, "ENTRIES", 1)
    assert len(groups.spans([1] * 60)) == 60
    monkeypatch.setattr(groups, "CALLS", 4)
    assert len(groups.spans([1] * 60)) == 4
