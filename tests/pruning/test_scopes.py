"""scope: as many entries as every row's budget adds up to, wherever they lie in a tensor or in the model."""

import json

import numpy as np
import pytest
import torch
from command_line import ken as command
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from strategies import DTYPES, budgets

import ken
from ken import rules
from ken.errors import RuleError, ValuesError
from ken.models.pairing.rows import row_budget, row_shape
from ken.models.tensors.tensor_reader import Entries
from ken.pruning import ranges
from ken.rules import thresholds
from ken.storage.info import describe, text
from ken.subnetwork import extract

SCORED = [name for name in rules.names() if rules.get(name).score is not None]
AS_ONE_ROW = [name for name in rules.names() if rules.get(name).score is None and not rules.get(name).counts]
NAMES = ["b.weight", "a.weight", "B", "ä/1", "z"]


@st.composite
def models(draw, dtypes=tuple(DTYPES)):
    """Two state dicts, most of whose entries have the size of many others; one tensor may have grown."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    fine_tuned, pretrained = {}, {}
    for name in draw(st.permutations(NAMES))[: draw(st.integers(1, 4))]:
        shape = draw(st.sampled_from([(), (7,), (3, 5), (40, 3), (2, 3, 17), (3, 2, 2), (9, 1), (2, 2, 2, 2)]))
        dtype = draw(st.sampled_from(dtypes))
        base, update = rng.integers(-3, 4, shape) / 4, rng.integers(-2, 3, shape) / 2
        if draw(st.booleans()):
            base = rng.normal(size=shape)
        fine_tuned[name] = torch.as_tensor(base + update).to(dtype)
        pretrained[name] = torch.as_tensor(base).to(dtype)
    if draw(st.booleans()):
        grown = torch.as_tensor(rng.integers(-3, 4, (6, 5)) / 2.0)
        fine_tuned["grown"], pretrained["grown"] = grown, -grown[:4]
    return fine_tuned, pretrained


def budget_of(shape, k):
    rows, n = row_shape(shape)
    return rows * row_budget(k, n)


def oracle(fine_tuned, pretrained, k, *, scope, score):
    """Plain numpy over the scores of a whole range, one after the other in the order of names."""
    names = sorted(fine_tuned)
    masks = {}
    for group in [[name] for name in names] if scope == "tensor" else [names]:
        flat = [score(name, fine_tuned[name], pretrained[name]).reshape(-1) for name in group]
        joined = np.concatenate(flat)
        count = sum(budget_of(pretrained[name].shape, k(name)) for name in group)
        mask = np.zeros(len(joined), bool)
        mask[np.argsort(-joined, kind="stable")[:count]] = True
        for name, part in zip(group, np.split(mask, np.cumsum([len(part) for part in flat])[:-1]), strict=True):
            whole = np.ones(fine_tuned[name].numel(), bool)
            whole[: len(part)] = part
            masks[name] = whole.reshape(tuple(fine_tuned[name].shape))
    return masks


def common(tensor, other):
    return tensor.double()[: len(other)] if tensor.shape != other.shape else tensor.double()


SCORES = {
    "magnitude": lambda _, tuned, base: common(tuned, base).abs().numpy(),
    "update": lambda _, tuned, base: (common(tuned, base) - base.double()).abs().numpy(),
}


def same_masks(net, masks):
    assert set(net.pruned()) == set(masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(net[name].mask(), mask, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(models(), budgets(), st.sampled_from(["tensor", "model"]), st.sampled_from(sorted(SCORES)), st.data())
def test_the_entries_of_highest_score_of_the_range_are_retained(pair, k, scope, rule, data):
    fine_tuned, pretrained = pair
    grown = {"grown": "grown"} if "grown" in fine_tuned else {}
    by_pattern = data.draw(st.booleans())
    budget = {"*.weight": 2, "*": k} if by_pattern and any(name.endswith("weight") for name in fine_tuned) else k
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract, "_STRETCH", data.draw(st.sampled_from([8, 24, 1 << 17])))
        patch.setattr(thresholds, "_COLLECTED", data.draw(st.sampled_from([0, 5, 1 << 21])))
        net = ken.prune(fine_tuned, pretrained, budget, rule, scope=scope, rows=grown)
        by_row = ken.prune(fine_tuned, pretrained, budget, rule, rows=grown)

    def k_of(name):
        return budget if not isinstance(budget, dict) else 2 if name.endswith("weight") else k

    same_masks(net, oracle(fine_tuned, pretrained, k_of, scope=scope, score=SCORES[rule]))
    assert net.retained == by_row.retained
    assert net.recipe.scope == scope
    if scope == "tensor":
        assert {name: part.retained for name, part in net.items()} == {n: part.retained for n, part in by_row.items()}
    injected = ken.inject(ken.verify(net, pretrained), pretrained)
    for name, tensor in injected.items():
        mask = torch.as_tensor(net[name].mask())
        assert torch.equal(tensor[mask], fine_tuned[name][mask])


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("rule", [*SCORED, *AS_ONE_ROW])
def test_neither_order_nor_files_nor_shards_nor_stretches_make_a_difference(rule, scope, tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    pretrained = {name: torch.randn(24, 16, generator=generator).round(decimals=1) for name in NAMES[:4]}
    fine_tuned = {
        name: tensor + torch.randn(24, 16, generator=generator).round(decimals=1) for name, tensor in pretrained.items()
    }
    want = ken.prune(fine_tuned, pretrained, 0.3, rule, scope=scope)
    assert want.retained == sum(24 * row_budget(0.3, 16) for _ in range(4))
    masks = {name: tensor.mask() for name, tensor in want.pruned().items()}
    monkeypatch.setattr(extract, "_STRETCH", 48)
    turned = {name: fine_tuned[name] for name in reversed(NAMES[:4])}
    same_masks(ken.prune(turned, pretrained, 0.3, rule, scope=scope), masks)
    # One file, and a folder of two shards with an index.
    save_file(fine_tuned, tmp_path / "tuned.safetensors")
    save_file(pretrained, tmp_path / "base.safetensors")
    shards = tmp_path / "shards"
    shards.mkdir()
    places = {}
    for number, names in enumerate((NAMES[1:4], NAMES[:1]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: fine_tuned[name] for name in names}, shards / file)
        places |= dict.fromkeys(names, file)
    (shards / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for source in (tmp_path / "tuned.safetensors", shards):
        out = tmp_path / f"{source.name}.ken.safetensors"
        net = ken.prune(source, tmp_path / "base.safetensors", 0.3, rule, scope=scope, out=out)
        same_masks(net, masks)
        assert net.recipe == want.recipe
        assert ken.load(out).recipe.scope == scope


@settings(max_examples=20, deadline=None)
@given(models(), st.sampled_from(AS_ONE_ROW), st.floats(0.05, 1.0))
def test_to_a_rule_without_a_score_the_range_is_one_row(pair, rule, share):
    fine_tuned, pretrained = pair
    grown = {"grown": "grown"} if "grown" in fine_tuned else {}
    net = ken.prune(fine_tuned, pretrained, share, rule, scope="tensor", rows=grown)
    flat = {
        name: (common(fine_tuned[name], base).reshape(-1).numpy(), base.double().reshape(-1).numpy())
        for name, base in pretrained.items()
    }
    counts = {name: budget_of(base.shape, share) for name, base in pretrained.items()}
    for name, (tuned, base) in flat.items():
        want = rules.retain(tuned, counts[name], rule, pretrained=base, tensor=name)
        np.testing.assert_array_equal(net[name].mask().reshape(-1)[: len(want)], want)
        assert net[name].mask().reshape(-1)[len(want) :].all()
    names = sorted(flat)
    joined = [np.concatenate([flat[name][side] for name in names]) for side in (0, 1)]
    seeded_by = names[0] if len(names) == 1 else ""
    want = rules.retain(joined[0], sum(counts.values()), rule, pretrained=joined[1], tensor=seeded_by)
    net = ken.prune(fine_tuned, pretrained, share, rule, scope="model", rows=grown)
    for name, part in zip(names, np.split(want, np.cumsum([len(flat[name][0]) for name in names])[:-1]), strict=True):
        np.testing.assert_array_equal(net[name].mask().reshape(-1)[: len(part)], part)


@pytest.mark.parametrize("rule", SCORED)
def test_a_tensor_of_one_row_is_as_it_was(rule):
    rng = np.random.default_rng(1)
    fine_tuned, pretrained = ({"w": torch.as_tensor(rng.integers(-9, 9, 200) / 8)} for _ in range(2))
    nets = [ken.prune(fine_tuned, pretrained, 0.4, rule, scope=scope) for scope in rules.SCOPES]
    for net in nets:
        np.testing.assert_array_equal(net["w"].mask(), nets[0]["w"].mask())
    assert rules.get(rule).score is not None


def test_random_entries_of_the_model_are_random_and_seeded():
    pretrained = {name: torch.zeros(50, 40) for name in NAMES[:3]}
    fine_tuned = {name: tensor + 1 for name, tensor in pretrained.items()}
    nets = [ken.prune(fine_tuned, pretrained, 0.25, "random", seed=seed, scope="model") for seed in (0, 0, 1)]
    counts = [tensor.retained for tensor in nets[0].pruned().values()]
    assert sum(counts) == 1500
    assert len(set(counts)) > 1
    assert all(abs(count - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75) for count in counts)
    assert nets[0] == nets[1]
    assert nets[0] != nets[2]


def test_carried_tensors_and_tied_ones_have_no_part_in_it():
    tensor = torch.arange(12.0).reshape(3, 4)
    fine_tuned = {"a": tensor, "b": tensor * 100, "c": tensor * 10, "n": torch.tensor([1, 2])}
    pretrained = {name: torch.zeros_like(value) for name, value in fine_tuned.items()}
    net = ken.prune(fine_tuned, pretrained, 1, "update", scope="model", exclude=["b"])
    assert net["c"].retained == 6 - int(net["a"].mask().sum())
    assert net["c"].mask().reshape(-1).nonzero()[0].tolist() == [6, 7, 8, 9, 10, 11]
    assert net.table()["status"].tolist() == ["pruned", "carried", "pruned", "carried"]


@pytest.mark.parametrize("scope", ["all", "Row", None, 3, ["row"]])
def test_another_scope_is_an_error_that_names_the_three(scope):
    with pytest.raises(RuleError, match="scope must be row, tensor or model, got"):
        ken.prune({"w": torch.ones(2, 3)}, {"w": torch.zeros(2, 3)}, 1, scope=scope)


def test_a_rule_that_counts_for_itself_has_nothing_to_share():
    with pytest.raises(
        RuleError, match="rule 'changed' has no k that rows could share: scope must be row, got 'model'"
    ):
        ken.prune({"w": torch.ones(2, 3)}, {"w": torch.zeros(2, 3)}, rule="changed", scope="model")


def test_what_does_not_fit_into_memory_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(ranges, "LARGEST_ROW", 10)
    models = {"a": torch.ones(2, 5), "b": torch.ones(2, 5)}, {"a": torch.zeros(2, 5), "b": torch.zeros(2, 5)}
    with pytest.raises(
        RuleError, match=r"rule 'ken' has no score .* about 20 entries in memory, .* take scope='tensor'"
    ):
        ken.prune(*models, 2, scope="model")
    assert ken.prune(*models, 2, scope="tensor").retained == 8
    assert ken.prune(*models, 2, "update", scope="model").retained == 8
    monkeypatch.setattr(ranges, "LARGEST_ROW", 9)
    with pytest.raises(RuleError, match=r"about 10 entries in memory of 'a', .* take scope='row'"):
        ken.prune(*models, 2, scope="tensor")


@pytest.mark.parametrize("rule", ["update", "ken"])
def test_an_error_names_the_tensor_it_is_in_and_no_other(rule, tmp_path):
    fine_tuned = {"a": torch.ones(2, 5), "b": torch.ones(2, 5)}
    fine_tuned["b"][1, 3] = torch.nan
    out = tmp_path / "net.ken.safetensors"
    with pytest.raises(ValuesError, match="got nan in row 1, column 3") as caught:
        ken.prune(fine_tuned, {name: torch.zeros(2, 5) for name in fine_tuned}, 2, rule, scope="model", out=out)
    assert caught.value.__notes__ == ["in tensor 'b'"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("rule", ["update", "cabs"])
def test_a_tensor_that_has_grown_from_nothing_has_no_part_in_the_budget(rule, scope, tmp_path):
    rng = torch.Generator().manual_seed(0)
    tuned = {"a": torch.randn(2, 5, generator=rng), "b": torch.randn(4, 5, generator=rng)}
    base = {"a": torch.zeros(0, 5), "b": torch.zeros(4, 5)}
    net = ken.prune(
        *(tuned, base, 0.4, rule),
        scope=scope,
        rows={"a": "grown"},
        progress=False,
        out=tmp_path / "net.ken.safetensors",
    )
    assert (net["a"].retained, net["b"].retained) == (10, 8)
    alone = ken.prune({"b": tuned["b"]}, {"b": base["b"]}, 0.4, rule, scope=scope, progress=False)
    np.testing.assert_array_equal(net["b"].mask(), alone["b"].mask())
    injected = ken.inject(net, base)
    assert torch.equal(injected["a"], tuned["a"])
    if scope == "tensor" or rule == "update":
        assert all(why.mask.all() for why in ken.explain(net, ken.Pair(tuned, base), "a"))


def test_scores_that_cannot_be_compared_are_errors(monkeypatch):
    for score, problem in (
        (lambda block: np.full(block.fine_tuned.shape, np.nan), "a score must be a number, got nan"),
        (lambda block: np.zeros(3), "a rule's score must have the shape of the rows"),
    ):
        monkeypatch.setitem(rules.registry._RULES, "bad", rules.Registered(lambda block, k: None, score=score))
        with pytest.raises(RuleError, match=problem):
            ken.prune({"w": torch.ones(2, 3)}, {"w": torch.zeros(2, 3)}, 1, "bad", scope="tensor")


def saved(folder):
    generator = torch.Generator().manual_seed(0)
    base = {name: torch.randn(8, 10, generator=generator) for name in ("a", "b")}
    tuned = {name: tensor + torch.randn(8, 10, generator=generator) for name, tensor in base.items()}
    save_file(tuned, folder / "tuned.safetensors")
    save_file(base, folder / "base.safetensors")


def test_the_commands_take_a_scope_and_tell_it(tmp_path):
    saved(tmp_path)
    words = ("tuned.safetensors", "base.safetensors", "-k", "0.3", "--rule", "update", "-o", "net.ken.safetensors")
    ended = command("prune", *words, "--scope", "model", cwd=tmp_path)
    assert ended.status == 0, ended.err
    assert "scope='model': 48 of 160 entries retained" in ended.out
    assert "k = 0.3 was taken for 30 % of every row, shared by those of all tensors." in ended.out
    described = describe(tmp_path / "net.ken.safetensors")
    assert described["recipe"]["scope"] == "model"
    assert "update, k = 0.3 of every row, shared over all pruned tensors, on weights" in text(described)
    wrong = command("prune", *words, "--scope", "layer", cwd=tmp_path)
    assert wrong.err.startswith("ken: scope must be row, tensor or model, got 'layer'")
    planned = command("plan", "tuned.safetensors", "-k", "0.3", "--scope", "model", "--tensors", cwd=tmp_path)
    assert planned.status == 0, planned.err
    assert planned.out.splitlines()[0].split() == ["?", "of", "80", "'a'", "[8,", "10]"]
    assert "retains 48 of 160 entries (30.0 %); how many of each tensor, the values decide" in planned.out


def test_a_plan_knows_the_total_of_every_scope(tmp_path):
    saved(tmp_path)
    path = tmp_path / "tuned.safetensors"
    plans = {scope: ken.plan(path, 0.3, scope=scope) for scope in rules.SCOPES}
    assert {one.retained for one in plans.values()} == {48}
    assert plans["tensor"].table()["retained"].tolist() == [24, 24]
    assert plans["model"].table()[["retained", "share"]].isna().all(axis=None)
    assert str(plans["row"]) == "k = 0.3 retains 48 of 160 entries (30.0 %)"
    assert str(plans["tensor"]).startswith("k = 0.3, counted over all rows of a tensor, retains 48 of 160")
    with pytest.raises(RuleError, match="scope must be row, tensor or model, got 'rows'"):
        ken.plan(path, 0.3, scope="rows")


def test_no_more_of_a_model_is_in_memory_than_some_rows(monkeypatch):
    """Every read is of a stretch, and there are few passes."""
    monkeypatch.setattr(extract, "_STRETCH", 400)
    monkeypatch.setattr(thresholds, "_COLLECTED", 300)
    reads = []

    def counted(cls, tensor):
        flat = tensor.reshape(-1)

        def read(start, stop):
            reads.append(stop - start)
            return flat[start:stop]

        return cls(tuple(tensor.shape), tensor.dtype, read)

    monkeypatch.setattr(Entries, "from_tensor", classmethod(counted))
    rng = np.random.default_rng(0)
    pretrained = {name: torch.as_tensor(rng.normal(size=(40, 50))) for name in "abc"}
    fine_tuned = {name: tensor + torch.as_tensor(rng.normal(size=(40, 50))) for name, tensor in pretrained.items()}
    net = ken.prune(fine_tuned, pretrained, 0.3, "update", scope="model")
    assert net.retained == 3 * 40 * 15
    assert max(reads) == 400
    # Of two models: histogram, bin, what is taken; and one stretch for the last tie.
    assert sum(reads) == 2 * (3 * 6000 + 400)
