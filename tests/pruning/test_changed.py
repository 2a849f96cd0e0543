"""The rule `changed`: exactly what fine-tuning changed, stored without loss."""

import numpy as np
import pytest
import torch
from command_line import ken as command
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from strategies import tensor_pairs

import ken
from ken import rules
from ken.errors import BudgetError, RuleError, ValuesError
from ken.storage.info import describe, text

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


def bits(tensor):
    """The oracle's view of a tensor: its bytes, an entry a row."""
    flat = tensor.contiguous().reshape(-1, 1)
    return flat.view(torch.uint8).numpy()


def same(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(bits(one), bits(other))


def sparsely(dtype, shape=(12, 40), share=0.1, seed=0):
    """A tensor, and one of which some entries have another sign, among them zeros."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator, dtype=torch.float64)
    base[torch.rand(shape, generator=generator) < 0.2] = 0.0
    touched = torch.rand(shape, generator=generator) < share
    return torch.where(touched, -base, base).to(dtype), base.to(dtype), touched


@settings(max_examples=60)
@given(tensor_pairs(), st.booleans())
def test_what_differs_is_retained_and_nothing_else_and_nothing_is_lost(pair, raw):
    fine_tuned, pretrained = pair
    net = ken.prune({"w": fine_tuned}, {"w": pretrained}, rule="changed", raw=raw)
    assert same(ken.inject(net, {"w": pretrained})["w"], fine_tuned)
    if fine_tuned.numel():
        different = (bits(fine_tuned) != bits(pretrained)).any(axis=1)
        np.testing.assert_array_equal(net["w"].mask().reshape(-1), different)
        assert net["w"].unchanged == (not different.any())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_the_sign_of_zero(dtype, tmp_path):
    fine_tuned, pretrained, touched = sparsely(dtype)
    net = ken.prune({"w": fine_tuned}, {"w": pretrained}, rule="changed")
    np.testing.assert_array_equal(net["w"].mask(), touched.numpy())
    streamed = ken.prune({"w": fine_tuned}, {"w": pretrained}, rule="changed", out=tmp_path / "a.ken.safetensors")
    net.save(tmp_path / "b.ken.safetensors")
    assert (tmp_path / "a.ken.safetensors").read_bytes() == (tmp_path / "b.ken.safetensors").read_bytes()
    assert streamed == net
    assert streamed.recipe.k is None
    assert same(ken.inject(ken.verify(streamed, {"w": pretrained}), {"w": pretrained})["w"], fine_tuned)


def test_two_dtypes_are_compared_as_values_and_nothing_is_lost():
    fine_tuned, pretrained, _ = sparsely(torch.float32)
    rounded = fine_tuned.to(torch.bfloat16)
    net = ken.prune({"w": rounded}, {"w": pretrained}, rule="changed")
    np.testing.assert_array_equal(
        net["w"].mask(), (rounded.double() != pretrained.double()).numpy() | signs(rounded, pretrained)
    )
    assert same(ken.inject(net, {"w": pretrained})["w"], rounded)


def signs(one, other):
    return (torch.signbit(one) != torch.signbit(other)).numpy()


def test_rows_that_were_added_are_retained_whole():
    fine_tuned, pretrained, touched = sparsely(torch.float32, (6, 16))
    net = ken.prune({"e": fine_tuned}, {"e": pretrained[:4]}, rule="changed", rows={"e": "grown"})
    np.testing.assert_array_equal(net["e"].mask(), np.vstack([touched[:4], np.ones((2, 16), bool)]))
    assert same(ken.inject(net, {"e": pretrained[:4]})["e"], fine_tuned)


def test_rows_are_cut_anywhere_without_a_difference():
    fine_tuned, pretrained, touched = sparsely(torch.bfloat16, (3000, 101), share=0.01)
    net = ken.prune({"w": fine_tuned}, {"w": pretrained}, rule="changed")
    np.testing.assert_array_equal(net["w"].mask(), touched.numpy())
    # What is decided twice is summed up once.
    assert net.relation.entries == 3000 * 101
    assert net.relation == ken.prune({"w": fine_tuned}, {"w": pretrained}, 5, "magnitude").relation


def test_what_is_left_alone_is_called_unchanged_and_takes_no_room(tmp_path):
    fine_tuned, pretrained, _ = sparsely(torch.float32)
    net = ken.prune({"a": fine_tuned, "b": pretrained}, {"a": pretrained, "b": pretrained.clone()}, rule="changed")
    assert net.table()["status"].tolist() == ["pruned", "unchanged"]
    described = describe(net.save(tmp_path / "net.ken.safetensors"))
    unchanged = described["tensors"][1]
    assert (unchanged["retained"], unchanged["size_mask"], unchanged["size_values"]) == (0, 0, 0)
    assert described["recipe"]["k"] is None
    assert "rule        changed, k by row as it comes, on" in text(described)
    assert repr(net).startswith(f"Subnetwork(rule='changed': {net.retained} of 960 entries retained; 2 tensors pruned")


def test_it_has_no_k_and_every_other_rule_needs_one():
    models = {"w": torch.ones(2, 3)}, {"w": torch.zeros(2, 3)}
    for k in (2, 0.5, {"*": 1}):
        with pytest.raises(BudgetError, match=r"rule 'changed' has no k: .* follows from the row, got"):
            ken.prune(*models, k, "changed")
    with pytest.raises(
        BudgetError, match=r"rule 'ken' needs a k: entries of every row \(100\), .* only changed has none"
    ):
        ken.prune(*models)
    with pytest.raises(RuleError, match="rule 'changed' on weights needs the pretrained values, too"):
        rules.retain(np.ones(3), None, "changed")
    with pytest.raises(BudgetError, match="rule 'random' needs a k"):
        rules.retain(np.ones(3), None, "random")
    with pytest.raises(RuleError, match="rule 'changed' does not look at a density"):
        ken.prune(*models, rule="changed", on="update")
    with pytest.raises(RuleError, match="rule 'changed' has no k to try"):
        ken.sweep(ken.Pair(*models), [0.5], ["ken", "changed"], evaluate=lambda model: 0.0)
    with pytest.raises(RuleError, match="rule 'changed' has no k to try"):
        ken.smallest_k(ken.Pair(*models), 0.1, rule="changed", evaluate=lambda model: 0.0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_no_numbers_are_errors_whether_they_changed_or_not(value):
    base = torch.zeros(2, 3)
    base[1, 2] = value
    with pytest.raises(ValuesError, match="fine-tuned values must be finite, got .* in row 1, column 2"):
        ken.prune({"w": base}, {"w": base.clone()}, rule="changed")


def test_a_card_says_whether_it_changed():
    fine_tuned, pretrained, touched = sparsely(torch.float32)
    pair = ken.Pair({"w": fine_tuned}, {"w": pretrained})
    net = ken.prune(*pair, rule="changed")
    for row, marks in enumerate(touched.numpy()):
        why = ken.explain(net, pair, "w", row)
        assert why.k == marks.sum()
        reasons = ["fine-tuning changed it" if mark else "fine-tuning left it as it was, bit for bit" for mark in marks]
        assert why.table()["reason"].tolist() == reasons
        assert f"rule changed, {marks.sum()} of 40 retained, on weights" in why.entry(0).text
    again = ken.explain_row(fine_tuned[3].numpy(), None, pretrained[3].numpy(), "changed")
    names = {"ken": ken, "fine_tuned_row": fine_tuned[3].numpy(), "pretrained_row": pretrained[3].numpy()}
    np.testing.assert_array_equal(eval(again.python, names).mask, touched[3].numpy())
    assert np.isnan(ken.stability(fine_tuned[3].numpy(), None, pretrained[3].numpy(), "changed").halved.share)


def test_the_command_takes_no_k_for_it(tmp_path):
    fine_tuned, pretrained, touched = sparsely(torch.bfloat16)
    for name, tensor in (("a", fine_tuned), ("b", pretrained)):
        save_file({"w": tensor}, tmp_path / f"{name}.safetensors")
    words = ("prune", "a.safetensors", "b.safetensors", "-o", "net.ken.safetensors")
    ended = command(*words, "--rule", "changed", cwd=tmp_path)
    assert ended.status == 0, ended.err
    assert f"{int(touched.sum())} of 480 entries retained" in ended.out
    assert "k =" not in ended.out
    assert command(*words, "--rule", "changed", "-k", "5", cwd=tmp_path).err.startswith("ken: rule 'changed' has no k")
    assert command(*words, cwd=tmp_path).err.startswith("ken: rule 'ken' needs a k")
