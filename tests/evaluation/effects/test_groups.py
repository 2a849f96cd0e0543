"""Groups of entries, and as many drawn elsewhere."""

import numpy as np
import pytest
import torch

import ken
from ken.evaluation.effects.control import drawn_elsewhere
from ken.evaluation.effects.groups import Group, Part, groups


def test_every_pruned_entry_is_in_one_group_and_the_head_in_none(pair, task):
    for by in ("tensor", "place", "layer", "kind"):
        table = ken.ablate(pair, evaluate=lambda model: 0.0, by=by, ways="without", progress=False)
        parts = table[table["way"] == "without"]
        body = sum(parameter.numel() for parameter in pair.pretrained.parameters())
        assert parts["entries"].sum() == body
        assert parts["share"].sum() == pytest.approx(1)
        assert parts["group"].is_unique
        assert not parts["group"].str.contains("classifier").any()


def test_heads_share_nothing_and_have_query_key_value_and_output(causal):
    live, _ = causal
    shapes = {name: tuple(parameter.shape) for name, parameter in live.fine_tuned.named_parameters()}
    parts = groups(shapes, "head", live.fine_tuned.config.to_dict())
    assert [group.name for group in parts if "layer 0" in group.name and "key" not in group.name] == [
        f"layer 0 head {head}" for head in range(4)
    ]
    counted = {name: np.zeros(shape, int) for name, shape in shapes.items()}
    for group in parts:
        for part in group.parts:
            counted[part.tensor][part.where] += 1
    for name, counts in counted.items():
        assert (counts == (1 if "self_attn" in name else 0)).all(), name


def test_the_seeds_draw_as_many_entries_elsewhere(pair, task):
    shapes = {"a": (30, 20), "b": (50,), "c": ()}
    group = Group("part", (Part("a", (30, 20), 0, np.arange(5)),))
    drawn = drawn_elsewhere(shapes, group, seed=0)
    assert sum(len(part.entries_at) for part in drawn) == group.entries == 100
    for part in drawn:
        assert len(set(part.entries_at.tolist())) == len(part.entries_at)
        if part.tensor == "a":
            assert part.entries_at.min() >= 5 * 20
    again, other = drawn_elsewhere(shapes, group, seed=0), drawn_elsewhere(shapes, group, seed=1)
    assert [part.entries_at.tolist() for part in drawn] == [part.entries_at.tolist() for part in again]
    assert [part.entries_at.tolist() for part in drawn] != [part.entries_at.tolist() for part in other]
    assert drawn_elsewhere({"a": (2, 2), "b": (3,)}, Group("a", (Part("a", (2, 2)),)), 0) is None


def test_a_control_resets_what_it_drew_and_nothing_else(pair):
    seen = {}

    def evaluate(model):
        seen[len(seen)] = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        return 0.0

    table = ken.ablate(pair, evaluate=evaluate, by={"pooler": "*pooler*"}, ways=(), seeds=[0], progress=False)
    tuned, base = dict(pair.fine_tuned.named_parameters()), dict(pair.pretrained.named_parameters())
    reset = 0
    for name, value in seen[1].items():
        changed = value != tuned[name]
        assert not changed.any() or "pooler" not in name
        if changed.any():
            assert torch.equal(value[changed], base[name.removeprefix("bert.")][changed])
        reset += int(changed.sum())
    control = table[table["way"] == "control"].iloc[0]
    assert reset <= control["entries"]  # where the update is 0 nothing shows
    assert reset > 0.9 * control["entries"]
