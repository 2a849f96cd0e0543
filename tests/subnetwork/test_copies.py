"""Subnetworks are copied, compared, pickled and sent to other processes, in memory or from a file."""

import copy
import multiprocessing
import pickle

import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification

import ken
from ken.errors import FormatError

COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}  # noqa: S301


def models(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a.weight": (6, 20), "a.bias": (6,), "norm.weight": (20,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture
def pair():
    return ken.Pair(models(0), models(1))


@pytest.fixture
def net(pair):
    return ken.prune(*pair, 0.5, exclude=["norm*"])


@pytest.fixture(params=["in memory", "from a file"])
def either(request, net, tmp_path):
    return net if request.param == "in memory" else ken.load(net.save(tmp_path / "net.ken.safetensors"))


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_copy_is_equal_and_injects_alike(either, pair, make):
    made = make(either)
    assert made == either
    assert hash(made) == hash(either)
    for name, tensor in ken.inject(made, pair.pretrained).items():
        assert torch.equal(tensor, ken.inject(either, pair.pretrained)[name])
    for name in either:
        assert make(either[name]) == either[name]
        assert hash(make(either[name])) == hash(either[name])
    assert repr(made) == repr(either)


def test_what_was_decoded_is_not_sent_along(net, tmp_path):
    stored = ken.load(net.save(tmp_path / "net.ken.safetensors"))
    before = len(pickle.dumps(stored))
    assert stored.in_memory == stored
    assert len(pickle.dumps(stored)) == before


def test_equal_is_what_was_made_alike_of_the_same_models(net, pair, tmp_path):
    path = net.save(tmp_path / "net.ken.safetensors")
    raw = ken.prune(*pair, 0.5, exclude=["norm*"], raw=True)
    alike = [net, ken.load(path), ken.load(path).in_memory, raw, ken.load(raw.save(tmp_path / "raw.ken.safetensors"))]
    assert all(one == other for one in alike for other in alike)
    assert len(set(alike)) == 1
    others = [
        ken.prune(*pair, 0.25, exclude=["norm*"]),
        ken.prune(*pair, 0.5),
        ken.prune(*pair, 0.5, "grid", exclude=["norm*"]),
        ken.prune(pair.fine_tuned, models(2), 0.5, exclude=["norm*"]),
        ken.prune(models(3), pair.pretrained, 0.5, exclude=["norm*"]),
    ]
    assert not any(net == other or ken.load(path) == other for other in others)
    assert net != "net"
    assert net["a.weight"] != net["a.bias"]
    assert net["norm.weight"] != net["a.bias"]


def test_a_nan_that_is_carried_is_equal_to_itself(tmp_path):
    tuned, theirs = models(0), models(1)
    tuned["new"] = torch.tensor([float("nan"), -0.0])
    net = ken.prune(tuned, theirs, 2)
    assert net == ken.load(net.save(tmp_path / "net.ken.safetensors"))
    tuned["new"] = torch.tensor([float("nan"), 0.0])
    assert net["new"] != ken.prune(tuned, theirs, 2)["new"]


def test_a_model_with_a_config_is_equal_to_itself_from_a_file(tmp_path):
    small = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 9,
    }
    with torch.random.fork_rng(devices=[]):
        tuned, theirs = (BertForSequenceClassification(BertConfig(**small, num_labels=3)) for _ in range(2))
        tuned.save_pretrained(tmp_path / "ours")
    for source in (tuned, tmp_path / "ours"):
        net = ken.prune(source, theirs, 0.5)
        assert net == ken.load(net.save(tmp_path / f"{type(source).__name__}.ken.safetensors"))


def summary(net):
    values = {name: (tensor.retained, tensor.dtype) for name, tensor in net.items()}
    return values, net, float(net["norm.weight"].value.sum()), net["a.weight"].mask().tolist()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_other_processes_have_the_same(either, method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        for seen in pool.map(summary, [either] * 4):
            assert seen == summary(either)


class Items(torch.utils.data.Dataset):
    """Asks a stored subnetwork for tensors, as a worker does."""

    def __init__(self, net):
        self.net = net

    def __len__(self):
        return 40

    def __getitem__(self, i):
        return ken.inject(self.net, models(1))["a.weight"].sum()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_of_a_data_loader_share_it(net, tmp_path):
    stored = ken.load(net.save(tmp_path / "net.ken.safetensors"))
    sums = torch.cat(list(torch.utils.data.DataLoader(Items(stored), batch_size=8, num_workers=2)))
    assert (sums == ken.inject(net, models(1))["a.weight"].sum()).all()


def test_a_file_that_is_gone_or_another_is_said_so(net, pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored = ken.load(net.save("net.ken.safetensors"))
    sent = pickle.dumps(stored)
    monkeypatch.chdir("/")
    assert pickle.loads(sent) == net  # noqa: S301 - wherever the other process is
    other = ken.prune(*pair, 0.25).save(tmp_path / "other.ken.safetensors")
    other.replace(tmp_path / "net.ken.safetensors")
    assert copy.deepcopy(stored) == net  # who has it open keeps it
    with pytest.raises(FormatError, match=r"net\.ken\.safetensors, which has become another .* as net\.in_memory"):
        pickle.loads(sent)  # noqa: S301
    (tmp_path / "net.ken.safetensors").unlink()
    with pytest.raises(FormatError, match=r"net\.ken\.safetensors, which cannot be opened here .* as net\.in_memory"):
        pickle.loads(sent)  # noqa: S301
    in_memory = ken.load(net.save(tmp_path / "again.ken.safetensors")).in_memory
    sent = pickle.dumps(in_memory)
    (tmp_path / "again.ken.safetensors").unlink()
    assert pickle.loads(sent) == net  # noqa: S301


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_what_holds_a_subnetwork_can_be_copied_too(either, tmp_path, make):
    for name, seed in (("ours", 0), ("theirs", 1)):
        save_file(models(seed), tmp_path / f"{name}.safetensors")
    pair = ken.Pair(tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors")
    rows = ken.explain(either, pair, "a.weight")
    assert make(rows)[2].entry(3).text == rows[2].entry(3).text
    assert make(rows[2].entry(3)).text == rows[2].entry(3).text
    retention = ken.retention.Retention(either, pair)
    assert make(retention).table().equals(retention.table())
