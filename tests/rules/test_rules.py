import json
from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import rows

import ken
import ken.rules.registry
from ken import rules
from ken.density import bandwidth
from ken.errors import BudgetError, RuleError, ValuesError

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "published_rule.npz")
RULES = ["ken", "grid", "density", "random", "magnitude"]


def golden_cases():
    for number, case in enumerate(json.loads(GOLDEN["cases"].tobytes())):
        row = GOLDEN[f"row_{case['row']}"].astype(np.float64)
        mask = np.unpackbits(GOLDEN[f"mask_{number}"])[: case["n"]].astype(bool)
        yield case, row, mask


def test_all_441_golden_cases_agree_with_the_published_code():
    disagree = [
        case for case, row, mask in golden_cases() if not np.array_equal(rules.retain(row, case["k"], "ken"), mask)
    ]
    assert sum(1 for _ in golden_cases()) == 441
    assert disagree == []


def test_the_oracle_agrees_with_the_published_code_too():
    for case, row, mask in golden_cases():
        assert np.array_equal(oracles.published_rule(row, case["k"]), mask), case


@settings(max_examples=300)
@given(rows(), st.data())
def test_compiled_rules_agree_with_their_definitions(row, data):
    k = data.draw(st.integers(1, len(row)), label="k")
    row.flags.writeable = False
    np.testing.assert_array_equal(rules.retain(row, k, "ken"), oracles.published_rule(row, k))
    np.testing.assert_array_equal(rules.retain(row, k, "grid"), oracles.grid_rule(row, k))


@pytest.mark.parametrize("scale", [1e-7, 1e-4, 0.04, 30.0])
@pytest.mark.parametrize(("n", "k"), [(384, 192), (768, 40), (1536, 768), (3072, 2900), (4096, 3)])
def test_compiled_rule_agrees_with_its_definition_on_long_rows(n, k, scale):
    rng = np.random.default_rng(n + k)
    for row in (rng.normal(0, scale, n), rng.laplace(0, scale, n), rng.standard_t(2, n) * scale):
        row = row.astype(np.float32).astype(np.float64)
        np.testing.assert_array_equal(rules.retain(row, k, "ken"), oracles.published_rule(row, k))


@given(st.integers(2, 60), st.integers(0, 2**32 - 1), st.data())
def test_rows_of_the_smallest_numbers_are_decided_by_their_exact_density(n, seed, data):
    from ken.density import density, grid, levels

    row = np.random.default_rng(seed).choice([-0.0, 5e-324, 2.0**-1022, -(2.0**-1022), 1e-310, -3e-305, 1e-288], n)
    k = data.draw(st.integers(1, n - 1), label="k")
    got = rules.retain(row, k, "ken")
    assert got.sum() == k
    if row.max() > row.min() and k > 1:
        points = grid(row[None], k)
        order = np.argsort(-levels(density(row[None], points, bandwidth(row[None])))[0], kind="stable")
        want = np.zeros(n, bool)
        for j in order:
            want[np.where(want, np.inf, np.abs(row - points[0, j])).argmin()] = True
        np.testing.assert_array_equal(got, want)


def test_compiled_levels_lie_within_the_proven_bound_of_the_density():
    """The approximate densities, before any is summed again, keep to the bound that decides which ones are."""
    from ken.density import density, grid
    from ken.rules.fast_density import expand

    rng = np.random.default_rng(3)
    for n, k, terms, cut in [(384, 192, 8, 6.5), (384, 9, 8, 6.5), (1536, 700, 16, 8.3), (50, 49, 16, 8.3)]:
        row = np.sort(rng.standard_t(3, n))
        h = float(bandwidth(row[None])[0, 0])
        out = np.zeros(k)
        scratch = np.zeros((4 * n + 64, 16)), np.zeros((16, 3 * k + 96))
        bound = expand(row, k, (row[-1] - row[0]) / (k - 1), h, terms, cut, *scratch, out)
        exact = density(row[None], grid(row[None], k), np.array([[h]]))[0]
        assert 0 < bound < 1e-5
        assert np.abs(out - exact).max() <= bound


