"""RowView: one row, its density, what is retained of it at any settings, and how the grid points claim it."""

from __future__ import annotations

from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
from bokeh.models import LayoutDOM

import ken
from ken.density import KERNELS
from ken.explanation import CLAIMING
from ken.retention import PairOfModels
from kenviz.figures import claims
from kenviz.figures import row as figures
from kenviz.study.row_decision import decide, own_k
from kenviz.study.study import Study
from kenviz.text.labels import NARROW, label
from kenviz.views.cards import CardBox, DecisionCard, row_card, with_effects
from kenviz.views.controls import StepBox, choice, width
from kenviz.views.entry_field import EntryField
from kenviz.views.row_base import RowState, usual_on
from kenviz.views.row_text import caption, table


class RowView(RowState):
    """Histogram, kernel density estimate, grid, retained and reset entries of one row; its claims, one by one.

    The arguments from tensor to stability are the state: they are traits, which can be assigned to, and which the
    controls move. A `traitlets.TraitError` refuses what is not there, and changes nothing. At the subnetwork's own
    settings, which are the default, the mask is its stored one; at any other the rule decides anew. Where it cannot,
    the figure shows the stored mask, and the caption says why.

    Args:
        net: The subnetwork.
        pair: The models it is of.
        tensor: Name of the tensor; by default the first that was pruned.
        row: Which of its rows, from 0.
        k: How many entries of the row the rule retains, 1 to all.
        rule: Any registered rule, as for `ken.prune`.
        on: "weights", "update" or "pretrained": the values that rules with a density look at.
        kernel: Kernel of the density estimate, as for `ken.prune`.
        bandwidth: A factor, 1/8 to 8, on the bandwidth that the subnetwork's own setting finds for the row.
        step: The claim that is shown, from 1; 0 shows the whole mask.
        entry: Column of the entry whose decision card is shown, -1 for none; a tap sets it, too.
        stability: Whether it is said how many entries would flip (`ken.stability`).
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: The models are not those of the subnetwork, or no such tensor was pruned.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> view = RowView(ken.prune(*pair, k=2), pair)
        >>> view.row, view.k = 1, 3
        >>> view.own_k()
        2
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
        super().__init__(net, pair, tensor, theme=theme)
        recipe = net.recipe
        self._make_controls()
        self._assign(row=row, rule=recipe.rule if rule is None else rule)
        self._assign(
            on=on or usual_on(recipe, self.rule),
            kernel=recipe.kernel if kernel is None else kernel,
            k=own_k(self._study, self.tensor, row) if k is None else k,
            bandwidth=bandwidth,
            stability=stability,
        )
        self._decide()
        self._offer()
        self._assign(step=step, entry=entry)
        self._start(
            {
                self._picker: "tensor",
                self._row_slider: "row",
                self._k_slider: "k",
                self._rules: "rule",
                self._on: "on",
                self._kernels: "kernel",
                self._factor: "bandwidth",
                self._column: "entry",
                self._steadiness: "stability",
            }
        )
        self._bind(self._steps.slider, "step")
        self._bind(self._steps.play, "step")
        self.children = [self._controls, self._steps, self.pane, self._note, self._card]

    def _make_controls(self) -> None:
        self._row_slider = ipywidgets.IntSlider(description="row", min=0, layout=width(360))
        self._k_slider = ipywidgets.IntSlider(description="k", min=1, layout=width(360))
        self._rules = choice("rule")
        self._on = choice("on", ken.rules.VALUES)
        self._kernels = choice("kernel", KERNELS)
        self._factor = ipywidgets.FloatLogSlider(
            description="bandwidth ×",
            base=2,
            min=-3,
            max=3,
            step=0.25,
            readout_format=".3g",
            layout=width(360),
            style={"description_width": "92px"},
        )
        self._column = EntryField("column", "The entry to explain")
        self._steadiness = ipywidgets.Checkbox(description="mask stability", indent=False, layout=width(240))
        self._steps = StepBox(self._move)
        self._steps.add_class("kenviz-steps")
        self._card = CardBox("Tap a mark in the strip, or give its column, to read why it was retained or reset.")

    # ---- from the state to what is shown

    def _update(self, name: str) -> None:
        with self._settling:  # what follows from this change is drawn with it
            self._settle(name)
        self._read()
        self._redraw()

    def _settle(self, name: str) -> None:
        """Bring the rest of the state in line with what has changed: bounds before values."""
        if name == "tensor":
            rows, _ = self._study.shape(self.tensor)
            self.set_trait("entry", -1)
            row = min(self.row, rows - 1)
            k = own_k(self._study, self.tensor, row)
            with self._syncing:
                self._bounds(row, k)
            self.set_trait("row", row)
            self.set_trait("k", k)
        if name == "rule" and not self._heeds_on():
            self.set_trait("on", "weights")
        if name == "rule":
            self.set_trait("k", max(self.k, self._least_k()))
        elif name == "row" and (ken.rules.counts(self.rule) or self._decision.shared):
            self.set_trait("k", own_k(self._study, self.tensor, self.row))
        if name not in ("step", "entry", "stability"):
            self._decide()
            step = min(self.step, self._decision.steps)
            self._offer()
            self.set_trait("step", step)

    def _decide(self) -> None:
        self._decision = decide(
            self._study,
            tensor=self.tensor,
            row=self.row,
            k=self.k,
            rule=self.rule,
            on=self.on,
            kernel=self.kernel,
            factor=self.bandwidth,
            alone=self.ALONE,
        )
        self._picture = figures.picture(
            self._decision.fine_tuned,
            self._decision.mask,
            self._decision.pretrained,
            settings=self._decision.settings,
            claiming=self.rule in CLAIMING and not self._decision.shared,
            rule=self.rule,
            scope=self._decision.scope if self._decision.shared else "row",
        )

    def _bounds(self, row: int, k: int) -> None:
        rows, n = self._study.shape(self.tensor)
        counts = ken.rules.counts(self.rule)
        self._k_slider.disabled = counts  # there is nothing to choose
        self._k_slider.min = min(1, k, self._least_k()) if counts else self._least_k()
        for slider, value, highest in ((self._row_slider, row, rows - 1), (self._k_slider, k, n)):
            slider.value = min(slider.value, highest)
            slider.max = highest
            slider.value = value
        self._column.max = n - 1

    def _offer(self) -> None:
        """Let the controls offer what there is to choose from."""
        with self._syncing:
            self._bounds(self.row, self.k)
            if list(self._rules.options) != self._rule_names():
                self._rules.options = self._rule_names()
                self._rules.value = self.rule
            self._on.disabled = not self._heeds_on()
            self._steps.offer(self._decision.steps, self._decision.unclaimed)

    def _read(self) -> None:
        """What is shown at this step: the mask, or as much of it as has been claimed."""
        decision, shown = self._decision, self._picture
        self._shown_mask = decision.mask[: len(shown.row)]
        why = decision.explanation if self.step or self.entry >= 0 else None
        if self.step and why is not None:
            self._shown_mask = np.zeros(len(shown.row), bool)
            self._shown_mask[why.claimed[why.order[: self.step]]] = True
        self._claim = claims.picture(why, self.step, values=shown.row, mask=self._shown_mask, chosen=self.entry)
        self._card.show(None if self.entry < 0 else self._entry_card())
        self.caption = caption(
            decision,
            bandwidth=self._study.net.recipe.bandwidth,
            factor=self.bandwidth,
            step=self.step,
            stability=self.stability,
        )

    def _title(self) -> str:
        if not self.step:
            return "\n".join(self._picture.lines())
        return f"step {self.step:,} of {self._decision.steps:,}: {int(self._shown_mask.sum()):,} entries claimed"

    def _name(self) -> str:
        return f"row {self.row} of {self.tensor}"

    @property
    def decision_card(self) -> CardBox:
        """The decision card, which may stand elsewhere, too."""
        return self._card

    def _entry_card(self) -> DecisionCard:
        card = row_card(self._decision, self.entry)
        return with_effects(card, self._study, self.tensor, entry=(self.row, self.entry))

    def _figure(self) -> LayoutDOM:
        columns = {**self._picture.columns, **self._picture.parts(self._shown_mask)}
        self._legend = figures.legend(self._claim.step)
        return figures.build(
            self._picture._replace(columns=columns),
            self._name(),
            theme=self.colours,
            step=self._claim,
            title=self._title(),
        )

    def _redraw(self) -> None:
        shown, step = self._picture, self._claim
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
        legend = figures.legend(step.step)
        if legend != self._legend:  # a legend that is set anew is drawn without its signs for a while
            self._legend = legend
            for name, text in legend.items():
                self.pane.set(name, label=text)
        self.pane.set("near", start=step.near[0], end=step.near[1])

    # ---- what the user does in the figure and with buttons

    def _move(self, by: int) -> None:
        with self._lock:
            self.step = min(max(self.step + by, 0), self._decision.steps)

    def _heard(self, event: dict[str, Any]) -> None:
        """A tap on an entry chooses it, one on a grid point shows its claim."""
        if event["kind"] != "tap" or event["figure"] not in ("strip", "close"):
            return
        with self._lock:
            if event["figure"] == "strip" and round(event["y"]) == 2:
                why = self._decision.explanation
                if why is not None and self._decision.steps:
                    point = int(np.abs(why.grid - event["x"]).argmin())
                    self.step = int(np.flatnonzero(why.order == point)[0]) + 1
                return
            self._choose(event)

    def _choose(self, event: dict[str, Any]) -> None:
        """Choose the entry that is nearest to a tap on one of the lanes of entries."""
        far = np.abs(self._picture.row - event["x"])
        if event["figure"] == "strip":
            far[self._shown_mask != (round(event["y"]) == 1)] = np.inf
        if np.isfinite(far).any():
            self.entry = int(far.argmin())

    # ---- what can be asked

    def own_k(self, row: int | None = None) -> int:
        """Count the entries of a row that the subnetwork's rule retains.

        Args:
            row: Which row, from 0; by default the one that is shown.

        Returns:
            That number; of a row that fine-tuning added, that of the first row.
        """
        return own_k(self._study, self.tensor, self.row if row is None else row)

    @property
    def explanation(self) -> Any:
        """The decision that is shown, as `ken.explain_row` tells it; None where it cannot, as the caption says."""
        return self._decision.explanation

    def numbers(self) -> pd.DataFrame:
        """Give what is known of each entry.

        Returns:
            One line an entry, by column: fine_tuned, pretrained, update, retained, step (of its claim, 0 for none).
            With stability, also whether it flips: halved, doubled, reversed.
        """
        with self._lock:
            decision, stability = self._decision, self.stability
        return table(decision, stability)
