"""TextView: what is listed, said and drawn of texts is what ken gives; flips are found once, and only if asked."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from at_once import at_once
from ipywidgets.widgets import widget as open_widgets
from kenviz_models import HOSTILE

import ken
import kenviz
from kenviz import TextView
from kenviz.study.texts import Texts

NAMES = [f"text {item}: {'good' if item % 2 else 'bad'} words" for item in range(12)]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(6, 5), torch.nn.Linear(5, 3)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def asked(model, batch):
    x, labels = batch
    logits = model(x)
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none"), logits.argmax(dim=1) == labels


@pytest.fixture(scope="module")
def world():
    """A pair, half of it pruned away, a task of twelve texts, and its attribution text by text."""
    torch.manual_seed(0)
    pair = ken.Pair(Net(), Net())
    x = torch.randn(12, 6)
    labels = pair.fine_tuned(x).argmax(dim=1)
    labels[:2] = (labels[:2] + 1) % 3  # two that the fine-tuned model gets wrong
    task = ken.Task([(x[i : i + 4], labels[i : i + 4]) for i in range(0, 12, 4)], asked, names=NAMES)
    net = ken.prune(*pair, 0.4, progress=False)
    single = ken.Task([(x[i : i + 1], labels[i : i + 1]) for i in range(12)], asked, names=NAMES)
    return pair, net, task, ken.attribute_items(pair, single, by="tensor", progress=False)


@pytest.fixture
def view(world):
    pair, net, task, attribution = world
    return TextView(pair, net, task, attribution=attribution, by="tensor")


def column(view, panel, name):
    return view.pane.column(f"marks_{panel}", name)


def test_losses_and_right_and_wrong_are_those_of_each_model(view, world):
    pair, net, task, _ = world
    wanted = ken.answers(pair, task, net=net, progress=False)
    pd.testing.assert_frame_equal(view.answers(), wanted)
    for item in (0, 5):
        view.text = item
        models = ["pretrained", "fine_tuned", "pruned"]
        np.testing.assert_allclose(column(view, "models", "value"), [wanted.loc[item, f"{m}_loss"] for m in models])
        assert column(view, "models", "full").tolist() == [float(wanted.loc[item, f"{m}_correct"]) for m in models]
        assert f"“{NAMES[item]}”" in view.caption
    assert "Fine-tuned: right" in view.caption
    view.text = 0
    assert "Fine-tuned: wrong" in view.caption


def test_the_list_is_searched_and_narrowed_to_what_pruning_flips(view):
    answers = view.answers()
    flipped = answers.index[answers["fine_tuned_correct"] != answers["pruned_correct"]].tolist()
    assert 0 < len(flipped) < 12
    assert f"Pruning flips {len(flipped)} of 12 texts." in view.caption
    view.only = "flipped"
    assert view.texts == [item for _, item in view._list.options] == flipped
    assert all("by pruning" in words for words, _ in view._list.options)
    assert f"{len(flipped)} of 12 texts" in view._words.value
    view.only, view.pattern = "all", "good"
    assert view.texts == [1, 3, 5, 7, 9, 11]
    view._list.value = 7
    assert view.text == 7
    view.pattern = "bad"
    assert view.text == 7
    assert view._list.value is None


def test_which_groups_flip_a_text_is_found_by_interventions_once_and_on_request(view, world, monkeypatch):
    pair, _, task, _ = world
    assert "was not asked" in view.caption
    assert np.isnan(column(view, "flips", "value")).all()
    view.text = 5
    view._ask.click()
    wanted = ken.flips(pair, task, 5, by="tensor", progress=False)
    names = view.numbers().index
    np.testing.assert_array_equal(column(view, "flips", "value"), wanted.loc[names, "loss_difference"])
    assert column(view, "flips", "full").tolist() == [float(flip) for flip in wanted.loc[names, "flips"]]
    found = [name for name in names if wanted.loc[name, "flips"]]
    assert f"By interventions, {len(found) or 'none'} of 4 groups flip" in view.caption
    assert view._bar.value == view._bar.max == 4
    assert view._bar.layout.display == "none"
    monkeypatch.setattr(ken, "flips", lambda *_, **__: pytest.fail("it is known"))
    view.text = 4
    assert "was not asked" in view.caption
    view.text = 5
    view.find_flips()
    assert "By interventions" in view.caption


def test_attribution_is_that_of_the_text_and_the_top_is_counted(view, world):
    attribution = world[3]
    view.text, view.top = 3, 3
    names = view.numbers().index
    assert len(names) == 3
    np.testing.assert_allclose(column(view, "attribution", "value"), attribution.iloc[3][list(names)].astype(float))
    assert "Of 4 groups, 1 are not shown: these are the top 3." in view.caption
    assert "a map, no intervention" in view.caption


def classified(world, names):
    """The same task, which tells the probabilities of its classes and which is right."""
    task = world[2]

    def ask(model, batch):
        return *asked(model, batch), model(batch[0]).detach().softmax(dim=1)

    labels = np.concatenate([labels.numpy() for _, labels in task.batches])
    return ken.Task(task.batches, ask, names=NAMES, classes=names, labels=labels)


def test_of_a_classification_the_probabilities_of_all_models_are_shown(world):
    pair, net, _, _ = world
    task = classified(world, ["red", "green", "blue"])
    view = TextView(pair, net, task, by="tensor", text=5)
    models = (copy.deepcopy(pair.fine_tuned), pair.fine_tuned, ken.inject(net, pair.pretrained))
    models[0].load_state_dict(pair.pretrained.state_dict())
    x, labels = (torch.cat(parts) for parts in zip(*task.batches, strict=True))
    for item in (5, 0):
        view.text = item
        wanted = ["red", "green", "blue"][labels[item]]
        names, shares = column(view, "classes", "name"), column(view, "classes", "value")
        by_name = dict(zip(names, zip(shares, column(view, "classes", "full"), strict=True), strict=True))
        for called, model in zip(("pretrained", "fine-tuned", "pruned"), models, strict=True):
            with torch.no_grad():
                exact = model(x[item : item + 1])[0].softmax(dim=0)
            for at, name in enumerate(["red", "green", "blue"]):
                share, first = by_name[f"{called}: {name}" + " ✓" * (name == wanted)]
                assert share == pytest.approx(exact[at].item(), abs=1e-6)
                assert first == (at == exact.argmax())
    first = ["red", "green", "blue"][models[1](x[:1]).argmax()]
    assert f"Fine-tuned: wrong, {first} " in view.caption
    assert f"({wanted} " in view.caption
    assert "e^" not in view.caption + view._card.value
    assert view.figure.select_one({"name": "x_classes"}).end > 1
    again = TextView(pair, net, task, answers=view.answers(), by="tensor")
    assert "Fine-tuned: wrong" in again.caption


def test_of_many_classes_the_likeliest_and_the_right_one_are_shown():
    table = pd.DataFrame({"name": ["a"], "label": ["c9"], "fine_tuned_loss": [4.0], "fine_tuned_correct": [False]})
    for at in range(10):
        table[f"fine_tuned_probability_c{at}"] = (10 - at) / 55
    texts = Texts(table)
    assert texts.likeliest(0) == ["c0", "c1", "c2", "c9"]
    assert texts.answer(0, "fine_tuned") == "wrong, c0 18.2\xa0% (c9 1.8\xa0%), loss 4 nats"
    assert Texts(table.assign(label="c1")).likeliest(0) == ["c0", "c1", "c2", "c3"]


def test_before_groups_are_asked_for_words_say_what_to_do_and_nothing_empty_is_drawn(view, world):
    pair, net, task, _ = world
    bare = TextView(pair, net, task, by="tensor")
    for one, other in ((bare, None), (view, "panel_attribution")):
        assert not one.figure.select_one({"name": "panel_flips"}).visible
        assert other is None or one.figure.select_one({"name": other}).visible
        assert "Press “what flips it”" in one._invitation.value
        assert one._invitation.layout.display is None
        assert "find_flips()" in one.caption
        one.find_flips()
        assert one.figure.select_one({"name": "panel_flips"}).visible
        assert one._invitation.layout.display == "none"
        one.text = 1
        assert not one.figure.select_one({"name": "panel_flips"}).visible
        assert one._invitation.layout.display is None


def test_without_right_and_wrong_or_a_subnetwork_less_is_told():
    torch.manual_seed(0)
    pair = ken.Pair(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    task = ken.Task([torch.eye(2)], lambda model, batch: model(batch).square().mean(dim=1))
    view = TextView(pair, None, task, by="tensor")
    assert "Pruning" not in view.caption
    assert "no right or wrong" in view.caption
    with pytest.raises(traitlets.TraitError, match="only must be 'all'"):
        view.only = "flipped"
    view.find_flips()
    assert "there is no right or wrong to flip" in view.caption
    assert "pruned" not in view.answers()
    assert "TextView(pair, None, task" in view.code()


def test_what_is_of_other_texts_or_cannot_be_is_refused(view, world):
    pair, net, task, attribution = world
    with pytest.raises(ValueError, match="11 lines for 12 texts: make the task of"):
        TextView(pair, net, task, attribution=attribution[1:])
    with pytest.raises(ValueError, match="no column 'error'"):
        TextView(pair, net, task, attribution=attribution.drop(columns="error"))
    with pytest.raises(ValueError, match=r"a table of ken.answers is needed"):
        Texts(pd.DataFrame({"name": ["a"]}))
    before = view.state
    for name, value in (("text", 12), ("text", -1), ("only", "some"), ("top", -1)):
        with pytest.raises(traitlets.TraitError):
            setattr(view, name, value)
    assert view.state == before


def test_code_makes_the_same_view_again(view, world):
    pair, net, task, attribution = world
    view.text, view.pattern, view.top = 3, "good", 2
    names = {"kenviz": kenviz, "pair": pair, "net": net, "task": task, "attribution": attribution}
    again = eval(view.code(), names)
    assert again.state == view.state
    assert repr(again) == repr(view)
    assert "\n" not in repr(view)
    pd.testing.assert_frame_equal(again.numbers(), view.numbers())


def test_texts_of_strangers_are_text_and_the_page_asks_for_nothing(world, tmp_path):
    pair, net, task, _ = world
    named = ken.Task(task.batches, asked, names=[HOSTILE, *NAMES[1:]])
    view = TextView(pair, net, named, by={HOSTILE: "first*", "rest": "second*"}, theme="dark")
    view.find_flips()
    said = view._note.value + view._card.value + view._words.value
    assert "<script" not in said
    assert "\u202e" not in view.caption + said + "".join(words for words, _ in view._list.options)
    page = view.to_html(tmp_path / "view.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page) == []
    assert "#181a1b" in page


def test_two_threads_leave_a_whole_state(view):
    def turn():
        for item in [3, 5, 7] * 3:
            view.text = item

    at_once(turn, view.find_flips, view.find_flips, turn)
    assert view.text == 7
    np.testing.assert_array_equal(column(view, "models", "value")[1], view.answers().loc[7, "fine_tuned_loss"])
    assert len(column(view, "flips", "y")) == len(view.numbers())


def test_all_that_it_opened_is_closed_with_it(world):
    pair, net, task, attribution = world
    before = set(open_widgets._instances)
    view = TextView(pair, net, task, attribution=attribution, by="tensor")
    assert len(set(open_widgets._instances) - before) > 10
    view.close()
    assert set(open_widgets._instances) - before == set()
