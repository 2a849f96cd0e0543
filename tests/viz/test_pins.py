"""Pins: what is found in an Explorer is kept with a sentence, and printed by the report."""

import html

import pytest
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from kenviz.study.pins import Pin

QUERY = "layer.1.query.weight"


@pytest.fixture
def explorer(net, pair):
    explorer = kenviz.explore(net, pair)
    explorer.tensor, explorer.row, explorer.column = QUERY, 5, 7
    return explorer


def test_a_card_and_any_view_that_was_opened_can_be_pinned(explorer, net, pair):
    card = explorer.pin("It matters.")
    assert explorer.pins == (card,)
    assert (card.subject, card.sentence) == ("decision", "It matters.")
    known = ken.explain(net, pair, QUERY, 5).entry(7)
    assert card.text == " ".join(known.text.splitlines()[:2])
    assert ("fine-tuned value", f"{known.as_dict()['fine_tuned']:.6g}") in card.numbers
    for subject, view in (("map", explorer.map), ("matrix", explorer.matrix)):
        assert explorer.pin(subject=subject).text == view.caption
    explorer.stage = "neighbours"
    assert "Neighbours in layer.1.query.weight" in explorer.pin(subject="neighbours").text
    assert [pin.subject for pin in explorer.pins] == ["decision", "map", "matrix", "neighbours"]
    names = {"kenviz": kenviz, "net": net, "pair": pair}
    exec(explorer.pins[-1].code, names)
    assert (names["explorer"].tensor, names["explorer"].stage) == (QUERY, "neighbours")


def test_what_is_not_there_cannot_be_pinned(explorer):
    with pytest.raises(ValueError, match="subject must be one of decision, map, matrix: what was opened; got 'layers'"):
        explorer.pin(subject="layers")
    explorer.column = -1
    with pytest.raises(ValueError, match="no entry is chosen"):
        explorer.pin()
    assert explorer.pins == ()


def test_the_box_offers_what_there_is_pins_it_and_takes_it_away(explorer):
    box = explorer._desk.pin_box
    assert list(box.subject.options) == ["decision", "matrix", "map"]
    assert box.subject.value == "decision"
    box.sentence.value = " The tails stay. "
    box.button.click()
    assert explorer.pins[0].sentence == "The tails stay."
    assert box.sentence.value == ""
    box.subject.value = "map"
    box.button.click()
    assert "Pins for the report: 2" in box._heading.value
    assert [len(line.children) for line in box._list.children] == [2, 2]
    box._list.children[0].children[1].click()
    assert [pin.subject for pin in explorer.pins] == ["map"]
    explorer.column = -1
    assert list(box.subject.options) == ["matrix", "map"]


def test_the_report_prints_them_after_the_summary(explorer, net, pair, tmp_path):
    explorer.pin("The first sentence.")
    explorer.pin("", "map")
    path = kenviz.report(
        net, pair, tmp_path / "r.html", pins=explorer.pins, sections=["summary", "glossary"], progress=False
    )
    page = path.read_text(encoding="utf-8")
    assert page.index('id="summary"') < page.index('id="pins"') < page.index('id="glossary"')
    for pin in explorer.pins:
        assert html.escape(pin.text) in html.escape(html.unescape(page))
        for name, value in pin.numbers:
            assert f'<th scope="row">{name}</th><td>{value}</td>' in page
    assert page.count("<blockquote>") == 1
    without = kenviz.report(net, pair, tmp_path / "s.html", sections=["summary"], progress=False)
    assert 'id="pins"' not in without.read_text(encoding="utf-8")


def test_what_the_user_says_is_text(tmp_path):
    pair = small_pair(extra=[HOSTILE])
    net = ken.prune(*pair, 3)
    explorer = kenviz.explore(net, pair)
    explorer.tensor, explorer.column = HOSTILE, 2
    explorer.pin("<script>alert(2)</script>\n\u202eReversed & more")
    assert "<script" not in explorer._desk.pin_box._list.children[0].children[0].value
    path = kenviz.report(net, pair, tmp_path / "r.html", pins=explorer.pins, sections=["summary"], progress=False)
    page = path.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(2)&lt;/script&gt;\n\\u202eReversed &amp; more" in page


def test_anything_else_is_refused_before_the_work(net, pair, tmp_path):
    with pytest.raises(TypeError, match=r"pins must be those of an Explorer \(explorer.pins\), got str"):
        kenviz.report(net, pair, tmp_path / "r.html", pins=["a sentence"], progress=False)
    assert list(tmp_path.iterdir()) == []
    path = kenviz.report(
        net, pair, tmp_path / "r.html", pins=[Pin("a note", "By hand.", "")], sections=["summary"], progress=False
    )
    assert "By hand." in path.read_text(encoding="utf-8")
