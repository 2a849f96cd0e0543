"""Texts, what models make of each, and which groups of entries decide it: as tables, and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kenviz.study.effect_words import signed
from kenviz.text.labels import label, visible
from kenviz.text.numbers import in_digits, in_percent

MODELS = {"pretrained": "pretrained", "fine_tuned": "fine-tuned", "pruned": "pruned"}
_HEAD = ("pretrained_loss", "fine_tuned_loss", "error")
_ANSWERS = {True: "right", False: "wrong", None: "no right or wrong"}
_MOST_NAMED = 6
#: Of so many classes the probabilities are shown, those that any model finds likeliest; the right one is always there.
_MOST_CLASSES = 4


class Texts:
    """The table of `ken.answers`, and that of `ken.attribute_items` for the same texts, or None.

    Raises `ValueError` if they are of other texts.

    >>> table = pd.DataFrame({"name": ["a"], "fine_tuned_loss": [0.5], "fine_tuned_correct": [True],
    ...                       "pruned_loss": [2.0], "pruned_correct": [False]})
    >>> Texts(table).flipped
    [0]
    """

    def __init__(self, answers: pd.DataFrame, attribution: pd.DataFrame | None = None) -> None:
        missing = [name for name in ("name", "fine_tuned_loss", "fine_tuned_correct") if name not in answers]
        if missing or answers.empty:
            raise ValueError(f"a table of ken.answers is needed, with lines; it has no {missing or 'line'}")
        self.answers = answers.reset_index(drop=True)
        self.attribution = None if attribution is None else self._checked(attribution)
        self.models = [model for model in MODELS if f"{model}_loss" in answers]
        start = "fine_tuned_probability_"
        #: What the classes are called, if the table tells their probabilities.
        self.classes = [str(name).removeprefix(start) for name in answers if str(name).startswith(start)]

    def _checked(self, attribution: pd.DataFrame) -> pd.DataFrame:
        missing = [name for name in _HEAD if name not in attribution]
        if missing:
            raise ValueError(f"the attribution has no column {missing[0]!r}: it is no table of ken.attribute_items")
        if len(attribution) != len(self.answers):
            raise ValueError(
                f"the attribution has {len(attribution)} lines for {len(self.answers)} texts: make the task of "
                "ken.attribute_items with batch_size=1, and of the same texts"
            )
        return attribution.reset_index(drop=True)

    @property
    def names(self) -> list[str]:
        """The texts."""
        return [str(name) for name in self.answers["name"]]

    @property
    def judged(self) -> bool:
        """Whether pruning can flip a text: there is a pruned model, and right and wrong."""
        return "pruned" in self.models and bool(self.answers["fine_tuned_correct"].notna().any())

    @property
    def flipped(self) -> list[int]:
        """Numbers of the texts that pruning flips."""
        if not self.judged:
            return []
        changed = self.answers["fine_tuned_correct"] != self.answers["pruned_correct"]
        return [int(item) for item in np.flatnonzero(changed)]

    def mark(self, item: int) -> str:
        """What pruning does to a text, in a sign and a word; empty if nothing."""
        if not self.judged:
            return ""
        line = self.answers.loc[item]
        if line["fine_tuned_correct"] == line["pruned_correct"]:
            return ""
        return "▲ right by pruning, " if line["pruned_correct"] else "▼ wrong by pruning, "

    def loss(self, item: int, model: str) -> float:
        """The loss at a text."""
        return float(self.answers[f"{model}_loss"].to_numpy()[item])

    def correct(self, item: int, model: str) -> bool | None:
        """Whether the answer is right; None where there is no right or wrong."""
        answer = self.answers[f"{model}_correct"].to_numpy()[item]
        return None if pd.isna(answer) else bool(answer)

    def probabilities(self, item: int, model: str) -> pd.Series:
        """The probability of each class (index) by a model; empty where the table does not tell."""
        columns = {name: self.answers[f"{model}_probability_{name}"].to_numpy() for name in self.classes}
        return pd.Series({name: float(values[item]) for name, values in columns.items()}, dtype=float)

    def wanted(self, item: int) -> str | None:
        """The right class; None where the table does not tell."""
        return str(self.answers.loc[item, "label"]) if self.classes and "label" in self.answers else None

    def likeliest(self, item: int) -> list[str]:
        """The classes that are shown, those of the highest probability by any model first."""
        highest = pd.concat([self.probabilities(item, model) for model in self.models], axis=1).max(axis=1)
        names = [str(name) for name in highest.sort_values(ascending=False, kind="stable").index]
        chosen, wanted = names[:_MOST_CLASSES], self.wanted(item)
        return chosen if wanted is None or wanted in chosen else [*chosen[:-1], wanted]

    def answer(self, item: int, model: str) -> str:
        """What a model makes of a text, in words."""
        loss, correct = self.loss(item, model), self.correct(item, model)
        said = "" if correct is None else f", e^−loss {math.exp(-loss):.1%}"
        if self.classes:
            shares, wanted = self.probabilities(item, model), self.wanted(item)
            first = str(shares.idxmax())
            said = f", {label(first, 40)} {in_percent(shares[first])}"
            said += "" if wanted in (None, first) else f" ({label(str(wanted), 40)} {in_percent(shares[wanted])})"
        return f"{_ANSWERS[correct]}{said}, loss {in_digits(loss)} nats"

    def groups(self, item: int, flips: pd.DataFrame | None) -> pd.DataFrame:
        """One line a group (index): loss_difference, flips, attribution; those that do most first.

        flips is what `ken.flips` gives of that text, None before it was asked.
        """
        parts = []
        if flips is not None:
            parts.append(flips[["loss_difference", "flips"]])
        if self.attribution is not None:
            shares = self.attribution.drop(columns=list(_HEAD)).iloc[item].astype(float)
            parts.append(shares.to_frame("attribution"))
        table = pd.concat(parts, axis=1) if parts else pd.DataFrame(index=pd.Index([], dtype=object))
        table = table.reindex(columns=["loss_difference", "flips", "attribution"])
        table["flips"] = table["flips"].astype(object).where(table["flips"].notna(), None)
        table.index.name = "group"
        size = table["loss_difference"] if flips is not None else table["attribution"]
        sizes = size.astype(float).abs() + np.where([flip is True for flip in table["flips"]], 1e9, 0.0)
        return table.loc[sizes.sort_values(ascending=False, kind="stable").index]


def caption(texts: Texts, item: int, groups: pd.DataFrame, *, shown: int, asked: bool) -> str:
    """What is shown of a text, in sentences."""
    said = [f"Text {item}, from 0, of {len(texts.answers):,}: “{label(texts.names[item], 200)}”."]
    said += [f"{MODELS[model].capitalize()}: {texts.answer(item, model)}." for model in texts.models]
    if texts.judged:
        said.append(f"Pruning flips {len(texts.flipped):,} of {len(texts.answers):,} texts.")
    said.append(_interventions(groups, asked))
    if texts.attribution is not None:
        missed = float(texts.attribution["error"].to_numpy()[item])
        said.append(
            f"Attribution of this text is a map, no intervention; its sum misses the change by {signed(missed)} nats."
        )
    if shown < len(groups):
        said.append(f"Of {len(groups):,} groups, {len(groups) - shown:,} are not shown: these are the top {shown:,}.")
    return " ".join(said)


def _interventions(groups: pd.DataFrame, asked: bool) -> str:
    if not asked:
        return (
            "Which groups flip it was not asked: the button “what flips it”, or find_flips(), does, with one forward "
            "pass a group."
        )
    if all(flip is None for flip in groups["flips"]):
        return f"By interventions, {len(groups):,} groups were reset one at a time; there is no right or wrong to flip."
    names = [str(name) for name, flip in groups["flips"].items() if flip is True]
    if not names:
        return f"By interventions, none of {len(groups):,} groups flips it when it alone is reset."
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    listed = ", ".join(label(name, 60) for name in names[:_MOST_NAMED]) + more
    return f"By interventions, {len(names):,} of {len(groups):,} groups flip it when reset alone: {listed}."


def card(texts: Texts, item: int) -> str:
    """A text, and what the models make of it, in lines."""
    lines = [f"Text {item}: {visible(texts.names[item])[:2000]}"]
    for model in texts.models:
        head = " (with what is carried, such as a new head)" if model == "pretrained" else ""
        lines.append(f"{MODELS[model]}{head}: {texts.answer(item, model)}")
    if texts.classes:
        lines.append("Percentages are probabilities of a class by that model; in brackets, that of the right one.")
    elif texts.judged or any(texts.correct(item, model) is not None for model in texts.models):
        lines.append("e^−loss is the probability of the right answer, where the loss is a cross entropy.")
    return "\n".join(lines)


def differences_said(groups: pd.DataFrame) -> Sequence[str]:
    """What hovering says of each group."""
    pairs: Any = zip(groups["loss_difference"], groups["flips"], strict=True)
    return [
        "not asked" if math.isnan(value) else f"{signed(value)} nats" + (", flips it" if flip is True else "")
        for value, flip in pairs
    ]
