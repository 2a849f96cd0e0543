import fnmatch
import math
import re

import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from kenviz_models import HOSTILE, small_pair

import ken
from kenviz.study.study import Study
from kenviz.views.search import TensorSearch, matcher


@pytest.fixture
def search(net, pair):
    return TensorSearch(Study(net, pair))


def shown(search):
    """The tensors on the lines of the list, in its order."""
    return [search._list.labels[line[0]] for line in search._list.lines]


def test_all_tensors_are_listed_in_model_order_with_what_became_of_them(search, net):
    assert search.names == shown(search) == list(net.table().index)
    search.chosen = "head.weight"
    assert "head.weight is carried: no pretrained counterpart. float32 3 × 24." in search._words.value


@pytest.mark.parametrize(
    ("pattern", "regex", "count"),
    [
        ("query", False, 4),
        ("QUERY.W", False, 2),
        ("*.weight", False, 6),
        ("layer.?.out.*", False, 2),
        (r"\d\.(query|out)\.weight$", True, 4),
        ("", False, 8),
        ("nothing", False, 0),
        ("[", False, 0),
    ],
)
def test_patterns(search, pattern, regex, count):
    search.regex = regex
    search.pattern = pattern
    assert len(search.names) == len(shown(search)) == count
    assert f"{count} of 8 tensors." in search._words.value


@given(st.text("ab.*?[]", max_size=6), st.text("abAB.", max_size=6))
def test_globs_are_those_of_the_shell_without_case(pattern, name):
    if any(sign in pattern for sign in "*?["):
        assert matcher(pattern)(name) == fnmatch.fnmatchcase(name.lower(), pattern.lower())
    else:
        lower = name.lower()
        assert matcher(pattern)(name) == (
            pattern.lower() in lower or all(word in lower for word in pattern.lower().split())
        )


def test_an_expression_that_is_none_leaves_the_list(search):
    search.regex = True
    search.pattern = "query"
    before = search.names
    search.pattern = "query("
    assert search.names == before
    assert "Not a regular expression" in search._words.value
    search.pattern = "query(.)"
    assert "Not a regular" not in search._words.value
    with pytest.raises(re.error):
        matcher("(", regex=True)


def test_controls_and_traits_are_one_state(search):
    search._controls["kind"].value = "layer.*.query.weight"
    assert search.kind == "layer.*.query.weight"
    assert search.names == ["layer.0.query.weight", "layer.1.query.weight"]
    search.layer = "1"
    assert search._controls["layer"].value == "1"
    assert search.names == ["layer.1.query.weight"]
    search.kind, search.layer, search.status = "any", "outside of layers", "pruned"
    assert search.names == ["embed.weight"]
    search._controls["pattern"].value = "zzz"
    assert search.pattern == "zzz"
    assert search.names == []


def test_sorting_by_any_statistic_largest_first_or_last_and_what_has_none_at_the_end(search, net, pair):
    for column in ("entries", "update_rms", "neighbours_z"):
        search.sort = column
        table = net.table() if column == "entries" else ken.retention.table(net, pair)
        known = table[column].dropna().astype(float)
        values = [known[name] for name in search.names if name in known.index]
        assert values == sorted(known, reverse=True)
        assert len(search.names) == 8
    assert search.names[-1] not in known.index
    search.descending = False
    values = [known[name] for name in search.names if name in known.index]
    assert values == sorted(known)
    assert search.names[-1] not in known.index


def test_the_models_are_read_only_when_sorting_needs_them(net, pair):
    study = Study(net, pair)
    search = TensorSearch(study)
    search.sort = "share"
    search.pattern = "query"
    assert "retention" not in vars(study)
    search.sort = "update_share"
    assert "retention" in vars(study)
    assert "update_share" not in TensorSearch(Study(net))._choices["sort"]


def test_picking_in_the_list_chooses_and_the_choice_outlives_the_list(search):
    marked = list(search._all.index).index("layer.0.out.weight")
    search._list._receive(None, {"choose": marked}, [])
    assert (search.chosen, search._list.chosen) == ("layer.0.out.weight", marked)
    search.pattern = "query"
    assert search.chosen == "layer.0.out.weight"
    assert search._list.chosen == -1
    search.pattern = "out"
    assert search._list.chosen == marked


