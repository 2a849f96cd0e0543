"""Interventions: laws, and the same numbers from plain torch."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from effects_models import asked, bert, moved, same, states

import ken
from ken.errors import BudgetError, ResultsError, SubnetworkError


def test_everything_reset_is_the_pretrained_model_and_everything_retained_the_fine_tuned(pair, task):
    before = states(pair)
    table = ken.ablate(pair, evaluate=task.evaluate, by={"everything": "*"}, progress=False).set_index("way")
    for column in ("metric", "loss"):
        assert table.loc["without", column] == table.loc["pretrained", column]
        assert table.loc["only", column] == table.loc["fine-tuned", column]
    assert table.loc["without", "share"] == 1.0
    assert same(before, pair)


def test_a_group_that_was_not_changed_makes_no_difference(pair, task):
    tuned = copy.deepcopy(pair.fine_tuned)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    with torch.no_grad():
        tuned.get_parameter(name).copy_(pair.pretrained.get_parameter(name.removeprefix("bert.")))
    table = ken.ablate(ken.Pair(tuned, pair.pretrained), evaluate=task.evaluate, by={"same": name}, progress=False)
    groups_of_it = table[table["group"] == "same"]
    assert (groups_of_it[["loss_difference", "metric_difference", "loss_error"]] == 0).all(axis=None)
    assert (groups_of_it[["loss_p", "metric_p", "loss_p_holm"]] == 1).all(axis=None)


def test_three_groups_have_the_numbers_that_plain_torch_gives(pair, task):
    table = ken.ablate(pair, evaluate=task.evaluate, by="place", progress=False).set_index(["way", "group"])
    tuned, base = pair.fine_tuned.eval(), dict(pair.pretrained.named_parameters())
    chosen = {
        "layer 0 query": ["encoder.layer.0.attention.self.query.weight", "encoder.layer.0.attention.self.query.bias"],
        "layer 1 mlp up": ["encoder.layer.1.intermediate.dense.weight", "encoder.layer.1.intermediate.dense.bias"],
        "pooler": ["pooler.dense.weight", "pooler.dense.bias"],
    }
    with torch.no_grad():
        whole = torch.cat([asked(tuned, batch)[0] for batch in task.batches]).double()
        empty = copy.deepcopy(tuned)
        for name, value in base.items():
            empty.get_parameter(f"bert.{name}").copy_(value)
        bare = torch.cat([asked(empty, batch)[0] for batch in task.batches]).double()
        for group, names in chosen.items():
            for way, start, other in (("without", tuned, base), ("only", empty, dict(tuned.bert.named_parameters()))):
                model = copy.deepcopy(start)
                for name in names:
                    model.get_parameter(f"bert.{name}").copy_(other[name])
                losses = torch.cat([asked(model, batch)[0] for batch in task.batches]).double()
                changes = (losses - (whole if way == "without" else bare)).numpy()
                line = table.loc[(way, group)]
                assert line["loss"] == pytest.approx(losses.mean().item(), abs=1e-12)
                assert line["loss_difference"] == pytest.approx(changes.mean(), abs=1e-12)
                assert line["loss_error"] == pytest.approx(changes.std(ddof=1) / math.sqrt(24), abs=1e-12)


def test_a_subnetwork_is_taken_apart_in_place_of_the_update(pair, task):
    net = ken.prune(*pair, 0.25)
    table = ken.ablate(pair, net=net, evaluate=task.evaluate, by="layer", progress=False).set_index("way")
    injected = task.evaluate(ken.inject(net, pair.pretrained))
    assert table.loc["fine-tuned", "loss"] == injected.loss
    with pytest.raises(SubnetworkError, match="another fine-tuned tensor"):
        ken.ablate(pair, net=ken.prune(moved(bert(), seed=9), pair.pretrained, 0.25), evaluate=task.evaluate)


def test_models_on_disk_are_opened_by_transformers(pair, task, tmp_path):
    pair.fine_tuned.save_pretrained(tmp_path / "tuned")
    pair.pretrained.save_pretrained(tmp_path / "base")
    from_disk = ken.Pair(tmp_path / "tuned", tmp_path / "base")
    table = ken.ablate(from_disk, evaluate=task.evaluate, by="layer", progress=False)
    live = ken.ablate(pair, evaluate=task.evaluate, by="layer", progress=False)
    pd.testing.assert_frame_equal(table, live)
    with pytest.raises(SubnetworkError, match="must be a module"):
        ken.ablate(ken.Pair({"w": torch.ones(2)}, {"w": torch.zeros(2)}), evaluate=task.evaluate)


def test_rows_that_were_added_stay(task):
    base = bert()
    tuned = moved(base)
    tuned.resize_token_embeddings(55)
    table = ken.ablate(ken.Pair(tuned, base), evaluate=task.evaluate, by={"everything": "*"}, progress=False)
    assert table.set_index("way").loc["pretrained", "loss"] == pytest.approx(task.evaluate(base).loss, abs=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "rows"}, "by must be one of tensor, place"),
        ({"by": {}}, "at least one group"),
        ({"by": {"a": "*query*", "b": ["*nothing*"]}}, "'\\*nothing\\*' of group 'b' matches none"),
        ({"by": {"a": "*query*", "b": "*query.weight"}}, "is in two groups, 'a' and 'b'"),
        ({"ways": ["within"]}, "ways must be of without, only, got 'within'"),
        ({"confidence": 95}, "confidence must be between 0 and 1, got 95"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_evaluated(pair, options, message):
    with pytest.raises(BudgetError, match=message):
        ken.ablate(pair, evaluate=None, progress=False, **options)


def test_an_evaluation_that_changes_the_model_or_miscounts_is_refused(pair, task):
    def trains(model):
        with torch.no_grad():
            next(model.parameters()).add_(1)
        return 0.0

    def hides_it(model):
        next(model.parameters()).data.add_(1)
        return 0.0

    for evaluate in (trains, hides_it):
        with pytest.raises(SubnetworkError, match="must leave the model"):
            ken.ablate(pair, evaluate=evaluate, by={"pooler": "*pooler*"}, ways="without", progress=False)
    counts = iter([5, 6])
    with pytest.raises(ResultsError, match="same items each time, told of 5 at first and of 6"):
        ken.ablate(
            pair, evaluate=lambda model: Losses(next(counts)), by={"a": "*pooler*"}, ways="without", progress=False
        )
    with pytest.raises(ResultsError, match="finite"):
        ken.ablate(pair, evaluate=lambda model: Losses(2, math.nan), by="layer", progress=False)


class Losses(float):
    """A number with losses."""

    def __new__(cls, count, value=1.0):
        number = super().__new__(cls, 0.5)
        number.losses = np.full(count, value)
        return number


def test_a_file_of_effects_goes_on_where_it_was(pair, task, tmp_path):
    path, calls = tmp_path / "effects.jsonl", []

    def evaluate(model):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return task.evaluate(model)

    options = {"by": "layer", "seeds": [0], "results": path, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        ken.ablate(pair, evaluate=evaluate, **options)
    first = ken.ablate(pair, evaluate=evaluate, **options)
    evaluations = len(calls)
    with path.open("ab") as file:
        file.write(b'{"way": "without", "gro')  # killed within a line
    again = ken.ablate(pair, evaluate=evaluate, **options)
    assert len(calls) == evaluations
    plain = ken.ablate(pair, evaluate=task.evaluate, by="layer", seeds=[0], progress=False)
    pd.testing.assert_frame_equal(first, plain)
    pd.testing.assert_frame_equal(again, plain)
    with pytest.raises(ResultsError, match="another fine-tuned"):
        ken.ablate(ken.Pair(moved(bert(), seed=5), pair.pretrained), evaluate=evaluate, **options)
    with pytest.raises(ResultsError, match="another subnetwork"):
        ken.ablate(pair, net=ken.prune(*pair, 0.5), evaluate=evaluate, **options)
    content = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([content[0], content[1].replace(b'"metric": ', b'"metric": "x')]) + b"\n")
    with pytest.raises(ResultsError, match="damaged in line 2"):
        ken.ablate(pair, evaluate=evaluate, **options)
    sweep = tmp_path / "results.jsonl"
    ken.sweep(pair, [0.5], ["ken"], evaluate=lambda model: 0.0, results=sweep, progress=False)
    with pytest.raises(ken.KenError, match="a file of results"):
        ken.ablate(pair, evaluate=evaluate, by="layer", results=sweep, progress=False)
