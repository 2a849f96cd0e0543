"""The decision card of an entry tells its attribution and what its group does, and of what it cannot tell that."""

import numpy as np
import pytest
import torch
from effect_tables import attributed, made_up
from kenviz_models import small_pair

import ken
import kenviz
from ken.evaluation import members
from kenviz.study.entry_effects import EntryEffects

QUERY = "layer.1.query.weight"


@pytest.fixture(scope="module")
def known():
    pair = small_pair()
    net = ken.prune(*pair, 0.5, progress=False)
    places = members({name: tensor.shape for name, tensor in pair.pretrained.items()}, "place")
    worth = {name: -0.2 * (i + 1) / len(names) for i, names in enumerate(places.values()) for name in names}
    return net, pair, attributed(pair, worth), made_up(tuple(places))


def test_cards_of_matrix_and_row_tell_the_same_of_an_entry(known):
    net, pair, attribution, table = known
    explorer = kenviz.explore(net, pair, attribution=attribution, ablation=table)
    explorer.tensor = QUERY
    explorer.row, explorer.column = 3, 5
    share = float(attribution[QUERY][3, 5])
    for card in (explorer.matrix._card.value, explorer.row_view._card.value):
        assert ken.explain(net, pair, QUERY, 3).entry(5).text.splitlines()[0] in card
        assert f"attribution of this entry: −{abs(share):.3g} nats" in card
        assert "over 12 items (a map, no intervention)" in card
        assert "its group, layer 1 query: the loss changes without it +0.6 nats (+0.55 to +0.65)" in card
        assert "judged together" in card
    again = eval(
        explorer.code().splitlines()[0].partition(" = ")[2],
        {"kenviz": kenviz, "net": net, "pair": pair, "attribution": attribution, "ablation": table},
    )
    assert again.code().splitlines()[0] == explorer.code().splitlines()[0]
    plain = kenviz.explore(net, pair)
    assert plain.effects is None
    plain.tensor, plain.row, plain.column = QUERY, 3, 5
    assert "attribution" not in plain.matrix._card.value


def test_a_group_that_is_tapped_opens_in_the_explorer_it_was_made_with(known, tmp_path):
    net, pair, attribution, table = known
    explorer = kenviz.explore(net, pair, attribution=attribution, ablation=table)
    explorer.stage = "effects"
    assert explorer.in_sight[-1] is explorer.effects
    at = explorer.effects.numbers().index.tolist().index("layer 1 query")
    explorer.effects._heard({"kind": "tap", "figure": "panel_only", "x": 0.0, "y": at + 0.2})
    assert (explorer.tensor, explorer.matrix.tensor, explorer.row_view.tensor) == (QUERY, QUERY, QUERY)
    assert "explorer.tensor = 'layer.1.query.weight'" in explorer.code()
    explorer.undo()
    assert explorer.matrix.tensor == explorer.tensor == "embed.weight"
    assert list(explorer.numbers()) == ["map", "matrix", "row_view", "effects"]
    explorer.theme = "dark"
    assert explorer.effects.theme == "dark"
    page = explorer.to_html(tmp_path / "explorer.html").read_text(encoding="utf-8")
    assert "without the group" in page
    shared = kenviz.explore(net, ablation=table)
    shared.effects.group = "layer 1 query"
    assert shared.tensor == QUERY


def test_a_poor_map_is_told_before_the_share(known):
    net, pair, _, table = known
    scrambled = dict(zip(pair.pretrained, [0.3, -0.1, 0.0, 0.2, -0.4, 0.0, 0.1], strict=True))
    lines = EntryEffects(net, attributed(pair, scrambled), table).text(QUERY, (0, 0), (24, 24)).splitlines()
    assert lines[0].startswith("attribution is a poor map here")
    assert lines[-2].startswith("attribution of this entry")


def test_what_is_not_known_is_said(known):
    net, _, attribution, table = known
    only = ken.Attribution({"embed.weight": attribution["embed.weight"]}, 1.0, 0.5)
    assert "none was made of this tensor" in EntryEffects(net, only).text(QUERY, (0, 0), (24, 24))
    other = ken.Attribution(attribution.arrays, 1.0, 0.5, fingerprint="another")
    with pytest.raises(ValueError, match="of another fine-tuned model"):
        EntryEffects(net, other)
    without_pair = kenviz.MatrixView(net)
    assert "attribution" not in without_pair.caption
    text = EntryEffects(net, None, table).text(QUERY, (0, 0), (24, 24))
    assert text.startswith("its group, ")
    assert "\n" not in text


def test_entries_of_tensors_with_more_axes_are_those_of_their_rows():
    pair = ken.Pair({"w": torch.randn(3, 2, 4)}, {"w": torch.zeros(3, 2, 4)})
    net = ken.prune(*pair, 2, progress=False)
    values = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    explorer = kenviz.explore(net, pair, attribution=ken.Attribution({"w": values}, 1.0, 0.5))
    rows = values.reshape(explorer._study.shape("w"))
    explorer.row, explorer.column = 1, 2
    assert f"attribution of this entry: +{rows[1, 2]:g} nats" in explorer.matrix._card.value
