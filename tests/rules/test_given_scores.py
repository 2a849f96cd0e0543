"""Rules from scores of one's own."""

import os
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import ken
import ken.rules.registry
from ken import rules
from ken.errors import FormatError, RuleError, ValuesError


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(ken.rules.registry, "_RULES", dict(ken.rules.registry._RULES))


def models(**shapes):
    generator = torch.Generator().manual_seed(0)
    fine_tuned, pretrained = (
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()} for _ in range(2)
    )
    return ken.Pair(fine_tuned, pretrained)


def scores_of(pair, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=tuple(tensor.shape)).astype(dtype) for name, tensor in pair.fine_tuned.items()}


def highest(scores, k):
    """The k highest of every row: the definition."""
    rows = scores.reshape(len(scores), -1) if scores.ndim == 4 else np.atleast_2d(scores)
    mask = np.array([np.isin(np.arange(len(row)), np.argsort(-row, kind="stable")[:k]) for row in rows])
    return mask.reshape(scores.shape)


@given(st.integers(1, 6), st.integers(0, 99), st.booleans(), st.sampled_from([np.float64, np.float16, np.int8]))
def test_the_highest_scores_of_every_row_are_retained(k, seed, absolute, dtype):
    pair = models(a=(5, 6), b=(7,), c=(3, 2, 2, 2))
    scores = {name: (array * 3).astype(dtype) for name, array in scores_of(pair, seed, np.float64).items()}
    rule = rules.by_score(scores, name="mine", absolute=absolute, replace=True)
    net = ken.prune(*pair, k, rule=rule, progress=False)
    for name, array in scores.items():
        array = array.astype(np.float64)
        np.testing.assert_array_equal(net[name].mask(), highest(np.abs(array) if absolute else array, k))


def test_a_mapping_a_function_a_file_and_torch_give_the_same_masks(tmp_path):
    pair = models(a=(600, 500), b=(40,))
    scores = scores_of(pair)
    tensors = {name: torch.from_numpy(array) for name, array in scores.items()}
    save_file(tensors, tmp_path / "scores.safetensors")
    asked = []

    def function(name, start, stop):
        asked.append((name, stop - start))
        return scores[name].ravel()[start:stop]

    sources = {"mapping": scores, "function": function, "file": tmp_path / "scores.safetensors", "torch": tensors}
    for name, source in sources.items():
        net = ken.prune(*pair, 7, rule=rules.by_score(source, name=name), progress=False)
        for tensor, array in scores.items():
            np.testing.assert_array_equal(net[tensor].mask(), highest(array, 7), err_msg=name)
    assert max(count for _, count in asked) < 600 * 500  # never a large tensor as a whole
    assert sum(count for _, count in asked) == 600 * 500 + 40


def test_bfloat16_scores_are_read():
    pair = models(a=(3, 4))
    scores = {"a": torch.arange(12.0).reshape(3, 4).bfloat16()}
    net = ken.prune(*pair, 1, rule=rules.by_score(scores, name="mine"), progress=False)
    assert net["a"].mask().tolist() == [[False, False, False, True]] * 3


def test_an_attribution_and_its_file_are_scores(tmp_path):
    pair = models(w=(4, 8))
    attribution = ken.Attribution(scores_of(pair), 1.0, 0.5)
    live = rules.by_score(attribution, name="live", absolute=True)
    stored = rules.by_score(attribution.save(tmp_path / "a.safetensors"), name="stored", absolute=True)
    nets = [ken.prune(*pair, 3, rule=rule, progress=False) for rule in (live, stored)]
    np.testing.assert_array_equal(nets[0]["w"].mask(), highest(np.abs(attribution["w"]), 3))
    np.testing.assert_array_equal(nets[0]["w"].mask(), nets[1]["w"].mask())


def test_added_rows_and_entries_are_retained_and_the_others_have_their_own_scores():
    pair = models(w=(6, 5), v=(9,))
    pretrained = {"w": pair.pretrained["w"][:4], "v": pair.pretrained["v"][:7]}
    scores = scores_of(pair)
    rule = rules.by_score(scores, name="mine")
    net = ken.prune(pair.fine_tuned, pretrained, 2, rule=rule, rows={"*": "grown"}, progress=False)
    np.testing.assert_array_equal(net["w"].mask()[:4], highest(scores["w"][:4], 2))
    np.testing.assert_array_equal(net["v"].mask()[:7], highest(scores["v"][:7], 2))
    assert net["w"].mask()[4:].all()
    assert net["v"].mask()[7:].all()
    why = ken.explain(net, ken.Pair(pair.fine_tuned, pretrained), "w")
    assert [bool(why[row].mask.all()) for row in range(6)] == [False] * 4 + [True] * 2


def test_what_is_wrong_is_told_by_the_name_of_the_tensor_before_any_value_is_read():
    pair = models(a=(2, 3), b=(2, 3))
    scores = scores_of(pair)
    pair.fine_tuned["a"][0, 0] = torch.nan  # an error of its own, if it were read first
    with pytest.raises(RuleError, match=r"^b: rule 'half' has no scores of it; give them, or exclude the tensor"):
        ken.prune(*pair, 1, rule=rules.by_score({"a": scores["a"]}, name="half"))
    with pytest.raises(RuleError, match=r"^b: the scores of rule 'turned' have shape \(3, 2\), the tensor has"):
        ken.prune(*pair, 1, rule=rules.by_score({**scores, "b": scores["b"].T}, name="turned"))
    scores["b"][1, 2] = np.nan
    rule = rules.by_score(scores, name="hole")
    with pytest.raises(ValuesError, match="the score of rule 'hole' is NaN in row 1, column 2 of 'b'"):
        ken.prune(*pair, 1, rule=rule, exclude=["a"])
    with pytest.raises(RuleError, match="must be given a score for each of the entries 0 to 6 of 'b', was given shape"):
        ken.prune(*pair, 1, rule=rules.by_score(lambda *_: np.zeros(5), name="short"), exclude=["a"])


