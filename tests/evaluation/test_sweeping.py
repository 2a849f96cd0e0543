import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import ken
from ken.errors import BudgetError, ResultsError, RuleError
from ken.evaluation.sweep import COLUMNS


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
        ("pruned", "ken", -1, 302),
        ("pruned", "random", 4, 302),
        ("pruned", "random", 5, 302),
        ("pruned", "ken", -1, 62),
        ("pruned", "random", 4, 62),
        ("pruned", "random", 5, 62),
    ]
    assert table["metric"][0] == 0
    assert table["metric"].idxmin() == 1
    assert table["metric"][3] != table["metric"][4]
    assert table["standard_error"].isna().all()
    assert table["difference"].tolist() == table["metric"].tolist()
    assert table["difference_error"][0] == 0
    assert table["difference_error"][1:].isna().all()
    assert not table["paired"].any()
    assert [repr(k) for k in table["k"]] == ["nan", "nan", "0.5", "0.5", "0.5", "3", "3", "3"]


def test_metric_is_that_of_the_injected_model(pair):
    table = ken.sweep(pair, [7], ["ken"], evaluate=distance(pair))
    merged = ken.inject(ken.prune(*pair, 7), pair.pretrained)
    assert table["metric"].iloc[-1] == distance(pair)(merged)


def test_a_rule_is_repeated_for_what_it_depends_on_alone_and_each_job_is_done_once(pair):
    calls = []
    table = ken.sweep(
        pair,
        [0.5, 0.5, 0.25],
        ["ken", "update", "della", "ken"],
        evaluate=lambda state: calls.append(state) or 0.0,
        on=["weights", "update", "weights"],
        seeds=[1, 0, 1],
    )
    jobs = [tuple(line) for line in table[["k", "rule", "on", "seed"]].iloc[2:].itertuples(index=False)]
    assert jobs == [
        (k, *job)
        for k in (0.5, 0.25)
        for job in (
            ("ken", "weights", -1),
            ("ken", "update", -1),
            ("update", "", -1),
            ("della", "", 1),
            ("della", "", 0),
        )
    ]
    assert len(calls) == 12
    assert table["k"].dtype == float


def test_every_line_is_what_prune_gives_when_it_is_told_the_same(pair):
    options = {"bandwidth": "scott", "kernel": "cosine"}
    table = ken.sweep(
        pair, [{"w": 5}], ["ken", "random"], evaluate=distance(pair), on=["weights", "update"], seeds=[3], **options
    )
    for _, line in table.iloc[2:].iterrows():
        net = ken.prune(*pair, line["k"], line["rule"], on=line["on"] or "weights", seed=line["seed"], **options)
        assert line["metric"] == distance(pair)(ken.inject(net, pair.pretrained))
        assert (line["retained"], line["entries"]) == (net.retained, net.entries)
    assert table["metric"].nunique() == 5


@dataclass
class Result:
    """All that an evaluation may give."""

    value: float
    standard_error: float | None = None
    metrics: dict = field(default_factory=dict)
    outcomes: object = None

    def __float__(self):
        return float(self.value)


def test_an_evaluation_may_know_more_than_a_number(pair):
    """Of ten items the fine-tuned model has eight right, the pretrained three, others are between."""
    rng = np.random.default_rng(0)
    hard = rng.random(10)

    def evaluate(state):
        kept = float((state["w"] == pair.fine_tuned["w"]).double().mean())
        outcomes = hard < 0.2 + 0.6 * kept
        return Result(outcomes.mean(), 0.125, {"kept": kept, "loss": 1 - kept}, outcomes)

    table = ken.sweep(pair, [0.5], ["ken"], evaluate=evaluate)
    assert list(table.columns) == [*COLUMNS, "kept", "loss"]
    assert table["kept"].tolist() == [1.0, 0.0, 0.5]
    assert (table["standard_error"] == 0.125).all()
    first, *others = (hard < 0.2 + 0.6 * kept for kept in table["kept"])
    for line, outcomes in zip(table.iloc[1:].itertuples(), others, strict=True):
        differences = [float(a) - float(b) for a, b in zip(outcomes, first, strict=True)]
        mean = sum(differences) / 10
        assert line.difference == pytest.approx(mean)
        spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / 10)
        assert line.difference_error == pytest.approx(spread / math.sqrt(10))
    assert table["difference_error"][0] == 0
    assert table["paired"].tolist() == [True] * 3


@pytest.mark.parametrize(
    "results",
    [
        (Result(0.5, 0.03), Result(0.4, 0.04)),
        (Result(0.5, 0.03, {}, np.array([True, False])), Result(0.4, 0.04)),
        # outcomes of which the metric is not the mean say nothing of its error
        (Result(0.5, 0.03, {}, np.array([True, False])), Result(0.4, 0.04, {}, np.array([True, False]))),
    ],
)
def test_without_outcomes_the_errors_are_added_as_if_independent(pair, results):
    given_back = iter([results[0], results[1], results[1]])
    table = ken.sweep(pair, [0.5], ["ken"], evaluate=lambda _: next(given_back))
    assert table["difference_error"].tolist() == [0, pytest.approx(0.05), pytest.approx(0.05)]
    assert table["paired"].tolist() == [results[0].outcomes is not None, False, False]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("good", "must give numbers, got 'good': could not convert"),
        (None, "must give numbers, got None"),
        (Result(0.5, 0.1, {"share": 1.0}), "a further metric cannot have the name 'share'"),
        (Result(0.5, 0.1, {3: 1.0}), "a further metric cannot have the name 3"),
        (Result(0.5, 0.1, {"f1": "?"}), "must give numbers"),
        (
            Result(0.5, 0.1, {}, [1, 0]),
            r"outcomes must be bool of one dimension, one an item, got int64 of shape \(2,\)",
        ),
        (Result(0.5, 0.1, {}, [[True]]), r"got bool of shape \(1, 1\)"),
    ],
)
def test_an_evaluation_that_gives_something_else_is_an_error(pair, tmp_path, result, message):
    with pytest.raises(ResultsError, match=message):
        ken.sweep(pair, [0.5], ["ken"], evaluate=lambda _: result, results=tmp_path / "r")
    assert len(ken.results.read(tmp_path / "r")) == 0


