"""EffectView: what each part of the update does to the model, measured and mapped, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from kenviz.figures import effect_panels
from kenviz.figures import effects as figures
from kenviz.study import effect_words
from kenviz.study.effects import MOST_DRAWN, QUANTITIES, By, Effects
from kenviz.text.labels import apart, label
from kenviz.views.base import View
from kenviz.views.cards import CardBox
from kenviz.views.controls import choice, width
from kenviz.views.explorer import Explorer
from kenviz.views.search import matcher

_INVITATION = (
    "Tap a group, or choose one, to read what it does and to open its largest tensor in the Explorer, if there is one."
)


class EffectView(View):
    """Groups down; across, what the loss does without each, what it does with each alone, and what attribution says.

    The caption begins with how far attribution ranks the groups as the interventions do, with what is poor first.
    Intervals are those of the table: they hold for all groups of a way at once. A full mark is a difference that is one
    after all groups of the way were judged together (Holm), at 5 %; all others are hollow. Upright lines are controls
    (as many entries reset elsewhere), or what chance retains.

    sort, quantity, pattern, top and group are the state, which can be assigned to and moved with the controls.

    Args:
        ablation: The table of `ken.ablate`, or the path of one as CSV.
        attribution: What `ken.attribute` gives of the same models, or None.
        net: A subnetwork of them: of each attribution the share that it retains is shown beside chance.
        by: The groups, as `ken.ablate` was given them.
        sort: "without", "only", "attribution", "retained_absolute", "entries" or "model order"; the most is first.
        quantity: "loss", in nats, or "metric".
        pattern: Part of a group's name, or a glob: others are not shown.
        top: How many groups are shown; 0 for all (as far as a browser can draw them).
        group: The group that is described, empty for none.
        explorer: An `Explorer` of the same models: a group that is chosen here opens its largest tensor there. Anything
            else may follow with ``view.observe(function, "group")``; `tensors` names those of the group.
        theme: The colours, "auto" (as the page), "light" or "dark".

    Raises:
        ValueError: The table is none of `ken.ablate`, or the attribution has other groups.
        EffectsError: The subnetwork is of another pair.
        TraitError: A part of the state is not in the table.

    Example:
        >>> import torch
        >>> pair = ken.Pair(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> task = ken.Task([torch.eye(2)], lambda model, batch: model(batch).square().mean(dim=1))
        >>> table = ken.ablate(pair, evaluate=task.evaluate, by="tensor", progress=False)
        >>> view = EffectView(table, by="tensor", sort="model order", group="bias")
        >>> view.numbers().index.tolist()
        ['weight', 'bias']
        >>> view.show_all()
        >>> view.code()[:65]
        "kenviz.EffectView(ablation, by='tensor', sort='model order', quan"
    """

    STATE = ("sort", "quantity", "pattern", "top", "group")

    sort = traitlets.Unicode("without", help="What the groups are sorted by.")
    quantity = traitlets.Enum(QUANTITIES, "loss", help="What the interventions are measured by.")
    pattern = traitlets.Unicode(help="Part of a name, or glob.")
    top = traitlets.Int(20, min=0, help="How many groups are shown; 0 for all.")
    group = traitlets.Unicode(help="The group that is described; empty for none.")

    def __init__(
        self,
        ablation: pd.DataFrame | str | Path,
        attribution: ken.Attribution | None = None,
        net: ken.Subnetwork | None = None,
        by: By = "place",
        *,
        sort: str | None = None,
        quantity: str | None = None,
        pattern: str = "",
        top: int = 20,
        group: str = "",
        explorer: Explorer | None = None,
        theme: str = "auto",
    ) -> None:
        self._effects, self._explorer = Effects(ablation, attribution, net, by=by), explorer
        self._tensors = self._effects.tensors(None if explorer is None else explorer.net)
        super().__init__(None if explorer is None else explorer.lock, theme=theme)
        self._assign(
            quantity=quantity or self._effects.quantities[0],
            sort=sort or self._effects.sorts[0],
            pattern=pattern,
            top=top,
            group=group,
        )
        self._make_controls()
        controls = [self._sorts, self._quantities, self._patterns, self._tops]
        bound: dict[ipywidgets.Widget, str | None] = dict(zip(controls, self.STATE, strict=False))
        self._start({**bound, self._all: None, self._groups: "group"}, self._card)
        self._all.on_click(lambda _: self.show_all())
        self.observe(lambda _: self._open(), "group")

    def _make_controls(self) -> None:
        effects = self._effects
        self._sorts = choice("sorted by", effects.sorts)
        self._quantities = choice("measured", effects.quantities)
        if len(effects.quantities) == 1:
            self._quantities.layout.display = "none"
        self._patterns = ipywidgets.Text(
            description="find", placeholder="part of a name, or *query*", continuous_update=True, layout=width(260)
        )
        self._tops = ipywidgets.BoundedIntText(
            description="top", min=0, max=10**6, layout=width(170), tooltip="How many groups are shown; 0 for all"
        )
        self._all = ipywidgets.Button(
            description="show all", layout={"width": "85px"}, tooltip="All groups, without a search"
        )
        names = apart([label(name, 60) for name in effects.groups])
        self._groups = choice("group", [("none", ""), *zip(names, effects.groups, strict=True)], pixels=420)
        self._card = CardBox(_INVITATION)
        self._show_card()

    # ---- the state

    @traitlets.validate("sort")
    def _valid_sort(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in self._effects.sorts:
            raise traitlets.TraitError(
                f"sort must be one of {', '.join(self._effects.sorts)}, got {proposal['value']!r}"
            )
        return str(proposal["value"])

    @traitlets.validate("quantity")
    def _valid_quantity(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in self._effects.quantities:
            raise traitlets.TraitError(
                f"quantity must be one of {', '.join(self._effects.quantities)}: of {proposal['value']!r} the table "
                "has no difference"
            )
        return str(proposal["value"])

    @traitlets.validate("group")
    def _valid_group(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] and proposal["value"] not in self._effects.groups:
            raise traitlets.TraitError(
                f"group must be one of the table's {len(self._effects.groups)}, such as {self._effects.groups[0]!r}; "
                f"got {proposal['value']!r}"
            )
        return str(proposal["value"])

    def show_all(self) -> None:
        """Show all groups: no search, and no top."""
        with self._lock:
            self.pattern, self.top = "", 0

    @property
    def tensors(self) -> list[str]:
        """Names of the tensors of the chosen group, as far as anything that was given says so."""
        return list(self._tensors.get(self.group, []))

    def _open(self) -> None:
        """Bring the explorer to the largest tensor of the chosen group that it can show."""
        with self._lock:
            explorer = self._explorer
            if explorer is None:
                return
            sizes = {name: tensor.entries for name, tensor in explorer.net.outlines.items() if tensor.reason is None}
            names = [name for name in self.tensors if name in sizes]
            if names:
                explorer.tensor = max(names, key=lambda name: sizes[name])

    # ---- what is shown

    def _read(self) -> None:
        ordered = self._effects.ordered(self.quantity, self.sort)
        fits = matcher(self.pattern)
        matching = ordered[[fits(str(name)) for name in ordered.index]]
        self._shown = matching.head(min(self.top or MOST_DRAWN, MOST_DRAWN))
        left_out = effect_words.hidden(len(self._shown), len(matching), len(ordered))
        self.caption = " ".join(
            effect_words.sentences(self._effects, self._shown, self.quantity, sort=self.sort, left_out=left_out)
        )

    def _show_card(self) -> None:
        if not self.group:
            self._card.show(None)
            return
        line: Any = self._effects.table(self.quantity).loc[self.group]
        text = effect_words.card(self._effects, self.group, line, quantity=self.quantity, tensors=self.tensors)
        self._card.show(text)

    @property
    def _names(self) -> list[str]:
        return [self._effects.names[str(name)] for name in self._shown.index]

    @property
    def _at(self) -> int | None:
        places = np.flatnonzero(self._shown.index == self.group)
        return int(places[0]) if len(places) else None

    @property
    def _block(self) -> figures.Block:
        panels = effect_panels.panels(self._effects, self._shown, self.quantity)
        return figures.Block(panels, self._names, self._at)

    def _figure(self) -> LayoutDOM:
        return figures.build(self._block, theme=self.colours)

    def _update(self, name: str) -> None:
        self._read()
        self._show_card()
        block = self._block
        if name != "group":
            for panel in block.panels:
                self.pane.patch(f"marks_{panel.name}", **figures.columns(panel, block.names))
        for model, properties in figures.redrawn(block).items():
            if name != "group" or model.startswith("chosen_"):
                self.pane.set(model, **properties)

    def _heard(self, event: dict[str, Any]) -> None:
        """A tap chooses the group of its line."""
        if event["kind"] != "tap":
            return
        with self._lock:
            at = round(event["y"])
            if 0 <= at < len(self._shown):
                self.group = str(self._shown.index[at])

    # ---- what can be asked

    def _reads(self) -> Mapping[str, Any]:
        return {"the table of effects": self._effects.source, "the subnetwork": self._effects.net}

    def _pages(self) -> tuple[str, list[tuple[LayoutDOM, str]]]:
        return f"Effects by {effect_words.by_words(self._effects)}", [self.page()]

    def code(self) -> str:
        """Write Python that makes this view as it is now.

        Returns:
            An expression of the table `ablation`, and `attribution` and `net` if they were given.
        """
        effects = self._effects
        given = ["ablation"]
        given += ["attribution=attribution"] if effects.attribution is not None else []
        given += ["net=net"] if effects.net is not None else []
        given += [f"by={effects.by!r}"] if effects.by != "place" else []
        given += ["explorer=explorer"] if self._explorer is not None else []
        return self._call(*given)

    def numbers(self) -> pd.DataFrame:
        """Give the numbers that the figure shows.

        Returns:
            One line a group that is shown (index), in the order of the figure: entries, share, then differences with
            _low, _high and _p_holm by way, control with its ends, and the columns of `ken.Attribution.table`.
        """
        with self._lock:
            return self._shown.copy()
