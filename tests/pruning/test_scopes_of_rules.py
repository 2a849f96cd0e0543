"""Shared budgets with what rules have besides: scores of a whole row, scores of one's own, stored dtypes, rescaling."""

import numpy as np
import pytest
import torch

import ken
from ken import rules
from ken.errors import RuleError, ValuesError
from ken.pruning.rescaling import rounded_once
from ken.rules.merging_rules import arcee_fusion, breadcrumbs
from ken.rules.row_block import RowBlock
from ken.subnetwork import extract

WIDER = ["tensor", "model"]


def pair_of(dtype=torch.float32, seed=0):
    """Rows whose updates differ a hundredfold in size; one tensor has grown, and one is a single row."""
    rng = np.random.default_rng(seed)
    fine_tuned, pretrained = {}, {}
    for name, shape in (("b", (12, 200)), ("a", (9, 200)), ("v", (200,))):
        base = torch.as_tensor(rng.normal(size=shape)).to(dtype)
        sizes = 10 ** rng.uniform(-3, -1, (*shape[:-1], 1))
        fine_tuned[name] = (base.double() + torch.as_tensor(sizes * rng.normal(size=shape))).to(dtype)
        pretrained[name] = base
    fine_tuned["b"] = torch.cat([fine_tuned["b"], torch.ones(2, 200, dtype=dtype)])
    return ken.Pair(fine_tuned, pretrained)


def pruned(pair, k, rule, scope, **options):
    return ken.prune(*pair, k, rule, scope=scope, rows={"b": "grown"}, progress=False, **options)


def ranges_of(scope):
    return [["a"], ["b"], ["v"]] if scope == "tensor" else [["a", "b", "v"]]


