"""Explanations where rows share a budget: the threshold's verdict, or that of the whole tensor as one row."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import ken
from ken import rules
from ken.errors import RuleError, SubnetworkError

SCORED = [name for name in rules.names() if rules.get(name).score is not None]


def pair_of(seed=0):
    """Many entries have the size of others; one tensor has grown."""
    rng = np.random.default_rng(seed)
    pretrained = {name: torch.as_tensor(rng.integers(-4, 5, (6, 5)) / 4) for name in ("b", "a")}
    pretrained["v"] = torch.as_tensor(rng.normal(size=7))
    updates = {name: torch.as_tensor(rng.integers(-3, 4, base.shape) / 8) for name, base in pretrained.items()}
    fine_tuned = {name: base + updates[name] for name, base in pretrained.items()}
    fine_tuned["b"] = torch.cat([fine_tuned["b"], torch.ones(2, 5, dtype=torch.float64)])
    return ken.Pair(fine_tuned, pretrained)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.sampled_from(SCORED), st.sampled_from(["tensor", "model"]), st.floats(0.05, 1.0))
def test_every_row_is_decided_again_and_every_reason_is_true(seed, rule, scope, share):
    pair = pair_of(seed)
    net = ken.prune(*pair, share, rule, scope=scope, rows={"b": "grown"})
    for name, tensor in net.pruned().items():
        rows = ken.explain(net, pair, name)
        assert len(rows) == tensor.row_shape[0]
        for row, mask in enumerate(tensor.row_mask()):
            why = rows[row]
            np.testing.assert_array_equal(why.mask, mask)
            assert why.k == mask[: why.n - why.added].sum()
            for i in range(why.n - why.added):
                card, kept = why.entry(i).as_dict(), bool(mask[i])
                assert card["scope"] == scope
                lowest, score = card["threshold"], card["score"]
                if lowest is None:
                    assert kept
                    assert card["reason"] == f"k retains all entries of the {scope}"
                elif score == lowest:
                    assert f"and it is {'' if kept else 'not '}among them" in card["reason"]
                else:
                    assert (score > lowest) == kept
                    assert f"is {'above' if kept else 'below'} the threshold of the {scope}" in card["reason"]
                json.dumps(card, allow_nan=False)


def test_the_card_tells_score_threshold_and_scope():
    pair = ken.Pair({"w": torch.tensor([[5.0, 1.0], [2.0, 2.0]])}, {"w": torch.zeros(2, 2)})
    net = ken.prune(*pair, 1, "update", scope="model")
    assert net["w"].mask().tolist() == [[True, False], [True, False]]
    card = ken.explain(net, pair, "w", 1).entry(1)
    assert card.text.splitlines() == [
        "Entry 1 in row 1 of w is reset.",
        "Its absolute update, 2, equals the threshold of the model, 2; of such entries the first are retained "
        "(tensors by name, then entries by place), and it is not among them.",
        "fine-tuned 2; pretrained 0; update 2",
        "rule update, 1 of 2 retained in its row, as k is counted over all pruned tensors, on weights",
        "ken.explain(net, pair, 'w', 1).entry(1)",
    ]
    assert ken.explain(net, pair, "w", 0).entry(1).as_dict()["threshold"] == 2.0
    assert np.isnan(ken.stability(np.ones(2), 1, np.zeros(2), "update").halved.share)


@pytest.mark.parametrize("rule", ["ken", "grid", "density", "della", "cabs"])
def test_to_a_rule_without_a_score_the_tensor_is_the_row(rule):
    pair = pair_of(3)
    net = ken.prune(*pair, 0.4, rule, scope="tensor", rows={"b": "grown"})
    for name, tensor in net.pruned().items():
        rows = ken.explain(net, pair, name)
        assert len(rows) == 1
        np.testing.assert_array_equal(rows[0].mask, tensor.mask().reshape(-1))
        assert rows[0].added == tensor.entries - pair.pretrained[name].numel()
    why = ken.explain(net, pair, "b", 0)
    assert "k = 12 of 40: the whole tensor is one row" in why.entry(3).text
    if rule == "ken":
        assert sorted(why.claims()["entry"]) == np.flatnonzero(why.mask[:30]).tolist()
    with pytest.raises(IndexError, match="got 1: to this rule the whole tensor was one row"):
        ken.explain(net, pair, "b", 1)
    of_model = ken.prune(*pair, 0.4, rule, scope="model", rows={"b": "grown"})
    with pytest.raises(RuleError, match=f"rule '{rule}' has no score: with scope='model' all pruned tensors"):
        ken.explain(of_model, pair, "b", 0)


@pytest.mark.parametrize("scope", ["row", "tensor"])
def test_other_scores_by_the_same_name_are_said_to_be_a_reason(scope, request):
    pair = ken.Pair({"w": torch.ones(2, 4)}, {"w": torch.zeros(2, 4)})
    request.addfinalizer(lambda: ken.rules.forget("mine"))
    net = ken.prune(*pair, 1, ken.rules.by_score({"w": np.eye(2, 4)}, name="mine"), scope=scope)
    ken.rules.by_score({"w": -np.eye(2, 4)}, name="mine", replace=True)
    with pytest.raises(
        SubnetworkError, match="was made from, or rule 'mine' has other scores than then: in row 0 of w"
    ):
        ken.explain(net, pair, "w", 0)


def test_a_mask_that_its_threshold_does_not_give_is_refused():
    pair = pair_of(1)
    net = ken.prune(*pair, 0.3, "update", scope="model", rows={"b": "grown"})
    net["a"].threshold = net["a"].threshold._replace(ties=0, key=net["a"].threshold.key + 1)
    with pytest.raises(SubnetworkError, match="these are not the models that the subnetwork was made from"):
        list(ken.explain(net, pair, "a"))


@pytest.mark.parametrize("rule", SCORED)
def test_thresholds_are_kept_in_the_file(rule, tmp_path):
    pair = pair_of(2)
    path = tmp_path / "a.ken.safetensors"
    streamed = ken.prune(*pair, 0.3, rule, scope="model", rows={"b": "grown"}, out=path)
    net = ken.prune(*pair, 0.3, rule, scope="model", rows={"b": "grown"})
    assert streamed == net == ken.load(net.save(tmp_path / "b.ken.safetensors"))
    assert path.read_bytes() == (tmp_path / "b.ken.safetensors").read_bytes()
    thresholds = {name: tensor.threshold for name, tensor in net.pruned().items()}
    assert {name: tensor.threshold for name, tensor in ken.load(path).in_memory.pruned().items()} == thresholds
    assert len({threshold.key for threshold in thresholds.values()}) == 1
    by_row = ken.prune(*pair, 0.3, rule, rows={"b": "grown"})
    assert all(tensor.threshold is None for tensor in by_row.pruned().values())
