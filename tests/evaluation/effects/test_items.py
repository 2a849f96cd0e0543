"""Item by item: answers, and the groups that flip one."""

import copy

import numpy as np
import pandas as pd
import pytest
from effects_models import asked, same, states

import ken
from ken.errors import EffectsError
from ken.evaluation.effects.tasks import Task


def test_answers_are_those_of_each_model(pair, task):
    before = states(pair)
    net = ken.prune(*pair, 0.25, progress=False)
    table = ken.answers(pair, task, net=net, progress=False)
    tuned, pruned = (task.evaluate(model) for model in (pair.fine_tuned, ken.inject(net, pair.pretrained)))
    empty = copy.deepcopy(pair.fine_tuned)
    empty.bert.load_state_dict(pair.pretrained.state_dict())
    for model, wanted in (("fine_tuned", tuned), ("pruned", pruned), ("pretrained", task.evaluate(empty))):
        np.testing.assert_array_equal(table[f"{model}_loss"], wanted.losses)
        assert table[f"{model}_correct"].tolist() == wanted.outcomes.tolist()
    assert table.index.tolist() == list(range(24))
    assert table["name"].tolist() == [str(item) for item in range(24)]
    assert same(before, pair)


def test_flips_are_what_an_ablation_of_that_item_gives(pair, task):
    before = states(pair)
    batches = [(ids[[at]], labels[[at]]) for ids, labels in task.batches for at in range(len(ids))]
    steps = []
    for item in (0, 13, 23):
        table = ken.flips(pair, task, item, step=lambda *at: steps.append(at), progress=False)
        alone = Task([batches[item]], asked)
        measured = ken.ablate(pair, evaluate=alone.evaluate, ways="without", progress=False)
        parts = measured[measured["way"] == "without"].set_index("group")
        assert table.index.tolist() == parts.index.tolist()
        np.testing.assert_allclose(table["loss"], parts["loss"], atol=1e-6)
        np.testing.assert_allclose(table["loss_difference"], parts["loss_difference"], atol=1e-6)
        assert table["correct"].tolist() == (parts["metric"] == 1).tolist()
        was = measured.set_index("way").loc["fine-tuned", "metric"] == 1
        assert table["flips"].tolist() == [right != was for right in table["correct"]]
    assert steps[-1] == (len(table), len(table))
    assert same(before, pair)


def test_an_item_is_found_in_the_order_in_which_it_was_given(pair, task):
    order = np.random.default_rng(0).permutation(24)
    shuffled = Task(task.batches, task.ask, order=order)
    placed = int(np.flatnonzero(order == 5)[0])
    wanted = ken.flips(pair, task, placed, by="layer", progress=False)
    pd.testing.assert_frame_equal(ken.flips(pair, shuffled, 5, by="layer", progress=False), wanted)
    for item in (-1, 24):
        for one in (task, shuffled):
            with pytest.raises(EffectsError, match=f"the task has no item {item}"):
                ken.flips(pair, one, item, by="layer", progress=False)
    with pytest.raises(EffectsError, match="2 names for 24 items"):
        ken.answers(pair, Task(task.batches, asked, names=["a", "b"]), progress=False)


def test_where_nothing_is_right_or_wrong_nothing_flips(causal):
    pair, task = causal
    table = ken.flips(pair, task, 7, by="layer", progress=False)
    assert set(table["flips"]) == set(table["correct"]) == {None}
    assert set(ken.answers(pair, task, progress=False)["fine_tuned_correct"]) == {None}
