import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import ken
from ken.errors import BudgetError, ResultsError, RuleError

N = 100
PAIR = ken.Pair({"w": torch.ones(1, N)}, {"w": torch.zeros(1, N)})


def kept(state):
    """How many of 100 entries are fine-tuned: the share, as a whole number of hundredths."""
    return int((state["w"] == 1).sum())


class Result(float):
    """A metric that may know more of itself."""

    def __new__(cls, value, **more):
        self = super().__new__(cls, value)
        for name, value in more.items():
            setattr(self, name, value)
        return self


def smallest(evaluate, tolerance, **more):
    return ken.smallest_k(PAIR, tolerance, evaluate=evaluate, **{"rule": "grid", "progress": False, **more})


def first(within, grid):
    """By the definition: the first share that is within. All behind it must be, for a bisection to find it."""
    return next((share for share in grid if share == 1 or within(share)), 1.0)


@st.composite
def curves(draw):
    """Metrics of 0 … 100 retained entries that never fall, of many kinds: smooth, steps, constant."""
    steps = draw(st.lists(st.integers(0, 5) | st.just(0), min_size=N, max_size=N))
    return np.concatenate([[0], np.cumsum(steps)]) / draw(st.sampled_from([1, 10, 64]))


GRIDS = {0.01: N, 0.02: 50, 0.1: 10, 0.25: 4, 0.5: 2}


@settings(max_examples=60)
@given(curves(), st.integers(0, 300), st.sampled_from(list(GRIDS)), st.floats(0, 3))
def test_it_is_the_first_share_of_all_that_is_within_the_tolerance(curve, tolerance, resolution, error):
    tolerance /= 64
    calls = []

    def evaluate(state):
        calls.append(kept(state))
        return Result(curve[kept(state)], standard_error=error)

    result = smallest(evaluate, tolerance, resolution=resolution)
    grid = [i / GRIDS[resolution] for i in range(1, GRIDS[resolution] + 1)]
    difference = {share: curve[round(share * N)] - curve[N] for share in grid}
    assert result.k == first(lambda share: difference[share] >= -tolerance - 1e-9, grid)
    margin = stats.norm.ppf(0.975) * math.hypot(error, error)
    assert result.low == first(lambda share: difference[share] + margin >= -tolerance - 1e-9, grid)
    assert result.high == first(lambda share: difference[share] - margin >= -tolerance - 1e-9, grid)
    assert result.low <= result.k <= result.high
    assert result.monotone
    assert (result.baseline, result.metric) == (curve[N], curve[round(result.k * N)])
    assert result.difference == pytest.approx(difference[result.k])
    # nothing twice, and far from everything
    assert len(calls) == len(set(calls))
    assert len(calls) <= 1 + 3 * math.ceil(math.log2(len(grid)))
    assert result.table["k"].is_monotonic_increasing
    assert set(calls) == {round(share * N) for share in result.table["k"]}


def test_if_every_entry_counts_only_all_will_do():
    result = smallest(lambda state: kept(state) / N, 0)
    assert (result.k, result.metric, result.difference) == (1.0, 1.0, 0.0)
    assert str(result) == (
        "grid: no share below 1 keeps the metric within 0 of the unpruned model's 1; how sure that is cannot be said, "
        "as the evaluation gives no standard error (in steps of 0.01)."
    )
    assert math.isnan(result.low)
    assert math.isnan(result.high)


@pytest.mark.parametrize("scope", [["row", "tensor"], ["row"], ("model",), "layer", None])
def test_there_is_one_scope(scope):
    pair = ken.Pair({"w": torch.ones(2, 4)}, {"w": torch.zeros(2, 4)})
    with pytest.raises(RuleError, match="scope must be row, tensor or model, got"):
        ken.smallest_k(pair, 0.1, evaluate=lambda state: 1.0, scope=scope, progress=False)


def test_if_nothing_counts_the_smallest_share_will_do():
    result = smallest(lambda state: kept(state) / N, 1)
    assert result.k == 0.01
    assert len(result.table) == 8


def test_a_difference_that_is_the_tolerance_on_paper_is_within_it():
    assert 0.752 - 0.762 < -0.01
    assert smallest(lambda state: 0.762 if kept(state) == N else 0.752, 0.01).k == 0.01


