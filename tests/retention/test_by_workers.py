"""Tables by the workers of an executor: the same to the last bit, whatever is in a group and whichever comes first."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pandas as pd
import pytest
from kenviz_models import small_pair
from part_models import saved
from test_executors import InAnyOrder

import ken
from ken import retention
from ken.errors import ExecutorError, KenWarning, PairingError, SubnetworkError
from ken.retention import common_sums, measured
from ken.subnetwork.executors import groups
from ken.training import quiet_transformers


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """Both folders of a small BERT with a head, whose attention heads are known, and a subnetwork's file."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    folder, small = tmp_path_factory.mktemp("bert"), {"vocab_size": 60, "hidden_size": 16, "intermediate_size": 24}
    config = BertConfig(**small, num_hidden_layers=2, num_attention_heads=4)
    torch.manual_seed(0)
    with quiet_transformers():
        BertModel(config).save_pretrained(folder / "pretrained")
        BertForSequenceClassification(config).save_pretrained(folder / "fine_tuned")
    pair = ken.Pair(folder / "fine_tuned", folder / "pretrained")
    for rule in ("ken", "update"):
        ken.prune(*pair, 0.3, rule, out=folder / f"{rule}.ken.safetensors", progress=False)
    return folder, pair


def same(one, other):
    """Every value, dtype and name is."""
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("entries", [1, 2000, 10**9])
def test_whatever_is_in_a_group_and_comes_first_the_tables_are_the_same(bert, monkeypatch, entries):
    folder, pair = bert
    net, other = folder / "ken.ken.safetensors", folder / "update.ken.safetensors"
    alone = retention.measure(ken.load(net), pair, progress=False)
    monkeypatch.setattr(groups, "ENTRIES", entries)
    number = len(groups.spans(measured.sizes(ken.load(net)).values()))
    assert (number == 1) == (entries == 10**9)
    for seed in range(2 if number < 9 else 1):
        executor = InAnyOrder(seed, number)
        together = retention.measure(net, pair, executor=executor, progress=False)
        assert len(executor.calls) == number
        same(together.table(), alone.table())
        same(together.heads(), alone.heads())
        assert len(together.heads()) == 2 * 7 * 4
        compared = retention.compare(net, other, pair, executor=InAnyOrder(seed, number), progress=False)
        same(compared, retention.compare(ken.load(net), ken.load(other), pair, progress=False))


def test_rows_and_columns_of_what_workers_have_counted_are_read_when_they_are_asked_for(bert):
    folder, pair = bert
    alone = retention.measure(ken.load(folder / "ken.ken.safetensors"), pair)
    with ThreadPoolExecutor(2) as pool:
        together = retention.measure(folder / "ken.ken.safetensors", pair, executor=pool)
    for name in list(alone.table().index)[::5]:
        same(together.rows(name), alone.rows(name))
        same(together.columns(name), alone.columns(name))
    with pytest.raises(ValueError, match=r"must be a pruned one, got 'classifier\.weight'"):
        together.rows("classifier.weight")


def test_lines_alone_pass_through_the_executor(bert, monkeypatch):
    folder, pair = bert
    monkeypatch.setattr(groups, "ENTRIES", 1)
    tensors = len(measured.sizes(ken.load(folder / "ken.ken.safetensors")))
    executor = InAnyOrder(0, tensors)
    retention.table(folder / "ken.ken.safetensors", pair, executor=executor, progress=False)
    assert max(map(len, executor.passed)) < 4000  # the line of a tensor, and of each of its four heads
    executor = InAnyOrder(0, tensors)
    retention.compare(*[folder / "ken.ken.safetensors"] * 2, pair, executor=executor, progress=False)
    assert max(map(len, executor.passed)) < 1000


def test_processes_of_a_pool_give_the_same(bert, monkeypatch):
    folder, pair = bert
    net = folder / "ken.ken.safetensors"
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        same(retention.table(net, pair, executor=pool, timeout=600), retention.table(net, pair))
        same(retention.heads(net, pair, executor=pool), retention.heads(net, pair))


def test_a_place_does_for_a_subnetwork_without_workers_too(bert):
    folder, pair = bert
    net = folder / "ken.ken.safetensors"
    same(retention.table(net, pair), retention.table(ken.load(net), pair))
    same(retention.in_common(net, str(net), pair), retention.in_common(net, net, pair))


