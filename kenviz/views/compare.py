"""CompareView: two subnetworks, what they have in common, and how much more that is than chance would give."""

from __future__ import annotations

import math
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from kenviz.figures import axes
from kenviz.figures import compare as figures
from kenviz.figures import overlap as masks
from kenviz.study.comparison import Comparison
from kenviz.study.study import Study
from kenviz.text.labels import label
from kenviz.tiles.tiles import Tiles
from kenviz.views.base import refusal
from kenviz.views.controls import choice, width
from kenviz.views.parts import PartView
from kenviz.views.tensors import picker

_NEAR = 0.05  # of the plot's width; half a kind in height


class CompareView(PartView):
    """Two subnetworks of one pretrained model, tensor by tensor, and the two masks of one tensor entry by entry.

    They may differ in rule, k, scope, seed, or in what they were fine-tuned for. Masks compare in any case, the shares
    of the update that they retain only where the update of both is known. measure, tensor, rows and columns are the
    state.

    Args:
        a: A subnetwork.
        b: Another.
        pair: The models of a.
        pair_b: Those of b, if it is of another fine-tuned model; by default its update is then unknown.
        measure: A column of `ken.retention.compare`, "update_share_difference", that of a less that of b, or "budget":
            the share that each retains of a tensor, where that is not the same for all tensors.
        tensor: Name of the tensor whose masks are shown; by default the first.
        rows: The part that is shown of them, (from, to) in entries; by default all. Zooming and panning set it, too.
        columns: The same of the columns.
        vectors: Whether vectors (biases, layer norms) are compared, too; by default only matrices, if there are any.
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: There is nothing to compare: no tensor that both have pruned, other shapes, other cuts into rows,
            another pretrained model, models that are not those of the subnetwork. The message names the tensor.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> view = CompareView(ken.prune(*pair, k=1), ken.prune(*pair, k=2), pair)
        >>> view.numbers()[["both", "jaccard"]].values.tolist()
        [[2.0, 0.5]]
        >>> view.tiles.exact
        True
        >>> print(view.code())
        kenviz.CompareView(a, b, pair, measure='jaccard', tensor='w', rows=(0.0, 2.0), columns=(0.0, 4.0))
    """

    STATE = ("measure", "tensor", "rows", "columns")
    NARROW = masks.NARROW

    measure = traitlets.Enum(list(figures.MEASURES), "jaccard", help="What the dots show.")
    tensor = traitlets.Unicode(help="Name of the tensor whose masks are shown.")

    def __init__(
        self,
        a: ken.Subnetwork,
        b: ken.Subnetwork,
        pair: PairOfModels | Study,
        pair_b: PairOfModels | None = None,
        measure: str = "jaccard",
        tensor: str | None = None,
        rows: tuple[float, float] | None = None,
        columns: tuple[float, float] | None = None,
        *,
        vectors: bool = False,
        theme: str = "auto",
    ) -> None:
        self._comparison = Comparison(a, b, pair, pair_b=pair_b, vectors=vectors)
        self._has_pair_b, self._vectors = pair_b is not None, vectors
        super().__init__(theme=theme, measure=measure)
        tensors = self._comparison.tensors
        self.set_trait("tensor", tensors[0] if tensor is None else self._comparison.check(tensor))
        self._open()
        self._assign(rows=rows, columns=columns)
        measures = [name for name in figures.MEASURES if name != figures.BUDGET or not self._comparison.flat]
        self._measures = choice("shown", [(figures.MEASURES[name].words, name) for name in measures], pixels=560)
        self._picker = picker("tensor", tensors)
        self._parts = {
            name: ipywidgets.IntRangeSlider(description=name, min=0, layout=width(360), continuous_update=False)
            for name in ("rows", "columns")
        }
        self._start(
            {self._measures: "measure", self._picker: "tensor", **dict.fromkeys(self._parts.values())},
        )
        for name, slider in self._parts.items():
            slider.observe(lambda change, name=name: self._slid(name, change["new"]), "value")

    # ---- the state

    @traitlets.validate("measure")
    def _valid_measure(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] == figures.BUDGET and self._comparison.flat:
            raise traitlets.TraitError(f"measure 'budget' would show two straight lines: {self._comparison.budgets}")
        return str(proposal["value"])

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        with refusal():
            return self._comparison.check(proposal["value"])

    @property
    def _shape(self) -> tuple[int, int]:
        return self._overlap.shape

    @property
    def tiles(self) -> Tiles:
        """The tiles that are shown now: shares of a, of b, and of what both retain."""
        return self._tiles

    def _open(self) -> None:
        self._overlap = self._comparison.overlap(self.tensor)
        super()._open()

    def _read(self) -> None:
        self._tiles = self._overlap.tiles(self.rows, self.columns)
        with self._syncing:
            for (name, slider), size in zip(self._parts.items(), self._shape, strict=True):
                low, high = getattr(self, name)
                slider.max = max(size, slider.value[1])
                slider.value = (max(0, math.floor(low)), min(size, math.ceil(high)))
                slider.max = size
        self._describe()

    # ---- words

    def _describe(self) -> None:
        table, shown = self._comparison.table, figures.MEASURES[self.measure]
        names = self._comparison.names
        defined = figures.values(table, self.measure).dropna()
        written = "{:.1%}".format if shown.percent else "{:,.1f}".format
        if len(defined):
            chance = figures.by_chance(table.loc[defined.index], self.measure)
            spread = _span(written(defined.min()), written(defined.max()))
            if not np.isnan(chance).all():
                meaning = shown.meaning.replace("each row", "each tensor" if self._comparison.by_tensor else "each row")
                spread += f"; chance ({meaning}) would give {_span(written(chance.min()), written(chance.max()))}"
            spread = ", beside that of an even spread" if self.measure == figures.BUDGET else f": {spread}"
        else:
            spread = ": not known" if self.measure.startswith("update") else ": not defined"
        line = table.loc[self.tensor]
        by_chance = "the same draw" if self._comparison.same_draw else f"by chance {line['both_expected']:,.0f}"
        self.caption = " ".join(
            filter(
                None,
                [
                    f"Two subnetworks: a is {names[0]}; b is {names[1]}.",
                    self._comparison.alike,
                    f"In {_counted(len(table), 'tensor')}, {shown.words}{spread}.",
                    self._comparison.budgets,
                    self._left_out(),
                    self._whose_update(),
                    f"Masks of {label(self.tensor)}: a retains {line['retained_a']:,}, b {line['retained_b']:,} of "
                    f"{line['paired']:,} entries, both {line['both']:,} ({by_chance}).",
                    f"Shown: {masks.note(self._tiles).replace(chr(10), '; ')}.",
                ],
            )
        )

    def _left_out(self) -> str:
        vectors, single = self._comparison.vectors_left_out, self._comparison.in_one_only
        words = [_counted(vectors, "vector")] * bool(vectors)
        words += [f"{_counted(single, 'tensor')} that only one of the two has pruned"] * bool(single)
        return f"Left out: {' and '.join(words)}." if words else ""

    def _whose_update(self) -> str:
        if self._comparison.one_task:
            return ""
        if self._comparison.update_b:
            return "The two are of different fine-tuned models: shares of the update are of each one's own."
        return (
            "The two are of different fine-tuned models: masks can be compared, but how much b retains of its own "
            "update is only known with its models, pair_b."
        )

    # ---- what changes

    def _update(self, name: str) -> None:
        if name == "measure":
            self._draw_measure()
            self._describe()
            return
        if name == "tensor":
            with self._settling:
                self._open()
            self._draw_another(self.tensor)
            self._draw_ring(figures.columns(self._comparison.table, self.measure))
        else:
            self._draw_range(name)
        self._read()
        self.pane.patch("tiles", **masks.columns(self._tiles))
        self.pane.set("note", text=masks.note(self._tiles, self._remark))

    def _draw_measure(self) -> None:
        data = figures.columns(self._comparison.table, self.measure)
        low, high = figures.limits(data, self.measure)
        self.pane.set("values", start=low, end=high, reset_start=low, reset_end=high)
        self.pane.set("unit", args={"percent": figures.MEASURES[self.measure].percent})
        for name, visible in figures.legend_shown(self.measure).items():
            self.pane.set(name, visible=visible)
        self.pane.set("title", text=figures.title(self._comparison.table, self.measure))
        self.pane.patch("dots", **data)
        self._draw_ring(data)

    def _draw_ring(self, data: dict[str, Any]) -> None:
        self.pane.patch("ring", **figures.ring(data, self._at()))

    @property
    def _remark(self) -> str:
        return figures.ONE_DRAW if self._comparison.same_draw else ""

    def _at(self) -> int:
        return self._comparison.tensors.index(self.tensor)

    # ---- what the user does

    def _tapped(self, event: dict[str, Any]) -> None:
        """A tap on the plot of dots chooses the tensor of the nearest."""
        if event["figure"] == "dots":
            data = figures.columns(self._comparison.table, self.measure)
            shown: Any = self.figure.select_one({"name": "values"})
            # In parts of the plot's width, and in kinds: a dot is pressed if it is near in both.
            aside = np.fmin(abs(data["value"] - event["x"]), abs(data["second"] - event["x"]))
            across = aside / (shown.end - shown.start)
            far = np.nan_to_num(np.hypot(across, 0.1 * (data["y"] - event["y"])), nan=np.inf)
            if far.min() < _NEAR:
                self.tensor = self._comparison.tensors[int(far.argmin())]

    def _slid(self, name: str, part: tuple[int, int]) -> None:
        with self._lock:
            if not self._syncing and part[0] < part[1]:
                self.set_trait(name, (float(part[0]), float(part[1])))

    # ---- ways out

    def _reads(self) -> dict[str, Any]:
        return self._comparison.reads()

    def _figure(self) -> LayoutDOM:
        ranges = axes.ranges(self._shape, self.rows, self.columns)
        plots = masks.build(self._tiles, ranges, self.tensor, remark=self._remark)
        return figures.build(self._comparison.table, self.measure, at=self._at(), theme=self.colours, masks=plots)

    def code(self) -> str:
        """Write the Python that makes this view as it is now.

        Returns:
            One expression, of subnetworks `a` and `b`, a pair `pair`, and `pair_b`, if one was given.
        """
        pairs = ["pair", "pair_b"] if self._has_pair_b else ["pair"]
        return self._call("a", "b", *pairs, **({"vectors": True} if self._vectors else {}))

    def numbers(self) -> pd.DataFrame:
        """Give all measures of all tensors that are compared.

        Returns:
            One line a tensor: the columns of `ken.retention.compare`, update_share_difference, share_a and share_b (of
            the compared entries).
        """
        return self._comparison.table.copy()


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
