"""The rules beside the published one, the values they look at, bandwidths and kernels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KernelDensity
from strategies import rows

import ken
from ken import rules
from ken.density import KERNELS, bandwidth, density, grid, levels
from ken.errors import RuleError, ValuesError
from ken.rules.fast_density import point_at, row_levels
from ken.rules.prefix_sums import EXPONENTIAL, density_at

ALL = [name for name in rules.names() if not rules.counts(name)]


@st.composite
def cases(draw):
    row = draw(rows())
    other = row + np.random.default_rng(draw(st.integers(0, 9))).normal(size=len(row)) * (np.abs(row) + 1e-3) * 0.01
    return row, other, draw(st.integers(1, len(row)), label="k")


@settings(max_examples=200)
@given(
    cases(),
    st.sampled_from(ALL),
    st.sampled_from(["normal reference", "scott", "silverman", 0.1]),
    st.sampled_from([*KERNELS]),
    st.sampled_from(rules.VALUES),
)
def test_every_rule_retains_exactly_k_whatever_it_is_told(case, rule, width, kernel, on):
    row, other, k = case
    on = on if rule in ("ken", "grid", "density") else "weights"
    options = {"pretrained": other, "on": on, "bandwidth": width, "kernel": kernel}
    mask = rules.retain(row, k, rule, **options)
    assert mask.sum() == k
    block = np.stack([row[::-1], row])
    both = rules.retain(block, k, rule, **{**options, "pretrained": np.stack([other[::-1], other])}, first_row=-1)
    np.testing.assert_array_equal(both[1], mask)


@settings(max_examples=100)
@given(cases(), st.sampled_from([*KERNELS]), st.sampled_from(["scott", 0.3]))
def test_the_published_rule_with_other_kernels_visits_by_their_levels(case, kernel, width):
    row, _, k = case
    got = rules.retain(row, k, "ken", bandwidth=width, kernel=kernel)
    if row.max() == row.min() or k == 1 or k == len(row):
        return
    points, h = grid(row[None], k), bandwidth(row[None], width)
    exact = density(row[None], points, h, kernel=kernel)
    seen = levels(exact)
    if (np.abs(exact - np.floor(exact) - 0.5) < 1e-9 * np.maximum(exact, 1)).any():
        return  # a sum in another order may be rounded to the other side
    want = np.zeros(len(row), bool)
    for j in np.argsort(-seen[0], kind="stable"):
        want[np.where(want, np.inf, np.abs(row - points[0, j])).argmin()] = True
    np.testing.assert_array_equal(got, want)


@settings(max_examples=300)
@given(rows(), st.integers(2, 200), st.floats(-9, 3))
def test_levels_of_the_exponential_kernel_are_those_of_the_sum_over_all_entries(row, k, width):
    x = np.sort(row)
    spread = x[-1] - x[0]
    if not spread > 0:
        return
    h, step = spread * 2.0**width, spread / (k - 1)
    got = row_levels(x, k, h, EXPONENTIAL)
    direct = [density_at(x, point_at(j, k, x[0], x[-1], step), h, EXPONENTIAL) for j in range(k)]
    np.testing.assert_array_equal(got, levels(np.array(direct)))


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_are_those_of_sklearn(kernel):
    rng = np.random.default_rng(0)
    row, points = rng.normal(size=(1, 300)), np.linspace(-4, 4, 81)[None]
    for h in (0.05, 0.4, 3.0):
        densities = density(row, points, np.array([[h]]), kernel=kernel)[0]
        expected = np.exp(KernelDensity(bandwidth=h, kernel=kernel).fit(row.T).score_samples(points.T))
        np.testing.assert_allclose(densities, expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=100)
@given(cases(), st.sampled_from([*KERNELS]))
def test_the_densest_entries_are_those_of_highest_density(case, kernel):
    row, _, k = case
    mask = rules.retain(row, k, "density", kernel=kernel)
    if row.max() == row.min():
        assert mask[:k].all()
        return
    at = density(row[None], row[None], bandwidth(row[None]), kernel=kernel)[0]
    lowest = at[mask].min()
    if k < len(row):
        assert lowest >= at[~mask].max() * (1 - 1e-12)
    for value in np.unique(row):  # of equal entries those that come first
        of_it = mask[row == value]
        assert (np.diff(of_it.astype(int)) <= 0).all()


@pytest.mark.parametrize(("n", "k"), [(384, 192), (384, 5), (2048, 1000), (4096, 4000)])
@pytest.mark.parametrize("coarse", [False, True])
def test_the_densest_entries_of_long_rows_are_exact(n, k, coarse):
    rng = np.random.default_rng(n + k)
    values = np.stack([rng.normal(size=n), rng.standard_t(2, n), rng.laplace(size=n), rng.uniform(size=n)]) * 0.03
    if coarse:
        values = torch.from_numpy(values).to(torch.bfloat16).double().numpy()
    at = density(values, values, bandwidth(values))
    want = np.zeros(values.shape, bool)
    np.put_along_axis(want, np.argsort(-at, axis=1, kind="stable")[:, :k], True, axis=1)
    np.testing.assert_array_equal(rules.retain(values, k, "density"), want)


@given(cases())
def test_magnitude_and_update_keep_the_largest_and_of_equal_ones_the_first(case):
    row, other, k = case
    for rule, size in (("magnitude", np.abs(row)), ("update", np.abs(row - other))):
        order = sorted(range(len(row)), key=lambda i: (-size[i], i))
        want = np.isin(np.arange(len(row)), order[:k])
        np.testing.assert_array_equal(rules.retain(row, k, rule, pretrained=other), want)


@given(cases())
def test_on_update_the_rule_sees_what_fine_tuning_changed(case):
    row, other, k = case
    for rule in ("ken", "grid", "density"):
        got = rules.retain(row, k, rule, pretrained=other, on="update")
        np.testing.assert_array_equal(got, rules.retain(row - other, k, rule))


@given(cases(), st.integers(0, 9))
def test_on_pretrained_the_rule_sees_nothing_of_fine_tuning(case, seed):
    row, other, k = case
    shuffled = np.random.default_rng(seed).permutation(row)
    for rule in ("ken", "grid", "density"):
        got = rules.retain(row, k, rule, pretrained=other, on="pretrained")
        np.testing.assert_array_equal(got, rules.retain(other, k, rule))
        np.testing.assert_array_equal(got, rules.retain(shuffled, k, rule, pretrained=other, on="pretrained"))


def test_on_update_the_tails_of_the_update_are_retained():
    rng = np.random.default_rng(0)
    pretrained = rng.normal(size=(200, 400))
    update = rng.standard_t(3, (200, 400)) * 0.01
    tails = np.abs(update) > 3 * update.std(1, keepdims=True)
    kept = {
        on: rules.retain(pretrained + update, 40, pretrained=pretrained, on=on)[tails].mean()
        for on in ("weights", "update")
    }
    assert kept["update"] > 0.95
    assert kept["weights"] < 0.3


def test_della_prefers_what_changed_most_with_the_probabilities_it_says():
    n, k, seeds = 60, 20, 4000
    pretrained, update = np.zeros(n), np.random.default_rng(0).permutation(n) + 1.0
    masks = np.stack(
        [rules.retain(update, k, "della", pretrained=pretrained, seed=seed, first_row=1) for seed in range(seeds)]
    )
    assert (masks.sum(1) == k).all()
    by_rank = masks[:, np.argsort(update)].mean(0)
    want = k / n + 0.15 * np.linspace(-1, 1, n)
    assert np.abs(by_rank - want).max() < 5 * np.sqrt(0.25 / seeds)
    assert masks[:, update.argmax()].mean() > masks[:, update.argmin()].mean() + 0.25


@pytest.mark.parametrize(("n", "k"), [(50, 1), (50, 2), (50, 49), (7, 3), (1000, 999)])
def test_della_keeps_its_number_near_none_and_all(n, k):
    values = np.random.default_rng(0).normal(size=(300, n))
    assert (rules.retain(values, k, "della", pretrained=values * 0.9).sum(1) == k).all()


def test_random_and_della_draw_from_streams_of_their_own():
    values = np.random.default_rng(0).normal(size=(4, 100))
    masks = [
        rules.retain(values, 50, rule, pretrained=values * 0.9, seed=s) for rule in ("random", "della") for s in (0, 1)
    ]
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert (a != b).any(1).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on": "both"}, RuleError, "on must be one of weights, update, pretrained, got 'both'"),
        (
            {"kernel": "triangle"},
            RuleError,
            "kernel must be one of gaussian, tophat, epanechnikov, exponential, linear, cos",
        ),
        ({"bandwidth": "wide"}, RuleError, "bandwidth must be a number or one of normal reference"),
        ({"bandwidth": -1}, RuleError, "a bandwidth must be a finite number above 0, got -1"),
        (
            {"rule": "magnitude", "on": "update"},
            RuleError,
            "rule 'magnitude' does not look at a density: on must be weights",
        ),
        ({"rule": "update"}, RuleError, "rule 'update' on weights needs the pretrained values, too"),
        ({"on": "update"}, RuleError, "rule 'ken' on update needs the pretrained values, too"),
        ({"on": "pretrained"}, RuleError, "rule 'ken' on pretrained needs the pretrained values, too"),
        ({"pretrained": np.zeros(4)}, ValuesError, r"fine-tuned values have shape \(1, 5\), pretrained \(1, 4\)"),
    ],
)
def test_what_a_rule_cannot_be_told_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        rules.retain(np.arange(5.0), 2, **options)
    if "pretrained" not in options and "needs" not in message:
        options = {"rule": "ken", **options}
        with pytest.raises(error, match=message):
            ken.prune({"w": torch.ones(2, 5)}, {"w": torch.zeros(2, 5)}, 2, rule=options.pop("rule"), **options)


def test_prune_passes_on_what_it_is_told_and_the_file_remembers(tmp_path):
    torch.manual_seed(0)
    pretrained = {"w": torch.randn(300, 50)}
    fine_tuned = {"w": pretrained["w"] + 0.01 * torch.randn(300, 50)}
    options = {"on": "update", "bandwidth": 0.004, "kernel": "linear"}
    net = ken.prune(fine_tuned, pretrained, 7, rule="density", **options, out=tmp_path / "net")
    values = {"fine_tuned": fine_tuned["w"].double().numpy(), "pretrained": pretrained["w"].double().numpy()}
    want = rules.retain(**values, k=7, rule="density", tensor="w", **options)
    np.testing.assert_array_equal(net["w"].mask(), want)
    recipe = ken.load(tmp_path / "net").recipe
    assert (recipe.on, recipe.bandwidth, recipe.kernel) == ("update", 0.004, "linear")
    for other in ({"kernel": "tophat"}, {"bandwidth": 0.01}, {"on": "weights"}):
        assert (ken.prune(fine_tuned, pretrained, 7, rule="density", **{**options, **other})["w"].mask() != want).any()


@pytest.mark.parametrize(
    ("on", "label"), [("update", "update: fine-tuned less pretrained value"), ("pretrained", "pretrained value")]
)
def test_a_view_shows_the_values_that_the_rule_saw(on, label):
    import kenviz

    torch.manual_seed(0)
    pretrained = {"w": torch.randn(3, 50)}
    pair = ken.Pair({"w": pretrained["w"] + 0.01 * torch.randn(3, 50)}, pretrained)
    view = kenviz.RowView(ken.prune(*pair, 7, on=on, kernel="cosine"), pair)
    tuned, base = pair.fine_tuned["w"][0].double().numpy(), pretrained["w"][0].double().numpy()
    seen = tuned - base if on == "update" else base
    shown = view.figure.select_one({"name": "retained"}).data["x"]
    assert len(shown) == 7
    assert set(shown) <= set(seen)
    assert view.figure.select_one({"name": "axis"}).axis_label == label
    view.k = 9
    np.testing.assert_array_equal(view.numbers()["retained"], rules.retain(seen, 9, kernel="cosine"))
    view.on = "weights"
    np.testing.assert_array_equal(view.numbers()["retained"], rules.retain(tuned, 9, kernel="cosine"))


def test_two_tasks_of_one_pretrained_model_share_the_mask_on_pretrained():
    import kenviz

    torch.manual_seed(0)
    pretrained = {"w": torch.randn(3, 50)}
    pairs = [ken.Pair({"w": pretrained["w"] + 0.01 * torch.randn(3, 50)}, pretrained) for _ in range(2)]
    nets = [ken.prune(*pair, 0.3, on="pretrained") for pair in pairs]
    np.testing.assert_array_equal(nets[0]["w"].mask(), nets[1]["w"].mask())
    assert ken.explain(nets[0], pairs[0], "w", 1).entry(4).text.count("on pretrained") == 1
    assert "ken on the pretrained weights" in kenviz.RowView(nets[0], pairs[0]).caption


def test_caption_and_report_say_what_the_rule_was_told(tmp_path):
    import kenviz

    torch.manual_seed(0)
    pretrained = {"w": torch.randn(3, 50)}
    pair = ken.Pair({"w": pretrained["w"] + 0.01 * torch.randn(3, 50)}, pretrained)
    net = ken.prune(*pair, 7, on="update", bandwidth=0.5)
    words = "ken on the update, bandwidth 0.5"
    assert f"rule {words} retains 7 of 50" in kenviz.RowView(net, pair).caption
    text = kenviz.report(net, pair, tmp_path / "report.html").read_text(encoding="utf-8")
    assert words in text
    assert "not the fine-tuned ones but what fine-tuning changed" in text
    other = ken.prune(*pair, 7, on="pretrained")
    text = kenviz.report(other, pair, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "not the fine-tuned ones but the pretrained ones" in text
    assert "pretrained value" in text
    assert "registered by the user" not in kenviz.report(
        ken.prune(*pair, 7, "della"), pair, tmp_path / "report.html"
    ).read_text(encoding="utf-8")
