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
from kenviz.views.parts import PartView
from kenviz.views.tensors import options

_WIDE = {"width": "min(560px, 100%)"}
_NEAR = 0.05  # of the plot's width; half a kind in height


class CompareView(PartView):
    """Two subnetworks of one pretrained model, tensor by tensor, and the two masks of one tensor entry by entry.

    a and b may differ in rule, k, seed, or in what they were fine-tuned for. Masks compare in any case, and the update
    that they retain if both are of `pair`; if b is of another fine-tuned model, give its models as pair_b.

    measure, tensor, rows and columns are the state. measure is a column of `ken.retention.compare` or
    update_share_difference (that of a less that of b); tensor the one whose masks are shown; rows and columns the part
    of them, (from, to) in entries. Vectors are left out unless vectors=True.

    Raises `ValueError` if there is nothing to compare, naming the tensor; see `Comparison`.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> view = CompareView(ken.prune(*pair, k=1), ken.prune(*pair, k=2), pair)
    >>> view.numbers()[["both", "jaccard"]].values.tolist()
    [[2.0, 0.5]]
    >>> view.tiles.exact
    True
    """

    STATE = ("measure", "tensor", "rows", "columns")

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
        self._of = Comparison(a, b, pair, pair_b, vectors=vectors)
        self._given_pair_b, self._vectors = pair_b is not None, vectors
        self._measures = ipywidgets.Dropdown(
            options=[(of.words, name) for name, of in figures.MEASURES.items()], description="shown", layout=_WIDE
        )
        self._picker = ipywidgets.Dropdown(options=options(self._of.tensors), description="tensor", layout=_WIDE)
        self._parts = {
            name: ipywidgets.IntRangeSlider(
                description=name, min=0, layout={"width": "min(360px, 100%)"}, continuous_update=False
            )
            for name in ("rows", "columns")
        }
        super().__init__(theme=theme, measure=measure)
        self._choose(self._of.tensors[0] if tensor is None else self._of.check(tensor))
        for name, part in (("rows", rows), ("columns", columns)):
            if part is not None:
                self.set_trait(name, part)
        self._read()
        self._start([self._measures, self._picker, *self._parts.values()], self._figure())
        self._bind(self._measures, "measure")
        self._bind(self._picker, "tensor")
        for name, slider in self._parts.items():
            slider.observe(lambda change, name=name: self._slid(name, change["new"]), "value")

    # ---- the state

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        try:
            return self._of.check(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None

    @property
    def _shape(self) -> tuple[int, int]:
        return self._overlap.shape

    @property
    def tiles(self) -> Tiles:
        """The tiles that are shown now: shares of a, of b, and of what both retain."""
        return self._tiles

    def _choose(self, tensor: str) -> None:
        """Show a tensor whole."""
        self._overlap = self._of.overlap(tensor)
        with self.hold_trait_notifications():
            self.set_trait("tensor", tensor)
            self._widen()

    def _read(self) -> None:
        self._tiles = self._overlap.tiles(self.rows, self.columns)
        with self._sync():
            for (name, slider), size in zip(self._parts.items(), self._shape, strict=True):
                low, high = getattr(self, name)
                slider.max = max(size, slider.value[1])
                slider.value = (max(0, math.floor(low)), min(size, math.ceil(high)))
                slider.max = size
        self._describe()

    # ---- words

    def _describe(self) -> None:
        table, of = self._of.table, figures.MEASURES[self.measure]
        names = self._of.names
        known = table[self.measure].dropna()
        written = "{:.1%}".format if of.percent else "{:,.1f}".format
        if len(known):
            chance = figures.by_chance(table.loc[known.index], self.measure)
            spread = _span(written(known.min()), written(known.max()))
            if not np.isnan(chance).all():
                spread += f"; chance ({of.meaning}) would give {_span(written(chance.min()), written(chance.max()))}"
        else:
            spread = "not known" if self.measure.startswith("update") else "not defined"
        line = table.loc[self.tensor]
        by_chance = "the same draw" if self._of.same_draw else f"by chance {line['both_expected']:,.0f}"
        self.caption = " ".join(
            filter(
                None,
                [
                    f"Two subnetworks: a is {names[0]}; b is {names[1]}.",
                    self._of.alike,
                    f"In {_counted(len(table), 'tensor')}, {of.words}: {spread}.",
                    self._left_out(),
                    self._whose_update(),
                    f"Masks of {label(self.tensor)}: a retains {line['retained_a']:,}, b {line['retained_b']:,} of "
                    f"{line['paired']:,} entries, both {line['both']:,} ({by_chance}).",
                    f"Shown: {masks.note(self._tiles).replace(chr(10), '; ')}.",
                ],
            )
        )

    def _left_out(self) -> str:
        vectors, single = self._of.vectors_left_out, self._of.in_one_only
        told = [_counted(vectors, "vector")] * bool(vectors)
        told += [f"{_counted(single, 'tensor')} that only one of the two has pruned"] * bool(single)
        return f"Left out: {' and '.join(told)}." if told else ""

    def _whose_update(self) -> str:
        if self._of.one_task:
            return ""
        if self._of.update_b:
            return "The two are of different fine-tuned models: shares of the update are of each one's own."
        return (
            "The two are of different fine-tuned models: masks can be compared, but how much b retains of its own "
            "update is only known with its models, pair_b."
        )

    # ---- what changes

    @traitlets.observe("measure")
    def _measured(self, _: object) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock, self.pane.hold():
            data = figures.columns(self._of.table, self.measure)
            low, high = figures.limits(data, self.measure)
            self.pane.set("values", start=low, end=high, reset_start=low, reset_end=high)
            self.pane.set("unit", args={"percent": figures.MEASURES[self.measure].percent})
            self.pane.set("title", text=figures.title(self._of.table, self.measure))
            self.pane.patch("dots", **data)
            self.pane.patch("ring", **figures.ring(data, self._at()))
            self._describe()

    @traitlets.observe("tensor")
    def _changed(self, _: object) -> None:
        if not hasattr(self, "pane"):
            return
        with self._lock, self.pane.hold():
            with self._sync():
                self._choose(self.tensor)
            self._bound_ranges()
            self._draw_range("rows")
            self._draw_range("columns")
            self.pane.set("name", text=label(self.tensor, masks.NARROW))
            data = figures.columns(self._of.table, self.measure)
            self.pane.patch("ring", **figures.ring(data, self._at()))
            self._redraw()

    @traitlets.observe("rows", "columns")
    def _moved(self, change: dict[str, Any]) -> None:
        if not hasattr(self, "pane") or self._syncing:  # another tensor sets both, and draws once
            return
        with self._lock, self.pane.hold():
            self._draw_range(change["name"])
            self._redraw()

    def _redraw(self) -> None:
        self._read()
        self.pane.patch("tiles", **masks.columns(self._tiles))
        self.pane.set("note", text=masks.note(self._tiles, self._remark))

    @property
    def _remark(self) -> str:
        return figures.ONE_DRAW if self._of.same_draw else ""

    def _at(self) -> int:
        return self._of.tensors.index(self.tensor)

    # ---- what the user does

    def _listen(self) -> None:
        self.pane.on_event(self._heard)

    def _heard(self, event: dict[str, Any]) -> None:
        """A moved range shows another part; a tap on the plot of dots chooses the tensor of the nearest."""
        with self._lock:
            if event["kind"] == "range" and event["name"] in ("rows", "columns"):
                self.set_trait(event["name"], (float(event["start"]), float(event["end"])))
            elif event["kind"] == "tap" and event["figure"] == "dots":
                data = figures.columns(self._of.table, self.measure)
                shown: Any = self.figure.select_one({"name": "values"})
                # In parts of the plot's width, and in kinds: a dot is pressed if it is near in both.
                across = (data["value"] - event["x"]) / (shown.end - shown.start)
                far = np.nan_to_num(np.hypot(across, 0.1 * (data["y"] - event["y"])), nan=np.inf)
                if far.min() < _NEAR:
                    self.tensor = self._of.tensors[int(far.argmin())]

    def _slid(self, name: str, part: tuple[int, int]) -> None:
        with self._lock:
            if not self._syncing and part[0] < part[1]:
                self.set_trait(name, (float(part[0]), float(part[1])))

    # ---- ways out

    def _reads(self) -> dict[str, Any]:
        return self._of.reads()

    def _figure(self) -> LayoutDOM:
        ranges = axes.ranges(self._shape, self.rows, self.columns)
        plots = masks.build(self._tiles, ranges, self.tensor, remark=self._remark)
        return figures.build(self._of.table, self.measure, self._at(), self.colours, plots)

    def code(self) -> str:
        """Python that makes this view as it is now, of subnetworks `a` and `b`, a pair `pair`, and `pair_b`, if any."""
        given = "a, b, pair" + (", pair_b" if self._given_pair_b else "")
        told = "".join(f", {name}={value!r}" for name, value in self.state.items())
        return f"kenviz.CompareView({given}{told}{', vectors=True' if self._vectors else ''})"

    def numbers(self) -> pd.DataFrame:
        """One line a tensor: the columns of `ken.retention.compare`, and update_share_difference."""
        return self._of.table.copy()


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
