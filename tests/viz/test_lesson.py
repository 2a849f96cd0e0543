"""The lesson: the rule itself answers, in an order that the seed fixes, and what is shown before tells nothing."""

import html
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from bokeh.models import Axis, ColumnDataSource, LegendItem, Range1d, Title
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kenviz_models import HOSTILE, small_pair
from strategies import rows

import ken
import kenviz
from kenviz.study.lesson import ROUND, Course, Score
from kenviz.study.lesson_topics import TOPICS
from kenviz.study.study import Study
from kenviz.views import row as row_views

SIXTEEN = np.array([-82, -11, 3, 41, -5, 8, 95, -21, 1, 14, -36, 6, 22, -2, -9, 57]) / 1000


def pair_of(*values):
    fine_tuned = torch.tensor(np.array(values))
    return ken.Pair({"w": fine_tuned}, {"w": torch.zeros_like(fine_tuned)})


def lesson_of(*values, k=8, **options):
    pair = pair_of(*values)
    return kenviz.Lesson(ken.prune(*pair, k=k, progress=False), pair, **options)


@settings(max_examples=60, deadline=None)
@given(row=rows(max_length=40), data=st.data(), seed=st.integers(0, 99))
def test_the_rule_answers_as_explain_row_decides(row, data, seed):
    assume(len(row) >= 4 and np.ptp(row) > 0)
    k = data.draw(st.integers(2, len(row) - 1))
    pair = pair_of(row)
    course = Course(Study(ken.prune(*pair, k=1, progress=False), pair), "w", k=k, seed=seed)
    for number, topic in enumerate(ROUND, 1):
        question = course.question(number)
        assert (question.topic, question.row, question.rule) == (topic, 0, "grid" if topic == "order" else "ken")
        why = ken.explain_row(row, question.k, rule=question.rule)
        if question.step:
            claim = why.claim(question.step)
            right, wrong = claim.entry, (claim.entry + 1) % len(row)
            assert claim.entry in question.near
            assert f"step {question.step} of {question.k}:" in question.text.lower()
        else:
            right = bool(why.mask[question.entry])
            wrong = not right
        answer = course.answer(question, right)
        assert (answer.right, answer.given, answer.truth) == (True, right, right)
        refused = course.answer(question, wrong)
        assert (refused.right, refused.given, refused.truth) == (False, wrong, right)
        if question.step:
            assert f"claims entry {right} (" in answer.reason
            assert f"{claim.distance:.3g} away" in answer.reason
            if claim.taken and len(claim.taken) < 12:
                assert ", ".join(map(str, claim.taken)) in answer.reason
            assert f"Entry {wrong} (" in refused.reason
        else:
            assert f"is {'retained' if right else 'reset'}: " in answer.reason


def test_topics_ask_what_they_say():
    pair = pair_of(SIXTEEN)
    net = ken.prune(*pair, k=8, progress=False)
    answers = {True: 0, False: 0}
    for seed in range(20):
        course = Course(Study(net, pair), "w", seed=seed)
        questions = [course.question(number) for number in range(1, len(ROUND) + 1)]
        whys = [course.why(question) for question in questions]
        assert len({(question.topic, question.step, question.k, question.entry) for question in questions}) >= 7
        for question, why in zip(questions, whys, strict=True):
            if question.topic == "apart":
                assert question.k == 4
                assert why.claim(question.step).taken == ()
            elif question.topic == "taken":
                assert why.claim(question.step).taken
            elif question.topic == "budget":
                assert question.k in (4, 12)
            elif question.topic == "densest":
                assert why.ranks[question.entry] <= 3
            if not question.step:
                answers[course.answer(question, True).right] += 1
        assert {questions[4].k, questions[5].k} == {4, 12} or questions[4].k == questions[5].k
    assert min(answers.values()) > 20  # neither word is right always
    assert set(ROUND) == set(TOPICS)


def test_with_no_collision_at_k_more_grid_points_are_asked_about():
    row = np.array([0.0, 1.0, 2.0, 3.1, 3.2, 3.3, 3.4, 8.0])
    pair = pair_of(row)
    course = Course(Study(ken.prune(*pair, k=2, progress=False), pair), "w")
    question = course.question(3)
    assert question.k > 2
    assert course.why(question).claim(question.step).taken