def test_what_is_not_scored_may_be_excluded():
    pair = models(a=(2, 3), b=(2, 3))
    rule = rules.by_score({"a": np.eye(2, 3)}, name="half")
    assert ken.prune(*pair, 1, rule=rule, exclude=["b"])["a"].mask().tolist() == np.eye(2, 3, dtype=bool).tolist()


def test_infinity_is_a_score():
    scores = {"w": np.array([[0.0, np.inf, -np.inf, 1.0]])}
    rule = rules.by_score(scores, name="mine")
    assert rules.retain(np.zeros((1, 4)), 2, rule, tensor="w").tolist() == [[False, True, False, True]]


def test_a_name_has_one_meaning():
    one, other = {"w": np.array([[1.0, 2.0]])}, {"w": np.array([[2.0, 1.0]])}
    assert rules.by_score(one, name="mine") == rules.by_score(one, name="mine") == "mine"
    for again in (lambda: rules.by_score(other, name="mine"), lambda: rules.by_score(one, name="mine", absolute=True)):
        with pytest.raises(RuleError, match="rule 'mine' has other scores already; give another name, or replace=True"):
            again()
    assert rules.retain(np.zeros((1, 2)), 1, "mine", tensor="w").tolist() == [[False, True]]
    rules.by_score(other, name="mine", replace=True)
    assert rules.retain(np.zeros((1, 2)), 1, "mine", tensor="w").tolist() == [[True, False]]
    with pytest.raises(RuleError, match="a rule named 'update' is registered already, and not by scores"):
        rules.by_score(one, name="update", replace=True)
    rules.forget("mine")
    assert "mine" not in rules.names()
    assert rules.by_score(one, name="mine") == "mine"


def test_what_is_no_source_of_scores_is_refused(tmp_path):
    with pytest.raises(RuleError, match="must be a mapping, a function or the path of a safetensors file, got 3"):
        rules.by_score(3, name="mine")
    (tmp_path / "text").write_text("no")
    with pytest.raises(FormatError):
        rules.by_score(tmp_path / "text", name="mine")
    with pytest.raises(FileNotFoundError):
        rules.by_score(tmp_path / "none", name="mine")
    assert "mine" not in rules.names()


def test_a_rule_by_score_is_swept_and_has_a_score(tmp_path):
    pair = models(w=(4, 8))
    rule = rules.by_score(scores_of(pair), name="mine")
    table = ken.sweep(pair, [2], [rule], evaluate=lambda model: 1.0, on=["weights", "update"], progress=False)
    assert list(table[table["rule"] == "mine"]["seed"]) == [-1]  # it heeds neither on nor a seed
    block = rules.RowBlock(np.zeros((2, 8)), np.zeros((2, 8)), tensor="w", first_row=1)
    np.testing.assert_array_equal(rules.get(rule).score(block), scores_of(pair)["w"][1:3])


def decided(rule="mine"):
    return rules.retain(np.zeros((1, 2)), 1, rule, tensor="w")[0].tolist()


def test_the_same_mapping_and_what_it_has_now_take_the_place_of_the_old_scores():
    scores = {"w": np.array([[1.0, 2.0]])}
    rules.by_score(scores, name="mine")
    assert decided() == [False, True]
    scores["w"] = np.array([[2.0, 1.0]])
    assert decided() == [True, False]  # a dictionary is asked for what it has
    scores["w"] = [[1.0, 2.0]]
    rules.by_score(scores, name="mine", replace=True)
    assert decided() == [False, True]


class Anew(Mapping):
    """Makes an array whenever it is asked."""

    def __init__(self):
        self.array, self.asked = np.arange(400_000.0).reshape(2000, 200), 0

    def __getitem__(self, name):
        self.asked += 1
        return self.array.copy()

    def __iter__(self):
        return iter(["w"])

    def __len__(self):
        return 1


def test_what_a_mapping_makes_is_kept_for_one_pass_and_no_longer():
    scores, pair = Anew(), models(w=(2000, 200))
    rules.by_score(scores, name="mine")
    for turned in (False, True):
        scores.array, scores.asked = scores.array[:, ::-1] if turned else scores.array, 0
        net = ken.prune(*pair, 1, "mine", progress=False)
        assert net["w"].mask()[:, 0 if turned else 199].all()
        assert scores.asked <= 3


@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_that_changed_is_read_anew_where_it_is_said_and_never_as_what_it_was(tmp_path, in_place, monkeypatch):
    path = tmp_path / "scores.safetensors"

    def write(*values):
        save_file({"w": torch.tensor([values])}, tmp_path / "new")
        if in_place:
            path.write_bytes((tmp_path / "new").read_bytes())
            os.utime(path, ns=(0, int(values[0])))  # however coarse the clock of the file system is
        else:
            (tmp_path / "new").replace(path)

    write(1.0, 2.0)
    assert rules.by_score(path, name="mine") == rules.by_score(str(path), name="mine")
    monkeypatch.chdir(tmp_path)
    assert rules.by_score(path.name, name="mine") == "mine"
    assert decided() == [False, True]
    write(2.0, 1.0)
    with pytest.raises(RuleError, match=r"^w: the file of scores .* has changed since a rule was made of it; call"):
        decided()
    with pytest.raises(RuleError, match="rule 'mine' has other scores already; give another name, or replace=True"):
        rules.by_score(path, name="mine")
    rules.by_score(path, name="mine", replace=True)
    assert decided() == [True, False]