@pytest.mark.parametrize("scope", WIDER)
@pytest.mark.parametrize(("rule", "score"), [("breadcrumbs", breadcrumbs()), ("arcee_fusion", arcee_fusion)])
def test_a_score_that_looks_at_the_row_is_given_whole_rows(rule, score, scope, monkeypatch):
    """Though stretches are far shorter than a row, the scores are those of rows: 2 outliers in each of 200."""
    pair = pair_of()
    monkeypatch.setattr(extract, "_STRETCH", 16)
    net = pruned(pair, 0.3, rule, scope)
    for names in ranges_of(scope):
        scores = []
        for name in names:
            base = pair.pretrained[name].double().numpy()
            tuned = pair.fine_tuned[name].double().numpy()[: len(base)]
            scores.append(score(RowBlock(tuned.reshape(-1, 200), base.reshape(-1, 200))).reshape(-1))
        joined = np.concatenate(scores)
        want = np.zeros(len(joined), bool)
        want[np.argsort(-joined, kind="stable")[: len(joined) * 3 // 10]] = True
        got = [net[name].mask().reshape(-1)[: len(part)] for name, part in zip(names, scores, strict=True)]
        np.testing.assert_array_equal(np.concatenate(got), want)
    for name in ("a", "b", "v"):
        for row, why in enumerate(ken.explain(net, pair, name)):
            np.testing.assert_array_equal(why.mask, net[name].row_mask()[row])


@pytest.mark.parametrize("scope", WIDER)
def test_ulps_are_those_of_the_dtype_that_each_tensor_is_stored_in(scope):
    rng = np.random.default_rng(4)
    dtypes = {"a": torch.bfloat16, "b": torch.float32}
    pretrained = {name: torch.as_tensor(rng.normal(size=(6, 40))).to(dtype) for name, dtype in dtypes.items()}
    fine_tuned = {
        name: (base.double() + 0.02 * torch.as_tensor(rng.normal(size=(6, 40)))).to(base.dtype)
        for name, base in pretrained.items()
    }
    net = ken.prune(fine_tuned, pretrained, 0.25, "relative", scope=scope)
    flat = {}
    for name, bits in (("a", 7), ("b", 23)):
        tuned, base = fine_tuned[name].double().numpy(), pretrained[name].double().numpy()
        flat[name] = (np.abs(tuned - base) / 2.0 ** (np.floor(np.log2(np.abs(base))) - bits)).reshape(-1)
    for names in [["a"], ["b"]] if scope == "tensor" else [["a", "b"]]:
        joined = np.concatenate([flat[name] for name in names])
        want = np.zeros(len(joined), bool)
        want[np.argsort(-joined, kind="stable")[: len(joined) // 4]] = True
        np.testing.assert_array_equal(np.concatenate([net[name].mask().reshape(-1) for name in names]), want)
    if scope == "model":
        assert net["a"].retained < 10 < net["b"].retained  # float32 is 2^16 times as fine
    assert ken.explain(net, ken.Pair(fine_tuned, pretrained), "a", 2).block.dtype == "bfloat16"


@pytest.fixture
def given():
    names = []

    def make(scores, name="mine", **options):
        names.append(ken.rules.by_score(scores, name=name, **options))
        return names[-1]

    yield make
    for name in dict.fromkeys(names):
        rules.forget(name)


@pytest.mark.parametrize("scope", [*WIDER, "row"])
def test_scores_of_ones_own_are_checked_before_any_value_is_read(scope, given):
    pair = pair_of()
    scores = {name: tensor.clone() for name, tensor in pair.fine_tuned.items()}
    del scores["v"]
    pair.fine_tuned["a"][0, 0] = torch.nan  # it would be an error if it were read
    with pytest.raises(RuleError, match="v: rule 'mine' has no scores of it; give them, or exclude the tensor"):
        pruned(pair, 0.3, given(scores), scope)
    scores["v"] = torch.ones(3)
    with pytest.raises(RuleError, match=r"v: the scores of rule 'mine' have shape \(3,\), the tensor has \(200,\)"):
        pruned(pair, 0.3, given(scores, replace=True, absolute=True), scope)


@pytest.mark.parametrize("scope", [*WIDER, "row"])
@pytest.mark.parametrize("given_as", ["function", "array"])
def test_a_score_that_is_none_is_an_error_with_its_place_in_every_scope(scope, given_as, given, request, monkeypatch):
    pair = pair_of()
    monkeypatch.setattr(extract, "_STRETCH", 800)

    def score(block):
        scores = np.abs(block.fine_tuned)
        scores[(block.fine_tuned == float(pair.fine_tuned["a"][7, 3]))] = np.nan
        return scores

    if given_as == "array":
        arrays = {name: tensor.clone() for name, tensor in pair.fine_tuned.items()}
        arrays["a"][7, 3] = torch.nan
        given(arrays)
    else:
        rules.register("mine", score=True)(score)
        request.addfinalizer(lambda: rules.forget("mine"))
    with pytest.raises(
        ValuesError, match="score of rule 'mine' is NaN in row 7, column 3 of 'a': it must be .* exclude"
    ):
        pruned(pair, 0.3, "mine", scope)


@pytest.mark.parametrize("scope", WIDER)
def test_scores_of_ones_own_share_a_budget_and_are_explained(scope, given, monkeypatch):
    pair, rng = pair_of(), np.random.default_rng(5)
    monkeypatch.setattr(extract, "_STRETCH", 16)
    scores = {name: rng.normal(size=tuple(tensor.shape)) for name, tensor in pair.fine_tuned.items()}
    net = pruned(pair, 0.3, given(scores), scope)
    for names in ranges_of(scope):
        common = [scores[name][: len(pair.pretrained[name])].reshape(-1) for name in names]
        lowest = np.sort(np.concatenate(common))[-(sum(map(len, common)) * 3 // 10)]
        for name, values in zip(names, common, strict=True):
            np.testing.assert_array_equal(net[name].mask().reshape(-1)[: len(values)], values >= lowest)
    card = ken.explain(net, pair, "b", 3).entry(5)
    assert card.as_dict()["score"] == scores["b"][3, 5]
    assert card.text.splitlines()[1].startswith(f"Its score by mine, {scores['b'][3, 5]:.6g}, is ")


@pytest.mark.parametrize("scope", WIDER)
@pytest.mark.parametrize("rule", ["update", "ken", "dare", "breadcrumbs", "cabs", "della"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rescaled_updates_are_divided_by_the_share_of_the_range(rule, scope, dtype, tmp_path):
    pair = pair_of(dtype)
    net = pruned(pair, 0.3, rule, scope, rescale="share", out=tmp_path / "net.ken.safetensors")
    plain = pruned(pair, 0.3, rule, scope, rescale="none")
    injected = ken.inject(ken.verify(net, pair.pretrained), pair.pretrained)
    for names in ranges_of(scope):
        bases = [pair.pretrained[name].double().numpy() for name in names]
        tuneds = [pair.fine_tuned[name].double().numpy()[: len(base)] for name, base in zip(names, bases, strict=True)]
        base, tuned = (np.concatenate([part.reshape(-1) for part in parts]) for parts in (bases, tuneds))
        n = len(base)
        share = np.full(n, 0.3)
        if rule == "della":
            ranks = np.argsort(np.argsort(np.abs(tuned - base), kind="stable"))
            share = 0.3 + 0.15 * (1 - 1e-9) * np.linspace(-1, 1, n)[ranks]
        rescaled = np.where(tuned == base, tuned, base + (tuned - base) / share)
        masks = [net[name].mask().reshape(-1)[: part.size] for name, part in zip(names, bases, strict=True)]
        assert sum(mask.sum() for mask in masks) == round(0.3 * n)
        stored = rounded_once(rescaled, dtype)
        kept = torch.where(torch.from_numpy(np.concatenate(masks)), stored, torch.from_numpy(base).to(dtype))
        got = torch.cat([injected[name].reshape(-1)[: part.size] for name, part in zip(names, bases, strict=True)])
        assert torch.equal(got, kept)
    assert injected["b"][12:].equal(pair.fine_tuned["b"][12:])  # added rows are what they are
    for name in ("a", "b", "v"):
        np.testing.assert_array_equal(net[name].mask(), plain[name].mask())
    assert net.recipe.rescale == "share"
    range_in_words = {"tensor": "their tensor", "model": "all pruned tensors"}[scope]
    divisor = "the probability that the entry" if rule == "della" else f"the share retained of {range_in_words}"
    assert any(f"updates are divided by {divisor}" in note for note in net.notes)
    if rule == "della" and scope == "tensor":
        assert torch.equal(ken.reset(net, *pair)["a"], injected["a"])


def test_a_row_with_one_entry_retained_is_not_blown_up():
    """By its own share, 1 of 384, the entry would be stored as 384 times its update."""
    update = torch.full((2, 384), 2.0)
    update[1] = 0.0
    update[1, 7] = 1.5
    pair = ken.Pair({"w": update}, {"w": torch.zeros(2, 384)})
    net = ken.prune(*pair, 192, "update", scope="tensor", rescale="share", progress=False)
    assert net["w"].mask()[1].sum() == 0
    assert ken.inject(net, pair.pretrained)["w"].unique().tolist() == [0.0, 4.0]
    net = ken.prune(*pair, 193, "update", scope="tensor", rescale="share", progress=False)
    assert net["w"].mask()[1, 7]
    assert ken.inject(net, pair.pretrained)["w"][1, 7] == np.float32(1.5 * 384 / 193)
    whole = ken.prune(*pair, 1.0, "update", scope="model", rescale="share", progress=False)
    assert torch.equal(ken.inject(whole, pair.pretrained)["w"], update)


def test_a_rescaled_value_that_does_not_fit_names_its_place_in_the_tensor():
    tuned, base = torch.zeros(3, 8).half(), torch.zeros(3, 8).half()
    tuned[1, 6] = 60000.0
    with pytest.raises(ValuesError, match=r"the rescaled value 480000 at \[1, 6\] does not fit into float16"):
        ken.prune({"w": tuned}, {"w": base}, 1, "update", scope="tensor", rescale="share", progress=False)


@pytest.mark.parametrize("rule", ["update", "cabs", "della"])
@pytest.mark.parametrize("raw", [False, True])
def test_explanations_tell_the_stored_value_of_a_row_or_of_the_tensor_as_one(rule, raw):
    pair = pair_of(torch.bfloat16)
    net = pruned(pair, 0.3, rule, "tensor", rescale="share", raw=raw)
    injected = {name: tensor.double().numpy() for name, tensor in ken.inject(net, pair.pretrained).items()}
    for name in ("a", "b", "v"):
        rows = ken.explain(net, pair, name)
        after = np.concatenate([why.stored for why in rows])
        np.testing.assert_array_equal(after, injected[name].reshape(-1))
        last, mask = rows[-1], net[name].mask().reshape(-1)
        for i in range(0, last.n - last.added, 37):
            card, place = last.entry(i).as_dict(), mask.size - last.n + i
            assert card["after"] == after[place]
            assert card["rescaled"] == mask[place]


def test_report_and_cards_say_of_what_the_share_is():
    import kenviz
    from kenviz.reporting.sentences import the_rule
    from kenviz.study.comparison import net_in_words
    from kenviz.study.study import Study
    from kenviz.views.cards import entry_card

    pair = pair_of()
    for scope, words in (("row", "their row"), ("tensor", "their tensor"), ("model", "all pruned tensors")):
        net = pruned(pair, 0.3, "dare", scope)
        assert f"divided by the share that is retained of {words}," in the_rule(net)
        assert net_in_words(net).endswith("rescaled, k = 0.3, seed 0")
        assert "rescaled" in kenviz.RowView(net, pair, tensor="a").caption
        entry = 4, int(net["b"].mask()[4].argmax())
        assert "rescaled: it is not the fine-tuned one" in ken.explain(net, pair, "b", 4).entry(entry[1]).text
        stored = float(ken.inject(net, pair.pretrained)["b"][entry])
        assert f"value after pruning {stored:.6g}, rescaled" in entry_card(Study(net, pair), "b", entry).text