def test_the_seed_fixes_the_questions_and_nothing_else_does():
    pair = small_pair()
    net = ken.prune(*pair, 0.5, progress=False)
    one, two, other = (Course(Study(net, pair), "embed.weight", 7, seed=seed) for seed in (3, 3, 4))
    one.answer(one.question(2), 0)
    asked = [one.question(number) for number in range(1, 30)]
    assert asked[::-1] == [two.question(number) for number in range(29, 0, -1)]
    assert asked != [other.question(number) for number in range(1, 30)]
    assert {question.row for question in asked[:8]} == {7}
    assert len({question.row for question in asked[8:]}) > 5
    assert one.k == 10


def shown(lesson):
    """All that a learner can see, hear or ask for."""
    figure = lesson.figure.references()
    sources = {source.name: dict(source.data) for source in figure if isinstance(source, ColumnDataSource)}
    words = [model.text for model in figure if isinstance(model, Title)]
    words += [model.axis_label for model in figure if isinstance(model, Axis)]
    words += [str(model.label) for model in figure if isinstance(model, LegendItem)]
    ranges = [(model.name, model.start, model.end) for model in figure if isinstance(model, Range1d)]
    texts = [lesson.caption, lesson.pane.text, repr(lesson), repr(lesson.question), lesson.code(), lesson.page()[1]]
    texts += [box.value for box in (lesson._score, lesson._words, lesson._result, lesson._row_view._note)]
    return {
        "sources": {
            name: {key: list(map(str, column)) for key, column in data.items()} for name, data in sources.items()
        },
        "words": sorted(map(str, words)),
        "ranges": sorted(map(str, ranges)),
        "texts": texts,
        "numbers": lesson.numbers().to_csv(),
    }


@pytest.mark.parametrize("number", range(1, len(ROUND) + 1))
def test_what_is_shown_before_is_the_same_whatever_the_answer(number, monkeypatch):
    """A rule that decides otherwise from the question on gives the same picture, to the last number."""
    lesson = lesson_of(SIXTEEN, number=number)
    question, decide = lesson.question, row_views.decide

    def decide_otherwise(*arguments, **settings):
        decision = decide(*arguments, **settings)
        why = decision.explanation
        rest = why.order[max(question.step - 1, 0) :]
        claimed, mask = why.claimed.copy(), why.mask.copy()
        free = np.setdiff1d(np.arange(why.n), why.claimed[why.order[: max(question.step - 1, 0)]])
        claimed[rest] = np.roll(free, 1)[: len(rest)]
        if question.step and claimed[rest[0]] == why.claimed[rest[0]]:
            claimed[rest] = free[: len(rest)]
        mask[:] = False
        mask[claimed] = True
        assert question.step == 0 or claimed[why.order[question.step - 1]] != why.claimed[why.order[question.step - 1]]
        other = replace(why, claimed=claimed, mask=mask)
        return replace(decision, mask=mask, own=False, answer=lambda: (other, ""))

    monkeypatch.setattr(row_views, "decide", decide_otherwise)
    otherwise = lesson_of(SIXTEEN, number=number)
    assert shown(otherwise) == shown(lesson)
    if question.step:
        lesson.answer(1)
        otherwise.answer(1)
        assert shown(otherwise) != shown(lesson)


def test_while_a_question_is_open_what_it_asks_for_is_held_back():
    lesson = lesson_of(SIXTEEN, number=3)
    question, why = lesson.question, ken.explain_row(SIXTEEN, 8)
    before = sorted(why.claimed[why.order[: question.step - 1]])
    pane = lesson.pane
    assert pane.column("retained", "column").tolist() == before
    assert pane.column("claim", "at").tolist() == [why.claim(question.step).at]
    assert np.isnan(pane.column("claim", "x")).all()
    assert pane.column("nearer", "column").tolist() == []
    near = lesson.figure.select_one({"name": "near"})
    assert (near.start + near.end) / 2 == pytest.approx(why.claim(question.step).at)
    assert lesson._row_view.explanation is None
    assert "retained" not in lesson.numbers()
    assert lesson.numbers()["step"].max() == question.step - 1
    assert lesson._row_view.decision_card.card is None

    lesson.answer(0)
    assert lesson._row_view.explanation.mask.tolist() == why.mask.tolist()
    assert lesson.numbers()["retained"].tolist() == why.mask.tolist()
    assert pane.column("claim", "column").tolist() == [why.claim(question.step).entry]
    assert pane.column("chosen", "column").tolist() == [why.claim(question.step).entry]
    assert "claims entry 7," in lesson.caption
    assert "Entry 0 (-0.082) had been claimed in step 5." in lesson.caption
    lesson.next()
    assert "retained" not in lesson.numbers()
    assert lesson.answered is None


