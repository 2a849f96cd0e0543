import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import rows
from test_rules import golden_cases

import ken
from ken import rules
from ken.errors import SubnetworkError, ValuesError
from ken.rules import registry

ALL = [name for name in ken.rules.names() if not ken.rules.counts(name)]


def replayed(why):
    """The mask by hand: every grid point, in the order given, takes the nearest entry that nobody has taken."""
    values = why.values[: why.n - why.added]
    mask = np.zeros(len(values), bool)
    for point in why.order:
        mask[np.where(mask, np.inf, np.abs(values - why.grid[point])).argmin()] = True
    return np.append(mask, np.ones(why.added, bool))


def check_claims(why):
    """Every claim says the truth about itself."""
    seen = set()
    for step in range(1, len(why.order) + 1):
        claim = why.claim(step)
        far = np.abs(why.values - claim.at)
        assert claim.entry not in seen
        assert set(claim.taken) <= seen
        free = [i for i in range(why.n) if i not in seen]
        assert claim.entry == min(free, key=lambda i: (far[i], i))
        assert claim.distance == far[claim.entry]
        assert all((far[i], i) < (claim.distance, claim.entry) for i in claim.taken)
        seen.add(claim.entry)
    assert sorted(seen) == np.flatnonzero(why.mask).tolist()


def test_it_agrees_with_all_golden_cases():
    for case, row, mask in golden_cases():
        why = ken.explain_row(row, case["k"])
        np.testing.assert_array_equal(why.mask, mask, err_msg=str(case))
        if len(why.order):
            np.testing.assert_array_equal(replayed(why), mask, err_msg=str(case))


def generated(number):
    """Rows of every kind: ties, constants, one entry, huge and tiny scales; and a k from 1 to n."""
    rng = np.random.default_rng(number)
    n = int(rng.choice([1, 2, 3, 7, 16, 40, 90]))
    kind = number % 7
    row = {
        0: lambda: rng.normal(size=n),
        1: lambda: rng.integers(-2, 3, n).astype(float),
        2: lambda: np.full(n, rng.normal()),
        3: lambda: rng.standard_t(2, n),
        4: lambda: torch.from_numpy(rng.normal(size=n) * 0.02).to(torch.bfloat16).double().numpy(),
        5: lambda: rng.choice([-1.0, 1.0], n) * 2.0 ** rng.integers(-40, 40, n),
        6: lambda: np.round(rng.uniform(-1, 1, n), 1),
    }[kind]()
    row = row * 10.0 ** rng.choice([-280, -12, -3, 0, 0, 0, 3, 12, 280])
    return row, int(rng.choice([1, n, rng.integers(1, n + 1), rng.integers(1, n + 1)]))


def test_replaying_the_claims_of_10000_generated_rows_gives_the_compiled_masks():
    claimed = 0
    for number in range(10_000):
        row, k = generated(number)
        why = ken.explain_row(row, k)
        np.testing.assert_array_equal(why.mask, rules.retain(row, k), err_msg=str(number))
        if len(why.order):
            claimed += 1
            np.testing.assert_array_equal(replayed(why), why.mask, err_msg=str(number))
            assert sorted(why.claimed) == np.flatnonzero(why.mask).tolist(), number
        else:
            assert k == len(row) or np.ptp(row) == 0
    assert claimed > 4000


@settings(max_examples=150)
@given(rows(), st.sampled_from(["ken", "grid"]), st.sampled_from(["gaussian", "linear", "tophat"]), st.data())
def test_every_claim_is_the_nearest_entry_that_was_left(row, rule, kernel, data):
    k = data.draw(st.integers(1, len(row)), label="k")
    why = ken.explain_row(row, k, rule=rule, kernel=kernel)
    if not len(why.order):
        return
    check_claims(why)
    assert sorted(why.order) == list(range(k))
    if rule == "ken":
        levels = why.level[why.order]
        assert (np.diff(levels) <= 0).all()
        np.testing.assert_allclose(why.level, why.density, atol=0.5 + 1e-9, rtol=1e-9)
        for a, b in zip(why.order, why.order[1:], strict=False):
            assert why.level[a] > why.level[b] or a < b
    table = why.claims()
    assert table["entry"].tolist() == why.claimed[why.order].tolist()
    assert table["density"].tolist() == why.density[why.order].tolist()


