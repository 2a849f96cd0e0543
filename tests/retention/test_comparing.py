import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import shapes
from test_neighbours import every_mask

import ken
from ken.errors import SubnetworkError
from ken.retention.comparison import compare
from ken.subnetwork.retained_tensor import RetainedTensor


def by_definition(a, b, update):
    """From whole arrays: two masks, and the update with NaN where there is none."""
    known = ~np.isnan(update)
    a, b, energy = a & known, b & known, np.where(known, update, 0) ** 2
    both = (a & b).sum()
    total = energy.sum()
    return {
        "paired": known.sum(),
        "retained_a": a.sum(),
        "retained_b": b.sum(),
        "both": both,
        "jaccard": both / (a | b).sum(),
        "overlap": both / min(a.sum(), b.sum()),
        "energy": total,
        "update_share_a": energy[a].sum() / total,
        "update_share_b": energy[b].sum() / total,
        "update_share_both": energy[a & b].sum() / total,
    }


@settings(max_examples=40)
@given(shapes().filter(np.prod), st.floats(0.05, 1), st.floats(0.05, 1), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_two_subnetworks_compared_as_whole_arrays(shape, k, other, more, seed):
    rng = np.random.default_rng(seed)
    grown = (shape[0] + more, *shape[1:]) if shape else ()
    fine_tuned, pretrained = rng.normal(size=grown), rng.normal(size=shape)
    pair = ken.Pair({"w": torch.from_numpy(np.array(fine_tuned))}, {"w": torch.from_numpy(np.array(pretrained))})
    options = {"rows": {"w": "grown"}, "progress": False}
    a, b = ken.prune(*pair, k, "grid", **options), ken.prune(*pair, other, "random", **options)
    line = compare(a, b, pair).loc["w"]
    update = fine_tuned.reshape(-1) - np.append(pretrained.reshape(-1), [np.nan] * (fine_tuned.size - pretrained.size))
    want = by_definition(a["w"].mask().reshape(-1), b["w"].mask().reshape(-1), update)
    np.testing.assert_allclose([line[column] for column in want], list(want.values()), rtol=1e-12)


def net_of(mask):
    """A subnetwork with one tensor and this mask."""
    net = ken.prune({"w": torch.ones(mask.shape)}, {"w": torch.zeros(mask.shape)}, 1)
    tensor = RetainedTensor.of(torch.ones(mask.shape), mask, torch.zeros(mask.shape), name="w")
    return type(net)({"w": tensor}, net.recipe)


@pytest.mark.parametrize("retained", [([1, 2], [2, 2]), ([0, 2], [1, 1]), ([2], [2])])
def test_chance_is_that_of_all_masks_together(retained):
    masks_of_a, masks_of_b = (list(every_mask(counts, 3)) for counts in retained)
    both = np.array([(a & b).sum() for a in masks_of_a for b in masks_of_b])
    pair = ken.Pair({"w": torch.ones(masks_of_a[0].shape)}, {"w": torch.zeros(masks_of_a[0].shape)})
    line = compare(net_of(masks_of_a[0]), net_of(masks_of_b[0]), pair).loc["w"]
    assert line["both_expected"] == pytest.approx(both.mean())
    assert line["both_z"] == pytest.approx((both[0] - both.mean()) / both.std())
    smaller, total = min(map(sum, retained)), sum(map(sum, retained))
    assert line["overlap_expected"] == pytest.approx(both.mean() / smaller)
    assert line["jaccard_expected"] == pytest.approx(both.mean() / (total - both.mean()))


def test_two_random_masks_have_what_chance_says_and_equal_ones_everything():
    generator = torch.Generator().manual_seed(0)
    pretrained = {f"l.{i}.w": torch.randn(200, 300, generator=generator) for i in range(6)}
    fine_tuned = {name: w + torch.randn(w.shape, generator=generator) for name, w in pretrained.items()}
    pair = ken.Pair(fine_tuned, pretrained)
    a, b = (ken.prune(*pair, 0.3, "random", seed=seed) for seed in (1, 2))
    table = compare(a, b, pair)
    assert table["both_z"].abs().max() < 4
    np.testing.assert_allclose(table["overlap_expected"], 0.3)
    np.testing.assert_allclose(table["update_share_both"], 0.09, atol=0.01)
    itself = compare(a, a, pair)
    assert (itself["jaccard"] == 1).all()
    assert (itself["overlap"] == 1).all()
    assert (itself["update_share_a"] == itself["update_share_both"]).all()


def test_nothing_in_common_is_an_empty_table_with_all_columns():
    pair = ken.Pair({"v": torch.ones(2, 2), "w": torch.ones(2, 2)}, {"v": torch.ones(2, 2), "w": torch.ones(2, 2)})
    table = compare(ken.prune(*pair, 1, exclude=["v"]), ken.prune(*pair, 1, exclude=["w"]), pair)
    assert table.empty
    assert "jaccard_expected" in table.columns


def test_all_of_a_row_leaves_chance_no_choice():
    pair = ken.Pair({"w": torch.zeros(2, 3)}, {"w": torch.zeros(2, 3)})
    line = compare(ken.prune(*pair, 3), ken.prune(*pair, 1), pair).loc["w"]
    assert line[["both", "both_expected", "overlap"]].tolist() == [2, 2.0, 1.0]
    assert np.isnan(line["both_z"])
    assert np.isnan(line["update_share_a"])


def test_rows_that_were_cut_in_two_ways_cannot_be_compared():
    pair = ken.Pair({"w": torch.ones(2, 3)}, {"w": torch.zeros(2, 3)})
    a, b = ken.prune(*pair, 1), ken.prune(*pair, 1, rows={"w": "whole"})
    with pytest.raises(SubnetworkError, match="w: rows were cut as '' in one, as 'whole' in the other"):
        compare(a, b, pair)


def test_where_rows_share_their_budgets_chance_knows_tensors_alone():
    generator = torch.Generator().manual_seed(5)
    base = {"w": torch.zeros(10, 20)}
    tuned = {"w": torch.randn(10, 20, generator=generator) * torch.arange(1.0, 11.0)[:, None]}
    pair = ken.Pair(tuned, base)
    a, b = (ken.prune(*pair, k, "update", scope="tensor") for k in (4, 8))
    line = ken.retention.compare(a, b, pair).loc["w"]
    assert line["both"] == 40
    assert line["both_expected"] == pytest.approx(40 * 80 / 200)
    variance = 16 * (200 - 40) * (200 - 80) / 200 / 199
    assert line["both_z"] == pytest.approx((40 - 16) / variance**0.5)
    # Of one with a budget a row, rows have the counts that they have.
    c = ken.prune(*pair, 8, "update")
    counts = a["w"].mask().sum(axis=1)
    assert ken.retention.compare(a, c, pair).loc["w", "both_expected"] == pytest.approx((counts * 8 / 20).sum())


def test_chance_is_what_random_masks_of_the_model_share():
    pair = ken.Pair({n: torch.ones(8, 16) for n in "ab"}, {n: torch.zeros(8, 16) for n in "ab"})
    nets = [ken.prune(*pair, 0.25, "random", seed=seed, scope="model") for seed in range(40)]
    z = [ken.retention.compare(one, other, pair)["both_z"] for one, other in zip(nets[::2], nets[1::2], strict=True)]
    flat = np.concatenate(z)
    assert abs(flat.mean()) < 3 / len(flat) ** 0.5
    assert 0.6 < flat.std() < 1.4


def test_one_seed_in_two_scopes_is_the_same_draw_where_entries_have_a_score():
    pair = {"w": torch.eye(8)}, {"w": torch.zeros(8, 8)}
    for rule, same in (("random", True), ("della", False)):
        a, b = (ken.prune(*pair, 2, rule, scope=scope) for scope in ("row", "tensor"))
        assert ken.retention.same_draw(a, b) == same
        assert ken.retention.same_draw(a, a)