def test_what_is_not_there_is_refused(search):
    with pytest.raises(traitlets.TraitError, match="layer must be one of any, outside of layers, 0, 1; got '7'"):
        search.layer = "7"
    with pytest.raises(traitlets.TraitError, match="tensor must be one of either model, got 'x'"):
        search.chosen = "x"
    assert (search.layer, search.chosen) == ("any", "")


def test_names_of_strangers_are_text_and_stay_apart():
    names = [HOSTILE, f"{'y' * 200}1{'y' * 200}", f"{'y' * 200}2{'y' * 200}"]
    pair = small_pair(extra=names)
    search = TensorSearch(Study(ken.prune(*pair, 3), pair))
    texts = search._list.labels
    assert len(set(search._list.heads)) == len(texts)
    assert len(set(texts)) == len(texts)
    assert not any("\n" in text or "\u202e" in text for text in texts)
    for name in names:
        search.chosen = name
        assert "<script" not in search._words.value
        assert search._list.chosen == list(search._all.index).index(name)


def test_a_bar_is_what_is_sorted_by_and_the_share_is_always_told(search, net, pair):
    table = net.table()
    assert search._list.bars == [None if math.isnan(share) else share for share in table["share"].astype(float)]
    assert search._list.words[0] == "50.0% retained"
    assert search._list.words[list(table.index).index("head.weight")] == "carried"
    search.sort = "neighbours_z"
    z = ken.retention.table(net, pair)["neighbours_z"].reindex(table.index).astype(float)
    longest = z.abs().max()
    for bar, words, value in zip(search._list.bars, search._list.words, z, strict=True):
        assert bar is None if math.isnan(value) else bar == pytest.approx(value / longest)
        assert "retained" in words or words == "carried"
    assert "z-score" in search._bars.value
    assert "standard deviations from chance" in search._bars.value


def test_long_lists_fold_by_layer_and_open_where_the_chosen_tensor_is():
    names = ["embed", *(f"l.{i}.{part}" for i in range(9) for part in ["q", *(f"experts.{e}.w" for e in range(8))])]
    weights = {name: torch.arange(8.0).reshape(2, 4) for name in names}
    net = ken.prune(weights, {name: torch.zeros(2, 4) for name in names}, 2, progress=False)
    search = TensorSearch(Study(net))
    assert search._list.lines == [[0, 0, 0, 0], *([-1 - 2 * i, 0, 0, 9] for i in range(9))]
    search.chosen = "l.3.experts.5.w"
    opened = [line for line in search._list.lines if line[2]]
    assert [search._list.groups[-1 - line[0]] for line in opened] == ["layer 3", "experts"]
    assert [line[3] for line in opened] == [9, 8]
    assert [search._list.labels[line[0]] for line in search._list.lines if line[1] == 2] == [
        f"l.3.experts.{e}.w" for e in range(8)
    ]
    search._list._receive(None, {"toggle": -1 - opened[0][0]}, [])
    assert all(not line[2] for line in search._list.lines)
    search.pattern = "experts.5"
    assert [line[0] for line in search._list.lines] == [i for i, name in enumerate(names) if "experts.5" in name]
    search.pattern, search.sort = "", "share"
    assert len(search._list.lines) == len(names)


@pytest.mark.parametrize("content", [{"choose": 8}, {"choose": -1}, {"choose": "0"}, {"toggle": 99}, {}, None, "x"])
def test_what_a_page_sends_that_means_nothing_changes_nothing(search, content):
    before = search._list.get_state(), search.chosen
    search._list._receive(None, content, [])
    assert (search._list.get_state(), search.chosen) == before


def test_a_letter_that_is_typed_sends_lines_and_no_names(search, monkeypatch):
    sent = []
    monkeypatch.setattr(
        search._list, "send_state", lambda key=None: sent.extend(key if isinstance(key, set) else [key])
    )
    search.pattern = "query"
    assert sent == ["lines"]
