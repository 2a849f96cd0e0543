"""Rules by size, negative controls, and what methods of merging retain, each against its definition in plain numpy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES
from test_other_rules import cases

import ken
import ken.rules.registry
from ken import rules
from ken.errors import RuleError
from ken.models.tensors.tensor_bytes import dtype_name
from ken.rules.merging_rules import _exp, _log
from ken.rules.registered import by_highest


def first_by(key, k, n):
    """The k entries of smallest key, of equal ones the first: the definition of a ranking."""
    return np.isin(np.arange(n), sorted(range(n), key=lambda i: (key[i], i))[:k])


def crumbs(sizes, k, top):
    """As the authors' code goes: the largest of a row are zeroed, then the k largest of what is left are kept."""
    order = list(np.argsort(-sizes, kind="stable"))
    dropped, left = order[: int(len(sizes) * top)], order[int(len(sizes) * top) :]
    kept = left[:k] + dropped[::-1][: max(0, k - len(left))]
    return np.isin(np.arange(len(sizes)), kept)


@settings(max_examples=200)
@given(cases())
def test_rules_by_size_are_their_rankings(case):
    row, other, k = case
    keys = {
        "smallest_magnitude": np.abs(row),
        "smallest_update": np.abs(row - other),
        "pretrained_magnitude": -np.abs(other),
        "arcee_fusion": -np.abs(row - other),
    }
    for rule, key in keys.items():
        got = rules.retain(row, k, rule, pretrained=other)
        np.testing.assert_array_equal(got, first_by(key, k, len(row)), err_msg=rule)


@given(cases())
def test_a_negative_control_retains_what_its_rule_resets_where_nothing_is_equal(case):
    row, other, k = case
    n = len(row)
    for rule, size in (("magnitude", np.abs(row)), ("update", np.abs(row - other))):
        if k < n and len(np.unique(size)) == n:
            most = rules.retain(row, n - k, rule, pretrained=other)
            np.testing.assert_array_equal(rules.retain(row, k, f"smallest_{rule}", pretrained=other), ~most)


@settings(max_examples=200)
@given(cases(), st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.99]))
def test_breadcrumbs_drop_both_tails(case, top):
    row, other, k = case
    block = rules.RowBlock(row[None], other[None])
    mask = by_highest(rules.breadcrumbs(top)).decide(block, k)[0]
    want = crumbs(np.abs(row - other), k, top)
    if len(np.unique(np.abs(row - other))) == len(row):  # what is left of equal outliers is drawn by place
        np.testing.assert_array_equal(mask, want)
    assert mask.sum() == k
    if top == 0:
        np.testing.assert_array_equal(mask, rules.retain(row, k, "update", pretrained=other))


def test_breadcrumbs_are_those_of_mergekit_in_a_tensor_of_one_row_and_not_empty_without_outliers():
    update = np.random.default_rng(0).permutation(200) + 1.0
    for k in (1, 50, 197, 198, 199):
        bottom, top = 200 - k - 2, 2  # mergekit's n_bot and n_top at gamma 0.01
        top, bottom = top + min(bottom, 0), max(bottom, 0)
        want = np.isin(np.arange(200), np.argsort(update)[bottom : 200 - top])
        np.testing.assert_array_equal(rules.retain(update, k, "breadcrumbs", pretrained=update * 0), want)
    short = np.arange(1.0, 21.0)  # of 20 entries 1 % is none
    assert rules.retain(short, 3, "breadcrumbs", pretrained=short * 0).nonzero()[0].tolist() == [17, 18, 19]