def test_the_score_counts_answers_and_the_last_ones_in_a_row():
    lesson = lesson_of(SIXTEEN)
    assert lesson.score == Score(0, 0, 0)
    for right in (True, True, False, True, True, True):
        truth = lesson._course.answer(lesson.question, True if not lesson.question.step else 0).truth
        wrong = (not truth) if isinstance(truth, bool) else (truth + 1) % 16
        assert lesson.answer(truth if right else wrong).right is right
        lesson.next()
    assert lesson.score == Score(right=5, asked=6, streak=3)
    assert "5 of 6 right, 3 in a row" in lesson._score.value
    lesson.number = 3
    assert lesson.answered.right is False  # it stays answered, and counts once
    assert "No: the rule says entry" in lesson._result.value
    with pytest.raises(ValueError, match="question 3 has been answered"):
        lesson.answer(1)
    assert lesson.score.asked == 6


def test_buttons_and_taps_do_what_python_does():
    lesson = lesson_of(SIXTEEN, number=3)
    visible = lambda *controls: [control.layout.display is None for control in controls]  # noqa: E731
    controls = lesson._field, lesson._give, lesson._kept, lesson._reset, lesson._next
    assert visible(*controls) == [True, True, False, False, False]
    assert lesson._give.disabled
    tap = {"kind": "tap", "figure": "strip", "x": -0.0215, "y": 0.1}
    lesson._row_view._heard({**tap, "y": 2.0})  # the grid is not to be chosen
    assert lesson._row_view.entry == -1
    lesson._row_view._heard(tap)
    assert (lesson._field.value, lesson.pane.column("chosen", "column").tolist()) == (7, [7])
    assert lesson.answered is None
    lesson._row_view._heard({**tap, "figure": "close", "x": -0.036, "y": 0.0})
    assert lesson._field.value == 10
    lesson._field.text.value = "7"
    assert not lesson._give.disabled
    lesson._give.click()
    assert lesson.answered.right
    assert visible(*controls) == [True, True, False, False, True]
    assert lesson._field.text.disabled
    assert lesson._give.disabled
    lesson._row_view._heard({**tap, "y": 1.0, "x": 0.095})  # after the answer, a tap chooses what is to be explained
    assert lesson.answered.given == 7
    lesson._next.click()
    assert lesson.number == 4
    lesson.number = 5
    assert visible(*controls) == [False, False, True, True, False]
    entry = lesson.question.entry
    lesson._row_view._heard({**tap, "x": 0.095})
    assert lesson._row_view.entry == entry
    lesson._reset.click()
    assert lesson.answered.given is False
    lesson._kept.click()
    assert lesson.score.asked == 2


def test_code_makes_the_same_question_again(net, pair, tmp_path):
    lesson = kenviz.Lesson(net, pair, "layer.1.query.weight", 3, seed=5)
    lesson.number = 11
    again = eval(lesson.code(), {"kenviz": kenviz, "net": net, "pair": pair})
    assert again.state == lesson.state
    assert repr(again) == repr(lesson)
    assert "\n" not in repr(lesson)
    pd.testing.assert_frame_equal(again.numbers(), lesson.numbers())
    page = lesson.to_html(tmp_path / "lesson.html").read_text(encoding="utf-8")
    assert html.escape(lesson.question.text).replace("&#x27;", "&#39;") in page
    lesson.theme = "dark"
    assert lesson.pane.theme == "dark"


