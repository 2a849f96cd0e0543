import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gaussian_kde
from sklearn.neighbors import KernelDensity
from strategies import rows

from ken.density import bandwidth, density, grid, levels
from ken.errors import BudgetError, ValuesError


@pytest.fixture
def sample():
    return np.random.default_rng(5).normal(0, 0.04, (3, 200))


def test_density_agrees_with_scipy(sample):
    h = bandwidth(sample)
    points = grid(sample, 40)
    for i, row in enumerate(sample):
        # scipy's factor multiplies the sample standard deviation
        theirs = gaussian_kde(row, bw_method=float(h[i, 0] / row.std(ddof=1)))(points[i])
        np.testing.assert_allclose(density(sample, points, h)[i], theirs, rtol=1e-12)


def test_density_agrees_with_sklearn(sample):
    h = bandwidth(sample)
    points = grid(sample, 40)
    for i, row in enumerate(sample):
        model = KernelDensity(bandwidth=float(h[i, 0]), rtol=0, atol=0).fit(row[:, None])
        theirs = np.exp(model.score_samples(points[i][:, None]))
        np.testing.assert_allclose(density(sample, points, h)[i], theirs, rtol=1e-10)


def test_density_of_a_long_row_in_pieces_is_that_of_the_definition():
    row = np.random.default_rng(0).normal(size=(1, 5000))
    points, h = grid(row, 700), bandwidth(row)
    u = (points[0][:, None] - row[0]) / h
    want = np.exp(-0.5 * u**2).mean(axis=1) / (h[0] * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(density(row, points, h)[0], want, rtol=1e-12)


def test_density_refuses_a_bandwidth_of_zero():
    with pytest.raises(ValuesError, match=r"above 0, got 0\.0"):
        density(np.ones((1, 3)), np.ones((1, 1)), np.zeros((1, 1)))


@given(rows())
def test_bandwidth_is_the_normal_reference_rule(row):
    want = 1.06 * row.std() * len(row) ** -0.2 if row.max() > row.min() else 0.0
    np.testing.assert_allclose(bandwidth(row[None])[0, 0], want, rtol=1e-9)


@pytest.mark.parametrize("exponent", [-1060, -600, -500, 500, 600, 1000])
def test_bandwidth_scales_far_beyond_where_squares_do(exponent):
    row = np.random.default_rng(1).normal(size=(1, 50))
    want = np.ldexp(bandwidth(row), exponent)
    np.testing.assert_allclose(bandwidth(np.ldexp(row, exponent)), want, rtol=1e-3 if exponent < -1000 else 1e-12)


def test_bandwidth_of_the_narrowest_row_is_above_zero():
    assert bandwidth(np.array([[0.0, 5e-324]]))[0, 0] > 0


def test_a_range_beyond_float64_is_refused_with_its_place():
    with pytest.raises(ValuesError, match=r"below 1\.8e308, got -1\.7e\+308 to 1\.7e\+308 in row 1"):
        bandwidth(np.array([[0.0, 1.0], [-1.7e308, 1.7e308]]))


@given(rows(), st.integers(2, 60))
def test_grid_is_numpy_linspace(row, k):
    np.testing.assert_array_equal(grid(row[None], k)[0], np.linspace(row.min(), row.max(), k))


def test_grid_of_one_point_is_the_minimum_and_of_none_an_error():
    assert grid(np.array([[3.0, 1.0]]), 1).tolist() == [[1.0]]
    with pytest.raises(BudgetError, match="k must be at least 1, got 0"):
        grid(np.ones((1, 3)), 0)


def test_levels_round_half_to_even_and_keep_31_bits_beyond():
    values = np.array([0.49, 0.5, 1.5, 2.5, 3e4 + 0.5])
    np.testing.assert_array_equal(levels(values), np.round(values))
    big = np.array([2.0**40 + 1, 2.0**40 + 2**20, np.inf])
    assert levels(big).tolist() == [2.0**40, 2.0**40 + 2**20, np.inf]
