"""TextView: text by text, what pruning does, and which groups decide it."""

from __future__ import annotations

import html
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from ken.storage import models_of
from kenviz.figures import effects as figures
from kenviz.study import texts as words
from kenviz.study.effect_words import signed
from kenviz.study.effects import MOST_DRAWN, By
from kenviz.study.texts import MODELS, Texts
from kenviz.text.labels import apart, label, last
from kenviz.text.numbers import in_digits, in_percent
from kenviz.views.base import View
from kenviz.views.cards import CardBox
from kenviz.views.controls import choice, width
from kenviz.views.search import matcher

_MOST_LISTED = 500
_LONGEST = 26
_INVITATION = (
    "Which groups of entries this answer hangs on was not asked yet. Press “what flips it”: every group is reset alone "
    "in the fine-tuned model, one forward pass each. A plot of the groups is then shown here."
)
_TITLES = {
    "classes": "probability of each class\n● what the model answers, ○ others\n✓ the right class",
    "models": "loss at this text\n● right, ○ wrong",
    "flips": "without the group: change of the loss\n● flips its answer, ○ does not",
    "attribution": "attribution of this text\n(negative: lowers its loss); a map,\nno intervention",
}


class TextView(View):
    """A list of texts, what three models make of each, and which groups of entries its answer hangs on.

    The models are asked about all texts once, when the view is made. Which groups flip a text is found by interventions
    and on request (`find_flips`, or the button), since that takes a forward pass a group: each group is reset alone in
    the fine-tuned model. What was found is kept.

    text, pattern, only and top are the state, which can be assigned to and moved with the controls.

    Args:
        pair: The fine-tuned model, a module or a checkpoint that transformers opens, and the pretrained one.
        net: A subnetwork of them, the pruned model; or None.
        task: The texts: `ken.Task.classification`, `ken.Task.causal`, or one of your own with `names`.
        attribution: The table of `ken.attribute_items` for the same texts, made with a batch for each; or None.
        answers: The table of `ken.answers`, if it is there already; by default it is made.
        by: The groups that are reset, as `ken.ablate` takes them.
        exclude: Name patterns of tensors that are carried, as in `ken.prune`.
        text: The number of the text that is shown.
        pattern: Part of a text, or a glob: others are not listed.
        only: "all", or "flipped": only texts that pruning flips are listed.
        top: How many groups are shown; 0 for all.
        theme: The colours, "auto" (as the page), "light" or "dark".

    Raises:
        ValueError: answers or attribution are of other texts.
        SubnetworkError: There is no live model, or net is of another pair.
        TraitError: A part of the state cannot be.

    Example:
        >>> import torch
        >>> pair = ken.Pair(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> net = ken.prune(*pair, 1, progress=False)
        >>> ask = lambda model, batch: model(batch).square().mean(dim=1)
        >>> view = TextView(pair, net, ken.Task([torch.eye(2)], ask, names=["one", "two"]), by="tensor", text=1)
        >>> view.find_flips()
        >>> sorted(view.numbers().index)
        ['bias', 'weight']
        >>> view.answers()["name"].tolist()
        ['one', 'two']
        >>> view.code()[:49]
        "kenviz.TextView(pair, net, task, by='tensor', tex"
    """

    STATE = ("text", "pattern", "only", "top")

    text = traitlets.Int(0, help="Number of the text that is shown.")
    pattern = traitlets.Unicode(help="Part of a text, or glob.")
    only = traitlets.Enum(["all", "flipped"], "all", help="Which texts are listed.")
    top = traitlets.Int(20, min=0, help="How many groups are shown; 0 for all.")

    def __init__(
        self,
        pair: PairOfModels,
        net: ken.Subnetwork | None,
        task: ken.Task,
        *,
        attribution: pd.DataFrame | None = None,
        answers: pd.DataFrame | None = None,
        by: By = "place",
        exclude: Sequence[str] = (),
        text: int = 0,
        pattern: str = "",
        only: str = "all",
        top: int = 20,
        theme: str = "auto",
    ) -> None:
        self._pair, self._net, self._task, self._by, self._exclude = pair, net, task, by, tuple(exclude)
        if answers is None:
            answers = ken.answers(pair, task, net=net, exclude=exclude, progress=False)
        self._texts = Texts(answers, attribution)
        self._flips: dict[int, pd.DataFrame] = {}
        self._asking = threading.Lock()  # one at a time: each takes a copy of the model
        super().__init__(theme=theme)
        self._assign(text=text, pattern=pattern, only=only, top=top)
        self._make_controls()
        controls = {self._patterns: "pattern", self._onlys: "only", self._tops: "top", self._ask: None}
        self._start({**controls, self._bar: None}, self._invitation, self._card)
        controls_of_it, pane, note, invitation, card = self.children
        self.children = [self._list, self._words, controls_of_it, pane, invitation, note, card]
        self._ask.on_click(lambda _: self.find_flips())
        self._list.observe(self._picked, "value")
        self._show_list()

    def _make_controls(self) -> None:
        self._patterns = ipywidgets.Text(
            description="find", placeholder="part of a text, or *word*", continuous_update=True, layout=width(260)
        )
        options = [("all texts", "all"), *([("that pruning flips", "flipped")] if self._texts.judged else [])]
        self._onlys = choice("listed", options)
        self._tops = ipywidgets.BoundedIntText(
            description="top", min=0, max=10**6, layout=width(170), tooltip="How many groups are shown; 0 for all"
        )
        self._ask = ipywidgets.Button(
            description="what flips it", layout={"width": "110px"}, tooltip="Reset one group at a time for this text"
        )
        self._invitation = ipywidgets.HTML(
            f'<div role="status" style="line-height: 1.4; font-weight: bold">{html.escape(_INVITATION)}</div>'
        )
        self._bar = ipywidgets.IntProgress(min=0, max=1, description="groups", layout={"display": "none"})
        self._list = ipywidgets.Select(description="texts", options=[], rows=10, layout={"width": "auto"})
        self._words = ipywidgets.HTML()
        self._card = CardBox()

    # ---- the state

    @traitlets.validate("text")
    def _valid_text(self, proposal: dict[str, Any]) -> int:
        count = len(self._texts.answers)
        if not 0 <= proposal["value"] < count:
            raise traitlets.TraitError(f"text must be from 0 to {count - 1}, got {proposal['value']}")
        return int(proposal["value"])

    @traitlets.validate("only")
    def _valid_only(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] == "flipped" and not self._texts.judged:
            raise traitlets.TraitError(
                "only must be 'all': pruning flips a text where there is a subnetwork, and right and wrong"
            )
        return str(proposal["value"])

    @property
    def texts(self) -> list[int]:
        """Numbers of the texts that fit the search."""
        fits = matcher(self.pattern)
        names = self._texts.names
        items = self._texts.flipped if self.only == "flipped" else range(len(names))
        return [item for item in items if fits(names[item])]

    def find_flips(self) -> None:
        """Reset one group at a time, and ask the fine-tuned model about this text again. What is known is not asked."""
        if not self._asking.acquire(blocking=False):
            return  # it is being asked
        try:
            item = self.text
            if item not in self._flips:
                self._bar.layout.display = None
                table = ken.flips(
                    self._pair,
                    self._task,
                    item,
                    by=self._by,
                    exclude=self._exclude,
                    step=self._step,
                    progress=False,
                )
                with self._lock, self.pane.hold():
                    self._flips[item] = table
                    self._update("flips")
        finally:
            self._bar.layout.display = "none"
            self._asking.release()

    def _step(self, done: int, count: int) -> None:
        self._bar.max, self._bar.value = count, done

    # ---- what is shown

    def _read(self) -> None:
        flips = self._flips.get(self.text)
        table = self._texts.groups(self.text, flips)
        self._shown = table.head(min(self.top or MOST_DRAWN, MOST_DRAWN))
        self.caption = words.caption(
            self._texts, self.text, table, shown=len(self._shown), asked=self.text in self._flips
        )
        self._card.show(words.card(self._texts, self.text))
        self._invitation.layout.display = "none" if self.text in self._flips else None

    def _show_list(self) -> None:
        items = self.texts
        names = self._texts.names
        listed = items[:_MOST_LISTED]
        with self._syncing:  # the list is emptied and filled: nobody has picked anything
            self._list.value = None
            self._list.options = [
                (f"{item}: {self._texts.mark(item)}{label(names[item], 90)}", item) for item in listed
            ]
            self._list.value = self.text if self.text in listed else None
        more = f", the first {_MOST_LISTED} are listed" if len(items) > _MOST_LISTED else ""
        said = f"{len(items):,} of {len(names):,} texts{more}."
        self._words.value = f'<div role="status" style="line-height: 1.4">{html.escape(said)}</div>'

    def _picked(self, change: dict[str, Any]) -> None:
        with self._lock:
            if change["new"] is not None and not self._syncing:
                self.text = change["new"]

    @property
    def _blocks(self) -> list[figures.Block]:
        return [self._classes if self._texts.classes else self._losses, self._groups]

    @property
    def _losses(self) -> figures.Block:
        texts, item = self._texts, self.text
        losses = np.array([texts.loss(item, model) for model in texts.models])
        right = np.array([texts.correct(item, model) is not False for model in texts.models])
        said = [f"{in_digits(loss)} nats" for loss in losses]
        models = _panel("models", losses, said, sure=right, stems=True)
        return figures.Block([models], [MODELS[model] for model in texts.models])

    @property
    def _classes(self) -> figures.Block:
        texts, item = self._texts, self.text
        shown, wanted = texts.likeliest(item), texts.wanted(item)
        by_model = {model: texts.probabilities(item, model) for model in texts.models}
        values = np.array([shares[name] for shares in by_model.values() for name in shown])
        first = np.array([name == shares.idxmax() for shares in by_model.values() for name in shown])
        called = apart([label(name, _LONGEST - 12) for name in shown])
        marked = [f"{words} ✓" if name == wanted else words for words, name in zip(called, shown, strict=True)]
        names = [f"{MODELS[model]}: {words}" for model in by_model for words in marked]
        panel = _panel("classes", values, [in_percent(value) for value in values], sure=first, stems=True)
        rest = len(texts.classes) - len(shown)
        title = panel.title + (f"\nless likely and not shown: {rest:,} more" if rest else "")
        return figures.Block([panel._replace(title=title, unit="probability", whole=True)], names)

    @property
    def _groups(self) -> figures.Block:
        texts, shown = self._texts, self._shown
        differences = shown["loss_difference"].to_numpy(dtype=float)
        flips = np.array([flip is True for flip in shown["flips"]], dtype=bool)
        by_flips = _panel("flips", differences, words.differences_said(shown), sure=flips)
        panels = [by_flips._replace(seen=self.text in self._flips)]
        if texts.attribution is not None:
            shares = shown["attribution"].to_numpy(dtype=float)
            said = [f"{signed(share)} nats" for share in shares]
            panels.append(_panel("attribution", shares, said, sure=np.ones(len(shares), bool), stems=True))
        names = apart([last(str(name), _LONGEST) for name in shown.index])
        return figures.Block(panels, names, name="of_")

    def _figure(self) -> LayoutDOM:
        return figures.build(*self._blocks, theme=self.colours)

    def _update(self, name: str) -> None:
        self._read()
        for block in self._blocks:
            for panel in block.panels:
                self.pane.patch(f"marks_{panel.name}", **figures.columns(panel, block.names))
            for model, properties in figures.redrawn(block).items():
                self.pane.set(model, **properties)
        if name in ("text", "pattern", "only"):
            self._show_list()

    # ---- what can be asked

    def _reads(self) -> Mapping[str, Any]:
        return {"the subnetwork": self._net, **models_of(self._pair)}

    def _pages(self) -> tuple[str, list[tuple[LayoutDOM, str]]]:
        return f"Text {self.text}", [self.page()]

    def code(self) -> str:
        """Write Python that makes this view as it is now, less the flips that were found.

        Returns:
            An expression of `pair`, `net`, `task`, and `attribution` if it was given.
        """
        given = ["pair", "None" if self._net is None else "net", "task"]
        given += ["attribution=attribution"] if self._texts.attribution is not None else []
        given += [f"by={self._by!r}"] if self._by != "place" else []
        given += [f"exclude={self._exclude!r}"] if self._exclude else []
        return self._call(*given)

    def answers(self) -> pd.DataFrame:
        """Give what the models make of all texts.

        Returns:
            The table of `ken.answers`.
        """
        return self._texts.answers.rename_axis("item").copy()

    def numbers(self) -> pd.DataFrame:
        """Give the numbers that the figure shows of the groups.

        Returns:
            One line a group that is shown (index): loss_difference and flips, missing before `find_flips`, and
            attribution, missing where none was given.
        """
        with self._lock:
            return self._shown.copy()


def _panel(
    name: str, values: np.ndarray, said: Sequence[str], *, sure: np.ndarray, stems: bool = False
) -> figures.Panel:
    nothing = np.full(len(values), np.nan)
    return figures.Panel(
        name,
        _TITLES[name],
        "nats",
        value=values,
        low=nothing,
        high=nothing,
        other=nothing,
        sure=sure,
        said=said,
        stems=stems,
    )