def test_the_sentence_says_it_all():
    result = smallest(lambda state: Result(kept(state) / N, standard_error=0.02), 0.1, on="update")
    margin = 1.96 * 0.02 * math.sqrt(2)
    assert (result.low, result.high) == (math.ceil(N * (0.9 - margin)) / N, math.ceil(N * (0.9 + margin)) / N)
    assert str(result) == (
        "grid on update: 0.9 of every row is the smallest share whose metric, 0.9, is no more than 0.1 below the "
        "unpruned model's 1; with 95 % confidence it is between 0.85 and 0.96 (in steps of 0.01)."
    )


def test_a_metric_that_falls_somewhere_is_told():
    result = smallest(lambda state: 0.0 if 60 <= kept(state) < 70 else 1.0, 0.5)
    assert result.monotone
    assert result.k == 0.01  # nothing from 60 to 69 was looked at
    dented = {25: 0.5, 50: 0.3, 75: 0.9, N: 1.0}
    result = smallest(lambda state: dented[kept(state)], 0.76, resolution=0.25)
    assert not result.monotone
    assert str(result).endswith(
        " The metric falls somewhere as the share grows, so that a smaller share may do as well."
    )
    better_than_unpruned = {25: 0.5, 50: 1.1, 75: 1.0, N: 1.0}
    assert not smallest(lambda state: better_than_unpruned[kept(state)], 0.1, resolution=0.25).monotone
    # what the errors explain is no contradiction
    assert smallest(lambda state: Result(dented[kept(state)], standard_error=0.1), 0.76, resolution=0.25).monotone


def test_errors_are_put_together_from_items_and_seeds():
    """A random rule with three seeds, outcomes of 500 items that depend on the seed: recomputed here, plainly."""
    drawn = {}

    def evaluate(state):
        mask = state["w"].numpy().tobytes()
        rng = np.random.default_rng(list(mask[3::4]))
        drawn[mask] = rng.random(500) < 0.8 * kept(state) / N
        return Result(drawn[mask].mean(), outcomes=drawn[mask])

    result = smallest(evaluate, 0.2, rule="random", seeds=[0, 1, 2], confidence=0.9)
    base = drawn[PAIR.fine_tuned["w"].numpy().tobytes()]
    for line in result.table.iloc[:-1].itertuples():
        assert line.evaluations == 3
        masks = [ken.inject(ken.prune(*PAIR, line.k, "random", seed=s), PAIR.pretrained)["w"] for s in range(3)]
        outcomes = np.array([drawn[mask.numpy().tobytes()] for mask in masks])
        means = outcomes.mean(axis=1)
        assert line.metric == pytest.approx(means.mean())
        assert line.difference == pytest.approx(means.mean() - base.mean())
        assert len(set(means)) == 3
        items, seeds = np.var(outcomes.mean(axis=0) - base) / 500, np.var(means, ddof=1) / 3
        assert line.difference_error == pytest.approx(math.sqrt(items + seeds))
        degrees = (items + seeds) ** 2 / (items**2 / 499 + seeds**2 / 2)
        margin = stats.t.ppf(0.95, degrees) * math.sqrt(items + seeds)
        assert (line.lower, line.upper) == (
            pytest.approx(line.difference - margin),
            pytest.approx(line.difference + margin),
        )
    assert result.low < result.k < result.high


def test_an_evaluation_that_is_random_itself_is_repeated():
    rng, calls = np.random.default_rng(0), {}

    def evaluate(state):
        calls.setdefault(kept(state), []).append(kept(state) / N + rng.normal() * 0.01)
        return calls[kept(state)][-1]

    result = smallest(evaluate, 0.3, repeats=4)
    assert all(len(values) == 4 for values in calls.values())
    lines = {round(line.k * N): line for line in result.table.itertuples()}
    assert lines.keys() == calls.keys()
    for count, values in calls.items():
        assert lines[count].metric == pytest.approx(np.mean(values))
        if count < N:
            parts = [np.var(metrics, ddof=1) / 4 for metrics in (values, calls[N])]
            assert lines[count].difference_error == pytest.approx(math.sqrt(sum(parts)))
    assert result.low <= result.k <= result.high
    assert abs(result.k - 0.7) <= 0.03


