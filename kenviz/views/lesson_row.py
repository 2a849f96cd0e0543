"""QuestionRow: the figure of a row as far as a question goes, and after the answer all of it."""

from __future__ import annotations

from typing import Any

import ipywidgets
import pandas as pd

import ken
from kenviz.figures import claims
from kenviz.study.lesson import Question, before
from kenviz.study.study import Study
from kenviz.text.labels import label
from kenviz.views.entry_field import EntryField
from kenviz.views.row import RowView


class QuestionRow(RowView):
    """A RowView that hides what a question asks for: the mask, the claims to come, and all that is said of them.

    While a question is open, `entry` is what the learner has chosen, or what is asked about.

    Args:
        net: The subnetwork.
        study: It and its pair.
        tensor: Name of the tensor.
        question: The first question.
        on: The values that the rule looks at.
        theme: As for every view.
    """

    ALONE = True

    def __init__(
        self, net: ken.Subnetwork, study: Study, tensor: str, *, question: Question, on: str, theme: str
    ) -> None:
        self._question: Question | None = question
        settings: dict[str, Any] = {"rule": question.rule, "on": on, "entry": question.entry, "stability": False}
        super().__init__(net, study, tensor, row=question.row, k=question.k, theme=theme, **settings)
        self._column.text.description = "entry"
        self._column.text.style.description_width = "initial"
        self._column.text.tooltip = "The entry that you think is claimed"
        self.children = [self.pane, self._note]

    def _unseen(self) -> list[ipywidgets.Widget]:
        return [*super()._unseen(), self._controls, self._steps, self._card]

    @property
    def field(self) -> EntryField:
        """The field that the chosen entry is typed into."""
        return self._column

    def ask(self, question: Question) -> None:
        """Show what is there before a question is answered."""
        with self._lock, self.pane.hold():
            self._question = question
            with self._settling:  # all of it is drawn at once, below
                self._assign(rule=question.rule, row=question.row, k=question.k, step=0, entry=question.entry)
                self._decide()
                self._offer()
            self._read()
            self._redraw()

    def reveal(self, step: int, entry: int) -> None:
        """Show what came of it: that claim, or with step 0 the whole mask, and that entry."""
        with self._lock, self.pane.hold():
            self._question = None
            with self._settling:
                self._assign(step=step, entry=entry)
            self._read()
            self._redraw()

    @property
    def around(self) -> list[tuple[int, float, bool]]:
        """What is near a grid point that is asked about: entry, value, whether it has been claimed, by value."""
        question = self._question
        if question is None:
            return []
        return [(entry, float(self._picture.row[entry]), bool(self._shown_mask[entry])) for entry in question.near]

    # ---- what is hidden while a question is open

    def _read(self) -> None:
        question, why = self._question, self._decision.explanation
        if question is None or why is None:
            super()._read()
            return
        values = self._picture.row
        self._shown_mask = before(why, question)[: len(values)]
        self._claim = claims.asked(why, question.step, values=values, mask=self._shown_mask, chosen=self.entry)
        self._card.show(None)
        near = ", ".join(f"{entry} at {at:.6g}{' (claimed)' if claimed else ''}" for entry, at, claimed in self.around)
        near = f" Entries around it, by value: {near}." if near else ""
        place = f"Row {question.row} of {label(self.tensor)}"
        self.caption = f"{place}: question {question.number}, still open. {question.text}{near}"

    def _title(self) -> str:
        if self._question is None:
            return super()._title()
        before_step = f"before step {max(1, self._question.step):,} of {self._question.k:,}"
        return f"{before_step}: {int(self._shown_mask.sum()):,} entries claimed; your turn"

    def _heard(self, event: dict[str, Any]) -> None:
        """A tap on an entry chooses it as the answer."""
        if self._question is None:
            super()._heard(event)
        elif self._question.step and event["kind"] == "tap" and event["figure"] in ("strip", "close"):
            with self._lock:
                if round(event["y"]) < (2 if event["figure"] == "strip" else 1):
                    self._choose(event)

    @property
    def explanation(self) -> Any:
        """The decision that is shown; None while a question is open."""
        return None if self._question is not None else super().explanation

    def numbers(self) -> pd.DataFrame:
        """Give what is known of each entry; while a question is open, without what it asks for."""
        table = super().numbers()
        with self._lock:
            if self._question is not None:
                table = table.drop(columns="retained")
                table["step"] = table["step"].where(table["step"] < max(1, self._question.step), 0)
        return table
