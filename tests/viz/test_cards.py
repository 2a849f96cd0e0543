"""The decision card: verdict and reason first, every number of `ken`'s own card, the line that makes it again."""

import re
from html.parser import HTMLParser

import pytest
import torch
from kenviz_models import HOSTILE, small_pair

import ken
from kenviz.study.study import Study
from kenviz.views.cards import CardBox, entry_card

NAME = "layer.1.query.weight"


class Texts(HTMLParser):
    """The elements of a card with the text in each, in their order."""

    def __init__(self):
        super().__init__()
        self.elements, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs).get("class", ""), ""])

    def handle_data(self, data):
        self.elements[-1][2] += data


def elements(box):
    parser = Texts()
    parser.feed(box.value)
    return parser.elements


@pytest.mark.parametrize("entry", [(5, 7), (0, 0), (23, 23)])
def test_a_card_has_the_numbers_of_the_explanation(net, pair, entry):
    card = entry_card(Study(net, pair), NAME, entry)
    known = ken.explain(net, pair, NAME, entry[0]).entry(entry[1])
    assert [card.verdict, card.reason] == known.text.splitlines()[:2]
    assert card.python == known.python
    numbers, values = dict(card.numbers), known.as_dict()
    for name, key in {
        "fine-tuned value": "fine_tuned",
        "pretrained value": "pretrained",
        "update": "update",
        "value after pruning": "after",
    }.items():
        assert float(numbers[name]) == pytest.approx(values[key], rel=1e-5)
    assert float(numbers["density"].split()[0]) == pytest.approx(values["density"], rel=1e-5)
    assert numbers["rank by density"] == f"{values['density_rank']} of 24 in its row"
    assert ("claimed in step" in numbers) == (values["claim"] is not None)
    if values["claim"] is not None:
        assert numbers["claimed in step"] == str(values["claim"]["step"])
        assert float(numbers["distance to it"]) == pytest.approx(values["claim"]["distance"], rel=1e-2)


def test_in_the_page_the_verdict_is_first_and_the_line_can_be_copied(net, pair):
    box = CardBox()
    box.show(entry_card(Study(net, pair), NAME, (5, 7)))
    parts = elements(box)
    assert parts[1][:2] == ["p", "kenviz-verdict"]
    assert parts[1][2] == box.card.verdict
    assert [tag for tag, *_ in parts].count("tr") == len(box.card.numbers)
    assert [text for tag, _, text in parts if tag == "code"] == [box.card.python]
    assert [text for tag, look, text in parts if look == "kenviz-copy"] == ["copy"]
    box.show(None)
    assert box.card is None
    assert "Tap an entry" in box.value


def test_names_of_strangers_are_text_in_a_card():
    pair = small_pair(extra=[HOSTILE])
    box = CardBox()
    box.show(entry_card(Study(ken.prune(*pair, 3), pair), HOSTILE, (1, 2)))
    assert not re.search("<script|\u202e", box.value)
    assert {tag for tag, *_ in elements(box)} <= {"div", "p", "table", "tr", "th", "td", "code", "button"}


def test_an_entry_of_a_stack_says_which_expert_it_is_in():
    pair = ken.Pair({"experts": torch.randn(4, 3, 16)}, {"experts": torch.zeros(4, 3, 16)})
    net = ken.prune(*pair, 5, progress=False)
    for study in (Study(net, pair), Study(net)):
        assert "expert 2 of 4 (from 0), row 1 of its 3" in entry_card(study, "experts", (7, 3)).notes
        assert study.stack("experts") == (4, 3)
    flat = ken.Pair({"w": torch.randn(4, 3, 2)}, {"w": torch.zeros(4, 3, 2)})
    study = Study(ken.prune(*flat, 2, progress=False))  # its last axis is short: one row a channel, no stack
    assert study.stack("w") is None
    assert entry_card(study, "w", (1, 0)).notes == ()
