import fnmatch
import re

import pytest
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
    """The values behind the list's options, in its order."""
    return [value for _, value in search._list.options]


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
        assert matcher(pattern)(name) == (pattern.lower() in name.lower())


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
    search._list.value = "layer.0.out.weight"
    assert search.chosen == "layer.0.out.weight"
    search.pattern = "query"
    assert search.chosen == "layer.0.out.weight"
    assert search._list.value is None
    search.pattern = "out"
    assert search._list.value == "layer.0.out.weight"


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
    texts = [text for text, _ in search._list.options]
    assert len(set(texts)) == len(texts)
    assert not any("\n" in text or "\u202e" in text for text in texts)
    for name in names:
        search.chosen = name
        assert "<script" not in search._words.value
        assert search._list.value == name
