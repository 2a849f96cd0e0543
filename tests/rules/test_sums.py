"""The sums behind densities cost the same for every bandwidth, and levels stay those of the sum over all entries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import rows

from ken import rules
from ken.density import KERNELS, density, grid, levels
from ken.rules.fast_density import expand, most_boxes, point_at, row_levels
from ken.rules.prefix_sums import GAUSSIAN, TOPHAT, densities_at, density_at

NUMBERS = range(len(KERNELS))


def plain(x, point, h, kernel):
    """Every term of the sum, one after the other, also those that are 0."""
    shape, integral = KERNELS[[*KERNELS][kernel]]
    with np.errstate(all="ignore"):
        total = 0.0
        for term in shape(np.abs(point - x) / h):
            total += term
    return total / (len(x) * integral) / h


@settings(max_examples=100)
@given(rows(), st.sampled_from(NUMBERS), st.floats(-60, 60), st.floats(0, 1))
def test_what_a_direct_sum_leaves_out_is_nothing(row, kernel, width, place):
    x = np.sort(row)
    if not x[-1] > x[0]:
        return
    h = (x[-1] - x[0]) * 2.0**width
    if not (0 < h < np.inf):
        return
    point = x[0] + place * (x[-1] - x[0])
    np.testing.assert_allclose(density_at(x, point, h, kernel), plain(x, point, h, kernel), rtol=1e-11)


@settings(max_examples=150)
@given(rows(), st.integers(2, 120), st.sampled_from(NUMBERS), st.floats(-40, 40))
def test_levels_are_those_of_the_sum_over_all_entries_at_any_bandwidth(row, k, kernel, width):
    x = np.sort(row)
    spread = x[-1] - x[0]
    if not spread > 0:
        return
    h, step = spread * 2.0**width, spread / (k - 1)
    direct = np.array([density_at(x, point_at(j, k, x[0], x[-1], step), h, kernel) for j in range(k)])
    quantum = 2.0 ** np.maximum(np.frexp(np.maximum(direct, 1))[1] - 31, 0)
    beyond = direct / quantum - np.floor(direct / quantum)
    if (np.abs(beyond - 0.5) * quantum < 1e-12 * direct).any():
        return  # so near to a boundary that the order of a sum decides
    np.testing.assert_array_equal(row_levels(x, k, h, kernel), levels(direct))


@pytest.mark.parametrize("kernel", [kernel for kernel in NUMBERS if kernel != GAUSSIAN])
@pytest.mark.parametrize("width", [1e-6, 1e-3, 0.1, 1.0, 30.0, 1e6])
def test_a_pass_keeps_to_its_bound(kernel, width):
    x = np.sort(np.random.default_rng(kernel).standard_t(3, 700))
    points, out = grid(x[None], 350)[0], np.empty(350)
    relative, absolute = densities_at(x, points, width, kernel, out)
    exact = density(x[None], points[None], np.array([[width]]), kernel=[*KERNELS][kernel])[0]
    if relative < 0:  # direct sums are short there
        assert width == 1e-6
        return
    assert (np.abs(out - exact) <= relative * exact + absolute + 1e-13 * exact + 1e-290).all()
    if kernel == TOPHAT:
        assert (relative, absolute) == (0, 0)


@pytest.mark.parametrize("width", [2e-3, 1e-2, 1.0, 1e3, 1e6, 1e15])
def test_expanded_densities_have_a_bound_far_from_the_bandwidths_of_rules(width):
    n, k = 4096, 2048
    x = np.sort(np.random.default_rng(0).normal(size=n))
    out, scratch = np.empty(k), (np.empty((most_boxes(n), 16)), np.empty((16, 3 * k + 96)))
    bound = expand(x, k, (x[-1] - x[0]) / (k - 1), width, 16, 8.3, *scratch, out)
    exact = density(x[None], grid(x[None], k), np.array([[width]]))[0]
    assert 0 < bound < 1e-8 / width
    assert np.abs(out - exact).max() <= bound


@pytest.mark.parametrize("rule", ["ken", "density"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_row_of_65536_takes_any_bandwidth(rule, kernel):
    """With sums over all entries each of these took up to minutes."""
    row = np.random.default_rng(1).normal(size=1 << 16) * 0.05
    for width in (1e-12, 1e-8, 1e-5, 1e-4, 2.0, 1e20):
        assert rules.retain(row, 1 << 15, rule, bandwidth=width, kernel=kernel).sum() == 1 << 15


@pytest.mark.parametrize("kernel", KERNELS)
def test_where_no_density_reaches_a_half_points_are_visited_from_left_to_right(kernel):
    row = np.random.default_rng(2).normal(size=300)
    np.testing.assert_array_equal(
        rules.retain(row, 100, bandwidth=1e3, kernel=kernel), rules.retain(row, 100, rule="grid")
    )


def test_of_a_bandwidth_that_tells_nothing_apart_the_first_are_the_densest():
    row = np.random.default_rng(3).normal(size=50)
    for kernel in KERNELS:
        width = 1e20 if kernel in ("exponential", "linear") else 1e12
        assert rules.retain(row, 7, "density", bandwidth=width, kernel=kernel)[:7].all()
