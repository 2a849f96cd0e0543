import copy

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import budgets, tensor_pairs

import ken
from ken.errors import BudgetError, PairingError, RuleError, ValuesError
from ken.models.pairing.rows import row_budget, row_shape


def bits(tensor):
    """The bytes of a tensor of any dtype."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def fingerprint(state):
    return {name: (tensor.dtype, tuple(tensor.shape), bits(tensor)) for name, tensor in state.items()}


@settings(max_examples=150)
@given(tensor_pairs(), budgets(), st.sampled_from(["ken", "grid", "random"]))
def test_prune_retains_exactly_k_per_row_and_inject_takes_the_rest_from_pretrained(pair, k, rule):
    fine_tuned, pretrained = pair
    before = bits(fine_tuned), bits(pretrained)
    net = ken.prune({"w": fine_tuned}, {"w": pretrained}, k, rule=rule, progress=False)
    merged = ken.inject(net, {"w": pretrained})["w"]

    assert (bits(fine_tuned), bits(pretrained)) == before
    assert (merged.dtype, merged.shape) == (fine_tuned.dtype, fine_tuned.shape)
    if fine_tuned.numel() == 0:
        assert net["w"].reason == "empty"
        return
    rows, n = row_shape(fine_tuned.shape)
    mask = net["w"].row_mask()
    assert (mask.sum(axis=1) == row_budget(k, n)).all()
    if rule == "ken":
        want = oracles.published_rule(fine_tuned.reshape(rows, n)[0].double().numpy(), row_budget(k, n))
        np.testing.assert_array_equal(mask[0], want)
    where = torch.from_numpy(net["w"].mask())
    assert bits(merged) == bits(torch.where(where, fine_tuned, pretrained))


@pytest.fixture
def models():
    torch.manual_seed(3)
    pretrained = torch.nn.Sequential(
        torch.nn.Conv1d(3, 4, 5), torch.nn.BatchNorm1d(4), torch.nn.Flatten(), torch.nn.Linear(8, 2)
    )
    fine_tuned = copy.deepcopy(pretrained)
    with torch.no_grad():
        for parameter in fine_tuned.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
    fine_tuned[1].running_mean += 1.0
    fine_tuned[1].num_batches_tracked += 3
    return fine_tuned, pretrained


def test_modules_stay_untouched_and_buffers_are_carried(models):
    fine_tuned, pretrained = models
    before = fingerprint(fine_tuned.state_dict()), fingerprint(pretrained.state_dict())
    net = ken.prune(fine_tuned, pretrained, 0.5)
    model = ken.inject(net, pretrained)
    assert (fingerprint(fine_tuned.state_dict()), fingerprint(pretrained.state_dict())) == before
    assert isinstance(model, torch.nn.Sequential)
    assert model is not pretrained
    assert torch.equal(model[1].running_mean, fine_tuned[1].running_mean)
    assert model[1].num_batches_tracked == 3
    assert all(p.requires_grad for p in model.parameters())
    assert not any(
        a.data_ptr() == b.data_ptr() for a, b in zip(model.parameters(), pretrained.parameters(), strict=True)
    )
    assert model(torch.ones(1, 3, 6)).shape == (1, 2)


def test_table_has_a_row_for_every_tensor_with_status_and_reason(models):
    fine_tuned, pretrained = models
    net = ken.prune(fine_tuned, pretrained, {"*.weight": 2, "3.bias": 1.0}, include=["0.*", "1.*"], exclude=["0.bias"])
    table = net.table()
    assert list(table.index) == list(fine_tuned.state_dict())
    assert table.loc["0.weight"].drop("share").to_dict() == {
        "status": "pruned",
        "reason": "",
        "shape": (4, 3, 5),
        "dtype": "float32",
        "rows": 4,
        "row_length": 15,
        "entries": 60,
        "retained": 8,
    }
    assert table["reason"].to_dict() == {
        "0.weight": "",
        "0.bias": "excluded by '0.bias'",
        "1.weight": "",
        "1.bias": "no budget",
        "1.running_mean": "buffer",
        "1.running_var": "buffer",
        "1.num_batches_tracked": "buffer",
        "3.weight": "not included",
        "3.bias": "not included",
    }
    assert table["retained"].sum() == net.retained
    assert table["entries"].sum() == net.entries == sum(t.numel() for t in fine_tuned.state_dict().values())
    carried = table[table.status == "carried"]
    assert (carried["share"] == 1).all()


def test_a_k_beyond_the_row_retains_everything(models):
    fine_tuned, pretrained = models
    net = ken.prune(fine_tuned, pretrained, 10_000)
    assert net.share == 1.0
    model = ken.inject(net, pretrained)
    assert fingerprint(model.state_dict()) == fingerprint(fine_tuned.state_dict())


def test_a_new_head_is_carried_and_a_lost_one_is_listed():
    net = ken.prune(
        {"w": torch.ones(2, 3), "head": torch.ones(2, 2)}, {"w": torch.zeros(2, 3), "old": torch.ones(5)}, 1
    )
    table = net.table()
    assert table.loc["head", ["status", "reason"]].tolist() == ["carried", "no pretrained counterpart"]
    assert table.loc["old", ["status", "entries", "retained"]].tolist() == ["only in pretrained", 0, 0]
    assert np.isnan(table.loc["old", "share"])


def test_rows_added_to_an_embedding_are_retained_whole():
    generator = torch.Generator().manual_seed(0)
    fine_tuned, pretrained = torch.randn(7, 10, generator=generator), torch.randn(5, 10, generator=generator)
    pair = ken.Pair({"w": fine_tuned, "b": fine_tuned[:, 0]}, {"w": pretrained, "b": pretrained[:, 0]})
    net = ken.prune(*pair, 2, rows={"*": "grown"})
    assert net["w"].mask().sum(axis=1).tolist() == [2, 2, 2, 2, 2, 10, 10]
    assert net["b"].mask()[5:].all()
    assert net["b"].mask()[:5].sum() == 2
    merged = ken.inject(net, pair.pretrained)
    assert torch.equal(merged["w"][5:], fine_tuned[5:])


def test_tensors_larger_than_a_block_are_decided_row_by_row():
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(700, 384)).astype(np.float32))
    mask = ken.prune({"w": values}, {"w": values * 0}, 0.3)["w"].row_mask()
    for row in (0, 341, 342, 699):
        np.testing.assert_array_equal(mask[row], oracles.published_rule(values[row].numpy(), 115))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["fine-tuned", "pretrained"])
def test_values_that_are_not_finite_are_refused_with_tensor_row_and_column(bad, side):
    pair = {"fine-tuned": torch.ones(900, 200), "pretrained": torch.zeros(900, 200)}
    pair[side][873, 41] = bad
    with pytest.raises(ValuesError, match=f"{side} values must be finite, got {bad} in row 873, column 41") as caught:
        ken.prune({"a.weight": pair["fine-tuned"]}, {"a.weight": pair["pretrained"]}, 5)
    assert caught.value.__notes__ == ["in tensor 'a.weight'"]


def test_nan_in_a_carried_tensor_is_carried():
    head = torch.tensor([float("nan"), -0.0])
    net = ken.prune({"w": torch.ones(2, 2), "head": head}, {"w": torch.ones(2, 2)}, 1)
    assert bits(ken.inject(net, {"w": torch.ones(2, 2)})["head"]) == bits(head)


def test_bad_arguments_are_refused_before_any_work():
    w = {"w": torch.full((2, 2), float("nan"))}  # would fail later
    with pytest.raises(BudgetError, match="k must be at least 1, got 0"):
        ken.prune(w, w, 0)
    with pytest.raises(RuleError, match="rule must be one of"):
        ken.prune(w, w, 1, rule="kenn")
    with pytest.raises(PairingError, match="must be a torch module, a state dict or a path, got float"):
        ken.prune(3.5, w, 1)
    with pytest.raises(BudgetError, match="exclude must be a sequence of patterns, got the string"):
        ken.prune(w, w, 1, exclude="w")


def test_the_subnetwork_keeps_its_values_when_the_model_changes_later():
    fine_tuned = {"w": torch.ones(2, 4), "n": torch.ones(3, dtype=torch.int64)}
    pretrained = {"w": torch.zeros(2, 4), "n": torch.zeros(3, dtype=torch.int64)}
    net = ken.prune(fine_tuned, pretrained, 2)
    fine_tuned["w"].fill_(7.0)
    fine_tuned["n"].fill_(7)
    assert net["w"].onto(pretrained["w"]).tolist() == [[1.0, 1.0, 0.0, 0.0]] * 2
    assert net["n"].value.tolist() == [1, 1, 1]


def test_numpy_numbers_are_budgets_too(models):
    assert ken.prune(*models, np.float32(0.5)).retained == ken.prune(*models, 0.5).retained
    assert ken.prune(*models, np.int64(3)).retained == ken.prune(*models, 3).retained


def test_recipe_says_how_it_was_made(models):
    recipe = ken.prune(*models, 3, "random", seed=5, exclude=["3.*"]).recipe
    assert (recipe.rule, recipe.k, recipe.seed, recipe.exclude) == ("random", 3, 5, ("3.*",))
    assert recipe.versions["torch"] == torch.__version__


def test_an_interrupt_ends_the_work_at_once(models, monkeypatch):
    calls = []

    def interrupted(block, k):
        calls.append(block.first_row)
        raise KeyboardInterrupt

    monkeypatch.setitem(ken.rules.registry._RULES, "ken", ken.rules.Registered(interrupted))
    values = torch.ones(60_000, 100)
    with pytest.raises(KeyboardInterrupt):
        ken.prune({"w": values}, {"w": values}, 5)
    assert len(calls) < 46  # of 46 blocks


def test_a_pattern_says_how_a_tensor_is_cut_into_rows(tmp_path):
    torch.manual_seed(0)
    shapes = {"a.conv": (6, 3, 5), "b.conv": (4, 3, 2, 2), "fc": (5, 7), "grown": (9, 4)}
    pretrained = {name: torch.randn(shape) for name, shape in shapes.items()}
    fine_tuned = {name: tensor + 0.1 * torch.randn(tensor.shape) for name, tensor in pretrained.items()}
    pretrained["grown"] = pretrained["grown"][:6].clone()
    cuts = {"a.*": "last", "b.*": "first", "fc": "whole", "grown": "grown"}
    for rule in ("ken", "random"):
        net = ken.prune(fine_tuned, pretrained, 2, rule=rule, rows=cuts, out=tmp_path / "net")
        sums = {name: tensor.row_mask().sum(1).tolist() for name, tensor in net.pruned().items()}
        assert sums == {"a.conv": [2] * 18, "b.conv": [2] * 4, "fc": [2], "grown": [2] * 6 + [4] * 3}
        assert net.cuts == {"a.conv": "last", "b.conv": "first", "fc": "whole"}
        assert net.recipe.rows == cuts
        assert net.table()[["rows", "row_length"]].values.tolist() == [[18, 5], [4, 12], [1, 35], [9, 4]]
        assert ken.plan(fine_tuned, 2, rows=cuts).table()["rows"].tolist() == [18, 4, 1, 9]
        memory = ken.prune(fine_tuned, pretrained, 2, rule=rule, rows=cuts)
        assert memory.save(tmp_path / "other").read_bytes() == (tmp_path / "net").read_bytes()
        again = ken.retention.table(net, ken.Pair(fine_tuned, pretrained))
        assert again["retained"].tolist() == [36, 8, 2, 24]
        assert again["rows"].tolist() == [18, 4, 1, 9]
        # A row of a cut is decided as a row of a matrix of that shape is.
        for name, shape in (("a.conv", (18, 5)), ("b.conv", (4, 12)), ("fc", (1, 35))):
            like = {name: pretrained[name].reshape(shape)}
            alone = ken.prune({name: fine_tuned[name].reshape(shape)}, like, 2, rule=rule)
            assert torch.equal(torch.from_numpy(alone[name].row_mask()), torch.from_numpy(net[name].row_mask()))
        for name, tensor in ken.inject(net, pretrained).items():
            mask = torch.from_numpy(net[name].mask())
            base = torch.cat([pretrained[name], fine_tuned[name][len(pretrained[name]) :]])
            assert torch.equal(tensor, torch.where(mask, fine_tuned[name], base))


def test_views_count_the_rows_that_the_rule_saw():
    import kenviz

    torch.manual_seed(0)
    pair = ken.Pair({"conv": torch.randn(6, 3, 5)}, {"conv": torch.zeros(6, 3, 5)})
    view = kenviz.RowView(ken.prune(*pair, 2, rows={"conv": "last"}), pair, tensor="conv")
    view.row = 17
    assert view.row == 17
    assert view.k == 2
