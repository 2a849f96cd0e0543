"""`ken.diff` beside numpy's own words for the same."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from command_line import ken as command
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from strategies import tensor_pairs

import ken
from ken.errors import PairingError
from ken.retention import difference_counts

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]


def numbers(tensor):
    return tensor.to(torch.float64).numpy().reshape(-1)


def as_bytes(tensor):
    return tensor.contiguous().reshape(-1, 1).view(torch.uint8).numpy()


def check(tensor, fine_tuned, pretrained):
    """A tensor of one shape and dtype, by the definitions."""
    differ = (as_bytes(fine_tuned) != as_bytes(pretrained)).any(axis=1)
    update = numbers(fine_tuned) - numbers(pretrained)
    assert (tensor.status == "changed") == differ.any()
    assert (tensor.compared, tensor.changed) == (differ.size, differ.sum())
    assert tensor.norm == pytest.approx(np.linalg.norm(update), rel=1e-12)
    if differ.any():
        assert tensor.relative == pytest.approx(
            np.linalg.norm(update) / np.linalg.norm(numbers(pretrained)), nan_ok=True
        )
        assert tensor.largest == np.abs(update).max()
        n = fine_tuned.shape[-1] if fine_tuned.ndim == 2 else fine_tuned.numel()
        if fine_tuned.ndim <= 2:
            assert np.abs(update)[tensor.row * n + tensor.column] == tensor.largest
    else:
        assert (tensor.row, tensor.column, tensor.relative) == (-1, -1, 0.0)


@settings(max_examples=80)
@given(tensor_pairs())
def test_counts_and_norms_are_numpys(pair):
    fine_tuned, pretrained = pair
    if not fine_tuned.numel() or not (numbers(pretrained) != 0).any():
        return
    (tensor,) = ken.diff({"w": fine_tuned}, {"w": pretrained}, progress=False).tensors
    check(tensor, fine_tuned, pretrained)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_every_float(dtype, seed, share):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(30, 17, generator=generator, dtype=torch.float64)
    touched = torch.rand(30, 17, generator=generator) < share
    fine_tuned, pretrained = torch.where(touched, -base, base).to(dtype), base.to(dtype)
    different = ken.diff({"w": fine_tuned}, {"w": pretrained}, progress=False)
    check(different.tensors[0], fine_tuned, pretrained)
    assert different.changed == touched.sum()
    net = ken.prune({"w": fine_tuned}, {"w": pretrained}, rule="changed")
    assert net["w"].retained == different.changed  # the rule and the comparison mean the same


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.int32])
def test_what_is_no_float(dtype):
    one = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    other = one.clone()
    assert ken.diff({"w": one}, {"w": other}).identical
    other[1, 0] = 0
    (tensor,) = ken.diff({"w": one}, {"w": other}).tensors
    assert (tensor.status, tensor.changed, tensor.norm, tensor.row, tensor.column) == ("changed", 1, 1.0, 1, 0)


def test_zeros_of_two_signs_and_numbers_that_are_none():
    base = torch.tensor([0.0, torch.nan, torch.inf, 1.0, 2.0])
    assert ken.diff({"w": base.clone()}, {"w": base}).identical
    other = torch.tensor([-0.0, torch.nan, torch.inf, torch.nan, 5.0])
    other.view(torch.int32)[1] += 1  # the payload alone
    (tensor,) = ken.diff({"w": other}, {"w": base}).tensors
    assert (tensor.changed, tensor.not_finite, tensor.norm, tensor.largest, tensor.column) == (4, 2, 3.0, 3.0, 4)
    assert "2 of those that differ; no norm includes them" in str(ken.diff({"w": other}, {"w": base}))


def test_a_largest_update_far_into_a_tensor():
    base = torch.zeros(5000, 101)
    fine_tuned = base.clone()
    fine_tuned[4000, 7], fine_tuned[4999, 100] = -3.0, 2.0
    (tensor,) = ken.diff({"w": fine_tuned}, {"w": base}).tensors
    assert (tensor.row, tensor.column, tensor.largest, tensor.changed) == (4000, 7, 3.0, 2)
    assert np.isnan(tensor.relative)  # of zeros there is no share


def mixed():
    same, base = torch.ones(3, 4), torch.arange(12.0).reshape(3, 4)
    fine_tuned = {"same": same, "changed": base + 1, "cast": base.to(torch.bfloat16), "new": torch.ones(2)}
    fine_tuned |= {"turned": torch.ones(4, 3)}
    pretrained = {"same": same.clone(), "changed": base, "cast": base, "turned": base, "gone": torch.ones(5)}
    return fine_tuned, pretrained


def test_every_status():
    different = ken.diff(*mixed())
    assert {tensor.tensor: tensor.status for tensor in different.tensors} == {
        "same": "equal",
        "changed": "changed",
        "cast": "dtype",
        "new": "new",
        "turned": "reshaped",
        "gone": "missing",
    }
    cast = different.tensors[2]
    assert (cast.changed, cast.compared, cast.reason) == (0, 12, "of two dtypes values are compared")
    assert not different.identical
    assert (different.compared, different.changed, different.share) == (36, 12, 12 / 36)
    assert different.norm == pytest.approx(12**0.5)
    table = different.table()
    assert table.loc["gone", "entries"] == 5
    assert table["compared"].sum() == different.compared


def test_of_two_dtypes_what_was_rounded_differs():
    base = torch.tensor([1.0, 1.0 + 2**-20, -0.0, torch.nan])
    (tensor,) = ken.diff({"w": base.to(torch.bfloat16)}, {"w": base}).tensors
    assert (tensor.status, tensor.changed, tensor.norm) == ("dtype", 1, 2**-20)


def test_rows_that_were_added_leave_the_common_ones():
    base = torch.randn(5, 8)
    grown = torch.cat([base, torch.ones(2, 8)])
    grown[3, 3] += 1
    before = ken.open_pair({"e": grown}, {"e": base}, {"e": "grown"})
    assert before.names["e"] == "e"
    counts = difference_counts.count(before.fine_tuned.entries("e"), before.pretrained.entries("e"))
    assert (counts.compared, counts.changed, counts.at) == (40, 1, 27)


def test_tied_tensors_count_once():
    table, other = torch.ones(4, 4), torch.zeros(4, 4)
    different = ken.diff({"a": table, "b": table}, {"a": other, "b": other})
    assert [tensor.tensor for tensor in different.tensors] == ["a"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    model = BertForSequenceClassification(BertConfig(vocab_size=50, max_position_embeddings=8, **sizes))
    folder = tmp_path_factory.mktemp("models")
    model.save_pretrained(folder / "base")
    query = model.bert.encoder.layer[1].attention.self.query
    with torch.no_grad():
        query.weight[4:8] += 1.0  # the second head
        query.bias[0] += 2.0
        model.bert.encoder.layer[0].attention.output.dense.weight[:, 12:] *= 2  # the last head
    model.save_pretrained(folder / "tuned")
    return folder


def test_layers_places_and_heads_add_up(folders):
    different = ken.diff(folders / "tuned", folders / "base")
    layers = different.table("layer")
    assert layers["changed"].sum() == different.changed == 4 * 16 + 1 + 16 * 4
    assert layers.loc[1, "changed"] == 65
    assert np.sqrt((layers["norm"] ** 2).sum()) == pytest.approx(different.norm)
    places = different.table("place").reset_index().set_index(["layer", "role"])
    assert places.loc[(1, "query"), ["changed", "tensors"]].tolist() == [64, 1]
    heads = different.table("head").set_index(["layer", "role", "head"])
    assert heads.loc[(1, "query", 1), ["changed", "compared"]].tolist() == [64, 64]
    assert heads.loc[(1, "query", 1), "norm"] == pytest.approx(8.0)
    assert heads.loc[(0, "attention output", 3), "changed"] == 64
    assert heads.loc[(1, "query bias", 0), "changed"] == 1
    assert heads["changed"].sum() == different.changed


def test_one_file_twice_is_not_read(folders, tmp_path, monkeypatch):
    shutil.copytree(folders / "base", tmp_path / "linked", copy_function=os.link)

    def never(self, at, length):
        raise AssertionError(f"{length} bytes were read")

    alike = [(folders / "base", folders / "base"), (tmp_path / "linked", folders / "base")]
    ken.diff(*alike[0])  # what is imported for it may read
    monkeypatch.setattr(difference_counts, "_equal", never)
    for pair in alike:
        assert ken.diff(*pair).identical
    monkeypatch.undo()
    shutil.copytree(folders / "base", tmp_path / "copied")
    assert ken.diff(tmp_path / "copied", folders / "base").identical


def test_equal_bytes_are_not_taken_for_numbers(monkeypatch):
    monkeypatch.setattr(difference_counts, "_numbers", None)
    assert ken.diff({"w": torch.ones(9)}, {"w": torch.ones(9)}).identical


def test_the_data_is_what_the_page_says_and_json(folders):
    data = ken.diff(folders / "tuned", folders / "base").as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["format"], data["version"], data["identical"]) == ("ken diff", 1, False)
    assert sum(tensor["changed"] for tensor in data["tensors"]) == data["changed"]
    assert data["tensors_by_status"]["changed"] == 3
    json.dumps(ken.diff(*mixed()).as_dict(), allow_nan=False)


def test_models_that_have_nothing_in_common_and_lines_about_nothing():
    with pytest.raises(PairingError, match="no tensor of the fine-tuned model has a counterpart"):
        ken.diff({"a": torch.ones(1)}, {"b": torch.ones(1)})
    with pytest.raises(ValueError, match="by must be one of tensor, place, layer, head, got 'row'"):
        ken.diff(*mixed()).table("row")


def test_names_cannot_steer_a_terminal():
    name = "a\x1b[2Jb"
    assert "\x1b" not in str(ken.diff({name: torch.ones(1)}, {name: torch.zeros(1)}))


def test_the_command(folders, tmp_path):
    tuned, base = folders / "tuned", folders / "base"
    ended = command("diff", tuned, base)
    assert ended.status == 0, ended.err
    assert "3 changed" in ended.out
    assert "query.weight float32 [16, 16]" in ended.out
    assert "word_embeddings" not in ended.out
    assert "word_embeddings" in command("diff", tuned, base, "--all").out
    assert "layer 1\n" in command("diff", tuned, base, "--by", "layer").out
    assert "query head 1" in command("diff", tuned, base, "--by", "head").out
    assert json.loads(command("diff", tuned, base, "--json").out)["changed"] == 129
    assert command("diff", tuned, base, "--exit-code").status == 1
    same = command("diff", base, base, "--exit-code")
    assert (same.status, "both models are the same, bit for bit" in same.out) == (0, True)
    assert command("diff", tuned, base, "--by", "row").err.startswith("ken: --by must be one of tensor, place, layer")
    save_file({"other": torch.ones(1)}, tmp_path / "other.safetensors")
    assert command("diff", tmp_path / "other.safetensors", base).status == 1