@settings(max_examples=200)
@given(cases(), st.integers(1, 40))
def test_cabs_retains_its_share_of_every_group(case, m):
    row, other, k = case
    n, sizes = len(row), np.abs(row - other)
    mask = rules.cabs(m)(rules.RowBlock(row[None], other[None]), k)[0]
    assert mask.sum() == k
    for start in range(0, n, m):
        group = slice(start, min(start + m, n))
        here = int(mask[group].sum())
        assert abs(here - k * (group.stop - start) / n) < 1  # balanced to within one entry
        np.testing.assert_array_equal(mask[group], first_by(-sizes[group], here, group.stop - start))
    if n % m == 0 and k * m % n == 0:
        assert set(mask.reshape(-1, m).sum(1)) == {k * m // n}  # n:m, exactly


def test_cabs_in_groups_as_long_as_the_row_is_the_update_and_its_default_is_said():
    generator = np.random.default_rng(0)
    fine_tuned, pretrained = generator.normal(size=(2, 5, 96))
    block = rules.RowBlock(fine_tuned, pretrained)
    want = rules.retain(fine_tuned, 30, "update", pretrained=pretrained)
    np.testing.assert_array_equal(rules.cabs(96)(block, 30), want)
    got = rules.retain(fine_tuned, 9, "cabs", pretrained=pretrained)
    assert (got.reshape(5, 3, 32).sum(2) == 3).all()  # 3:32
    np.testing.assert_array_equal(got, rules.cabs(32)(block, 9))


@pytest.mark.parametrize(
    "dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]
)
def test_relative_counts_in_the_spacing_of_every_number_of_eight_bits(dtype):
    every = torch.arange(256, dtype=torch.uint8).view(dtype).double().numpy()
    numbers = np.unique(np.abs(every[np.isfinite(every)]))
    spacing = np.diff(numbers)
    block = rules.RowBlock(numbers[None, :-1] + 1, numbers[None, :-1], dtype=dtype_name(dtype))
    np.testing.assert_array_equal(rules.get("relative").score(block)[0], 1 / spacing)


@settings(max_examples=100)
@given(st.sampled_from(DTYPES), st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_relative_ranks_by_the_update_over_the_spacing_of_the_stored_dtype(dtype, seed, k):
    generator = torch.Generator().manual_seed(seed)
    powers = 10.0 ** torch.randint(-9, 3, (30,), generator=generator, dtype=torch.float64)
    pretrained = (torch.randn(30, generator=generator, dtype=torch.float64) * powers).to(dtype)
    fine_tuned = (pretrained.double() * (1 + 0.1 * torch.randn(30, generator=generator, dtype=torch.float64))).to(dtype)
    pretrained[:2] = 0.0
    size = pretrained.abs()
    spacing = torch.nextafter(size, torch.full_like(size, math.inf)).double() - size.double()
    tuned, base = fine_tuned.double().numpy(), pretrained.double().numpy()
    want = np.abs(tuned - base) / np.maximum(spacing.numpy(), 2.0**-178 if dtype == torch.float64 else 0)
    block = rules.RowBlock(tuned[None], base[None], dtype=dtype_name(dtype))
    np.testing.assert_array_equal(rules.get("relative").score(block)[0], want)
    net = ken.prune({"w": fine_tuned[None]}, {"w": pretrained[None]}, k, "relative", progress=False)
    np.testing.assert_array_equal(net["w"].mask()[0], first_by(-want, k, 30))
    pair = ken.Pair({"w": fine_tuned[None]}, {"w": pretrained[None]})
    np.testing.assert_array_equal(ken.explain(net, pair, "w", 0).mask, net["w"].mask()[0])


def test_relative_needs_to_know_the_dtype_where_numbers_are_subnormal():
    base, tuned = np.array([[1e-6, 1.0]]), np.array([[3e-6, 1.5]])
    half = rules.retain(
        tuned, 1, "relative", pretrained=base, dtype="float16"
    )  # 2e-6 is 34 of 6e-8; 0.5 is 512 of 1e-3
    single = rules.retain(tuned, 1, "relative", pretrained=base, dtype="float32")
    assert half.tolist() == [[False, True]]
    assert single.tolist() == [[True, False]]
    why = ken.explain_row(tuned[0], 1, base[0], rule="relative", dtype="float16")
    assert why.mask.tolist() == [False, True]
    assert "dtype='float16'" in why.python
    np.testing.assert_array_equal(
        rules.retain(tuned.astype(np.float16), 1, "relative", pretrained=base.astype(np.float16)), half
    )
    with pytest.raises(RuleError, match="rule 'relative' knows the spacing of float64, .*, not of 'posit'"):
        rules.retain(tuned, 1, "relative", pretrained=base, dtype="posit")


def test_a_view_decides_by_the_stored_dtype():
    import kenviz

    base, tuned = torch.tensor([[1e-6, 1.0]]).half(), torch.tensor([[3e-6, 1.5]]).half()
    pair = ken.Pair({"w": tuned}, {"w": base})
    view = kenviz.RowView(ken.prune(*pair, 1, "relative"), pair, rule="update")
    view.rule = "relative"
    view.kernel = "linear"  # decided anew: no rule by score heeds it
    assert view.numbers()["retained"].tolist() == [False, True]


def test_the_importance_of_arcee_fusion_is_mergekits():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(6, 50))
    tuned = base + rng.normal(size=(6, 50)) * rng.choice([1e-3, 0.1, 3.0], (6, 1))
    p, q = (torch.softmax(torch.from_numpy(values), dim=-1) + 1e-8 for values in (tuned, base))
    want = np.abs(tuned - base) * (p * torch.log(p / q)).sum(-1, keepdim=True).numpy()
    got = rules.get("arcee_fusion").score(rules.RowBlock(tuned, base))
    np.testing.assert_allclose(got, want, rtol=1e-9)
    huge = rules.RowBlock(np.array([[1e300, -1e300, 0.0]]), np.zeros((1, 3)))
    assert np.isfinite(rules.get("arcee_fusion").score(huge)).all()


def test_the_functions_of_arcee_fusion_are_exp_and_log():
    rng = np.random.default_rng(0)
    values = -np.concatenate([[0.0, 1e-300, 1e308, 699.9], 10 ** rng.uniform(-20, 2.8, 5000)])
    np.testing.assert_allclose(_exp(values), np.exp(values), rtol=1e-15, atol=1e-300)
    near = 1 + rng.normal(size=5000) * 10 ** rng.uniform(-16, -1, 5000)
    ratios = np.concatenate([10 ** rng.uniform(-8, 8, 5000), near, [1.0, 1 + 2**-52, 1 - 2**-53, 0.5, 2.0]])
    np.testing.assert_allclose(_log(ratios), np.log(ratios), rtol=1e-15)


def test_the_importance_of_arcee_fusion_asks_no_library_for_its_last_bits(monkeypatch):
    """exp and log of another processor would be others in their last bits; so what is asked must be exact anyhow."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(4, 30))
    block = rules.RowBlock(base + rng.normal(size=(4, 30)) * 1e-3, base)
    want = rules.get("arcee_fusion").score(block)
    for name in ("exp", "log", "expm1", "log1p", "exp2", "log2", "power"):
        monkeypatch.setattr(np, name, None)
    np.testing.assert_array_equal(rules.get("arcee_fusion").score(block), want)


@pytest.mark.parametrize("size", [1e-300, 5e-324, 2.0**-149, 1.0])
def test_arcee_fusion_is_update_by_row_however_small_updates_are(size):
    update = np.random.default_rng(0).integers(1, 2**20, (3, 50)) * size
    update[:, 7:9] = update.max(), np.nextafter(update.max(), np.inf)  # neighbours, whose products are rounded alike
    values = {"fine_tuned": update, "pretrained": update * 0, "k": 1}
    np.testing.assert_array_equal(rules.retain(rule="arcee_fusion", **values), rules.retain(rule="update", **values))
    if size >= 2.0**-149:
        assert (rules.get("arcee_fusion").score(rules.RowBlock(update, update * 0)) > 0).all()


def test_settings_that_make_no_sense_are_refused():
    for top in (-0.1, 1, 1.5):
        with pytest.raises(RuleError, match=f"top must be a share of a row from 0 to below 1, got {top}"):
            rules.breadcrumbs(top)
    for group in (0, 2.5, True):
        with pytest.raises(RuleError, match=f"group must be a whole number of at least 1, got {group}"):
            rules.cabs(group)


@pytest.mark.parametrize("whole", [lambda sizes: sizes / sizes.max(), lambda sizes: sizes * len(sizes)])
def test_a_score_must_be_the_same_number_whatever_rows_come_with_it(monkeypatch, whole):
    """By row the masks are the same; over wider scopes they would depend on blocks."""
    monkeypatch.setattr(ken.rules.registry, "_RULES", dict(ken.rules.registry._RULES))
    with pytest.raises(
        RuleError, match="'mine' must be .* by itself; asked again, it gave other scores to the entries"
    ):
        rules.register("mine", score=True)(lambda block: whole(np.abs(block.fine_tuned)))
    assert "mine" not in rules.names()


def test_a_score_of_another_dtype_or_shape_is_refused_in_the_trial(monkeypatch):
    monkeypatch.setattr(ken.rules.registry, "_RULES", dict(ken.rules.registry._RULES))
    for dtype in ("float32", "int64"):
        with pytest.raises(RuleError, match=f"the score of rule 'mine' must be float64 or uint64, got {dtype}"):
            rules.register("mine", score=True)(lambda block, dtype=dtype: block.fine_tuned.astype(dtype))
    with pytest.raises(RuleError, match=r"the score of rule 'mine' must have the shape of the rows, \(7, 16\), got"):
        rules.register("mine", score=True)(lambda block: block.fine_tuned[:, 0])
    rules.register("mine", score=True, paired=True)(lambda block: np.abs(block.fine_tuned).view(np.uint64))


def test_a_rule_with_another_setting_is_registered_by_a_name_of_its_own(monkeypatch):
    monkeypatch.setattr(ken.rules.registry, "_RULES", dict(ken.rules.registry._RULES))
    with pytest.raises(RuleError, match="'total' must be deterministic and decide about each row by itself"):
        rules.register("total", score=True)(lambda block: block.values * (len(block.values) - 5))
    rules.register("cabs_8", fixed=True, paired=True)(rules.cabs(8))
    rules.register("crumbs", score=True, fixed=True, paired=True)(rules.breadcrumbs(0.2))
    update = np.arange(1.0, 17.0)
    assert rules.retain(update, 4, "cabs_8", pretrained=update * 0).nonzero()[0].tolist() == [6, 7, 14, 15]
    assert rules.retain(update, 4, "crumbs", pretrained=update * 0).nonzero()[0].tolist() == [9, 10, 11, 12]
    assert rules.get("crumbs").score is not None
    with pytest.raises(RuleError, match="rule 'cabs_8' on weights needs the pretrained values, too"):
        rules.retain(update, 4, "cabs_8")


@pytest.mark.parametrize("rule", [name for name in rules.names() if not rules.counts(name)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks_depend_neither_on_blocks_nor_on_threads_nor_on_the_dtype_of_the_same_values(rule, dtype, tmp_path):
    generator = torch.Generator().manual_seed(1)
    base = (torch.randn(700, 400, generator=generator) * 0.05).bfloat16()
    tuned = (base.float() + torch.randn(700, 400, generator=generator) * 0.01).bfloat16()
    pair = {"w": tuned.to(dtype)}, {"w": base.to(dtype)}
    net = ken.prune(
        *pair, 0.3, rule, seed=2, progress=False, out=tmp_path / "net"
    )  # in three stretches and two threads
    values = {"fine_tuned": tuned.double().numpy(), "pretrained": base.double().numpy()}
    want = rules.retain(**values, k=120, rule=rule, seed=2, tensor="w", dtype="bfloat16")
    np.testing.assert_array_equal(net["w"].mask(), want)
    one_by_one = [
        rules.retain(
            **{side: array[row] for side, array in values.items()},
            k=120,
            rule=rule,
            seed=2,
            tensor="w",
            first_row=row,
            dtype="bfloat16",
        )
        for row in (0, 1, 350, 699)
    ]
    np.testing.assert_array_equal(want[[0, 1, 350, 699]], one_by_one)


@pytest.mark.parametrize("rule", [name for name in rules.names() if rules.get(name).score])
def test_the_score_of_a_rule_ranks_as_the_rule_retains(rule):
    fine_tuned, pretrained = np.random.default_rng(0).normal(size=(2, 9, 120)).round(1)
    block = rules.RowBlock(fine_tuned, pretrained, tensor="w", first_row=3)
    scores = rules.get(rule).score(block)
    mask = rules.mask_block(rule, block, 20)
    for row in range(9):
        retained, reset = scores[row][mask[row]], scores[row][~mask[row]]
        assert retained.min() >= reset.max()
        tied = np.flatnonzero(scores[row] == retained.min())
        kept = mask[row][tied]
        assert (np.diff(kept.astype(int)) <= 0).all()  # of equal ones the first
    part = rules.RowBlock(fine_tuned[4:5], pretrained[4:5], tensor="w", first_row=7)
    np.testing.assert_array_equal(rules.get(rule).score(part)[0], scores[4])