@settings(max_examples=100)
@given(rows(), st.sampled_from(RULES), st.data())
def test_every_rule_retains_exactly_k_and_repeats_itself(row, rule, data):
    k = data.draw(st.integers(1, len(row) + 3), label="k")
    mask = rules.retain(row, k, rule)
    assert mask.sum() == min(k, len(row))
    np.testing.assert_array_equal(mask, rules.retain(row.copy(), k, rule))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rule", RULES)
def test_rows_with_many_ties_retain_exactly_k(dtype, rule):
    generator = torch.Generator().manual_seed(1)
    values = (torch.randn(64, 300, generator=generator) * 3).round().div(8).to(dtype).double().numpy()
    assert len(np.unique(values)) < 40
    for k in (1, 7, 150, 299, 300):
        mask = rules.retain(values, k, rule)
        assert (mask.sum(axis=1) == k).all()
        if rule == "ken":
            np.testing.assert_array_equal(mask[0], oracles.published_rule(values[0], k))


@settings(max_examples=50)
@given(st.sampled_from(RULES), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_masks_do_not_depend_on_how_rows_are_cut_into_blocks(rule, k, seed):
    values = np.random.default_rng(seed).normal(size=(9, 40))
    whole = rules.retain(values, k, rule, tensor="w", seed=seed)
    parts = [rules.retain(values[i : i + 4], k, rule, tensor="w", first_row=i, seed=seed) for i in (0, 4, 8)]
    np.testing.assert_array_equal(whole, np.vstack(parts))


def test_of_equally_near_entries_the_lowest_index_is_retained():
    # The grid is 0, 1, 2. The middle point is 0.25 from four entries; index 1 is the lowest of them.
    row = np.array([2.0, 1.25, 0.75, 0.75, 1.25, 0.0])
    assert np.flatnonzero(rules.retain(row, 3, "ken")).tolist() == [0, 1, 5]


def test_a_constant_row_retains_its_first_k_entries():
    assert rules.retain(np.full(6, 0.3), 2, "ken").tolist() == [True, True, False, False, False, False]
    assert rules.retain(np.array([-0.0, 0.0, -0.0]), 1, "grid").tolist() == [True, False, False]


def test_k_of_one_retains_the_minimum():
    assert rules.retain(np.array([0.5, -2.0, 7.0, -2.0]), 1, "ken").tolist() == [False, True, False, False]


def test_random_depends_on_seed_tensor_and_row_and_is_uniform():
    values = np.zeros((2000, 10))
    masks = rules.retain(values, 3, "random", tensor="a")
    assert not np.array_equal(masks, rules.retain(values, 3, "random", tensor="a", seed=1))
    assert not np.array_equal(masks, rules.retain(values, 3, "random", tensor="b"))
    # 2000 draws of probability 0.3: a standard deviation of 20.5 per column
    assert np.abs(masks.sum(axis=0) - 600).max() < 4 * 20.5


def test_random_masks_are_the_same_on_every_machine():
    mask = rules.retain(np.zeros((1, 12)), 4, "random", tensor="layer.weight", seed=7)
    assert np.flatnonzero(mask).tolist() == [0, 3, 5, 11]


def test_errors_say_limit_place_and_value():
    row = np.arange(5.0)
    with pytest.raises(BudgetError, match="k must be at least 1, got 0"):
        rules.retain(row, 0)
    for k in (2.5, 0.5, True, "2"):
        with pytest.raises(BudgetError, match=f"k must be a whole number of entries, got {k!r}"):
            rules.retain(row, k)
    with pytest.raises(ValuesError, match=r"one row or a matrix of rows, got shape \(2, 2, 2\)"):
        rules.retain(np.zeros((2, 2, 2)), 1)
    with pytest.raises(
        RuleError,
        match="rule must be one of ken, grid, density, random, magnitude, .*, cabs, arcee_fusion.*; got 'topk'",
    ):
        rules.retain(row, 2, "topk")
    with pytest.raises(ValuesError, match="must be finite, got nan in row 1, column 2"):
        rules.retain(np.array([[1.0, 2, 3], [1, 2, np.nan]]), 2)


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(ken.rules.registry, "_RULES", dict(ken.rules.registry._RULES))


def first(block, k):
    return np.broadcast_to(np.arange(block.fine_tuned.shape[1]) < k, block.fine_tuned.shape).copy()


def shuffled(block, k):
    """As a rule may not be: it depends on how often it was asked."""
    return np.random.default_rng().permuted(first(block, k), axis=1)


def of_block(block, k):
    """As a rule may not be: a row depends on the others of its block."""
    mask = first(block, k)
    return mask[:, ::-1].copy() if len(mask) == 7 else mask


def of_place(block, k):
    mask = first(block, k)
    mask[block.first_row % 2 :: 2] = mask[block.first_row % 2 :: 2, ::-1]
    return mask


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            lambda block, k: np.ones(block.fine_tuned.shape, dtype=bool),
            "must retain 5 of 16 entries, retained 16 in row 0",
        ),
        (lambda block, k: np.ones(3, dtype=bool), r"returned bool of shape \(3,\), not bool of \(7, 16\)"),
        (lambda block, k: first(block, k).astype(int), "returned int64 of shape"),
        (shuffled, "must be deterministic and decide about each row by itself; asked again, it retained other entries"),
        (of_block, "asked again, it retained other entries of row 0"),
    ],
)
def test_a_rule_that_breaks_its_promise_is_not_registered(registry, rule, message):
    with pytest.raises(RuleError, match=message):
        rules.register("mine")(rule)
    assert "mine" not in rules.names()


