"""Attribution: closed forms, completeness, and what is told of it."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from effects_models import asked, moved, same, states
from hypothesis import given, settings
from hypothesis import strategies as st

import ken
from ken.errors import EffectsError, FormatError, KenWarning, TrainingError
from ken.evaluation.effects.tasks import Task


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_of_a_quadratic_loss_shares_are_its_closed_form(size, seed, steps):
    random = torch.Generator().manual_seed(seed)
    curvature = torch.randn(size, size, generator=random)
    curvature, centre = curvature @ curvature.T, torch.randn(size, generator=random)
    ends = [torch.nn.Linear(size, 1, bias=False) for _ in "ab"]
    with torch.no_grad():
        for layer in ends:
            layer.weight.copy_(torch.randn(1, size, generator=random))

    def loss(model, _):
        away = model.weight[0] - centre
        return away @ curvature @ away / 2

    shares = ken.attribute(ken.Pair(*ends), Task([None], loss), steps=steps, tolerance=math.inf, progress=False)
    tuned, base = (layer.weight[0].detach().double() for layer in ends)
    expected = (tuned - base) * (curvature.double() @ ((tuned + base) / 2 - centre.double()))
    assert np.allclose(shares["weight"][0], expected.numpy(), rtol=1e-4, atol=1e-4 * float(expected.abs().max() + 1e-6))


def test_shares_add_up_to_the_change_of_the_loss(pair, task, causal):
    for models, question in ((pair, task), causal):
        before = states(models)
        shares = ken.attribute(models, question, progress=False)
        assert shares.error < 0.005
        tuned = question.evaluate(models.fine_tuned)
        assert shares.fine_tuned_loss == pytest.approx(tuned.loss, abs=1e-5)
        assert shares.item_count == len(tuned.losses)
        for by in ("tensor", "place", "layer", "kind"):
            assert shares.table(by)["attribution"].sum() == pytest.approx(shares.total, abs=1e-6)
        assert same(before, models)


def test_more_points_are_taken_until_it_is_exact(pair, task):
    far = ken.Pair(moved(pair.fine_tuned, 0.5), pair.pretrained)
    coarse = ken.attribute(far, task, steps=1, tolerance=math.inf, progress=False)
    fine = ken.attribute(far, task, steps=1, most_steps=128, tolerance=1e-3, progress=False)
    assert coarse.error > 1e-3 > fine.error
    assert fine.steps > 1
    with pytest.warns(KenWarning, match="give more most_steps"):
        ken.attribute(far, task, steps=1, most_steps=1, tolerance=1e-9, progress=False)


def test_single_items_have_shares_that_average_to_those_of_all(pair, task):
    single = Task([(ids[i : i + 1], labels[i : i + 1]) for ids, labels in task.batches for i in range(8)], asked)
    lines = ken.attribute_items(pair, single, by="place", progress=False)
    whole = ken.attribute(pair, task, steps=8, tolerance=math.inf, progress=False)
    assert len(lines) == 24
    means = lines.drop(columns=["pretrained_loss", "fine_tuned_loss", "error"]).mean()
    assert means.to_numpy() == pytest.approx(whole.table("place")["attribution"].to_numpy(), abs=1e-6)
    assert lines["error"].abs().max() < 1e-3


def test_retained_shares_stand_beside_chance(pair, task):
    shares = ken.attribute(pair, task, progress=False)
    everything, half = (ken.prune(*pair, k) for k in (1.0, 0.5))
    table = shares.table("layer", everything)
    assert table["retained_share"].tolist() == pytest.approx([1.0] * len(table))
    assert (table["chance"] == 1).all()
    table = shares.table("tensor", half)
    name = "bert.encoder.layer.1.output.dense.weight"
    mask = half[name].mask()
    assert table.loc[name, "retained"] == pytest.approx(float(shares[name][mask].sum(dtype=float)))
    assert table.loc[name, "chance"] == mask.mean()
    assert table.loc[name, "retained_absolute"] == pytest.approx(
        np.abs(shares[name][mask]).sum() / np.abs(shares[name]).sum()
    )
    rows, columns = shares.rows(name), shares.columns(name)
    assert rows["attribution"].sum() == pytest.approx(columns["attribution"].sum())
    assert np.allclose(rows["absolute"], np.abs(shares[name]).sum(axis=1))
    with pytest.raises(EffectsError, match="must be one that was pruned"):
        shares.rows("nothing")


def test_a_subnetwork_may_be_the_end_of_the_line(pair, task):
    net = ken.prune(*pair, 0.5)
    shares = ken.attribute(pair, task, net=net, progress=False)
    assert shares.fine_tuned_loss == pytest.approx(task.evaluate(ken.inject(net, pair.pretrained)).loss, abs=1e-6)
    for name, tensor in net.pruned().items():
        assert not shares[name][~tensor.mask()].any()


def test_half_precision_is_widened_and_says_so(causal):
    pair, task = causal
    half = ken.Pair(*(copy.deepcopy(model).bfloat16() for model in pair))
    shares = ken.attribute(half, task, progress=False)
    assert shares.notes == ("the model was brought from bfloat16 to float32",)
    assert shares.error < 0.005
    assert half.fine_tuned.dtype == torch.bfloat16


def test_shares_of_a_large_model_lie_on_disk(pair, task, tmp_path):
    in_memory = ken.attribute(pair, task, progress=False)
    on_disk = ken.attribute(pair, task, scratch=tmp_path, progress=False)
    assert isinstance(on_disk["bert.pooler.dense.weight"], np.memmap)
    assert all(np.array_equal(in_memory[name], on_disk[name]) for name in in_memory)
    del on_disk
    import gc

    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_file_gives_the_attribution_back(pair, task, tmp_path):
    shares = ken.attribute(pair, task, progress=False)
    path = shares.save(tmp_path / "shares.safetensors")
    opened = ken.Attribution.load(path)
    assert repr(opened) == repr(shares)
    assert all(np.array_equal(opened[name], shares[name]) for name in shares)
    pd.testing.assert_frame_equal(opened.table("head"), shares.table("head"))
    opened.save(path)  # onto itself
    assert all(np.array_equal(ken.Attribution.load(path)[name], shares[name]) for name in shares)
    other = ken.prune(*pair, 0.5).save(tmp_path / "net.ken.safetensors")
    with pytest.raises(EffectsError, match="something else"):
        shares.save(other)
    with pytest.raises(FormatError, match="no attribution"):
        ken.Attribution.load(other)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FormatError):
        ken.Attribution.load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": 9, "most_steps": 8}, "at most most_steps"),
        ({"tolerance": 0}, "tolerance must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(pair, task, options, message):
    with pytest.raises(EffectsError, match=message):
        ken.attribute(pair, task, progress=False, **options)


def test_tasks_that_say_nothing_are_refused(pair):
    with pytest.raises(EffectsError, match="no batches"):
        ken.attribute(pair, Task([], asked), progress=False)
    with pytest.raises(EffectsError, match="the loss is nan where the weights are 0% of the way"):
        ken.attribute(
            pair, Task([None], lambda model, _: model.bert.pooler.dense.weight.sum() * math.nan), progress=False
        )
    with pytest.raises(TrainingError, match="one loss"):
        ken.attribute(pair, Task([None], lambda model, _: model.bert.pooler.dense.weight), progress=False)
    with pytest.raises(TrainingError, match="the loss at item 1 is inf"):
        Task([None], lambda model, _: torch.tensor([0.0, math.inf])).evaluate(pair.fine_tuned)
