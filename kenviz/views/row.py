"""RowView: one row, its density, what is retained of it at any settings, and how the grid points claim it."""

from __future__ import annotations

from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.density import KERNELS
from ken.explanation.explain import CLAIMING
from ken.retention import PairOfModels
from kenviz.figures import claims
from kenviz.figures import row as figures
from kenviz.study.row_decision import decide, own_k
from kenviz.study.study import Study
from kenviz.text.labels import NARROW, label
from kenviz.views.card import CardBox
from kenviz.views.row_base import RowState
from kenviz.views.row_text import caption, card, table
from kenviz.views.steps import StepBox

_WIDE = {"width": "min(360px, 100%)"}
_NARROW = {"width": "min(240px, 100%)"}


class RowView(RowState):
    """Histogram, kernel density estimate, grid, retained and reset entries of one row; its claims, one by one.

    The state, which can be assigned to, moved with the controls, and given as keyword arguments:

    - tensor, row, k: which row, and how many of its entries the rule retains
    - rule, on, kernel: as for `ken.prune`; any registered rule
    - bandwidth: a factor from 1/8 to 8 on the bandwidth that the subnetwork's own setting finds for the row
    - step: the claim that is shown, from 1; 0 shows the whole mask
    - entry: the column whose decision card is shown, -1 for none
    - stability: whether it is said how many entries would flip (`ken.stability`)

    They start as the subnetwork's own, and the mask is then its stored one; at any other setting the rule decides anew.
    Where it cannot, the figure shows the stored mask, and the caption says why.

    Raises `ValueError` if the models are not those of the subnetwork; a `traitlets.TraitError` refuses what is not
    there, and changes nothing.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> view = RowView(ken.prune(*pair, k=2), pair)
    >>> view.row, view.k = 1, 3
    >>> view.numbers()["retained"].tolist()
    [True, True, False, True]
    >>> view.step = 2
    >>> view.explanation.claim(2).entry
    1
    """

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels | Study,
        tensor: str | None = None,
        row: int = 0,
        k: int | None = None,
        *,
        rule: str | None = None,
        on: str | None = None,
        kernel: str | None = None,
        bandwidth: float = 1.0,
        step: int = 0,
        entry: int = -1,
        stability: bool = True,
        theme: str = "auto",
    ) -> None:
        super().__init__(net, pair, tensor, theme)
        self._settling = False
        self._make_controls()
        recipe = net.recipe
        self.set_trait("tensor", self._picker.value)
        self.set_trait("row", row)
        self.set_trait("rule", recipe.rule if rule is None else rule)
        self.set_trait("on", on or (recipe.on if self._heeds_on() else "weights"))
        self.set_trait("kernel", recipe.kernel if kernel is None else kernel)
        self.set_trait("k", own_k(self._study, self.tensor, row) if k is None else k)
        self.set_trait("bandwidth", bandwidth)
        self.set_trait("stability", stability)
        self._decide()
        self._offer()
        self.set_trait("step", step)
        self.set_trait("entry", entry)
        self._read()
        controls = [self._picker, self._row_slider, self._k_slider, self._rules, self._on, self._kernels]
        self._start([*controls, self._factor, self._column, self._steadiness], self._figure())
        self.children = [self._controls, self._steps, self.pane, self._note, self._card]
        for control, trait in self._bound.items():
            self._bind(control, trait)

    def _make_controls(self) -> None:
        self._row_slider = ipywidgets.IntSlider(description="row", min=0, layout=_WIDE)
        self._k_slider = ipywidgets.IntSlider(description="k", min=1, layout=_WIDE)
        self._rules = ipywidgets.Dropdown(description="rule", layout=_NARROW)
        self._on = ipywidgets.Dropdown(options=["weights", "update"], description="on", layout=_NARROW)
        self._kernels = ipywidgets.Dropdown(options=list(KERNELS), description="kernel", layout=_NARROW)
        self._factor = ipywidgets.FloatLogSlider(
            description="bandwidth ×",
            base=2,
            min=-3,
            max=3,
            step=0.25,
            readout_format=".3g",
            layout=_WIDE,
            style={"description_width": "92px"},
        )
        self._column = ipywidgets.BoundedIntText(
            description="column", min=-1, value=-1, layout=_NARROW, tooltip="The entry to explain; -1 for none"
        )
        self._steadiness = ipywidgets.Checkbox(description="mask stability", indent=False, layout=_NARROW)
        self._steps = StepBox(self._move)
        self._card = CardBox("Tap a mark in the strip, or give its column, to read why it was retained or reset.")
        self._bound = {
            self._picker: "tensor",
            self._row_slider: "row",
            self._k_slider: "k",
            self._rules: "rule",
            self._on: "on",
            self._kernels: "kernel",
            self._factor: "bandwidth",
            self._column: "entry",
            self._steadiness: "stability",
            self._steps.slider: "step",
            self._steps.play: "step",
        }

    # ---- from the state to what is shown

    @traitlets.observe(*RowState.STATE)
    def _changed(self, change: dict[str, Any]) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock:
            if self._settling:  # the change that this one follows from is not done yet
                return
            self._settling = True
            try:
                self._settle(change["name"])
            finally:
                self._settling = False
            self._read()
            self._redraw()

    def _settle(self, name: str) -> None:
        """Bring the rest of the state in line with what has changed: bounds before values."""
        if name == "tensor":
            rows, _ = self._study.shape(self.tensor)
            self.set_trait("entry", -1)
            row = min(self.row, rows - 1)
            k = own_k(self._study, self.tensor, row)
            with self._sync():
                self._bounds(row, k)
            self.set_trait("row", row)
            self.set_trait("k", k)
        if name == "rule" and not self._heeds_on():
            self.set_trait("on", "weights")
        if name not in ("step", "entry", "stability"):
            self._decide()
            step = min(self.step, self._decision.steps)
            self._offer()
            self.set_trait("step", step)

    def _decide(self) -> None:
        self._decision = decide(
            self._study, self.tensor, self.row, self.k, self.rule, self.on, self.kernel, self.bandwidth
        )
        self._picture = figures.picture(
            self._decision.fine_tuned,
            self._decision.mask,
            self._decision.pretrained,
            self._decision.settings,
            self.rule in CLAIMING,
        )

    def _bounds(self, row: int, k: int) -> None:
        rows, n = self._study.shape(self.tensor)
        for slider, value, highest in ((self._row_slider, row, rows - 1), (self._k_slider, k, n)):
            slider.value = min(slider.value, highest)
            slider.max = highest
            slider.value = value
        self._column.max = n - 1

    def _offer(self) -> None:
        """Let the controls offer what there is to choose from."""
        with self._sync():
            self._bounds(self.row, self.k)
            if list(self._rules.options) != self._known_rules():
                self._rules.options = self._known_rules()
                self._rules.value = self.rule
            self._on.disabled = not self._heeds_on()
            self._steps.offer(self._decision.steps, self._decision.unclaimed)

    def _read(self) -> None:
        """What is shown at this step: the mask, or as much of it as has been claimed."""
        found, shown = self._decision, self._picture
        self._shown_mask = found.mask[: len(shown.row)]
        why = found.explanation if self.step or self.entry >= 0 else None
        if self.step and why is not None:
            self._shown_mask = np.zeros(len(shown.row), bool)
            self._shown_mask[why.claimed[why.order[: self.step]]] = True
        self._claim = claims.picture(why, self.step, shown.row, self._shown_mask, self.entry)
        self._card.show(None if self.entry < 0 else card(found, self.entry))
        self.caption = caption(found, self._study.net.recipe.bandwidth, self.bandwidth, self.step, self.stability)

    def _title(self) -> str:
        if not self.step:
            return "\n".join(self._picture.lines())
        return f"step {self.step:,} of {self._decision.steps:,}: {int(self._shown_mask.sum()):,} entries claimed"

    def _name(self) -> str:
        return f"row {self.row} of {self.tensor}"

    def _figure(self) -> LayoutDOM:
        columns = {**self._picture.columns, **self._picture.parts(self._shown_mask)}
        return figures.build(
            self._picture._replace(columns=columns), self._name(), self.colours, self._claim, self._title()
        )

    def _redraw(self) -> None:
        shown, step = self._picture, self._claim
        with self.pane.hold():
            for source, columns in {**shown.columns, **shown.parts(self._shown_mask), **step.columns}.items():
                self.pane.patch(source, **columns)
            self.pane.set("values", start=shown.density.ends[0], end=shown.density.ends[1])
            self.pane.set("densities", start=0.0, end=shown.density.highest)
            self.pane.set("axis", axis_label=shown.density.axis)
            self.pane.set("title", text=self._title())
            self.pane.set("name", text=label(self._name(), NARROW))
            self.pane.set("lanes", major_label_overrides=figures.LANES_OF_STEPS if step.step else figures.LANES)
            self.pane.set("close", visible=step.step > 0)
            self.pane.set("close_axis", axis_label=step.label)
            for name, text in figures.legend(step.step).items():
                self.pane.set(name, label=text)
            self.pane.set("near", start=step.near[0], end=step.near[1])

    # ---- what the user does in the figure and with buttons

    def _listen(self) -> None:
        self.pane.on_event(self._heard)

    def _move(self, by: int) -> None:
        with self._lock:
            self.step = min(max(self.step + by, 0), self._decision.steps)

    def _heard(self, event: dict[str, Any]) -> None:
        """A tap on an entry chooses it, one on a grid point shows its claim."""
        if event["kind"] != "tap" or event["figure"] not in ("strip", "close"):
            return
        with self._lock:
            x, lane = event["x"], round(event["y"])
            if event["figure"] == "strip" and lane == 2:
                why = self._decision.explanation
                if why is not None and self._decision.steps:
                    point = int(np.abs(why.grid - x).argmin())
                    self.step = int(np.flatnonzero(why.order == point)[0]) + 1
                return
            far = np.abs(self._picture.row - x)
            if event["figure"] == "strip":
                far[self._shown_mask != (lane == 1)] = np.inf
            if np.isfinite(far).any():
                self.entry = int(far.argmin())

    # ---- what can be asked

    def own_k(self, row: int | None = None) -> int:
        """How many entries of a row (the current one) the subnetwork's rule retains."""
        return own_k(self._study, self.tensor, self.row if row is None else row)

    @property
    def explanation(self) -> Any:
        """The decision that is shown, as `ken.explain_row` tells it; None where it cannot, as the caption says."""
        return self._decision.explanation

    def numbers(self) -> pd.DataFrame:
        """One line an entry: column (index), fine_tuned, pretrained, update, retained, step (of its claim, 0 for none).

        With stability, also whether it flips: halved, doubled, reversed.
        """
        with self._lock:
            found, stability = self._decision, self.stability
        return table(found, stability)