def test_two_places_of_one_draw_are_warned_of_and_one_place_twice_is_not(tmp_path):
    pair = ken.Pair(*saved(tmp_path, *small_pair()))
    for name in "ab":
        ken.prune(*pair, 0.5, "random", out=tmp_path / name, progress=False)
    with ThreadPoolExecutor(2) as pool:
        with pytest.warns(KenWarning, match="both are the same draw"):
            retention.compare(tmp_path / "a", tmp_path / "b", pair, executor=pool)
        assert retention.compare(tmp_path / "a", tmp_path / "a", pair, executor=pool)["same_draw"].all()


def test_what_is_in_memory_is_refused_as_verify_refuses_it(bert):
    folder, pair = bert
    net = folder / "ken.ken.safetensors"
    in_memory = ken.Pair(*small_pair())
    with ThreadPoolExecutor(1) as pool:
        for make in (retention.measure, retention.table, retention.heads):
            with pytest.raises(ExecutorError, match="workers open the subnetwork themselves: give its place"):
                make(ken.load(net), pair, executor=pool)
            with pytest.raises(PairingError, match="the fine-tuned model must be a path"):
                make(net, in_memory, executor=pool)
        for make in (retention.compare, retention.in_common):
            with pytest.raises(ExecutorError, match="give its place"):
                make(net, ken.load(net), pair, executor=pool)
            with pytest.raises(PairingError, match="the pretrained model must be a path"):
                make(net, net, ken.Pair(pair.fine_tuned, in_memory.pretrained), executor=pool)
    with pytest.raises(ExecutorError, match="executor must be"):
        retention.table(net, pair, executor=3)


def test_of_another_pair_the_same_is_said(bert):
    folder, pair = bert
    net = folder / "ken.ken.safetensors"
    turned = ken.Pair(pair.pretrained, pair.fine_tuned)
    with ThreadPoolExecutor(1) as pool:
        for make in (retention.table, lambda net, *rest, **words: retention.compare(net, net, *rest, **words)):
            with pytest.raises(ken.KenError) as alone:
                make(net, turned)
            with pytest.raises(type(alone.value)) as together:
                make(net, turned, executor=pool)
            assert str(together.value) == str(alone.value)


def test_a_tensor_that_only_a_worker_reads_is_named_as_here(tmp_path, monkeypatch):
    """One that is beyond the quick look at a pair."""
    from ken.subnetwork import belonging

    fine_tuned, pretrained = small_pair()
    pair = ken.Pair(*saved(tmp_path, fine_tuned, pretrained))
    ken.prune(*pair, 0.5, out=tmp_path / "net", progress=False)
    (tmp_path / "other").mkdir()
    fine_tuned["embed.weight"][0, 0] += 1
    other = ken.Pair(saved(tmp_path / "other", fine_tuned, pretrained)[0], pair.pretrained)
    monkeypatch.setattr(belonging, "QUICK_TENSORS", 0)
    with ThreadPoolExecutor(1) as pool:
        for words in ({}, {"executor": pool}):
            with pytest.raises(SubnetworkError, match=r"embed\.weight: the fine-tuned model is not the one"):
                retention.table(tmp_path / "net", other, **words)
            with pytest.raises(SubnetworkError, match=r"embed\.weight: the fine-tuned model is not the one"):
                retention.compare(tmp_path / "net", tmp_path / "net", other, **words)


@pytest.mark.parametrize("room", [measured, common_sums])
def test_a_worker_that_fails_is_told_and_one_that_is_gone(bert, monkeypatch, room):
    folder, pair = bert
    net = folder / "ken.ken.safetensors"

    def make(pool):
        if room is measured:
            return retention.table(net, pair, executor=pool)
        return retention.compare(net, net, pair, executor=pool)

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(room, "worker_lines" if room is measured else "worker_sums", fail)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError) as error:
        make(pool)
    assert error.value.__notes__ == ["in group of tensors 1 of 1, on a worker"]
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(ExecutorError, match="timeout must be more than 0 seconds, got 0"),
    ):
        retention.table(net, pair, executor=pool, timeout=0)
    with pytest.raises(RuntimeError, match="after shutdown"):
        make(pool)


def test_the_bar_tells_of_entries(bert, monkeypatch):
    import tqdm.auto

    folder, pair = bert
    net, told = folder / "ken.ken.safetensors", []

    class Bar(tqdm.auto.tqdm):
        def close(self):
            told.append((self.n, self.total)) if not self.disable else None
            self.disable = True

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    with ThreadPoolExecutor(2) as pool:
        for words in ({}, {"executor": pool}):
            retention.table(net, pair, **words)
            retention.compare(net, net, pair, **words)
    total = sum(measured.sizes(ken.load(net)).values())
    assert told == [(total, total)] * 4
