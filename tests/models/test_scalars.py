"""Seeds, k and bandwidths as people have them: checked at once, and numpy's numbers are numbers."""

import json

import command_line
import numpy as np
import pytest
import torch

import ken
from ken import training
from ken.errors import BudgetError, RuleError, TrainingError
from ken.models.pairing.rows import plain_k
from ken.models.scalars import checked_seed, plain
from ken.storage.info import describe

WRONG_SEEDS = [1.0, 0.5, "0", True, np.bool_(True), None, [0], 2**64, -(2**63) - 1, np.float64(1), float("nan")]


@pytest.fixture
def fine_tuned():
    generator = torch.Generator().manual_seed(1)
    return {"layer.0.w": torch.randn(4, 32, generator=generator), "layer.0.b": torch.randn(32, generator=generator)}


@pytest.fixture
def pretrained():
    generator = torch.Generator().manual_seed(0)
    return {"layer.0.w": torch.randn(4, 32, generator=generator), "layer.0.b": torch.randn(32, generator=generator)}


@pytest.mark.parametrize("number", [np.int64(5), np.uint8(5), np.array(5), torch.tensor(5)])
def test_whole_numbers_of_numpy_and_torch_are_whole_numbers(number):
    assert type(plain(number)) is int
    assert type(plain_k(number)) is int
    assert checked_seed(number) == plain_k(number) == 5


@pytest.mark.parametrize("share", [np.float32(0.5), np.float64(0.5), np.float16(0.5), np.array(0.5), torch.tensor(0.5)])
def test_shares_of_numpy_and_torch_are_shares(share):
    assert type(plain_k(share)) is float
    assert plain_k({"a": share}) == {"a": 0.5}


@pytest.mark.parametrize("seed", WRONG_SEEDS)
@pytest.mark.parametrize("rule", ["random", "ken"])
def test_a_seed_that_is_none_is_refused_by_prune_before_anything_is_read(seed, rule):
    # Models that cannot be read: only what comes before reading them can raise this error.
    with pytest.raises(RuleError, match="a seed must be"):
        ken.prune("nowhere", "nowhere", 0.5, rule=rule, seed=seed)


@pytest.mark.parametrize("seed", WRONG_SEEDS)
def test_a_seed_that_is_none_is_refused_wherever_one_is_taken(seed, fine_tuned, pretrained):
    row = fine_tuned["layer.0.b"].numpy()
    pair = ken.Pair(fine_tuned, pretrained)
    for call in (
        lambda: ken.explain_row(row, 4, rule="random", seed=seed),
        lambda: ken.stability(row, 4, rule="random", seed=seed),
        lambda: ken.rules.retain(row, 4, "random", seed=seed),
        lambda: ken.sweep(pair, [0.5], ["random"], evaluate=lambda _: 1 / 0, seeds=[0, seed]),
        lambda: ken.smallest_k(pair, 0.1, rule="random", evaluate=lambda _: 1 / 0, seeds=[seed]),
    ):
        with pytest.raises(RuleError, match="a seed must be"):
            call()
    with pytest.raises(TrainingError, match="a seed must be"):
        training.split(["a", "b"], [0, 1], 0.5, seed=seed)
    with pytest.raises(TrainingError, match="a seed must be"):
        training.fine_tune(None, None, ["a"], labels=[0], seed=seed)
    with pytest.raises(ken.KenError, match="a seed must be"):
        ken.demo.pair(seed=seed)


def test_training_takes_no_seed_that_numpy_cannot():
    for seed in (-1, 2**32):
        with pytest.raises(TrainingError, match="a seed must be from 0 to 4294967295"):
            training.fine_tune(None, None, ["a"], labels=[0], seed=seed)


def test_a_sweep_takes_no_negative_seed_as_minus_1_says_that_nothing_was_drawn(fine_tuned, pretrained):
    with pytest.raises(RuleError, match="a seed must be from 0 to"):
        ken.sweep(ken.Pair(fine_tuned, pretrained), [0.5], ["random"], evaluate=lambda _: 1 / 0, seeds=[-1])


