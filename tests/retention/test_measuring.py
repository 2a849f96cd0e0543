import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from strategies import models

import ken
from ken.errors import SubnetworkError
from ken.retention.tally import MODE_POINTS, mode_rows, modes, tallies


def same(one, other, exact=True):
    compare = np.testing.assert_array_equal if exact else np.testing.assert_allclose
    assert one.keys() == other.keys()
    for name in one:
        compare(one[name], other[name], err_msg=name)


@settings(max_examples=15)
@given(models(), st.integers(1, 60), st.sampled_from(["random", "grid"]))
def test_how_many_rows_are_read_at_a_time_makes_no_difference(model, block, rule):
    fine_tuned, pretrained, excluded = model
    pair = ken.Pair(fine_tuned, pretrained)
    net = ken.prune(*pair, 0.5, rule, exclude=excluded, progress=False)
    whole, pieces = list(tallies(net, pair)), list(tallies(net, pair, block=block))
    assert [tally.name for tally in whole] == [tally.name for tally in pieces] == list(net.pruned())
    for one, other in zip(whole, pieces, strict=True):
        same(one.rows, other.rows)
        same(one.columns, other.columns, exact=False)
        np.testing.assert_array_equal(one.modes, other.modes)


def test_a_subnetwork_in_a_file_gives_the_same(net, pair, tmp_path):
    stored = ken.load(net.save(tmp_path / "net.ken.safetensors", progress=False))
    for one, other in zip(tallies(net, pair), tallies(stored, pair), strict=True):
        same(one.rows, other.rows)
        same(one.columns, other.columns)


def test_dtypes_and_strange_strides():
    generator = torch.Generator().manual_seed(0)
    pretrained = torch.randn(48, 40, generator=generator, dtype=torch.bfloat16)
    fine_tuned = (pretrained + 0.1 * torch.randn(48, 40, generator=generator)).to(torch.bfloat16)
    plain = ken.Pair({"w": fine_tuned}, {"w": pretrained})
    turned = ken.Pair({"w": fine_tuned.T.contiguous().T}, {"w": pretrained.T.contiguous().T})
    net = ken.prune(*plain, 0.5)
    (one,), (other,) = tallies(net, plain), tallies(net, turned, block=100)
    same(one.rows, other.rows)
    update = fine_tuned.double() - pretrained.double()
    np.testing.assert_array_equal(one.rows["changed"], (update != 0).sum(dim=1).numpy())


def test_a_pair_that_is_another_one_is_refused(net, pair):
    shapes = dict(pair.fine_tuned) | {"embed.weight": torch.zeros(200, 24)}
    other = ken.Pair(shapes, dict(pair.pretrained) | {"embed.weight": torch.zeros(200, 24)})
    with pytest.raises(SubnetworkError, match=r"embed.weight: .* \(300, 24\), the fine-tuned model \(200, 24\)"):
        list(tallies(net, other))
    fewer = {name: tensor for name, tensor in pair.fine_tuned.items() if name != "embed.weight"}
    with pytest.raises(SubnetworkError, match="the fine-tuned model none of that name"):
        list(tallies(net, ken.Pair(fewer, pair.pretrained)))


def test_rows_whose_modes_are_counted():
    for rows in (1, 2, 16, 17, 18, 1000):
        chosen = mode_rows(rows)
        assert chosen == sorted(set(chosen))
        assert len(chosen) == min(rows, 17)
        assert (chosen[0], chosen[-1]) == (0, rows - 1)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_modes_are_the_maxima_of_scipys_density_on_the_same_points(seed, n):
    rng = np.random.default_rng(seed)
    row = rng.choice([0.0, 5.0, 9.0], n) + rng.normal(size=n) * 0.3
    h = 1.06 * row.std() * n**-0.2
    kde = stats.gaussian_kde(row, bw_method=h / row.std(ddof=1))
    f = kde(np.linspace(row.min(), row.max(), MODE_POINTS))
    higher = [f[i] > max(f[i - 1] if i else -1, f[i + 1] if i + 1 < len(f) else -1) for i in range(len(f))]
    assert modes(row) == sum(higher)


def test_modes_of_some_rows():
    assert modes(np.random.default_rng(0).normal(size=5000)) in (1, 2)
    assert modes(np.repeat([0.0, 10.0, 20.0], 50)) == 3
    assert modes(np.array([])) == modes(np.ones(3)) == modes(np.array([-1.7e308, 1.7e308])) == 0
    assert modes(np.array([0.0, 1.0])) == 2  # more than two bandwidths apart


def test_a_tally_is_frozen(net, pair):
    tally = next(tallies(net, pair))
    with pytest.raises(dataclasses.FrozenInstanceError):
        tally.name = "other"