@settings(max_examples=100)
@given(rows(), st.sampled_from(ALL), st.data())
def test_table_and_cards_say_the_same_for_every_rule(row, rule, data):
    k = data.draw(st.integers(1, len(row)), label="k")
    other = row * 0.5
    why = ken.explain_row(row, k, other, rule=rule, seed=3)
    table = why.table()
    assert table["retained"].tolist() == why.mask.tolist()
    assert (table["step"] > 0).sum() == len(why.order)
    i = data.draw(st.integers(0, len(row) - 1), label="entry")
    card = why.entry(i)
    said = json.loads(json.dumps(card.as_dict()))
    assert said["retained"] == bool(why.mask[i])
    assert said["after"] == (row[i] if why.mask[i] else other[i])
    assert said["reason"] == table["reason"][i]
    assert card.text.splitlines()[0] == f"Entry {i} is {'retained' if why.mask[i] else 'reset'}."
    assert repr(card) == card.text
    again = eval(card.python, {"ken": ken, "fine_tuned_row": row, "pretrained_row": other})
    assert again.as_dict() == said | {"density": said["density"]}


def test_reasons_are_told_in_words():
    values = np.array([0.0, 0.4, 0.5, 0.6, 1.0])
    why = ken.explain_row(values, 3)
    left_over = "each of the 3 grid points found another entry at least as near; the nearest, point 1 at 0.5, claimed "
    left_over += "entry 2 at a distance of 0; it is 0.1 away"
    assert why.table()["reason"].tolist() == [
        "grid point 0 at 0 claimed it in step 2, at a distance of 0; no entry was nearer",
        left_over,
        "grid point 1 at 0.5 claimed it in step 1, at a distance of 0; no entry was nearer",
        left_over,
        "grid point 2 at 1 claimed it in step 3, at a distance of 0; no entry was nearer",
    ]
    crowd = ken.explain_row(np.random.default_rng(0).normal(size=60), 40).table()["reason"]
    assert any(re.search(r"; nearer entries \(\d+\) had been claimed before$", text) for text in crowd)
    assert any(re.search(r"; nearer entries \((\d+, ){4}\d+ and \d+ more\) had been claimed", text) for text in crowd)
    assert "k = 5 retains them all" in ken.explain_row(values, 5).entry(0).text
    assert "All values of the row are equal; the first 2 are retained" in ken.explain_row(np.ones(4), 2).entry(3).text
    assert "of highest density: rank" in ken.explain_row(values, 2, rule="density").entry(0).text
    for rule, what in (("magnitude", "largest absolute value: rank 1"), ("update", "largest absolute update: rank 1")):
        assert what in ken.explain_row(values, 2, values * 0, rule=rule).entry(-1).text
    ranked = {
        "smallest_update": "among the 2 entries of smallest absolute update: rank 5",
        "relative": "among the 2 entries of largest update in ulps of the pretrained value: rank 1",
        "breadcrumbs": "among the 2 entries of largest absolute update below the top 1% of the row: rank 1",
    }
    for rule, what in ranked.items():
        assert what in ken.explain_row(values, 2, values * 0, rule=rule).entry(-1).text
    grouped = ken.explain_row(values, 2, values * 0, rule="cabs").entry(0)
    assert "It is not among the 2 entries of largest absolute update of their 32 neighbours." in grouped.text
    for rule in ("random", "della"):
        why = ken.explain_row(values, 2, values * 0, rule=rule, seed=7)
        texts = {why.entry(i).text.splitlines()[1] for i in range(5)}
        assert texts == {"It was drawn at random, with seed 7.", "It was not drawn at random, with seed 7."}


def test_a_rule_of_ones_own_is_explained_as_far_as_it_can_be(monkeypatch):
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))

    @rules.register("first")
    def first(block, k):
        return np.broadcast_to(np.arange(block.values.shape[1]) < k, block.values.shape).copy()

    why = ken.explain_row(np.arange(4.0), 2, rule="first")
    assert why.table()["reason"].tolist() == ["rule 'first' retains it"] * 2 + ["rule 'first' does not retain it"] * 2