def test_the_file_of_a_sweep_is_shared(tmp_path):
    calls = []

    def evaluate(state):
        calls.append(kept(state))
        return Result(kept(state) / N, standard_error=0.01)

    path = tmp_path / "r"
    ken.sweep(PAIR, [0.5, 0.75], ["grid"], evaluate=evaluate, results=path, progress=False)
    assert sorted(calls) == [0, 50, 75, N]
    result = smallest(evaluate, 0.3, results=path)
    assert len(calls) == len(set(calls))
    assert str(smallest(lambda _: pytest.fail("evaluated"), 0.3, results=path)) == str(result)
    # another tolerance has most of it already
    before = len(calls)
    smallest(evaluate, 0.31, results=path)
    assert len(calls) - before <= 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tolerance": -0.01}, BudgetError, "tolerance must be a finite number of at least 0, got -0.01"),
        ({"tolerance": math.nan}, BudgetError, "tolerance must be a finite number of at least 0, got nan"),
        ({"tolerance": "1 %"}, BudgetError, "tolerance must be a finite number of at least 0, got '1 %'"),
        ({"resolution": 0}, BudgetError, "resolution must be from 0.000001 to 0.5, got 0"),
        ({"resolution": 0.7}, BudgetError, "resolution must be from 0.000001 to 0.5, got 0.7"),
        ({"confidence": 1}, BudgetError, "confidence must be between 0 and 1, got 1"),
        ({"repeats": 0}, BudgetError, "repeats must be a whole number of at least 1, got 0"),
        ({"repeats": 1.5}, BudgetError, "repeats must be a whole number of at least 1, got 1.5"),
        ({"rule": "kenn"}, RuleError, "got 'kenn'"),
        ({"on": "both"}, RuleError, "got 'both'"),
        ({"seeds": []}, RuleError, "at least one seed"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_evaluated(options, error, message):
    with pytest.raises(error, match=message):
        smallest(lambda _: pytest.fail("evaluated"), **{"tolerance": 0.1, **options})


@pytest.mark.parametrize(
    ("tolerance", "meant"), [(5, "a loss of 5 % is 0.05"), (1.5, "a loss of 1.5 % is 0.015"), (100, "")]
)
def test_a_tolerance_in_percent_of_a_metric_that_is_a_share_is_refused(tolerance, meant):
    seen = []
    with pytest.raises(BudgetError, match=f"at most 1 for a metric from 0 to 1, .* 0.8, got {tolerance}.*{meant}"):
        smallest(lambda state: seen.append(kept(state)) or 0.8, tolerance)
    assert seen == [N]  # nothing but the model that tells the scale
    assert smallest(lambda state: 80.0 if kept(state) > 30 else 70.0, tolerance).tolerance == tolerance


def test_a_metric_must_be_a_finite_number():
    with pytest.raises(ResultsError, match="the metric must be finite, got nan of pruned 0.5"):
        smallest(lambda state: math.nan if kept(state) < N else 1.0, 0.1)


def test_other_resolutions_end_with_all_entries_too():
    seen = SimpleNamespace(shares=set())
    result = smallest(
        lambda state: seen.shares.add(kept(state)) or 0.0 if kept(state) < N else 1.0, 0.1, resolution=0.3
    )
    assert result.k == 1.0
    assert result.table["k"].tolist() == [0.6, 0.9, 1.0]
    assert seen.shares == {60, 90}


def test_another_scope_is_looked_at_if_asked_for():
    update = torch.tensor([[8.0, 7.0, 6.0, 5.0], [1.0, 1.0, 1.0, 1.0]])
    pair = ken.Pair({"w": update}, {"w": torch.zeros(2, 4)})

    def evaluate(state):
        return state["w"].sum() / update.sum()

    arguments = {"evaluate": evaluate, "rule": "update", "resolution": 0.25}
    by_row = ken.smallest_k(pair, 0.2, **arguments)
    of_model = ken.smallest_k(pair, 0.2, scope="model", **arguments)
    assert (by_row.k, of_model.k) == (0.75, 0.5)
    assert "update: 0.5 of all pruned tensors together is the smallest share" in str(of_model)
