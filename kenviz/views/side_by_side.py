"""SideBySideView: one matrix under several subnetworks of the same models, on one scale and with linked zoom."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from kenviz.figures import layers as figures
from kenviz.figures import matrix_text
from kenviz.study import contenders
from kenviz.study.contenders import Shared, shared_entries
from kenviz.study.quantities import QUANTITIES
from kenviz.study.study import Study
from kenviz.text.labels import label, visible
from kenviz.views.base import refusal
from kenviz.views.controls import choice, rest_button
from kenviz.views.matrix_base import MatrixState
from kenviz.views.parts import numbers
from kenviz.views.tensors import picker

#: No other rule is shown.
_NONE = ""
#: As many subnetworks as can be told apart beside each other; the chosen rule comes after them.
MOST = 6


class SideBySideView(MatrixState):
    """The same matrix as several subnetworks retain it, side by side; zooming into one zooms into all.

    rule adds what another rule would retain, with the settings of the first subnetwork: only the tensor that is looked
    at is decided. Of each beside the first it is said how many entries both retain, and how many two random masks with
    as many entries in each row would. The arguments from tensor on are the state: they are traits, which can be
    assigned to, and which the controls move.

    Args:
        nets: Subnetworks of one pair, by name; or a list of them, which are then called by rule and k. The first is
            what the others are compared with.
        pair: The models they are of. Without them there are only masks, and no other rule.
        tensor: Name of the pruned tensor; by default the first.
        rule: Another rule that is shown beside them; empty for none.
        show: "mask", or "retained" for the values that are retained.
        rows: The part that is shown, (from, to) in entries; by default all.
        columns: The same of the columns.
        clip: The quantile at which the scale ends, as for `MatrixView`.
        entry: (row, column) that is marked in each, None for none.
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: There is no subnetwork, or more than six; or they are not of these models, or cut a tensor into
            other rows than the first.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> view = SideBySideView([ken.prune(*pair, k=2)], pair, rule="update")
        >>> view.names
        ['ken, k = 2', 'update, k = 2']
        >>> view.shared["update, k = 2"]
        Shared(a=4, b=4, both=2, by_chance=2.0)
        >>> view.numbers().loc["update, k = 2"].values.tolist()
        [[0, 0, 100, 100], [0, 0, 100, 100]]
        >>> print(view.code().partition(", show")[0])
        kenviz.SideBySideView(nets, pair, tensor='w', rule='update'
    """

    STATE = ("tensor", "rule", "show", "rows", "columns", "clip", "entry")
    TILED = ("tensor", "rule", "show", "rows", "columns", "clip")
    MOST_TILES, MOST_MARKS = 200, figures.MOST_MARKS
    SHOWS = ("mask", "retained")

    tensor = traitlets.Unicode(help="Name of the tensor.")
    rule = traitlets.Unicode(help="Another rule that is shown beside the subnetworks; empty for none.")

    def __init__(
        self,
        nets: Mapping[str, ken.Subnetwork] | Sequence[ken.Subnetwork],
        pair: PairOfModels | Study | None = None,
        tensor: str | None = None,
        *,
        rule: str = _NONE,
        show: str = "mask",
        rows: tuple[float, float] | None = None,
        columns: tuple[float, float] | None = None,
        clip: float = 0.99,
        entry: tuple[int, int] | None = None,
        theme: str = "auto",
    ) -> None:
        named = contenders.named(nets)
        if not 1 <= len(named) <= MOST:
            raise ValueError(f"side by side there is room for 1 to {MOST} subnetworks, got {len(named)}")
        first = Study.open(next(iter(named.values())), pair)
        super().__init__(first.net, first, theme=theme)
        self._studies = contenders.studies(named, first)
        self._ruled: dict[str, Study] = {}
        self._shared: dict[tuple[str, str, int], Shared] = {}
        self.set_trait("tensor", first.check(next(iter(first.tensors), "") if tensor is None else tensor))
        self._open()
        self._assign(rule=rule, show=show, rows=rows, columns=columns, clip=clip, entry=entry)
        self._rules = choice(
            "beside", [("no other rule", _NONE), *((name, name) for name in contenders.other_rules(first))]
        )
        self._rules.disabled = first.pair is None
        self._picker = picker("tensor", first.tensors)
        self._picker.add_class("kenviz-picker-beside")
        self._rest = rest_button(self.decide)
        self._start({self._picker: "tensor", self._rules: "rule", self._rest: None})

    # ---- the state

    @property
    def shown(self) -> dict[str, Study]:
        """What is looked at, by name: the subnetworks, and what the chosen rule would retain."""
        if not self.rule:
            return self._studies
        if self.rule not in self._ruled:
            self._ruled[self.rule] = contenders.ruled(self._study, self.rule)
        study = self._ruled[self.rule]
        name = contenders.called(study.net)
        return {**self._studies, (f"{name}, once more" if name in self._studies else name): study}

    @property
    def names(self) -> list[str]:
        """What the matrices that are shown are called, in their order."""
        return [name for name, study in self.shown.items() if self.tensor in study.tensors]

    @property
    def shared(self) -> dict[str, Shared]:
        """What each beside the first shares with it of this tensor, or of the rows that are decided, by name."""
        every = self._rows_apart()
        for name in self.names[1:]:
            if (self.tensor, name, every) not in self._shared:
                counted = shared_entries(self._study, self.shown[name], self.tensor, every=every)
                self._shared[self.tensor, name, every] = counted
        return {name: self._shared[self.tensor, name, every] for name in self.names[1:]}

    def _rows_apart(self) -> int:
        return max(study.sampled(tensor) for study, tensor in self._matrices)

    def decide(self) -> None:
        """Decide every row in each, where a first look (`every`) has left some out: all that is shown is exact.

        Example:
            ```python
            explorer = kenviz.explore(pair, k=0.5)
            explorer.compare("update").decide()
            ```
        """
        with self._lock:
            for study, tensor in self._matrices:
                study.decide(tensor)
            self._draw()

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        with refusal():
            return self._study.check(proposal["value"])

    @traitlets.validate("rule")
    def _valid_rule(self, proposal: dict[str, Any]) -> str:
        with refusal():
            return contenders.check_rule(self._study, proposal["value"])

    @property
    def _shape(self) -> tuple[int, int]:
        return self._study.shape(self.tensor)

    @property
    def _names(self) -> list[str]:
        return [self.tensor]

    @property
    def _matrices(self) -> list[tuple[Study, str]]:
        return [(self.shown[name], self.tensor) for name in self.names]

    # ---- from the state to what is shown

    def _tell(self) -> None:
        rows, n = self._shape
        sentences = [
            f"{QUANTITIES[self.show].words} of {label(self.tensor)} under {', '.join(map(visible, self.names))}: "
            f"{rows:,} rows × {n:,} columns; {matrix_text.resolution(self._place, self.show)}",
            matrix_text.sampled(self.every),
            *(self._in_common(name, counts) for name, counts in self.shared.items()),
            matrix_text.beyond(self._tiles, show=self.show, clip=self.clip, most_marks=self.MOST_MARKS),
        ]
        if absent := [visible(name) for name in self.shown if name not in self.names]:
            sentences.append(f"Not pruned, and so not shown, in {', '.join(absent)}.")
        if self.entry is not None:
            sentences.append(f"Marked: the entry in row {self.entry[0]:,}, column {self.entry[1]:,}.")
        self.caption = " ".join(filter(None, sentences))
        self._rest.layout.display = "none" if self.every == 1 else None

    def _in_common(self, name: str, counts: Shared) -> str:
        first, other = self._study.net, self.shown[name].net
        if ken.retention.same_draw(first, other):
            return f"{visible(name)} is the same draw as the first: what they share is no finding."
        return (
            f"{visible(name)} retains {counts.b:,} entries, {counts.both:,} of them with {visible(self.names[0])} "
            f"(by chance {counts.by_chance:,.0f}); Jaccard {counts.jaccard:.3f}."
        )

    def _slots(self) -> list[figures.Slot]:
        entries = -(-self._shape[0] // self.every) * self._shape[1]
        slots = []
        for name, tiles in zip(self.names, self._tiles, strict=True):
            kept = f"{self.shown[name].tensor(self.tensor).retained / math.prod(self._shape):.1%} retained"
            counts = self.shared.get(name)
            # In lines, so that there is room in a narrow window, too.
            both = (
                f"\n{counts.both / entries:.1%} by both, {counts.by_chance / entries:.1%} by chance" if counts else "\n"
            )
            slots.append(figures.Slot(tiles, f"{label(name, 34)}\n{kept}{both}"))
        return slots + [figures.Slot(figures.NOTHING, "")] * (len(self._studies) + 1 - len(slots))

    def _lines(self) -> str:
        rows, n = self._shape
        return "\n".join(
            [
                f"{QUANTITIES[self.show].title}; {matrix_text.tile_in_words(self._place, self.show)}",
                f"{rows:,} × {n:,}",
                matrix_text.colours(self._tiles[0], self.show, self.clip) + matrix_text.sampled_in_words(self.every),
            ]
        )

    def _sources(self) -> dict[str, dict[str, Any]]:
        return figures.sources([slot.tiles for slot in self._slots()])

    def _draw_more(self, tiled: bool, other: bool) -> None:
        if tiled:
            for i, slot in enumerate(self._slots()):
                self.pane.set(f"title_{i}", text=slot.title)
                self.pane.set(f"layer_{i}", visible=bool(slot.title))

    def _figure(self) -> LayoutDOM:
        return figures.build(self._slots(), **self._drawn_as(self.tensor))

    def _tapped(self, event: dict[str, Any]) -> None:
        if str(event["figure"]).startswith("layer_"):
            self.entry = self._at(event) or self.entry

    # ---- ways out

    def code(self) -> str:
        """Write the Python that makes this view as it is now.

        Returns:
            One expression, of subnetworks by name `nets`, and a pair `pair`.
        """
        return self._call("nets", "pair")

    def numbers(self) -> pd.DataFrame:
        """Give the tiles that are shown.

        Returns:
            Percent retained (mask) or mean values, indexed by subnetwork and first row; columns by first column.
        """
        with self._lock:
            return pd.concat(dict(zip(self.names, map(numbers, self._tiles), strict=True)), names=["subnetwork"])
