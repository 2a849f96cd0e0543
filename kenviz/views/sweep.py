"""SweepView: what pruning costs, rule by rule, against the share that is retained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from bokeh.models import Plot

from kenviz.figures import sweep as figures
from kenviz.study.sweep_data import QUANTITIES, Series, Sweep, in_words
from kenviz.text.labels import apart, label
from kenviz.views import sweep_text
from kenviz.views.base import View
from kenviz.views.cards import CardBox
from kenviz.views.sweep_text import Point

_NARROW = {"width": "min(260px, 100%)"}
_NEAR = 0.06  # of the plot's width or height
_INVITATION = "Tap a mark, or choose an evaluation, to read what it is and how to make that subnetwork."


class SweepView(View):
    """A metric against the share of entries retained, one line a rule, of a table of `ken.sweep` or a results file.

    The line goes through the mean over seeds, with all evaluations as smaller marks and the band they span; bars are
    ± 1 standard error. The fine-tuned and the pretrained model are levels, with a band of ± 1 standard error, too.

    metric, quantity, scale, shown and point are the state, which can be assigned to and moved with the controls.

    Args:
        table: The table of `ken.sweep` or `ken.results.read`, or the path of one as CSV or of a results file.
        metric: "metric", or any other column of numbers. Add a column to the table, and it can be shown; one of its
            name with "_error" behind it is its standard error.
        quantity: "metric", or "difference" from the fine-tuned model.
        scale: Of the shares, "linear" or "log".
        shown: The series that are shown, (rule, on) each; the name of a rule stands for all of its series. By default
            all of them.
        point: The evaluation that is described, (rule, on, k, seed), or () for none.
        theme: The colours, "auto" (as the page), "light" or "dark".

    Raises:
        ValueError: The table is no sweep; it says which column is missing or wrong.
        ResultsError: The file holds no results.
        TraitError: A part of the state is not in the table.

    Example:
        >>> table = pd.DataFrame({"model": ["fine-tuned", "pruned", "pruned"], "rule": ["", "ken", "ken"], "seed": -1,
        ...                       "on": ["", "weights", "weights"], "k": [np.nan, 0.5, 0.25],
        ...                       "share": [1, 0.5, 0.25], "metric": [9, 8, 4]})
        >>> view = SweepView(table, quantity="difference", point=("ken", "weights", 0.5, -1))
        >>> view.numbers()["mean"].tolist()
        [-5.0, -1.0]
        >>> view.python
        "ken.prune(pair.fine_tuned, pair.pretrained, 0.5, 'ken')"
    """

    STATE = ("metric", "quantity", "scale", "shown", "point")

    metric = traitlets.Unicode("metric", help="Column of the table that is shown.")
    quantity = traitlets.Enum(
        QUANTITIES, "metric", help="The metric itself, or its difference from the unpruned model."
    )
    scale = traitlets.Enum(figures.SCALES, "linear", help="Scale of the shares.")
    shown = traitlets.Tuple(help="The series that are shown, (rule, on) each.")
    point = traitlets.Tuple(help="The evaluation that is described: (rule, on, k, seed), or () for none.")

    def __init__(
        self,
        table: pd.DataFrame | str | Path,
        metric: str = "metric",
        quantity: str = "metric",
        scale: str = "linear",
        shown: tuple[Series | str, ...] | None = None,
        point: Point = (),
        *,
        theme: str = "auto",
    ) -> None:
        self._sweep = Sweep(table)
        self._make_controls()
        super().__init__(theme=theme)
        self.set_trait("metric", metric)
        self.set_trait("quantity", quantity)
        self.set_trait("scale", scale)
        self.set_trait("shown", tuple(self._sweep.series) if shown is None else tuple(shown))
        self.set_trait("point", tuple(point))
        controls = [self._metrics, self._quantities, self._scales, self._rules, self._points]
        self._start(dict(zip(controls, self.STATE, strict=True)), self._card)

    def _make_controls(self) -> None:
        sweep = self._sweep
        self._metrics = ipywidgets.Dropdown(
            options=[(label(name, 40), name) for name in sweep.metrics],
            description="metric",
            layout=_NARROW | ({} if len(sweep.metrics) > 1 else {"display": "none"}),
        )
        self._quantities = ipywidgets.Dropdown(
            options=[("itself", "metric"), ("less that of the unpruned", "difference")],
            description="value",
            layout={"width": "min(320px, 100%)"} | ({} if sweep.base is not None else {"display": "none"}),
        )
        self._scales = ipywidgets.Dropdown(options=list(figures.SCALES), description="shares", layout=_NARROW)
        self._rules = ipywidgets.SelectMultiple(
            options=[(name, series) for series, name in sweep.names.items()],
            description="rules",
            rows=min(6, len(sweep.series)),
            layout={"width": "min(420px, 100%)"},
            tooltip="Several at once: hold Ctrl or Shift",
        )
        self._points = ipywidgets.Dropdown(
            options=[("none", ()), *self._evaluations()], description="evaluation", layout={"width": "min(420px, 100%)"}
        )
        self._card = CardBox(_INVITATION)

    def _evaluations(self) -> list[tuple[str, Point]]:
        points = list({repr(point): point for point in self._pruned()}.values())  # a k may be a mapping
        words = [
            f"{self._sweep.names[rule, on, *scope]}, k = {in_words(k)}" + (f", seed {seed}" if seed != -1 else "")
            for rule, on, k, seed, *scope in points
        ]
        return list(zip(apart(words), points, strict=True))

    def _pruned(self) -> list[Point]:
        """The evaluations of pruned models, in the order of the table."""
        table = self._sweep.pruned
        lines = zip(self._sweep.series_of_lines, table["k"], table["seed"], strict=True)
        return [(rule, on, k, seed, *scope) for (rule, on, *scope), k, seed in lines]

    # ---- the state

    @traitlets.validate("metric")
    def _valid_metric(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in self._sweep.metrics:
            known = ", ".join(map(repr, self._sweep.metrics))
            raise traitlets.TraitError(f"metric must be one of {known}, got {proposal['value']!r}")
        return str(proposal["value"])

    @traitlets.validate("quantity")
    def _valid_quantity(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] == "difference" and self._sweep.base is None:
            raise traitlets.TraitError("the table has no line of the fine-tuned model, to which to tell a difference")
        return str(proposal["value"])

    @traitlets.validate("shown")
    def _valid_shown(self, proposal: dict[str, Any]) -> tuple[Series, ...]:
        series = self._sweep.series
        wanted: set[Series] = set()
        for one in proposal["value"]:
            matches = [other for other in series if one in (other[0], other)]
            if not matches:
                choices = ", ".join(map(repr, series[:5])) + (", …" if len(series) > 5 else "")
                raise traitlets.TraitError(f"shown must be of the table's {len(series)} series, {choices}; got {one!r}")
            wanted |= set(matches)
        return tuple(one for one in series if one in wanted)

    @traitlets.validate("point")
    def _valid_point(self, proposal: dict[str, Any]) -> Point:
        if proposal["value"] and self._at(proposal["value"]) is None:
            raise traitlets.TraitError(
                "point must be (rule, on, k, seed), and the scope if it is not the row, of an evaluation in the table, "
                f"got {proposal['value']!r}"
            )
        return tuple(proposal["value"])

    def _at(self, point: Point) -> int | None:
        """The line of an evaluation, among those of pruned models; 1 entry is not 1.0, all of them."""
        return next((i for i, other in enumerate(self._pruned()) if repr(other) == repr(tuple(point))), None)

    def _update(self, name: str) -> None:
        self._read()
        self.pane.patch("ring", **self._ring())
        if name != "point":
            self._redraw()

    # ---- what is shown

    def _read(self) -> None:
        sweep, metric, quantity = self._sweep, self.metric, self.quantity
        self._lines = sweep.lines(metric, quantity, self.shown)
        self._single = sweep.evaluations(metric, quantity)
        self._levels = {model: sweep.level(model, metric, quantity) for model in figures.LEVELS}
        self._data = figures.columns(self._lines, self._single, sweep.names, scale=self.scale)
        self._ends = figures.extent(self._data, self._levels, sweep.pruned["share"], scale=self.scale)
        at = self._at(self.point) if self.point else None
        self._card.show(None if at is None else sweep_text.evaluation(sweep, metric, self.point, at=at))
        levels = list(self._levels.values())
        self.caption = sweep_text.caption(sweep, self._axis, self._lines, levels=levels, shown=self.shown)

    @property
    def python(self) -> str:
        """The line that makes the subnetwork of the point; empty if there is none."""
        return sweep_text.python(self.point)

    @property
    def _axis(self) -> str:
        return sweep_text.axis(self.metric, self.quantity)

    def _ring(self) -> dict[str, Any]:
        at = self._at(self.point) if self.point else None
        if at is None or (*self.point[:2], *self.point[4:]) not in self.shown:
            return {"x": np.empty(0), "y": np.empty(0)}
        line = self._single.iloc[at]
        return {"x": np.array([figures.position(line["share"], self.scale)]), "y": np.array([line["value"]])}

    def _reads(self) -> dict[str, Any]:
        return {"the file of results": self._sweep.source}

    def _figure(self) -> Plot:
        return figures.build(
            self._data,
            self._ends,
            self._levels,
            names=list(self._sweep.names.values()),
            shown=[series in self.shown for series in self._sweep.series],
            scale=self.scale,
            words=self._axis,
            ring=self._ring(),
            theme=self.colours,
        )

    def _redraw(self) -> None:
        for source, columns in self._data.items():
            self.pane.patch(source, **columns)
        for name, (start, end) in self._ends.items():
            self.pane.set(name, start=start, end=end, reset_start=start, reset_end=end)
        marks = figures.ticks(self._ends["shares"], self.scale)
        self.pane.set("share_ticks", ticks=list(marks))
        self.pane.set("share_axis", major_label_overrides=marks)
        self.pane.set("value_axis", axis_label=self._axis)
        for name, properties in figures.levels_drawn(self._levels).items():
            self.pane.set(name, **properties)
        for at, series in enumerate(self._sweep.series):
            self.pane.set(f"series_{at}", visible=series in self.shown)

    # ---- what the user does

    def _heard(self, event: dict[str, Any]) -> None:
        """A tap chooses the nearest evaluation of those that are shown; one on empty ground chooses none."""
        if event["kind"] != "tap" or event["figure"] != "sweep":
            return
        with self._lock:
            plot: Any = self.figure
            wide, high = (abs(axis.end - axis.start) for axis in (plot.x_range, plot.y_range))
            shown = [series in self.shown for series in self._sweep.series_of_lines]
            x = figures.position(self._single["share"], self.scale)
            far = np.hypot((x - event["x"]) / wide, (self._single["value"] - event["y"]) / high)
            far = np.where(np.asarray(shown) & np.isfinite(far), far, np.inf)
            self.point = self._pruned()[int(far.argmin())] if far.min() < _NEAR else ()

    def code(self) -> str:
        """Write Python that makes this view as it is now.

        Returns:
            An expression in which `table` is the table of the sweep.

        Example:
            >>> line = {"model": "pruned", "rule": "ken", "on": "weights", "k": 0.5, "seed": -1}
            >>> SweepView(pd.DataFrame([line | {"share": 0.5, "metric": 9}])).code()[:44]
            "kenviz.SweepView(table, metric='metric', qua"
        """
        arguments = "".join(f", {name}={value!r}" for name, value in self.state.items())
        return f"kenviz.SweepView(table{arguments})"

    def numbers(self) -> pd.DataFrame:
        """Give the numbers that the figure shows.

        Returns:
            One line for each rule, on, k and scope that is shown: rule, on, k, share, seeds (how many evaluations),
            mean, lowest, highest, error (standard error, NaN if unknown), scope.

        Example:
            >>> line = {"model": "pruned", "rule": "ken", "on": "weights", "k": 0.5, "seed": -1}
            >>> SweepView(pd.DataFrame([line | {"share": 0.5, "metric": 9}])).numbers()["mean"].tolist()
            [9.0]
        """
        with self._lock:
            return self._lines.copy()