def test_outcomes_must_be_of_as_many_items_each_time(pair, tmp_path):
    given_back = iter([Result(1.0, outcomes=[True] * n) for n in (9, 9, 8)])
    with pytest.raises(ResultsError, match="for the same items each time, gave 9 at first and 8 for pruned ken"):
        ken.sweep(pair, [0.5], ["ken"], evaluate=lambda _: next(given_back), results=tmp_path / "r")
    assert len(ken.results.read(tmp_path / "r")) == 2
    with pytest.raises(ResultsError, match="gave 9 at first and 7 for pruned ken"):
        ken.sweep(pair, [0.5], ["ken"], evaluate=lambda _: Result(1.0, outcomes=[True] * 7), results=tmp_path / "r")


def test_an_evaluation_of_texts_says_all_of_that(pair):
    from ken.training import Evaluation

    evaluation = Evaluation.of([0] * 5, [0, 0, 0, 1, 1], 2)
    table = ken.sweep(pair, [7], ["ken"], evaluate=lambda _: evaluation)
    assert table["metric"].tolist() == [0.6] * 3
    assert table["standard_error"].tolist() == [pytest.approx(math.sqrt(0.6 * 0.4 / 5))] * 3
    assert table["macro_f1"].tolist() == [evaluation.macro_f1] * 3
    assert table["difference_error"].tolist() == [0] * 3


def test_a_bad_k_is_refused_before_anything_is_evaluated(pair):
    with pytest.raises(BudgetError, match="got 0"):
        ken.sweep(pair, [0.5, 0], evaluate=lambda _: pytest.fail("evaluated"))


def test_an_unknown_rule_or_no_seed_is_refused_before_anything_is_evaluated(pair):
    with pytest.raises(RuleError, match="got 'kenn'"):
        ken.sweep(pair, [0.5], ["ken", "kenn"], evaluate=lambda _: pytest.fail("evaluated"))
    with pytest.raises(RuleError, match="at least one seed, got none"):
        ken.sweep(pair, [0.5], evaluate=lambda _: pytest.fail("evaluated"), seeds=[])
    with pytest.raises(RuleError, match="a seed must be a whole number, got 0.5"):
        ken.sweep(pair, [0.5], evaluate=lambda _: pytest.fail("evaluated"), seeds=[0.5])
    with pytest.raises(RuleError, match="rules must name at least one rule, got none"):
        ken.sweep(pair, [0.5], [], evaluate=lambda _: pytest.fail("evaluated"))
    with pytest.raises(RuleError, match="on must be one of weights, update, pretrained, got 'both'"):
        ken.sweep(pair, [0.5], ["random"], evaluate=lambda _: pytest.fail("evaluated"), on=["weights", "both"])
    with pytest.raises(RuleError, match="kernel must be"):
        ken.sweep(pair, [0.5], evaluate=lambda _: pytest.fail("evaluated"), kernel="round")


def test_scopes_are_an_axis_with_as_many_entries_each(pair, tmp_path):
    path = tmp_path / "r.jsonl"
    arguments = {"evaluate": distance(pair), "results": path}
    table = ken.sweep(pair, [0.25], ["update", "random"], scope=("row", "model"), **arguments)
    assert table["scope"].tolist() == ["", "", "row", "model", "row", "model"]
    assert table["rule"].tolist() == ["", "", "update", "update", "random", "random"]
    assert table["retained"].iloc[2:].nunique() == 1
    again = ken.sweep(pair, [0.25], "update", scope="model", **arguments)
    assert again["metric"].iloc[-1] == table["metric"].iloc[3] != table["metric"].iloc[2]
    assert len(path.read_text().splitlines()) == 7
    with pytest.raises(RuleError, match="scope must be row, tensor or model, got 'layer'"):
        ken.sweep(pair, [0.25], scope="layer", **arguments)
    with pytest.raises(RuleError, match="scope must name at least one scope"):
        ken.sweep(pair, [0.25], scope=[], **arguments)


def test_every_scope_is_what_prune_gives(pair):
    seen = []

    def evaluate(state):
        seen.append({name: tensor.clone() for name, tensor in state.items()})
        return 0.0

    ken.sweep(pair, [0.25], "update", scope=("row", "tensor", "model"), evaluate=evaluate)
    for scope, state in zip(("row", "tensor", "model"), seen[2:], strict=True):
        want = ken.inject(ken.prune(*pair, 0.25, "update", scope=scope), pair.pretrained)
        assert all(torch.equal(state[name], want[name]) for name in want)
