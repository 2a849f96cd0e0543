import math

import pytest
import torch

import ken
from ken.errors import BudgetError, RuleError
from ken.sweeping import COLUMNS, nothing_retained


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    pretrained = {"w": torch.randn(20, 30, generator=generator)}
    fine_tuned = {"w": pretrained["w"] + torch.randn(20, 30, generator=generator), "head": torch.ones(2)}
    return ken.Pair(fine_tuned, pretrained)


def distance(pair):
    return lambda state: -float((state["w"] - pair.fine_tuned["w"]).abs().sum())


def test_sweep_has_one_line_for_each_combination_and_two_to_compare_with(pair):
    table = ken.sweep(pair, [0.5, 3], ["ken", "random"], evaluate=distance(pair), seeds=[4, 5])
    assert list(table.columns) == COLUMNS
    lines = [tuple(line) for line in table[["model", "rule", "seed", "retained"]].itertuples(index=False)]
    assert lines == [
        ("fine-tuned", "", -1, 602),
        ("pretrained", "", -1, 2),
        ("pruned", "ken", 4, 302),
        ("pruned", "random", 4, 302),
        ("pruned", "random", 5, 302),
        ("pruned", "ken", 4, 62),
        ("pruned", "random", 4, 62),
        ("pruned", "random", 5, 62),
    ]
    assert table["metric"][0] == 0
    assert table["metric"].idxmin() == 1
    assert table["metric"][3] != table["metric"][4]
    assert table["standard_error"].isna().all()


def test_metric_is_that_of_the_injected_model(pair):
    table = ken.sweep(pair, [7], ["ken"], evaluate=distance(pair))
    merged = ken.inject(ken.prune(*pair, 7), pair.pretrained)
    assert table["metric"].iloc[-1] == distance(pair)(merged)


def test_an_evaluation_may_know_its_standard_error(pair):
    from ken.training import Evaluation

    table = ken.sweep(pair, [7], ["ken"], evaluate=lambda _: Evaluation.of([0] * 5, [0, 0, 0, 1, 1], 2))
    assert table["metric"].tolist() == [0.6] * 3
    assert table["standard_error"].iloc[0] == pytest.approx(math.sqrt(0.6 * 0.4 / 5))


def test_a_bad_k_is_refused_before_anything_is_evaluated(pair):
    with pytest.raises(BudgetError, match="got 0"):
        ken.sweep(pair, [0.5, 0], evaluate=lambda _: pytest.fail("evaluated"))


def test_an_unknown_rule_or_no_seed_is_refused_before_anything_is_evaluated(pair):
    with pytest.raises(RuleError, match="got 'kenn'"):
        ken.sweep(pair, [0.5], ["ken", "kenn"], evaluate=lambda _: pytest.fail("evaluated"))
    with pytest.raises(RuleError, match="at least one seed, got none"):
        ken.sweep(pair, [0.5], evaluate=lambda _: pytest.fail("evaluated"), seeds=[])


def test_nothing_retained_is_the_pretrained_model_with_what_is_carried(pair):
    net = nothing_retained(ken.prune(*pair, 5), pair)
    merged = ken.inject(net, pair.pretrained)
    assert torch.equal(merged["w"], pair.pretrained["w"])
    assert torch.equal(merged["head"], pair.fine_tuned["head"])
    assert net.retained == 2