def test_rows_to_ask_about_are_those_with_claims():
    """Of the others here all but the last are constant, and the last was added."""
    base = torch.zeros(300, 16, dtype=torch.float64)
    tuned = torch.cat([torch.tensor(SIXTEEN)[None], base[1:], base[:1] + 1])
    pair = ken.Pair({"embed.weight": tuned}, {"embed.weight": base})
    net = ken.prune(*pair, k=8, rows={"embed.weight": "grown"}, progress=False)
    course = Course(Study(net, pair), "embed.weight")
    assert {course.question(number).row for number in range(1, 40)} == {0}
    with pytest.raises(ValueError, match=r"row 1 of embed\.weight has no claims to ask about: all values of the row"):
        kenviz.Lesson(net, pair, row=1)
    with pytest.raises(ValueError, match=r"needs 4 entries with a pretrained value, row 300 of embed\.weight has 0"):
        kenviz.Lesson(net, pair, row=300)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([SIXTEEN], {"row": 1}, "row must be from 0 to 0 in w, got 1"),
        ([SIXTEEN], {"k": 1}, "k must be from 2 to 15 in a lesson about row 0 of w, got 1"),
        ([SIXTEEN], {"k": 16}, "k must be from 2 to 15"),
        ([SIXTEEN], {"tensor": "v"}, "tensor must be a pruned one"),
        ([SIXTEEN], {"number": 0}, "questions are numbered from 1, got 0"),
        ([[1.0, 2.0, 3.0]], {}, "a lesson needs 4 entries with a pretrained value, row 0 of w has 3"),
    ],
)
def test_what_cannot_be_asked_is_refused(values, options, message):
    pair = pair_of(*values)
    net = ken.prune(*pair, k=2, progress=False)
    with pytest.raises((ValueError, traitlets.TraitError), match=message):
        kenviz.Lesson(net, pair, **options)


def test_what_is_no_answer_is_refused_and_changes_nothing():
    lesson = lesson_of(SIXTEEN)
    for given_answer in (16, -1, True, 2.0, "3", None):
        with pytest.raises(ValueError, match=r"the answer must be an entry from 0 to 15, got"):
            lesson.answer(given_answer)
    lesson.number = 5
    for given_answer in (1, "yes", None):
        with pytest.raises(ValueError, match=r"must be True \(retained\) or False \(reset\), got"):
            lesson.answer(given_answer)
    assert lesson.score.asked == 0
    with pytest.raises(traitlets.TraitError, match="questions are numbered from 1, got 0"):
        lesson.number = 0
    assert lesson.number == 5


@pytest.mark.parametrize("recipe", [{"rule": "update"}, {"rule": "ken", "on": "update"}, {"kernel": "epanechnikov"}])
def test_a_subnetwork_of_any_rule_can_be_asked_about(recipe, pair):
    """With the values and the kernel of its own density, where it has one."""
    net = ken.prune(*pair, 0.5, **{"rule": "ken", **recipe}, progress=False)
    lesson = kenviz.Lesson(net, pair, "layer.0.out.weight", 2, number=3)
    row, base = (model["layer.0.out.weight"][2].double().numpy() for model in pair)
    question, on = lesson.question, recipe.get("on", "weights")
    why = ken.explain_row(row, question.k, base, on=on, kernel=recipe.get("kernel", "gaussian"))
    assert lesson.answer(why.claim(question.step).entry).right


def test_a_shared_budget_does_not_keep_the_row_from_its_own(pair):
    net = ken.prune(*pair, 0.5, rule="update", scope="model", progress=False)
    lesson = kenviz.Lesson(net, pair, "layer.0.out.weight", 2, number=3)
    row = pair.fine_tuned["layer.0.out.weight"][2].double().numpy()
    question = lesson.question
    assert lesson.answer(ken.explain_row(row, question.k).claim(question.step).entry).right
    assert "decided anew" in lesson.caption


def test_names_of_strangers_are_text():
    pair = small_pair(extra=[HOSTILE])
    lesson = kenviz.Lesson(ken.prune(*pair, 0.5, progress=False), pair, HOSTILE)
    lesson.answer(0)
    for box in (lesson._score, lesson._words, lesson._result, lesson._row_view._note):
        assert "<script" not in box.value
    assert "\u202e" not in lesson.caption
