"""Explorer: search, map, a stage of views and the decision card of one subnetwork, linked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from kenviz.study import contenders, extremes, opening
from kenviz.study.pins import Pin
from kenviz.study.study import Study
from kenviz.text.labels import label
from kenviz.views import stage as stages
from kenviz.views.base import Phase, Stateful, View
from kenviz.views.desk import Desk
from kenviz.views.explorer_code import steps
from kenviz.views.history import History
from kenviz.views.linked import Linked
from kenviz.views.matrix import MatrixView
from kenviz.views.pin_box import PinBox, pinned
from kenviz.views.retention import RetentionView
from kenviz.views.search import TensorSearch
from kenviz.views.side_by_side import SideBySideView


class Explorer(Linked):
    """All of a subnetwork: find a tensor, see where it stands, what was retained of it, of one row, and why.

    tensor, row and column are what is looked at: choosing a tensor in the list or on the map shows its matrix and its
    row; tapping an entry of the matrix shows its decision card, and its row; choosing a row or an entry marks it in the
    matrix. The parts are `search`, `map`, `matrix` and `row_view`, with the traits they have elsewhere; a subnetwork
    without matrices has no map. One of them is on the stage at a time, beside layers, neighbours and effects, where
    there are any. Nothing is computed before it is shown: the map is coloured by the share retained until another
    measure is chosen, a view of the stage is made when its tab is opened, or it is asked for.

    `pin` keeps what was found, with a sentence: `pins` is what ``kenviz.report(…, pins=explorer.pins)`` prints.

    Args:
        net: The subnetwork.
        pair: The models it is of. Without them only the map by share and the mask are there.
        beside: Other subnetworks of the same models, by name or in a list, which the tab "comparison" shows beside it.
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: Nothing was pruned, or the models are not those of the subnetwork.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> explorer = Explorer(ken.prune(*pair, k=2), pair)
        >>> explorer.row = 1; explorer.row_view.k = 3
        >>> print(explorer.code())
        explorer = kenviz.explore(net, pair)
        explorer.row = 1
        explorer.row_view.k = 3
        >>> explorer.undo()
        >>> explorer.row_view.k
        2
        >>> explorer.redo()
        >>> list(explorer.numbers())
        ['map', 'matrix', 'row_view']
        >>> explorer.stage, explorer.stages
        ('matrix', ['matrix', 'row', 'neighbours', 'comparison'])
        >>> explorer.column = 1
        >>> explorer.pin("The lowest two stay.", "decision").text.partition(".")[0]
        'Entry 1 in row 1 of w is retained'
    """

    pins: Any = traitlets.Tuple(help="What was pinned, as `kenviz.study.pins.Pin`; the report prints it.")

    #: The view of effects whose groups open here; None if there is none.
    effects: View | None = None
    #: Its code as `kenviz.explore` made it; empty if it was attached by hand.
    _opened = ""

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels | Study | None = None,
        *,
        beside: Mapping[str, ken.Subnetwork] | Sequence[ken.Subnetwork] = (),
        theme: str = "auto",
    ) -> None:
        self._study = Study.open(net, pair)
        self._beside = contenders.named(beside)
        super().__init__(self._study.lock, theme=theme)
        self._moving = Phase(self._lock)  # parts follow one another, and are not followed in turn
        first = self._study.largest()
        self.search = TensorSearch(self._study)
        matrices = bool((self._study.shares["rows"] > 1).any())
        self.map = RetentionView(net, self._study, measure="share", compact=True, theme=theme) if matrices else None
        self.matrix = MatrixView(net, self._study, tensor=first, theme=theme)
        parts = {"search": self.search, "map": self.map, "matrix": self.matrix}
        self._parts: dict[str, Stateful] = {name: part for name, part in parts.items() if part is not None}
        make_row = None if self._study.pair is None else self._need_row_view
        made = stages.panels(self._study, self.matrix, make_row, tensor=lambda: self.tensor, beside=self._beside)
        self.stage_box = stages.Stage(made)
        self._desk = Desk(
            self.search,
            self.map,
            self.stage_box,
            card=self.matrix.decision_card,
            pin_box=PinBox(self._keep, self._drop),
            jump=None if self._study.pair is None else self._jump,
        )
        self._undo, self._redo, self._toggle = self._desk.undo, self._desk.redo, self._desk.toggle
        self._python = self._desk.python
        self.set_trait("tensor", first)
        self.search.chosen = first
        self._usual = self.state
        self._history = History(self._usual)
        self.children = [self._desk]
        self.add_class("kenviz-explorer")
        self._link()
        self._show_stage(None)
        self._say()

    # ---- what is shown

    @property
    def net(self) -> ken.Subnetwork:
        """The subnetwork that is looked at."""
        return self._study.net

    @property
    def in_sight(self) -> list[View]:
        """The views that are shown now: the map, and what is on the stage."""
        return [*([] if self.map is None else [self.map]), self.stage_box.made[self.stage]]

    def attach(self, effects: View, *, opened: bool = False) -> None:
        """Give a view of effects, which was made with this explorer, a tab of the stage: its groups open here.

        It is closed with the explorer. One that was attached before gives way to it, and is a view of its own again.

        Args:
            effects: The view. What it shows is no step to undo, the tensor that it opens is.
            opened: True if `kenviz.explore` attaches it: `code` then names it only after it has changed.

        Example:
            ```python
            explorer.attach(kenviz.EffectView(ablation, net=net, explorer=explorer))
            ```
        """
        with self._lock:
            if self.effects is not None and self.effects.lock is self._lock:
                self.effects.unobserve(self._retold, list(self.effects.STATE))
            self.effects, self._opened = effects, effects.code() if opened else ""
            self.stage_box.add("effects", stages.Panel("effects", lambda: effects))
            if effects.lock is self._lock:  # of two locks each could wait for the other
                effects.observe(self._retold, list(effects.STATE))
            self._show_stage(None)

    def _retold(self, _: object) -> None:
        """What the view of effects shows is in the code, and in no history."""
        with self._lock:
            self._say()

    def jump(self, to: str) -> str:
        """Go where the update was retained least, or most.

        Args:
            to: "layer least", "layer most", "tensor least", "tensor most" (which read both models once); "row least",
                "row most", in this tensor; "entry retained", "entry reset": the largest update of this row's entries
                that are so.

        Returns:
            Why it is there, in a sentence.

        Raises:
            ValueError: There is no such place, or the pair of models is not there.

        Example:
            >>> import torch
            >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
            >>> explorer = Explorer(ken.prune(*pair, k=2), pair)
            >>> print(explorer.jump("row least").partition(",")[0])
            Row 1 of w retained least of its update: 51.6% of the energy
            >>> explorer.row, explorer.stage
            (1, 'row')
        """
        with self._lock:
            spot = extremes.spot(self._study, to, tensor=self.tensor, row=self.row)
            if to.startswith(("row", "entry")) and "row" in self.stages:
                self.stage = "row"
            self._go(spot.tensor, spot.row, spot.column)
            self._remark = spot.words
            self._say()
            return spot.words

    def _jump(self, to: str) -> None:
        """What the list does; what is wrong is said beside it."""
        try:
            self.jump(to)
        except ValueError as problem:
            with self._lock:
                self._remark = f"Nowhere to go: {problem}."
                self._say()

    def compare(self, rule: str = "") -> SideBySideView:
        """Open the comparison: this subnetwork beside the others that were given, and beside another rule.

        Args:
            rule: A rule, whose mask is decided for the tensor that is looked at, with the other settings of this
                subnetwork; empty for none.

        Returns:
            The view, on the stage.

        Raises:
            ValueError: There is nothing to compare with: neither a pair nor another subnetwork.
            traitlets.TraitError: There is no such rule.

        Example:
            >>> import torch
            >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
            >>> Explorer(ken.prune(*pair, k=2), pair).compare("update").names
            ['this one', 'update, k = 2']
        """
        with self._lock:
            if "comparison" not in self.stages:
                raise ValueError("there is nothing to compare with: give the pair of models, or beside=[…]")
            self.stage = "comparison"
            view = self.stage_box.made["comparison"]
            assert isinstance(view, SideBySideView)
            view.rule = rule
            return view

    # ---- ways out

    def code(self) -> str:
        """Write the Python that leads to what is shown.

        Returns:
            A few lines, from a subnetwork `net` and a pair `pair`, or from what `kenviz.explore` was given in their
            place; with effects also from the table `ablation`, and from `attribution`, if they were given; and from
            `beside`, if others were.
        """
        more = "" if self._study.effects is None else self._study.effects.arguments
        more += ", beside=beside" if self._beside else ""
        lines = [f"explorer = kenviz.explore({opening.arguments(self.net)}{more})"]
        if self.effects is not None and self.effects.code() != self._opened:
            lines.append(f"explorer.attach({self.effects.code()})")
        return "\n".join([*lines, *steps(self, self._study, self._usual)])

    def prune(self, out: str | Path | None = None, *, overwrite: bool = False) -> ken.Subnetwork:
        """Decide all of what is explored, if it is decided as it is looked at (`kenviz.explore` with k or rule).

        Args:
            out: A file to write the subnetwork to as it is made; of models on disk, some rows at a time are in memory.
                Without it, it is made in memory, and the explorer goes on with it.
            overwrite: Let out take the place of a file that is no subnetwork.

        Returns:
            The subnetwork, in memory or opened from the file.

        Raises:
            OutputError: out may not be written to.
            ValuesError: A value is NaN or infinite.

        Example:
            >>> import torch
            >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
            >>> ken.prune(*pair, k=2) == Explorer(net := ken.prune(*pair, k=2, lazy=True), net.pair).prune()
            True
        """
        if out is not None:
            return ken.load(str(self.net.save(out, overwrite=overwrite)))
        net = self.net.in_memory
        self.matrix.decide()
        return net

    def pin(self, sentence: str = "", subject: str = "decision") -> Pin:
        """Keep what a view, or the decision card, shows now.

        Args:
            sentence: What you say of it, for the report; may be empty.
            subject: "decision", "map" or one of `stages` whose tab was opened.

        Returns:
            The pin, which is now the last of `pins`.

        Raises:
            ValueError: There is no such view yet, or no entry whose card could be pinned.
        """
        with self._lock:
            views = ({} if self.map is None else {"map": self.map}) | self.stage_box.made
            pin = pinned(subject, sentence, self._desk.card.card, views=views, code=self.code())
            self.pins = (*self.pins, pin)
            return pin

    def _keep(self, subject: str, sentence: str) -> None:
        self.pin(sentence, subject)

    def _drop(self, number: int) -> None:
        with self._lock:
            self.pins = (*self.pins[:number], *self.pins[number + 1 :])

    def numbers(self) -> dict[str, pd.DataFrame]:
        """Give the numbers that the views show.

        Returns:
            A table a view: "map", "matrix", "row_view" and "effects", as far as they are there.
        """
        self.row_view  # noqa: B018 (made, if nobody has looked at it)
        numbers = {name: part.numbers() for name, part in self._parts.items() if isinstance(part, View)}
        return numbers if self.effects is None else {**numbers, "effects": self.effects.numbers()}

    def _reads(self) -> Mapping[str, Any]:
        return self._study.reads()

    def _pages(self) -> tuple[str, list[tuple[LayoutDOM, str]]]:
        self.row_view  # noqa: B018 (made, if nobody has looked at it)
        return f"Explorer: {label(self.tensor)}", [view.page() for view in self.views]

    def _say(self) -> None:
        """Keep the buttons and the code true."""
        self._desk.say(
            self.tensor,
            stages.described(self._study, self.tensor, self.row, column=self.column),
            back=self._history.can_undo,
            forward=self._history.can_redo,
            code=self.code() if self._toggle.value else None,
            remark=self._remark,
        )

    def _unseen(self) -> list[ipywidgets.Widget]:
        """All views, whichever is on the stage."""
        return list(self.views)

    def _rethemed(self, _: object) -> None:
        for view in self.views:
            view.theme = self.theme

    def __repr__(self) -> str:
        return f"Explorer({label(self.tensor)!r}: {len(self._study.tensors)} pruned tensors)"
