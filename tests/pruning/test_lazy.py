"""prune(lazy=True): what is looked at is decided when it is looked at, to the same bits."""

import copy
import pickle
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES, budgets

import ken
from ken import rules
from ken.errors import BudgetError, OutputError, PairingError, RuleError, ValuesError
from ken.models.tensors.tensor_reader import Entries
from ken.pruning import lazy_tensors
from ken.pruning.lazy_decider import LazyDecider
from ken.subnetwork import injected_rows

SHAPES = [(), (7,), (3, 5), (40, 3), (2, 3, 17), (3, 2, 2), (9, 1), (2, 2, 2, 2)]
NAMES = ["b.weight", "a.weight", "B", "ä/1"]


@st.composite
def models(draw):
    """Two state dicts of one to three tensors, one of which may have grown, and one carried."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fine_tuned, pretrained = {}, {}
    for name in draw(st.permutations(NAMES))[: draw(st.integers(1, 3))]:
        shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES))
        base = rng.normal(size=shape) if draw(st.booleans()) else rng.integers(-3, 4, shape) / 4
        fine_tuned[name] = torch.as_tensor(base + rng.integers(-2, 3, shape) / 2).to(dtype)
        pretrained[name] = torch.as_tensor(base).to(dtype)
    if draw(st.booleans()):
        grown = torch.as_tensor(rng.integers(-3, 4, (6, 5)) / 2.0)
        fine_tuned["grown"], pretrained["grown"] = grown, -grown[:4]
    fine_tuned["new"] = torch.arange(3)
    return fine_tuned, pretrained


@st.composite
def settings_of_prune(draw):
    """Whatever prune can be asked for, by name."""
    rule = draw(st.sampled_from(rules.names()))
    counted = rules.get(rule).counts
    chosen = {"rule": rule, "seed": draw(st.integers(0, 3)), "raw": draw(st.booleans())}
    chosen["k"] = None if counted else draw(budgets())
    chosen["scope"] = "row" if counted else draw(st.sampled_from(list(rules.SCOPES)))
    if draw(st.booleans()):
        chosen["on"] = draw(st.sampled_from(rules.VALUES))
    if draw(st.booleans()):
        chosen["rows"] = {"*": draw(st.sampled_from(["last", "first", "whole"]))}
    chosen["rows"] = {**chosen.get("rows", {}), "grown": "grown"}
    return chosen


def both(pair, **chosen):
    """The pruned subnetwork and the lazy one, or None if that cannot be asked for, of either."""
    refused = ""
    try:
        whole = ken.prune(*pair, **chosen, progress=False)
    except (RuleError, ValuesError, PairingError, BudgetError) as error:
        refused = str(error)
    if refused:
        with pytest.raises(ken.KenError, match=re.escape(refused)):
            ken.prune(*pair, **chosen, progress=False, lazy=True).in_memory  # noqa: B018
        return None
    return whole, ken.prune(*pair, **chosen, progress=False, lazy=True)


@settings(max_examples=80)
@given(models(), settings_of_prune(), st.data())
def test_rows_are_those_of_the_pruned_one_whichever_are_asked_for(pair, chosen, data):
    pruned = both(pair, **chosen)
    if pruned is None:
        return
    whole, lazy = pruned
    assert lazy.lazy
    assert not whole.lazy
    for name, expected in whole.pruned().items():
        tensor, rows = lazy[name], expected.row_shape[0]
        first = data.draw(st.integers(0, rows))
        wanted = slice(first, data.draw(st.integers(first, rows)), data.draw(st.integers(1, 3)))
        assert np.array_equal(tensor.row_mask(wanted), expected.row_mask(wanted))
        assert np.array_equal(tensor.row_mask(), expected.row_mask())
        assert (tensor.retained, tensor.shape, tensor.dtype) == (expected.retained, expected.shape, expected.dtype)
        part = slice(first, min(first + 2, rows))
        assert all(map(np.array_equal, tensor.retained_rows(part), expected.retained_rows(part)))
        assert tensor == expected


@settings(max_examples=40)
@given(models(), settings_of_prune())
def test_it_is_equal_to_the_pruned_one_and_writes_the_same_bytes(pair, chosen):
    pruned = both(pair, **chosen)
    if pruned is None:
        return
    whole, lazy = pruned
    assert lazy.table().drop(columns="status").equals(whole.table().drop(columns="status"))
    with TemporaryDirectory() as folder:
        ken.prune(*pair, **chosen, progress=False, out=Path(folder) / "pruned")
        assert lazy.save(Path(folder) / "lazy", progress=False) == Path(folder) / "lazy"
        assert (Path(folder) / "lazy").read_bytes() == (Path(folder) / "pruned").read_bytes()
    assert lazy == whole
    assert whole == lazy
    assert hash(lazy) == hash(whole)
    assert lazy.table().equals(whole.table())
    assert (lazy.relation, lazy.notes, dict(lazy.lacking)) == (whole.relation, whole.notes, dict(whole.lacking))
    assert lazy.fine_tuned == whole.fine_tuned
    assert hash(lazy.pretrained) == hash(whole.pretrained)


@pytest.fixture
def spans(monkeypatch):
    """What is read, as (start, stop), in the order in which it is."""
    seen = []
    plain = Entries.from_tensor.__func__

    def spied(cls, tensor):
        entries = plain(cls, tensor)

        def read(start, stop):
            seen.append((start, stop))
            return entries.read(start, stop)

        return cls(entries.shape, entries.dtype, read)

    monkeypatch.setattr(Entries, "from_tensor", classmethod(spied))
    return seen


def matrices(rows=50, columns=8, names=("h.0.w", "h.1.w")):
    generator = torch.Generator().manual_seed(0)
    pretrained = {name: torch.randn(rows, columns, generator=generator) for name in names}
    return {name: tensor + torch.randn(rows, columns, generator=generator) for name, tensor in pretrained.items()}, (
        pretrained
    )


def test_nothing_is_read_before_it_is_looked_at(spans):
    net = ken.prune(*matrices(), k=3, lazy=True)
    assert "decided as it is looked at" in repr(net)
    assert net.table()["retained"].tolist() == [150, 150]
    assert (net.share, net.retained, len(net.pruned()), net.cuts) == (0.375, 300, 2, {})
    assert spans == []


def test_only_the_rows_asked_for_are_read_and_each_once(spans):
    net = ken.prune(*matrices(), k=3, lazy=True)
    net["h.0.w"].row_mask(slice(7, 9))
    assert spans == [(56, 72), (56, 72)]
    assert net["h.0.w"].undecided() == 48
    spans.clear()
    net["h.0.w"].row_mask(slice(6, 10))
    assert spans == [(48, 56), (48, 56), (72, 80), (72, 80)]
    spans.clear()
    net["h.0.w"].row_mask(slice(0, 50, 20))
    assert spans == [(0, 8), (0, 8), (160, 168), (160, 168), (320, 328), (320, 328)]


def test_rows_of_a_rescaled_one_are_read_alone(spans):
    pair = matrices()
    whole = ken.prune(*pair, k=3, rule="dare")
    net = ken.prune(*pair, k=3, rule="dare", lazy=True)
    spans.clear()
    base = pair[1]["h.0.w"][7:9].double().numpy()
    rows = injected_rows(net["h.0.w"], base, slice(7, 9))
    assert set(spans) == {(56, 72)}
    assert np.array_equal(rows, injected_rows(whole["h.0.w"], base, slice(7, 9)))


def test_rows_that_are_known_are_not_decided_again(monkeypatch):
    pair = matrices()
    net = ken.prune(*pair, k=3, lazy=True)
    net["h.0.w"].decide()
    monkeypatch.setattr(LazyDecider, "_mask", None)
    assert net["h.0.w"].undecided() == 0
    assert net["h.0.w"] == ken.prune(*pair, k=3)["h.0.w"]


def test_what_was_decided_makes_room_for_what_is_looked_at(monkeypatch):
    monkeypatch.setattr(lazy_tensors, "MOST_KEPT", 100)
    pair = matrices()
    net = ken.prune(*pair, k=3, lazy=True)
    first, second = net["h.0.w"], net["h.1.w"]
    first.decoded()
    assert first.nbytes == 50 + 150 * 4
    second.row_mask()
    assert (first.nbytes, second.nbytes, first.undecided()) == (0, 50, 50)
    assert net == ken.prune(*pair, k=3)


def test_an_error_in_the_values_comes_when_its_place_is_looked_at():
    fine_tuned, pretrained = matrices()
    fine_tuned["h.1.w"][30, 2] = torch.nan
    net = ken.prune(fine_tuned, pretrained, k=3, lazy=True)
    net["h.0.w"].decoded()
    assert net["h.1.w"].row_mask(slice(0, 30)).sum() == 90
    for look in (
        lambda: net["h.1.w"].row_mask(slice(29, 32)),
        lambda: net["h.1.w"].bits,
        lambda: net.in_memory,
    ):
        with pytest.raises(ValuesError, match=r"row 30, column 2\nin tensor .h\.1\.w"):
            look()
    assert net["h.1.w"].undecided(slice(0, 30)) == 0
    assert net["h.1.w"].undecided() == 20


def test_an_interrupt_leaves_nothing_half_made(monkeypatch, tmp_path):
    pair = matrices()
    net, whole = ken.prune(*pair, k=3, lazy=True), ken.prune(*pair, k=3)
    plain, calls = LazyDecider._mask, []

    def interrupted(self, *arguments):
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(LazyDecider, "_mask", interrupted)
    for look in (lambda: net["h.0.w"].row_mask(), lambda: net["h.0.w"].result):
        with pytest.raises(KeyboardInterrupt):
            look()
    assert calls
    assert net["h.0.w"].undecided() == 50
    assert net["h.0.w"].nbytes == 0
    monkeypatch.setattr(LazyDecider, "_mask", plain)
    assert net == whole

    monkeypatch.setattr("ken.pruning.making.mask_of", lambda *_, **__: interrupted(None))
    with pytest.raises(KeyboardInterrupt):
        net.save(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_the_whole_is_decided_once_and_looked_at_from_then_on(monkeypatch):
    pair = matrices()
    net = ken.prune(*pair, k=3, lazy=True)
    assert net.in_memory == ken.prune(*pair, k=3)
    assert not net.in_memory.lazy
    monkeypatch.setattr(LazyDecider, "whole", None)
    assert net["h.0.w"].decoded() is net.in_memory["h.0.w"]
    assert net["h.1.w"].undecided() == 0


def test_copies_are_the_whole():
    pair = matrices()
    net, whole = ken.prune(*pair, k=3, lazy=True), ken.prune(*pair, k=3)
    for other in (copy.copy(net), pickle.loads(pickle.dumps(net))):  # noqa: S301 - our own bytes
        assert other == whole
        assert not other.lazy


def test_it_is_injected_verified_and_measured_like_the_pruned_one(tmp_path):
    pair = ken.Pair(*matrices())
    net, whole = ken.prune(*pair, k=3, lazy=True), ken.prune(*pair, k=3)
    injected, expected = ken.inject(net, pair.pretrained), ken.inject(whole, pair.pretrained)
    assert all(torch.equal(injected[name], expected[name]) for name in expected)
    assert ken.verify(net, pair.pretrained) is net
    assert ken.retention.table(net, pair).equals(ken.retention.table(whole, pair))
    assert np.array_equal(ken.explain(net, pair, "h.0.w", 3).mask, ken.explain(whole, pair, "h.0.w", 3).mask)


def test_of_its_own_pair_nothing_is_checked_and_another_is_refused(spans):
    pair = ken.Pair(*matrices())
    net = ken.prune(*pair, k=3, lazy=True)
    assert net.pair == pair
    spans.clear()
    ken.explain(net, pair, "h.0.w", 3)
    assert set(spans) == {(24, 32)}
    with pytest.raises(ken.KenError, match="not the one that the subnetwork was made of"):
        ken.explain(net, ken.Pair({name: 2 * tensor for name, tensor in pair.fine_tuned.items()}, pair[1]), "h.0.w", 3)


def test_unchanged_is_known_of_what_was_decided_whole():
    _, pretrained = matrices()
    net = ken.prune(pretrained, pretrained, k=3, lazy=True)
    assert not net.unchanged
    net["h.0.w"].decoded()
    assert net.table()["status"].tolist() == ["unchanged", "pruned"]
    assert net == ken.prune(pretrained, pretrained, k=3)
    assert net.unchanged


def test_a_rule_that_counts_for_itself_counts_when_it_is_asked_how_many(spans):
    pair = matrices()
    net = ken.prune(*pair, rule="changed", lazy=True)
    assert "as many are retained as the values decide" in repr(net)
    assert spans == []
    assert net.retained == ken.prune(*pair, rule="changed").retained
    assert spans != []


def test_bandwidths_that_were_not_found_are_noted_as_rows_are_decided():
    fine_tuned, pretrained = matrices(rows=4)
    fine_tuned["h.0.w"][1] = torch.tensor([0.0] * 7 + [1.0])
    chosen = {"k": 3, "bandwidth": "isj", "rule": "density"}
    with pytest.warns(ken.KenWarning, match="normal reference"):
        whole = ken.prune(fine_tuned, pretrained, **chosen)
    net = ken.prune(fine_tuned, pretrained, **chosen, lazy=True)
    assert net.notes == ()
    net["h.0.w"].row_mask()
    assert "for one row (h.0.w: 1)" in net.notes[0]
    net["h.1.w"].decoded()
    net["h.0.w"].decoded()
    assert net.notes == whole.notes


def test_a_file_is_refused_and_the_models_are_not_written_over(tmp_path):
    from safetensors.torch import save_file

    pair = matrices()
    with pytest.raises(OutputError, match=r"save\(path\) of a lazy subnetwork"):
        ken.prune(*pair, k=3, lazy=True, out=tmp_path / "net")
    for path, state in zip(("new.safetensors", "old.safetensors"), pair, strict=True):
        save_file(state, tmp_path / path)
    net = ken.prune(tmp_path / "new.safetensors", tmp_path / "old.safetensors", k=3, lazy=True)
    with pytest.raises(OutputError, match="it is the pretrained model"):
        net.save(tmp_path / "old.safetensors", overwrite=True)
    assert ken.load(net.save(tmp_path / "net")) == ken.prune(
        *(tmp_path / path for path in ("new.safetensors", "old.safetensors")), k=3
    )


def test_what_prune_checks_is_checked_at_once():
    pair = matrices()
    for chosen, kind in (({"k": 0}, BudgetError), ({"k": 3, "rule": "no"}, RuleError), ({"k": {"x*": 3}}, BudgetError)):
        with pytest.raises(kind) as refused:
            ken.prune(*pair, **chosen)
        with pytest.raises(kind) as lazily:
            ken.prune(*pair, **chosen, lazy=True)
        assert str(lazily.value) == str(refused.value)
