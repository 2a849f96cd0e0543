"""Lesson: a learner foresees what the rule does with a row, and is answered by the rule."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from kenviz.pane.bokeh_pane import BokehPane
from kenviz.study.lesson import Answer, Course, Question, Score
from kenviz.study.lesson_topics import TOPICS, became
from kenviz.study.study import Study
from kenviz.text.labels import visible
from kenviz.views.base import Exported, refusal
from kenviz.views.cards import CardBox, DecisionCard
from kenviz.views.controls import width
from kenviz.views.lesson_row import QuestionRow

if TYPE_CHECKING:
    import pandas as pd

_LINES = "line-height: 1.4; overflow-wrap: anywhere; white-space: normal"


class Lesson(Exported):
    """Questions about a row, which the rule itself answers: which entry will be claimed, will an entry be retained?

    They grow harder: few grid points far apart; a nearest entry that is taken; another k; the densest entries, which
    many expect to be retained; another order of visits. After eight of them come others about other rows. While one is
    open, neither figure nor caption nor `numbers()` give the answer away.

    Args:
        net: The subnetwork, of any rule: the questions are about rule `ken`.
        pair: The models it is of.
        tensor: Name of the tensor; by default the first that was pruned.
        row: The row of the first eight questions, from 0.
        k: Grid points in most questions, from 2; by default as many as the subnetwork retains, and 10 at most.
        seed: Of the questions: the same seed asks the same ones in the same order.
        number: The question to begin with, from 1.
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: There is no such tensor or row, k is out of bounds, or nothing about the row can be asked.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.tensor([[0.0, 0.4, 0.5, 0.6, 1.0]])}, {"w": torch.zeros(1, 5)})
        >>> lesson = Lesson(ken.prune(*pair, k=3), pair)
        >>> lesson.question.text.partition(".")[0]
        'Step 1 of 2: grid point 0 at 0 is visited: its level, 0, is the highest that is left'
        >>> lesson.answer(0).right
        True
        >>> lesson.next()
        >>> lesson.answer(3).reason
        'Grid point 1 at 1 claims entry 4 (1), 0 away; no entry is nearer. Entry 3 (0.6) is farther, 0.4 away.'
        >>> lesson.score
        Score(right=1, asked=2, streak=0)
        >>> lesson.numbers()["step"].tolist()
        [1, 0, 0, 0, 2]
        >>> lesson.code()
        "kenviz.Lesson(net, pair, tensor='w', row=0, k=3, seed=0, number=2)"
        >>> figure, caption = lesson.page()
        >>> caption.startswith("Row 0 of w: rule ken retains 2 of 5 entries")
        True
    """

    STATE = ("tensor", "row", "k", "seed", "number")

    tensor = traitlets.Unicode(read_only=True, help="Name of the tensor.")
    row = traitlets.Int(read_only=True, help="Row of the first questions, from 0.")
    k = traitlets.Int(read_only=True, help="Grid points in most questions.")
    seed = traitlets.Int(read_only=True, help="Seed of the questions.")
    number = traitlets.Int(1, help="Number of the question that is shown, from 1.")

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels,
        tensor: str | None = None,
        row: int = 0,
        k: int | None = None,
        *,
        seed: int = 0,
        number: int = 1,
        theme: str = "auto",
    ) -> None:
        self._study = Study.open(net, pair)
        tensor = next(iter(self._study.tensors), "") if tensor is None else tensor
        self._course = Course(self._study, tensor, row, k=k, seed=seed)
        self._answers: dict[int, Answer] = {}  # by number, in the order in which they were given
        super().__init__(self._study.lock, theme=theme)
        self._assign(tensor=tensor, row=row, k=self._course.k, seed=seed, number=number)
        on, _ = self._course.settings
        self._row_view = QuestionRow(net, self._study, tensor, question=self.question, on=on, theme=theme)
        self._make_controls()
        self._show()
        self.observe(self._moved, "number")
        self.observe(lambda _: self._row_view.set_trait("theme", self.theme), "theme")
        self._row_view.observe(lambda _: self._enable(), "entry")
        self.add_class("kenviz-view")

    def _make_controls(self) -> None:
        self._score, self._words = ipywidgets.HTML(), ipywidgets.HTML()
        for box in (self._score, self._words):
            box.layout.width, box.layout.height = "auto", "auto"
            box.add_class("kenviz-note")
        self._field = self._row_view.field
        self._give = ipywidgets.Button(description="answer", tooltip="Answer with the chosen entry", layout=width(110))
        self._kept, self._reset = (
            ipywidgets.Button(description=word, tooltip=f"It will be {word}", layout=width(110))
            for word in (became(True), became(False))
        )
        self._next = ipywidgets.Button(description="next question", layout=width(130), button_style="primary")
        self._give.on_click(lambda _: self._pressed(self._row_view.entry))
        self._kept.on_click(lambda _: self._pressed(True))
        self._reset.on_click(lambda _: self._pressed(False))
        self._next.on_click(lambda _: self.next())
        self._result = CardBox("The rule answers here.")
        controls = [self._field, self._give, self._kept, self._reset, self._next]
        self._controls = ipywidgets.HBox(controls, layout={"flex_flow": "row wrap"})
        self.children = [self._score, self._words, self._controls, self._result, self._row_view]

    @traitlets.validate("number")
    def _valid_number(self, proposal: dict[str, Any]) -> int:
        with refusal():
            return self._course.question(proposal["value"]).number

    # ---- what can be asked and answered

    @property
    def question(self) -> Question:
        """The question that is shown; what is right is not in it."""
        return self._course.question(self.number)

    @property
    def answered(self) -> Answer | None:
        """What was answered to it, and what the rule does; None while it is open."""
        return self._answers.get(self.number)

    @property
    def score(self) -> Score:
        """How many answers were right, of how many, and how many of the last ones in a row."""
        right = [answer.right for answer in self._answers.values()]
        wrong = [place for place, correct in enumerate(right, 1) if not correct]
        return Score(right=sum(right), asked=len(right), streak=len(right) - max(wrong, default=0))

    def answer(self, given: int | bool) -> Answer:
        """Answer the question that is shown.

        Args:
            given: The entry that will be claimed, or whether the entry will be retained.

        Returns:
            Whether that is right, and why.

        Raises:
            ValueError: It is no answer to this question, or the question has been answered.
        """
        with self._lock:
            if self.answered is not None:
                raise ValueError(f"question {self.number} has been answered; lesson.next() asks another")
            answer = self._course.answer(self.question, given)
            self._answers[self.number] = answer
            self._show()
            return answer

    def next(self) -> None:
        """Ask the next question."""
        with self._lock:
            self.number += 1

    def _pressed(self, given: int | bool) -> None:
        with self._lock:
            if self.answered is None and (isinstance(given, bool) or given >= 0):
                self.answer(given)

    # ---- what is shown

    def _moved(self, _: object) -> None:
        with self._lock:
            self._row_view.ask(self.question)
            self._show()

    def _show(self) -> None:
        question, answer, score = self.question, self.answered, self.score
        topic = TOPICS[question.topic].name
        so_far = (
            f"{score.right} of {score.asked} right, {score.streak} in a row" if score.asked else "none answered yet"
        )
        self._score.value = f'<div style="{_LINES}">Question {question.number}: {topic} · {so_far}</div>'
        self._words.value = f'<div style="{_LINES}"><strong>{_safe(question.text)}</strong></div>{self._table()}'
        if answer is None:
            self._result.show(None)
        else:
            verdict = "Right." if answer.right else f"No: the rule says {_in_words(answer.truth)}."
            self._result.show(DecisionCard(verdict, answer.reason, notes=(answer.note,), python=answer.python))
            entry = question.entry if not question.step else int(answer.truth)
            self._row_view.reveal(question.step, entry)
        self._enable()

    def _table(self) -> str:
        """The entries that are near the grid point, as a table."""
        lines = "".join(
            f'<tr><th scope="row">{entry}</th><td>{at:.6g}</td><td>{"claimed" if claimed else "free"}</td></tr>'
            for entry, at, claimed in self._row_view.around
        )
        heads = '<tr><th scope="col">entry</th><td>value</td><td>state</td></tr>'
        return (
            f'<div class="kenviz-card" style="max-width: 300px; margin-top: 4px"><table>{heads}{lines}</table></div>'
            if lines
            else ""
        )

    def _enable(self) -> None:
        """Offer the controls that fit the question, and no answer to one that has been answered."""
        asks_claim, done = self.question.step > 0, self.answered is not None
        for control, wanted in (
            (self._field, asks_claim),
            (self._give, asks_claim),
            (self._kept, not asks_claim),
            (self._reset, not asks_claim),
            (self._next, done),
        ):
            control.layout.display = None if wanted else "none"
        self._field.text.disabled = self._kept.disabled = self._reset.disabled = done
        self._give.disabled = done or self._row_view.entry < 0

    # ---- the way out

    @property
    def caption(self) -> str:
        """What is shown, in plain language: the figure, and what was answered."""
        answer = self.answered
        words = self._row_view.caption
        return words if answer is None else f"{words} Question {self.number}: {answer.reason} {answer.note}"

    @property
    def pane(self) -> BokehPane:
        """The pane of the figure."""
        return self._row_view.pane

    @property
    def figure(self) -> LayoutDOM:
        """The Bokeh figure as it is now. Change the lesson, not the figure."""
        return self._row_view.figure

    def numbers(self) -> pd.DataFrame:
        """Give what is known of each entry of the row; while the question is open, without what it asks for.

        Returns:
            One line an entry, as `RowView.numbers` has it; without the column retained, and with the steps up to that
            of the question alone, until it has been answered.
        """
        return self._row_view.numbers()

    def code(self) -> str:
        """Write the Python that asks this question again.

        Returns:
            One expression, of a subnetwork `net` and a pair `pair`.
        """
        named = ", ".join(f"{name}={value!r}" for name, value in self.state.items())
        return f"kenviz.Lesson(net, pair, {named})"

    def page(self) -> tuple[LayoutDOM, str]:
        """Build the figure anew, for another page than this one.

        Returns:
            The figure, which is in no document, and its caption.
        """
        with self._lock:
            return self._row_view.page()[0], self.caption

    def _pages(self) -> tuple[str, list[tuple[LayoutDOM, str]]]:
        return f"Question {self.number}", [self.page()]

    def _reads(self) -> Mapping[str, Any]:
        return self._study.reads()

    def __repr__(self) -> str:
        return f"Lesson({self.caption!r})"


def _in_words(truth: int | bool) -> str:
    return became(truth) if isinstance(truth, bool) else f"entry {truth}"


def _safe(text: str) -> str:
    return html.escape(visible(text))
