import itertools
import operator
import re

import pandas as pd
import pytest
import traitlets
from at_once import at_once
from effect_tables import made_up
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from ken.evaluation import members
from kenviz import Explorer
from kenviz.study.study import Study

QUERY = "layer.1.query.weight"
OUT = "layer.0.out.weight"


@pytest.fixture
def explorer(net, pair):
    return Explorer(net, pair)


def places(explorer):
    """Which tensor each part is at, and which row and entry."""
    view = explorer.row_view
    return (
        {explorer.search.chosen, explorer.map.tensor or explorer.tensor, explorer.matrix.tensor, view.tensor},
        view.row,
        view.entry,
        explorer.matrix.entry,
    )


def test_opens_at_the_largest_matrix_and_has_read_nothing_of_the_models(net, pair):
    study = Study(net, pair)
    explorer = Explorer(net, study)
    assert explorer.tensor == "embed.weight"
    assert explorer.map.measure == "share"
    assert "retention" not in vars(study)


@pytest.mark.parametrize("by", ["search", "map", "matrix", "row_view", "itself"])
def test_a_tensor_chosen_anywhere_is_shown_everywhere(explorer, by):
    if by == "itself":
        explorer.tensor = QUERY
    elif by == "search":
        explorer.search.chosen = QUERY
    else:
        getattr(explorer, by).tensor = QUERY
    assert explorer.tensor == QUERY
    assert places(explorer) == ({QUERY}, 0, -1, None)


def test_an_entry_tapped_in_the_matrix_is_the_row_and_the_entry_of_the_row_view(explorer, pair, net):
    explorer.tensor = QUERY
    explorer.matrix.entry = (5, 7)
    assert (explorer.row, explorer.column) == (5, 7)
    assert places(explorer) == ({QUERY}, 5, 7, (5, 7))
    why = ken.explain(net, pair, QUERY, 5).entry(7)
    assert why.text.splitlines()[0] in re.sub("&#x27;", "'", explorer.row_view._card.value)


def test_a_row_or_an_entry_of_the_row_view_is_marked_in_the_matrix(explorer):
    explorer.tensor = QUERY
    explorer.row_view.entry = 3
    assert (explorer.row, explorer.column, explorer.matrix.entry) == (0, 3, (0, 3))
    explorer.row_view.row = 9
    assert (explorer.row, explorer.matrix.entry) == (9, (9, 3))
    explorer.row, explorer.column = 2, 4
    assert places(explorer) == ({QUERY}, 2, 4, (2, 4))


def test_a_smaller_tensor_keeps_row_and_entry_only_where_it_has_them(explorer):
    explorer.row, explorer.column = 200, 20
    explorer.tensor = QUERY
    assert (explorer.row, explorer.column) == (23, 20)
    explorer.tensor = OUT
    explorer.column = 40
    explorer.tensor = QUERY
    assert explorer.column == -1


def test_a_tensor_that_was_not_pruned_is_described_and_nothing_moves(explorer):
    explorer.search.chosen = "head.weight"
    assert explorer.tensor == "embed.weight"
    assert "carried" in explorer.search._words.value


def test_the_row_is_made_when_it_is_first_looked_at_and_is_at_the_place_of_all_others(explorer, net, pair):
    explorer.theme = "dark"
    explorer.matrix.tensor = QUERY
    explorer.matrix.entry = (5, 7)
    assert "row_view" not in explorer._parts
    said, state, code = explorer._desk.card.card.text, explorer.state, explorer.code()
    assert said.splitlines()[:2] == ken.explain(net, pair, QUERY, 5).entry(7).text.splitlines()[:2]
    view = explorer.row_view
    assert view is explorer.row_view
    assert (view.tensor, view.row, view.entry, view.theme) == (QUERY, 5, 7, "dark")
    assert (explorer.state, explorer.code(), explorer._desk.card.card.text) == (state, code, said)
    assert explorer._desk.card is view.decision_card
    assert explorer._desk.card in explorer._desk._aside.children
    explorer.undo()
    assert (view.row, view.entry) == (0, -1)
    explorer.close()
    assert view.comm is None