@pytest.mark.parametrize(("argument", "value"), [("seeds", 3), ("ks", 0.5), ("ks", {"*": 0.5}), ("ks", "0.5")])
def test_one_number_where_a_sweep_takes_several_is_said(argument, value, fine_tuned, pretrained):
    given = {"ks": [0.5], "seeds": [0]} | {argument: value}
    with pytest.raises(ken.KenError, match=f"{argument} must be a sequence"):
        ken.sweep(ken.Pair(fine_tuned, pretrained), evaluate=lambda _: 1 / 0, **given)


@pytest.mark.parametrize("seed", [np.int64(7), np.uint32(7), np.array(7), torch.tensor(7)])
def test_a_seed_of_numpy_draws_as_that_of_python_and_is_kept(seed, fine_tuned, pretrained, tmp_path):
    tuned = ken.prune(fine_tuned, pretrained, 8, rule="random", seed=seed)
    assert tuned.recipe == ken.prune(fine_tuned, pretrained, 8, rule="random", seed=7).recipe
    assert ken.load(tuned.save(tmp_path / "net.ken.safetensors")).recipe.seed == 7
    row = fine_tuned["layer.0.b"].numpy()
    masks = [ken.rules.retain(row, 8, "random", seed=one).tolist() for one in (seed, 7)]
    assert masks[0] == masks[1]


def test_k_and_bandwidth_of_numpy_are_kept_in_a_file_as_numbers(fine_tuned, pretrained, tmp_path):
    for k in (np.int64(5), np.float32(0.5), {"*.w": np.int32(3), "*": np.float16(0.5)}):
        net = ken.prune(fine_tuned, pretrained, k, bandwidth=np.float32(0.25), out=tmp_path / "net.ken.safetensors")
        assert net.recipe.k == plain_k(k)
        assert "np." not in repr(net)
        assert net.recipe.bandwidth == 0.25
    json.dumps(describe(tmp_path / "net.ken.safetensors"))


def test_what_explains_a_row_of_numpys_numbers_is_python(fine_tuned):
    row = fine_tuned["layer.0.b"].numpy()
    why = ken.explain_row(row, np.int64(5), bandwidth=np.float64(0.25), seed=np.int64(3))
    assert "np." not in why.python
    again = eval(why.python, {"ken": ken, "fine_tuned_row": row})
    assert (again.mask == why.mask).all()


@pytest.mark.parametrize(
    ("k", "remedy"),
    [
        ("0.5", "write 0.5 without quotes"),
        ("50", "write 50 without quotes"),
        (50.0, "50 without a point counts entries and 0.5 is 50 %"),
        (1.5, "0.015 is 1.5 %"),
    ],
)
def test_a_k_that_is_none_is_refused_with_what_may_have_been_meant(k, remedy):
    with pytest.raises(BudgetError, match=f"got .*{remedy}"):
        plain_k(k)


@pytest.mark.parametrize(
    ("rule", "near"), [("KEN", "ken"), ("Random", "random"), ("magnitud", "magnitude"), ("updates", "update")]
)
def test_the_error_for_an_unknown_rule_names_the_nearest(rule, near, fine_tuned, pretrained):
    with pytest.raises(RuleError, match=f"got '{rule}', meant '{near}'\\?"):
        ken.prune(fine_tuned, pretrained, 5, rule=rule)


@pytest.mark.parametrize("rule", [None, ["ken"], 3, {"ken"}])
def test_a_rule_is_a_name(rule, fine_tuned, pretrained):
    with pytest.raises(RuleError, match="rule must be one of"):
        ken.prune(fine_tuned, pretrained, 5, rule=rule)


@pytest.mark.parametrize("patterns", ["q_proj", 3, None, [3], [None], [["a"]]])
@pytest.mark.parametrize("argument", ["include", "exclude"])
def test_patterns_are_texts_in_a_sequence(argument, patterns, fine_tuned, pretrained):
    with pytest.raises(BudgetError, match=f"{argument}"):
        ken.prune(fine_tuned, pretrained, 5, **{argument: patterns})


def test_the_command_line_refuses_a_seed_out_of_range_before_it_reads(tmp_path):
    words = ["prune", "nowhere", "nowhere", "-k", "0.5", "-o", str(tmp_path / "net"), "--seed", str(2**64)]
    ran = command_line.ken(*words)
    assert ran.status == 1
    assert ran.err.startswith("ken: a seed must be from")