def test_what_is_not_there_is_refused():
    why = ken.explain_row(np.arange(5.0), 2)
    for step in (0, 3, -1):
        with pytest.raises(IndexError, match=f"step must be from 1 to 2, got {step}"):
            why.claim(step)
    for i in (5, -6):
        with pytest.raises(IndexError, match=f"entry must be from -5 to 4, got {i}"):
            why.entry(i)
    with pytest.raises(ValuesError, match=r"a row must have one dimension, got shape \(1, 5\)"):
        ken.explain_row(np.ones((1, 5)), 2)


# --- rows of a subnetwork


@pytest.fixture
def pair():
    torch.manual_seed(0)
    shapes = {"w": (6, 40), "conv": (4, 3, 5), "v": (9,), "grown": (4, 8)}
    pretrained = {name: torch.randn(shape) for name, shape in shapes.items()}
    fine_tuned = {name: tensor + 0.05 * torch.randn(tensor.shape) for name, tensor in pretrained.items()}
    fine_tuned["grown"] = torch.cat([fine_tuned["grown"], torch.randn(2, 8)])
    fine_tuned["v"] = torch.cat([fine_tuned["v"], torch.randn(3)])
    fine_tuned["n"] = pretrained["n"] = torch.tensor([1, 2])
    return ken.Pair(fine_tuned, pretrained)


@pytest.mark.parametrize("rule", ALL)
@pytest.mark.parametrize("on", ["weights", "update"])
def test_every_row_of_a_subnetwork_is_explained_as_it_was_decided(pair, rule, on):
    if on == "update" and rule not in ("ken", "grid", "density"):
        return
    net = ken.prune(*pair, 0.4, rule, on=on, rows={"conv": "last", "*": "grown"}, seed=5)
    for name, stored in net.pruned().items():
        explained = ken.explain(net, pair, name)
        assert len(explained) == stored.row_shape[0]
        for row, why in enumerate(explained):
            np.testing.assert_array_equal(why.mask, stored.row_mask()[row])
            assert len(why.table()) == stored.row_shape[1]
            card = why.entry(0)
            assert eval(card.python, {"ken": ken, "net": net, "pair": pair}).as_dict() == card.as_dict()
            if rule in ("ken", "grid") and len(why.order):
                np.testing.assert_array_equal(replayed(why), why.mask)
    assert "it was added" in ken.explain(net, pair, "grown", row=5).entry(0).text
    assert "it was added" in ken.explain(net, pair, "v", row=0).entry(11).text
    assert ken.explain(net, pair, "v", row=0).entry(11).as_dict()["density"] is None
    assert [why.row for why in ken.explain(net, pair, "w")[1:3]] == [1, 2]


def test_other_models_and_other_tensors_are_refused(pair):
    net = ken.prune(*pair, 0.4)
    for name in ("n", "x"):
        with pytest.raises(KeyError, match=f"'{name}' is no pruned tensor"):
            ken.explain(net, pair, name)
    with pytest.raises(IndexError, match="row must be from -6 to 5 in w, got 6"):
        ken.explain(net, pair, "w", row=6)
    other = ken.Pair(pair.fine_tuned | {"w": -(pair.fine_tuned["w"] ** 3)}, pair.pretrained)
    with pytest.raises(SubnetworkError, match="w: the fine-tuned model is not the one that the subnetwork was made of"):
        ken.explain(net, other, "w", row=0)
    small = ken.Pair({"w": torch.ones(2, 40)}, {"w": torch.ones(2, 40)})
    with pytest.raises(SubnetworkError, match=r"the subnetwork has shape .*, the fine-tuned model"):
        ken.explain(net, small, "w", row=0)
    few = ken.Pair({"w": pair.fine_tuned["w"]}, pair.pretrained)
    with pytest.raises(SubnetworkError, match="the subnetwork has shape .*, the fine-tuned model none of that name"):
        ken.explain(net, few, "w", row=0)
