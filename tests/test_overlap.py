"""What two masks share, against counting one by one, and against the tool's own comparison."""

import doctest
import itertools

import audit_pages
import marked_pages
import numpy as np
import overlap
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ken

NAME = "encoder.layer.0.attention.self.query.weight"


def masks(seed, rows=2, n=5):
    rng = np.random.default_rng(seed)
    return rng.random((3, rows, n)) < rng.random((3, rows, 1))


def subsets(n, size):
    return [set(chosen) for chosen in itertools.combinations(range(n), size)]


@given(st.integers(0, 2**32 - 1))
def test_both_yardsticks_are_means_over_all_masks_of_those_counts(seed):
    a, b, p = masks(seed)
    found = overlap.counts(a, b, p)
    chance = given = 0.0
    for row_a, row_b, row_p in zip(a, b, p, strict=True):
        for group, add in ((np.ones(5, bool), "chance"), (row_p, "given"), (~row_p, "given")):
            n, x, y = (int(mask[group].sum()) for mask in (np.ones(5, bool), row_a, row_b))
            pairs = [len(s & t) for s in subsets(n, x) for t in subsets(n, y)]
            if add == "chance":
                chance += np.mean(pairs)
            else:
                given += np.mean(pairs)
    assert found["chance"] == pytest.approx(chance)
    assert found["given_pretrained"] == pytest.approx(given)
    assert found["both"] == sum(x and y for x, y in zip(a.ravel(), b.ravel(), strict=True))
    assert (found["a_pretrained"], found["b_pretrained"]) == ((a & p).sum(), (b & p).sum())
    assert np.isnan(overlap.counts(a, b, None)["given_pretrained"])


def two_pairs():
    """Two fine-tunings of a matrix and a word embedding: the last of its six rows stays as it was in both."""
    generator = torch.Generator().manual_seed(0)
    base = {NAME: torch.randn(4, 32, generator=generator), "embeddings.weight": torch.randn(6, 16, generator=generator)}
    tuned = []
    for _ in range(2):
        state = {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in base.items()}
        state["embeddings.weight"][5] = base["embeddings.weight"][5]
        tuned.append(state)
    return base, tuned


@pytest.mark.parametrize("rule", ["ken", "update"])
def test_all_rows_are_counted_as_the_tool_itself_does(rule):
    base, tuned = two_pairs()
    nets = [ken.prune(state, base, 0.5, rule=rule) for state in tuned]
    found = overlap.shared(*nets, None, (*tuned, base))
    compared = ken.retention.compare(*nets, ken.Pair(tuned[0], base))
    assert found["all rows"]["both"] == compared["both"].sum()
    assert found["all rows"]["chance"] == pytest.approx(compared["both_expected"].sum())
    assert found["encoder"]["both"] == compared.loc[NAME, "both"]
    assert found["encoder"]["entries"] == 4 * 32
    assert found["changed rows"]["entries"] == 4 * 32 + 5 * 16
    unchanged = found["all rows"]["both"] - found["changed rows"]["both"]
    assert unchanged == 8  # the same row gives the same mask


class Model:
    def __init__(self, state):
        self.state_dict = lambda: state


def test_a_table_has_a_line_for_every_rule_part_and_share(monkeypatch):
    base, tuned = two_pairs()
    real = ken.prune

    def prune(fine_tuned, pretrained, k, **more):
        plain = (model if isinstance(model, dict) else model.state_dict() for model in (fine_tuned, pretrained))
        return real(*plain, k, **more)

    monkeypatch.setattr(ken, "prune", prune)
    pairs = [type("Two", (), {"fine_tuned": Model(state), "pretrained": Model(base)}) for state in tuned]
    made = pd.DataFrame(overlap.lines("two", *pairs, ks=(0.5, 0.25)), columns=overlap.COLUMNS)
    assert len(made) == 2 * len(overlap.RULES) * len(overlap.PARTS)
    random = made[(made["rule"] == "random") & (made["part"] == "all rows")]
    assert (random["both"] < random["a"]).all()  # another seed in each
    text = audit_pages.overlap_table(made)
    assert text.count("\n| `ken`, ") == text.count("\n| `random`, ") == 2 * len(overlap.PARTS)
    line = made[(made["rule"] == "ken") & (made["part"] == "encoder") & (made["k"] == 0.5)].iloc[0]
    shown = [f"{100 * line[name] / line['a']:.1f}" for name in ("both", "given_pretrained", "shuffled", "a_pretrained")]
    assert f"| 0.50 | **{shown[0]}** | 50.0 | {shown[1]} | {shown[2]} | {shown[3]}, " in text


def test_shuffled_updates_are_those_of_their_rows_in_other_places():
    base, (tuned, _) = two_pairs()
    net = ken.prune(tuned, base, 0.5)
    moved = overlap.shuffled(tuned, base, net, 0)
    for name, value in tuned.items():
        updates, others = ((state[name] - base[name]).numpy() for state in (tuned, moved))
        np.testing.assert_allclose(np.sort(updates, axis=1), np.sort(others, axis=1), atol=1e-6)
        assert torch.equal(moved[name][-1], value[-1]) == (name == "embeddings.weight")
    assert torch.equal(overlap.shuffled(tuned, base, net, 0)[NAME], moved[NAME])
    assert not torch.equal(overlap.shuffled(tuned, base, net, 1)[NAME], moved[NAME])


@pytest.mark.parametrize("module", [overlap, marked_pages])
def test_examples_in_the_docstrings_run(module):
    assert doctest.testmod(module).failed == 0
