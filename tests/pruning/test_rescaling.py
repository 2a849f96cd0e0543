"""Updates divided by the share that is retained: what is stored, what is said of it, and that all else still works."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES

import ken
from ken import rules
from ken.errors import RuleError, SubnetworkError, ValuesError
from ken.models.tensors.tensor_bytes import fingerprint
from ken.pruning.rescaling import rounded_once

RULES = ["ken", "random", "update", "della", "dare", "cabs"]


def pair_of(dtype=torch.float32, shape=(6, 40), seed=0, size=0.01):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    update = size * torch.randn(shape, generator=generator, dtype=torch.float64)
    update[..., ::7] = 0.0  # and some entries are as they were
    return ken.Pair({"w": (base.double() + update).to(dtype)}, {"w": base})


def nearest(value, numbers):
    """The number of a sorted list that is nearest to a value, of two the one at an even place: the definition."""
    at = int(np.searchsorted(numbers, value))
    low, high = numbers[max(at - 1, 0)], numbers[min(at, len(numbers) - 1)]
    below, above = abs(Fraction(value) - Fraction(low)), abs(Fraction(high) - Fraction(value))
    if below != above:
        return low if below < above else high
    return low if (max(at - 1, 0) - len(numbers) // 2) % 2 == 0 else high


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.sampled_from([torch.bfloat16, torch.float16, torch.float8_e4m3fn]))
def test_values_are_rounded_once_to_the_nearest(seed, dtype):
    width = dtype.itemsize * 8
    every = torch.arange(2**width, dtype=torch.int64).to(torch.uint8 if width == 8 else torch.int32)
    every = every.view(dtype) if width == 8 else every.to(torch.uint16).view(dtype)
    numbers = np.unique(every.double().numpy()[torch.isfinite(every.float()).numpy()])
    rng = np.random.default_rng(seed)
    at = rng.integers(1, len(numbers), 20)
    low, high = numbers[at - 1], numbers[at]
    middle = low + (high - low) / 2  # exact: both have few bits
    values = np.concatenate([middle, np.nextafter(middle, high), np.nextafter(middle, low), rng.normal(size=20), low])
    want = [nearest(value, numbers) for value in values]
    np.testing.assert_array_equal(rounded_once(values, dtype).double().numpy(), want)


@settings(max_examples=60)
@given(st.sampled_from(DTYPES), st.sampled_from(RULES), st.integers(1, 40), st.integers(0, 99), st.booleans())
def test_what_is_stored_is_the_pretrained_value_and_the_update_over_the_share(dtype, rule, k, seed, raw):
    pair = pair_of(dtype, seed=seed)
    plain = ken.prune(*pair, k, rule, rescale="none", seed=seed, raw=raw, progress=False)
    net = ken.prune(*pair, k, rule, rescale="share", seed=seed, raw=raw, progress=False)
    mask = net["w"].mask()
    np.testing.assert_array_equal(mask, plain["w"].mask())
    assert net["w"].fine_tuned == plain["w"].fine_tuned == fingerprint(pair.fine_tuned["w"])
    tuned, base = (model["w"].double().numpy() for model in pair)
    share = np.full(mask.shape, k / 40)
    if rule == "della" and k < 40:
        ranks = np.argsort(np.argsort(np.abs(tuned - base), axis=1, kind="stable"), axis=1)
        share = k / 40 + min(0.15, k / 40, 1 - k / 40) * (1 - 1e-9) * np.linspace(-1, 1, 40)[ranks]
    values = np.where((tuned == base) | (k == 40), tuned, base + (tuned - base) / share)
    want = torch.where(
        torch.from_numpy(mask), rounded_once(values.ravel(), dtype).reshape(mask.shape), pair.pretrained["w"]
    )
    injected = ken.inject(net, pair.pretrained)["w"]
    assert torch.equal(injected, want)
    assert fingerprint(injected) == net["w"].result
    assert (net["w"].result == plain["w"].result) == torch.equal(injected, ken.inject(plain, pair.pretrained)["w"])


def test_entries_that_fine_tuning_left_keep_their_bits_and_so_do_added_rows():
    base = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    tuned = torch.tensor([[-0.0, 1.5, 2.0, 3.0], [7.0, 8.0, 9.0, 10.0]])
    net = ken.prune({"w": tuned}, {"w": base}, 0.5, "magnitude", rescale="share", rows={"w": "grown"}, progress=False)
    assert ken.inject(net, {"w": base})["w"].tolist() == [[0.0, 1.0, 2.0, 3.0], [7.0, 8.0, 9.0, 10.0]]
    most = ken.prune({"w": tuned}, {"w": base}, 3, "update", rescale="share", rows={"w": "grown"}, progress=False)
    injected = ken.inject(most, {"w": base})["w"]
    assert torch.signbit(injected[0, 0])  # -0.0 equals 0.0: nothing to rescale
    assert injected[0].tolist() == [0.0, float(np.float32(1.0 + 0.5 / 0.75)), 2.0, 3.0]
    vector = ken.prune({"v": tuned[1]}, {"v": tuned[1, :2] - 1}, 1, "update", rescale="share", rows={"v": "grown"})
    assert ken.inject(vector, {"v": tuned[1, :2] - 1})["v"].tolist() == [8.0, 7.0, 9.0, 10.0]


@pytest.mark.parametrize("rule", ["random", "della", "magnitude"])
@pytest.mark.parametrize("scope", ["row", "tensor"])
def test_what_rounding_to_another_dtype_did_is_no_update(rule, scope):
    """A model that was only cast is what injection resets to, and an update is what came on top of that."""
    base = pair_of().pretrained["w"]
    cast = base.bfloat16()
    only_cast = ken.prune({"w": cast}, {"w": base}, 0.2, rule, scope=scope, rescale="share", progress=False)
    assert torch.equal(ken.inject(only_cast, {"w": base})["w"], cast)
    tuned = cast.clone()
    tuned[:, ::3] *= 1.0625
    net = ken.prune({"w": tuned}, {"w": base}, 8, rule, scope=scope, rescale="share", progress=False)
    mask, injected = net["w"].mask(), ken.inject(net, {"w": base})["w"]
    same = torch.from_numpy(~mask) | (tuned == cast)
    assert torch.equal(injected[same], cast[same])
    if rule != "della":
        start, update = cast.double().numpy(), tuned.double().numpy() - cast.double().numpy()
        want = rounded_once((start + update / 0.2).ravel(), torch.bfloat16).reshape(cast.shape)
        assert torch.equal(injected[~same], want[~same])
        assert (~same).any()


def test_powers_of_two_alone_are_not_rescaled():
    codes = torch.arange(100, 108, dtype=torch.uint8).view(1, 8)
    pair = {"s": (codes + 1).view(torch.float8_e8m0fnu)}, {"s": codes.view(torch.float8_e8m0fnu)}
    with pytest.raises(RuleError, match=r"^s: rescale='share' needs .* float8_e8m0fnu .*; exclude=\['s'\] carries"):
        ken.prune(*pair, 2, "random", rescale="share", progress=False)
    ken.prune(*pair, 2, "random", rescale="share", exclude=["s"], progress=False)


@pytest.mark.parametrize("rule", ["dare", "della"])
def test_in_expectation_the_update_is_kept(rule):
    pair = pair_of(torch.float64, shape=(3, 20), size=1.0)
    nets = [ken.prune(*pair, 8, rule, rescale="share", seed=seed, progress=False) for seed in range(1500)]
    injected = torch.stack([ken.inject(net, pair.pretrained)["w"] - pair.pretrained["w"] for net in nets])
    update = pair.fine_tuned["w"] - pair.pretrained["w"]
    # The standard error of a mean of draws of probability p that are divided by p.
    least = 0.4 if rule == "dare" else 0.25
    error = update.abs() * (1 / least - 1) ** 0.5 / 1500**0.5
    assert ((injected.mean(0) - update).abs() <= 4.5 * error + 1e-12).all()


def test_dare_rescales_unless_it_is_told_not_to_and_draws_apart_from_random():
    pair = pair_of()
    assert ken.prune(*pair, 8, "dare").recipe.rescale == "share"
    assert ken.prune(*pair, 8, "dare", rescale="none").recipe.rescale == "none"
    assert ken.prune(*pair, 8, "random").recipe.rescale == ken.prune(*pair, 8, "della").recipe.rescale == "none"
    masks = [ken.prune(*pair, 8, rule)["w"].mask() for rule in ("dare", "random")]
    assert (masks[0] != masks[1]).any(1).all()
    counts = rules.retain(np.zeros((2000, 10)), 3, "dare", tensor="a").sum(0)
    assert np.abs(counts - 600).max() < 4 * 20.5  # uniform


def test_a_value_that_does_not_fit_is_an_error_with_its_place_and_nothing_is_written(tmp_path):
    tuned, base = torch.zeros(3, 8).half(), torch.zeros(3, 8).half()
    tuned[1, 6] = 60000.0
    with pytest.raises(ValuesError, match=r"the rescaled value 480000 at \[1, 6\] does not fit into float16: retain a"):
        ken.prune({"w": tuned}, {"w": base}, 1, "update", rescale="share", out=tmp_path / "net", progress=False)
    assert not list(tmp_path.iterdir())
    assert ken.prune({"w": tuned}, {"w": base}, 1.0, "update", rescale="share").retained == 24


def test_what_makes_no_sense_is_refused():
    pair = pair_of()
    with pytest.raises(RuleError, match="rescale must be one of none, share, got 'norm'"):
        ken.prune(*pair, 8, rescale="norm")
    with pytest.raises(RuleError, match="rule 'changed' retains all of the update: there is nothing that rescaling"):
        ken.prune(*pair, rule="changed", rescale="share")


@pytest.fixture(params=[False, True], ids=["ulps", "raw"])
def rescaled(request, tmp_path):
    pair = pair_of(torch.bfloat16, shape=(9, 40), size=0.1)
    path = tmp_path / "net.ken.safetensors"
    return pair, ken.prune(*pair, 0.3, "random", rescale="share", raw=request.param, out=path, progress=False), path


def test_it_is_said_wherever_one_looks(rescaled):
    from ken.storage import info

    pair, net, path = rescaled
    assert net.recipe.rescale == ken.load(path).recipe.rescale == "share"
    assert "rescale='share'" in repr(net)
    assert "note: retained values are rescaled, and not the fine-tuned ones" in repr(net)
    assert net.table().loc["w", "reason"] == "retained values are rescaled"
    assert ken.prune(*pair, 3).table().loc["w", "reason"] == ""
    described = info.describe(path)
    assert described["recipe"]["rescale"] == "share"
    assert "retained updates divided by the share retained" in info.text(described)
    assert "updates are divided by the share that is retained" in net.model_card("user/net")
    assert "retained values" not in ken.prune(*pair, 3).model_card("user/net")
    assert any("by the probability" in note for note in ken.prune(*pair, 3, "della", rescale="share").notes)


def test_it_is_stored_injected_swapped_exported_and_verified_like_any_other(rescaled, tmp_path):
    pair, net, path = rescaled
    ken.verify(path, pair.pretrained)
    injected = ken.inject(net, pair.pretrained)["w"]
    assert not torch.equal(injected, torch.where(torch.from_numpy(net["w"].mask()), *(model["w"] for model in pair)))
    assert torch.equal(ken.reset(net, *pair)["w"], injected)
    with pytest.raises(SubnetworkError, match="not the fine-tuned tensor that the subnetwork was made from"):
        ken.reset(net, {"w": injected}, pair.pretrained)
    net.save(tmp_path / "again")
    assert ken.load(tmp_path / "again") == net == ken.load(path)
    live = torch.nn.Linear(40, 9, bias=False).bfloat16()
    live.weight.data.copy_(pair.pretrained["w"])
    renamed = ken.Pair({"weight": pair.fine_tuned["w"]}, {"weight": pair.pretrained["w"]})
    net, other = (ken.prune(*renamed, 0.3, "random", rescale=how, progress=False) for how in ("share", "none"))
    injected = ken.inject(net, renamed.pretrained)["weight"]
    with net.injected(live):
        assert torch.equal(live.weight.data, injected)
        ken.swap(live, current=net, to=other)
        assert torch.equal(live.weight.data, ken.inject(other, renamed.pretrained)["weight"])
        ken.swap(live, current=other, to=net)
        assert torch.equal(live.weight.data, injected)
    assert torch.equal(live.weight.data, pair.pretrained["w"])
    assert ken.export(net, renamed.pretrained, tmp_path / "out").exists()


def test_the_card_of_an_entry_tells_its_stored_value(rescaled):
    pair, net, _ = rescaled
    injected = ken.inject(net, pair.pretrained)["w"].double()
    mask, rows = net["w"].mask(), ken.explain(net, pair, "w")
    for row in (0, 3, 8):
        for column in range(40):
            card = rows[row].entry(column)
            assert card.as_dict()["after"] == injected[row, column]
            assert card.as_dict()["rescaled"] == mask[row, column]
            assert ("is rescaled: it is not the fine-tuned one" in card.text) == mask[row, column]
    plain = ken.explain(ken.prune(*pair, 3), pair, "w", 0).entry(0)
    assert plain.as_dict()["rescaled"] is False


def test_tables_say_what_of_the_update_of_fine_tuning_lies_at_retained_entries(rescaled):
    pair, net, _ = rescaled
    plain = ken.prune(*pair, 0.3, "random", progress=False)
    tables = [ken.retention.table(one, pair) for one in (net, plain)]
    assert tables[0]["update_share"].tolist() == tables[1]["update_share"].tolist()
    assert 0.1 < tables[0]["update_share"].iloc[0] < 0.6


def test_views_and_report_show_the_stored_values(rescaled, tmp_path):
    import kenviz

    pair, net, _ = rescaled
    assert "with their update rescaled" in kenviz.RowView(net, pair).caption
    injected = ken.inject(net, pair.pretrained)["w"].double().numpy()
    mask = net["w"].mask()
    view = kenviz.MatrixView(net, pair, show="retained")
    np.testing.assert_allclose(view.numbers().to_numpy()[mask], injected[mask])
    text = kenviz.report(net, pair, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "are retained, with their update rescaled," in text
    assert "Retained entries do not have their fine-tuned value" in text
    assert "rescale=&#39;share&#39;" in text or "rescale='share'" in text or "rescale=&#x27;share" in text
    assert "--rescale share" in text


def test_the_command_line_takes_it(rescaled, tmp_path):
    from safetensors.torch import save_file
    from typer.testing import CliRunner

    from ken.cli.commands import app

    pair, _, _ = rescaled
    for side, model in zip(("tuned", "base"), pair, strict=True):
        save_file(model, tmp_path / f"{side}.safetensors")
    paths = [str(tmp_path / f"{side}.safetensors") for side in ("tuned", "base")]
    words = ["prune", *paths, "-k", "0.3", "--rule", "random", "--rescale", "share", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "rescale='share'" in result.output
    assert ken.load(tmp_path / "out").recipe.rescale == "share"


def test_effects_take_the_rescaled_model(rescaled):
    from ken.evaluation.effects.live_model import LiveModel

    pair, _, _ = rescaled
    tuned, base = (torch.nn.Linear(40, 9, bias=False).bfloat16() for _ in range(2))
    tuned.weight.data, base.weight.data = pair.fine_tuned["w"].clone(), pair.pretrained["w"].clone()
    net = ken.prune(tuned, base, 0.3, "random", rescale="share", progress=False)
    live = LiveModel(ken.Pair(tuned, base), net=net)
    live.hold_tuned()
    assert torch.equal(live.module.weight.data, ken.inject(net, base).weight.data)