@pytest.mark.parametrize("settings", [{"k": 3}, {"k": 0.4, "rule": "update"}, {"k": 2, "on": "update"}], ids=str)
def test_the_state_of_a_row_that_was_not_made_is_the_state_that_it_then_has(pair, settings):
    explorer = Explorer(ken.prune(*pair, **settings), pair)
    explorer.row = 1
    before = explorer.state
    assert list(before) == ["search", "map", "matrix", "row_view"]
    assert before["row_view"] == explorer.row_view.state


def test_a_row_that_is_first_looked_at_between_two_steps_back_is_there_at_both(explorer):
    explorer.row = 3
    explorer.row = 9
    explorer.stage = "row"
    explorer.row_view.k = 5
    usual = explorer.row_view.own_k()
    explorer.undo()
    assert (explorer.row_view.row, explorer.row_view.k) == (9, usual)
    explorer.undo()
    assert (explorer.row, explorer.row_view.row) == (3, 3)
    explorer.redo(), explorer.redo()
    assert (explorer.row_view.row, explorer.row_view.k) == (9, 5)


def test_undo_and_redo_pass_the_same_states(explorer):
    seen = [explorer.state]
    for change in (
        lambda: setattr(explorer.map, "tensor", QUERY),
        lambda: setattr(explorer.map, "tensor", OUT),
        lambda: setattr(explorer.matrix, "entry", (3, 30)),
        lambda: setattr(explorer.row_view, "k", 5),
        lambda: setattr(explorer.map, "measure", "update_share"),
        lambda: setattr(explorer.search, "sort", "entries"),
        lambda: setattr(explorer.matrix, "rows", (2.0, 9.0)),
    ):
        change()
        seen.append(explorer.state)
    assert all(one != two for one, two in itertools.pairwise(seen))
    for state in seen[-2::-1]:
        assert not explorer._undo.disabled
        explorer.undo()
        assert explorer.state == state
        assert (explorer.tensor, explorer.row) == (explorer.row_view.tensor, explorer.row_view.row)
    assert explorer._undo.disabled
    explorer.undo()
    for state in seen[1:]:
        explorer._redo.click()
        assert explorer.state == state
    assert explorer._redo.disabled


def test_a_slider_that_is_dragged_is_one_step(explorer):
    before = explorer.state
    for k in range(3, 9):
        explorer.row_view.k = k
    explorer._undo.click()
    assert explorer.state == before


def test_code_leads_to_the_same_state(explorer, net, pair):
    assert explorer.code() == "explorer = kenviz.explore(net, pair)"
    explorer.search.pattern = "*query*"
    explorer.tensor = QUERY
    explorer.matrix.entry = (5, 7)
    explorer.row_view.k = 4
    explorer.matrix.rows = (2.0, 9.0)
    explorer.map.measure = "update_rms"
    names = {"kenviz": kenviz, "net": net, "pair": pair}
    exec(explorer.code(), names)
    again = names["explorer"]
    assert again.state == explorer.state
    assert again.code() == explorer.code()
    assert repr(again) == repr(explorer)
    for name, table in explorer.numbers().items():
        pd.testing.assert_frame_equal(again.numbers()[name], table)
    explorer._toggle.value = True
    assert explorer._python.value == explorer.code()
    explorer.row_view.k = 5
    assert "explorer.row_view.k = 5" in explorer._python.value


def test_without_a_pair_there_are_the_map_by_share_and_the_masks(net):
    explorer = Explorer(net)
    assert explorer.row_view is None
    explorer.matrix.entry = (3, 4)
    assert (explorer.row, explorer.column) == (3, 4)
    explorer.map.tensor = QUERY
    assert explorer.matrix.tensor == QUERY
    explorer.undo()
    explorer.undo()
    assert explorer.tensor == "embed.weight"