def test_a_rule_of_ones_own_prunes(registry):
    assert rules.register("mine")(of_place) is of_place
    with pytest.raises(RuleError, match="'mine' is registered already"):
        rules.register("mine")(first)
    fine_tuned, pretrained = {"w": torch.ones(500, 400)}, {"w": torch.zeros(500, 400)}
    mask = ken.prune(fine_tuned, pretrained, 3, rule="mine")["w"].mask()
    assert mask[::2, -3:].all()
    assert mask[1::2, :3].all()
    assert mask.sum() == 1500


def drawn(block, k):
    return rules.get("random").decide(block, k)


def smallest(block, k):
    order = np.argsort(np.abs(block.values), axis=1, kind="stable")
    mask = np.zeros(order.shape, bool)
    np.put_along_axis(mask, order[:, :k], True, axis=1)
    return mask


def test_what_a_rule_says_it_depends_on_is_tried_out(registry):
    with pytest.raises(RuleError, match="'mine' draws at random, by the seed: it must be registered with seeded=True"):
        rules.register("mine")(drawn)
    with pytest.raises(RuleError, match="retains other entries on update: it must be registered without fixed=True"):
        rules.register("mine", fixed=True)(smallest)
    assert "mine" not in rules.names()
    rules.register("drawn", seeded=True, fixed=True)(drawn)
    rules.register("smallest")(smallest)
    with pytest.raises(RuleError, match="rule 'drawn' does not look at a density: on must be weights"):
        rules.retain(np.arange(5.0), 2, "drawn", pretrained=np.zeros(5), on="update")


def test_what_is_said_of_the_built_in_rules_is_so():
    fine_tuned, pretrained = np.random.default_rng(0).normal(size=(2, 9, 40))

    def masks(name, seed, on):
        block = rules.RowBlock(fine_tuned, pretrained, tensor="w", seed=seed, settings=rules.Settings(on))
        return rules.mask_block(name, block, None if rules.counts(name) else 7)

    for name in rules.names():
        registered, mask = rules.get(name), masks(name, 0, "weights")
        assert registered.seeded == (masks(name, 1, "weights") != mask).any(), name
        for on in ("update", "pretrained"):
            assert registered.fixed == (masks(name, 0, on) == mask).all(), name


def test_a_rule_that_is_found_out_later_is_an_error(registry):
    rules.register("mine")(lambda block, k: first(block, k + (block.tensor == "w")))
    with pytest.raises(RuleError, match="rule 'mine' must retain 2 of 5 entries, retained 3 in row 0"):
        rules.retain(np.arange(5.0), 2, "mine", tensor="w")