def test_a_subnetwork_of_vectors_has_no_map(tmp_path):
    import torch

    pair = ken.Pair({"b": torch.arange(9.0)}, {"b": torch.zeros(9)})
    explorer = Explorer(ken.prune(*pair, 3), pair)
    assert explorer.map is None
    explorer.column = 4
    assert explorer.row_view.entry == 4
    explorer.undo()
    assert explorer.column == -1
    assert explorer.to_html(tmp_path / "e.html").stat().st_size > 1_000_000


def test_what_is_not_there_is_refused_and_nothing_moves(explorer):
    before = explorer.state
    for name, value, words in [
        ("tensor", "head.weight", "tensor must be a pruned one"),
        ("row", 300, "row must be from 0 to 299 in embed.weight, got 300"),
        ("column", -2, "column must be from -1 to 23 in embed.weight, got -2"),
    ]:
        with pytest.raises(traitlets.TraitError, match=words):
            setattr(explorer, name, value)
    assert explorer.state == before
    assert explorer._undo.disabled


def test_page_holds_all_views_and_asks_for_nothing(explorer, tmp_path):
    page = explorer.to_html(tmp_path / "explorer.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page) == []
    assert page.count('<div role="figure"') == len(explorer.views) == 3


def test_names_of_strangers_are_text(tmp_path):
    pair = small_pair(extra=[HOSTILE])
    explorer = Explorer(ken.prune(*pair, 3), pair)
    explorer.tensor = HOSTILE
    explorer.column = 2
    page = explorer.to_html(tmp_path / "e.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<script>" not in explorer.row_view._card.value
    assert "\n" not in repr(explorer)
    names = {"kenviz": kenviz, "net": explorer._study.net, "pair": pair}
    exec(explorer.code(), names)
    assert names["explorer"].tensor == HOSTILE


def test_theme_is_that_of_all_views(explorer):
    explorer.theme = "dark"
    assert {view.theme for view in explorer.views} == {"dark"}


def test_threads_leave_all_parts_at_one_place(explorer):
    def walk(name, values):
        for value in values:
            setattr(operator.attrgetter(name)(explorer) if name else explorer, *value)

    jobs = [
        ("map", [("tensor", t) for t in (QUERY, OUT) * 8]),
        ("search", [("chosen", t) for t in (OUT, QUERY) * 8]),
        ("", [("row", r) for r in range(16)]),
        ("row_view", [("row", r) for r in range(16)]),
        ("matrix", [("entry", (r, r)) for r in range(16)]),
    ]
    at_once(*(lambda job=job: walk(*job) for job in jobs))
    tensors, row, entry, marked = places(explorer)
    assert tensors == {explorer.tensor}
    assert (row, entry) == (explorer.row, explorer.column)
    assert marked == (None if entry < 0 else (row, entry))


def test_explore_takes_files(net, pair, tmp_path):
    from safetensors.torch import save_file

    path = net.save(tmp_path / "net.ken.safetensors")
    save_file(pair.pretrained, tmp_path / "pt.safetensors")
    save_file(pair.fine_tuned, tmp_path / "ft.safetensors")
    explorer = kenviz.explore(path, tmp_path / "ft.safetensors", tmp_path / "pt.safetensors")
    explorer.tensor = QUERY
    explorer.column = 3
    assert explorer.row_view.numbers()["retained"].tolist() == net[QUERY].mask()[0].tolist()
    assert kenviz.explore(path, tmp_path / "pt.safetensors").row_view is None
    with pytest.raises(ken.KenError):
        kenviz.explore(path, tmp_path / "ft.safetensors")
    with pytest.raises(ValueError, match="pretrained goes with the fine-tuned model's path"):
        kenviz.explore(net, pair, tmp_path / "pt.safetensors")


def test_a_view_of_the_stage_is_made_when_its_tab_is_opened_and_follows_from_then_on(explorer, tmp_path):
    explorer.tensor, explorer.row, explorer.column = QUERY, 5, 7
    assert explorer.stages == ["matrix", "row", "layers", "neighbours", "comparison"]
    assert list(explorer.stage_box.made) == ["matrix"]
    explorer.stage_box.tabs.value = "layers"  # as a tab in the page
    layers = explorer.in_sight[-1]
    assert (explorer.stage, layers.tensor, layers.entry) == ("layers", QUERY, (5, 7))
    layers._heard({"kind": "tap", "figure": "layer_0", "x": 3.5, "y": 2.5})
    assert (explorer.tensor, explorer.row, explorer.column) == ("layer.0.query.weight", 2, 3)
    assert places(explorer) == ({"layer.0.query.weight"}, 2, 3, (2, 3))
    explorer.matrix.tensor = OUT
    assert (layers.kind, layers.tensor, layers.entry) == ("layer.*.out.weight", OUT, (2, 3))
    explorer.stage = "neighbours"
    neighbours = explorer.in_sight[-1]
    assert neighbours.tensor == OUT
    neighbours.tensor = QUERY
    assert (explorer.tensor, layers.tensor) == (QUERY, OUT)  # what is out of sight waits
    explorer.stage = "layers"
    assert layers.tensor == QUERY
    explorer.undo()
    assert (explorer.tensor, layers.tensor) == (OUT, OUT)
    page = explorer.to_html(tmp_path / "e.html").read_text(encoding="utf-8")
    assert page.count('<div role="figure"') == len(explorer.views) == 5
    with pytest.raises(traitlets.TraitError, match="stage must be one of matrix, row, .*, comparison; got 'x'"):
        explorer.stage = "x"


def test_code_turns_to_the_stage(explorer, net, pair):
    explorer.stage = "row"
    names = {"kenviz": kenviz, "net": net, "pair": pair}
    exec(explorer.code(), names)
    assert (names["explorer"].stage, names["explorer"].state) == ("row", explorer.state)


def test_effects_are_on_the_stage_where_there_is_a_table(net, pair):
    places = members({name: tensor.shape for name, tensor in pair.pretrained.items()}, "place")
    explorer = kenviz.explore(net, pair, ablation=made_up(tuple(places)))
    assert explorer.stages[-1] == "effects"
    explorer.stage = "effects"
    view = explorer.in_sight[-1]
    assert view.lock is explorer.lock
    view.group = "layer 1 query"
    assert explorer.tensor == QUERY
    assert "effects" not in kenviz.explore(net, pair).stages


@pytest.fixture
def ablation(pair):
    """A table of effects of the small pair, by place."""
    return made_up(tuple(members({name: tensor.shape for name, tensor in pair.pretrained.items()}, "place")))


@pytest.mark.parametrize("by_hand", [True, False])
def test_the_code_makes_the_view_of_effects_again(explorer, net, pair, ablation, by_hand):
    names = {"kenviz": kenviz, "net": net, "pair": pair, "ablation": ablation}
    if by_hand:
        explorer.attach(kenviz.EffectView(ablation, net=net, explorer=explorer))
    else:
        explorer = kenviz.explore(net, pair, ablation=ablation)
        assert "attach" not in explorer.code()
    explorer.stage = "effects"
    explorer._toggle.value = True
    explorer.effects.sort, explorer.effects.group = "model order", "layer 1 query"
    explorer.effects.top = 3
    assert explorer._python.value == explorer.code()
    exec(explorer.pin(subject="effects").code, names)
    again = names["explorer"]
    assert (again.stage, again.tensor) == ("effects", QUERY)
    assert again.stage_box.made["effects"] is again.effects
    assert again.effects.state == explorer.effects.state
    assert again.code() == explorer.code()


@pytest.mark.parametrize("open_now", [True, False])
def test_a_view_of_effects_that_is_attached_later_takes_the_tab(explorer, ablation, open_now):
    first, second = (kenviz.EffectView(ablation, explorer=explorer, top=top) for top in (1, 2))
    explorer.attach(first)
    explorer.stage = "effects"
    if not open_now:
        explorer.stage = "matrix"
        assert "effects" in explorer._desk.pin_box.subject.options
    explorer.theme = "dark"
    explorer.attach(second)
    assert (explorer.stage_box.made.get("effects") is second) == open_now
    assert ("effects" in explorer._desk.pin_box.subject.options) == open_now
    explorer.stage = "effects"
    assert explorer.stage_box.turn_to("effects") is explorer.stage_box._panel.children[0] is second
    assert second.theme == "dark"
    assert first not in explorer.views
    assert explorer.stages.count("effects") == 1


def test_what_is_looked_at_is_told_without_a_number_for_none(explorer):
    explorer.tensor = QUERY
    assert explorer._desk._place.value == (
        "<b>layer.1.query.weight</b><br>layer 1, 24 rows × 24 columns, row 0, no entry chosen"
    )
    explorer.row_view._column.text.value = "5"
    assert explorer.column == 5
    assert explorer._desk._place.value.endswith("row 0, column 5")
    explorer.row_view._column.text.value = ""
    assert explorer.column == -1
    assert "-1" not in explorer._desk._place.value


def test_the_search_goes_to_an_entry_that_stands_behind_the_name(explorer):
    explorer.search.go("layer.1 query [5, 7]")
    assert (explorer.tensor, explorer.row, explorer.column) == (QUERY, 5, 7)
    explorer.search.go("out (2, 3)")
    assert (explorer.tensor, explorer.row, explorer.column) == (OUT, 2, 3)
    explorer.search.go("out (2, 3)")  # once more
    explorer.search.go("query (2, 999)")
    assert "has no entry [2, 999]: it has 24 rows × 24 columns" in explorer.search._words.value
    explorer.search.go("nothing of the kind")
    assert "No pruned tensor fits" in explorer.search._words.value
    assert (explorer.tensor, explorer.row, explorer.column) == (OUT, 2, 3)


@pytest.mark.parametrize("most", [False, True])
def test_jumps_go_where_the_tables_say(explorer, net, pair, most):
    end = "idxmax" if most else "idxmin"
    word = "most" if most else "least"
    table = ken.retention.table(net, pair)
    assert explorer.jump(f"tensor {word}").startswith(getattr(table["update_share"], end)())
    sums = table[table["layer"].notna()].groupby("layer")[["energy_retained", "energy"]].sum()
    layer = getattr(sums["energy_retained"] / sums["energy"], end)()
    words = explorer.jump(f"layer {word}")
    assert words.startswith(f"Layer {layer} retained {word} of its update")
    inside = table[table["layer"] == layer]["update_share"]
    assert explorer.tensor == getattr(inside, end)()
    explorer.jump(f"row {word}")
    rows = ken.retention.rows(net, pair, explorer.tensor)
    assert (explorer.row, explorer.stage) == (getattr(rows["update_share"], end)(), "row")
    assert explorer._remark in explorer._desk._place.value.replace("&#x27;", "'")
    explorer.tensor = OUT if explorer.tensor != OUT else QUERY
    assert explorer._remark == ""


@pytest.mark.parametrize("retained", [False, True])
def test_jumps_to_the_largest_update_of_a_row(explorer, net, pair, retained):
    explorer.tensor, explorer.row = QUERY, 5
    explorer.jump("entry retained" if retained else "entry reset")
    update = (pair.fine_tuned[QUERY][5] - pair.pretrained[QUERY][5]).abs().double().numpy()
    mask = net[QUERY].row_mask()[5]
    assert mask[explorer.column] == retained
    assert update[explorer.column] == update[mask == retained].max()


def test_a_jump_that_leads_nowhere_says_so(explorer, net, pair):
    with pytest.raises(ValueError, match="jump must be one of layer least"):
        explorer.jump("x")
    same = ken.Pair(pair.pretrained, pair.pretrained)
    still = Explorer(ken.prune(*same, k=2), same)
    with pytest.raises(ValueError, match="there is no update to retain"):
        still.jump("tensor least")
    still._jump("row most")
    assert "Nowhere to go" in still._desk._place.value
    with pytest.raises(ValueError, match="is known with the pair"):
        Explorer(net).jump("row most")
