"""SweepView: what pruning costs, rule by rule and scope by scope, against what is retained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pandas as pd
import traitlets
from bokeh.models import Plot

from kenviz.figures import sweep as figures
from kenviz.figures.budget_axis import BUDGETS, SCALES, position, ticks
from kenviz.study.sweep_data import QUANTITIES, Series, Sweep, in_words, series_of, whole
from kenviz.text.labels import apart, label
from kenviz.views import sweep_text
from kenviz.views.base import View
from kenviz.views.cards import CardBox
from kenviz.views.sweep_text import Point

_NARROW = {"width": "min(260px, 100%)"}
_NEAR = 0.06  # of the plot's width or height
_INVITATION = "Tap a mark, or choose an evaluation, to read what it is and how to make that subnetwork."


class SweepView(View):
    """A metric against what is retained, one line a rule and scope, of a table of `ken.sweep` or a results file.

    The line goes through the mean over seeds, with all evaluations as smaller marks and the band they span; bars are
    ± 1 standard error. The fine-tuned and the pretrained model are levels, with a band of ± 1 standard error, too. Each
    rule has a colour and a marker; of several scopes each has a dash, and marks that are full, pale or hollow.

    metric, quantity, scale, shown, point, budget are the state, which can be assigned to and moved with the controls.

    Args:
        table: The table of `ken.sweep` or `ken.results.read`, or the path of one as CSV or of a results file.
        metric: "metric", or any other column of numbers. Add a column to the table, and it can be shown; one of its
            name with "_error" behind it is its standard error.
        quantity: "metric", or "difference" from the fine-tuned model.
        scale: Of what is retained, "linear" or "log".
        shown: The series that are shown, (rule, on) each, or (rule, on, scope) of a scope that is not "row"; the name
            of a rule stands for all of its series. By default all of them.
        point: The evaluation that is described, (rule, on, k, seed), or (rule, on, k, seed, scope) of a scope that is
            not "row"; () for none.
        budget: What is retained as a "share", or as a number of "entries".
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

    STATE = ("metric", "quantity", "scale", "shown", "point", "budget")

    metric = traitlets.Unicode("metric", help="Column of the table that is shown.")
    quantity = traitlets.Enum(
        QUANTITIES, "metric", help="The metric itself, or its difference from the unpruned model."
    )
    scale = traitlets.Enum(SCALES, "linear", help="Scale of what is retained.")
    shown = traitlets.Tuple(help="The series that are shown, (rule, on) or (rule, on, scope) each.")
    point = traitlets.Tuple(help="The evaluation that is described: (rule, on, k, seed), perhaps a scope; () for none.")
    budget = traitlets.Enum(list(BUDGETS), "share", help="How it is told what is retained.")

    def __init__(
        self,
        table: pd.DataFrame | str | Path,
        metric: str = "metric",
        quantity: str = "metric",
        scale: str = "linear",
        shown: tuple[Series | str, ...] | None = None,
        point: Point = (),
        *,
        budget: str = "share",
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
        self.set_trait("budget", budget)
        controls = [self._metrics, self._quantities, self._scales, self._rules, self._points, self._budgets]
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
        self._scales = ipywidgets.Dropdown(options=list(SCALES), description="scale", layout=_NARROW)
        self._budgets = ipywidgets.Dropdown(
            options=[(shown.words, name) for name, shown in BUDGETS.items()],
            description="budget",
            layout={"width": "min(320px, 100%)"} | ({} if sweep.counted else {"display": "none"}),
        )
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
            f"{self._sweep.names[sweep_text.series_of_point(point)]}, k = {in_words(point[2])}"
            + (f", seed {point[3]}" if point[3] != -1 else "")
            for point in points
        ]
        return list(zip(apart(words), points, strict=True))

    def _pruned(self) -> list[Point]:
        """The evaluations of pruned models, in the order of the table."""
        table = self._sweep.pruned
        evaluations = zip(series_of(table), table["k"], table["seed"], strict=True)
        return [(*series[:2], k, seed, *series[2:]) for series, k, seed in evaluations]

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
            matches = [other for other in series if one in (other[0], other, whole(other))]
            if not matches:
                choices = ", ".join(map(repr, series[:5])) + (", …" if len(series) > 5 else "")
                raise traitlets.TraitError(f"shown must be of the table's {len(series)} series, {choices}; got {one!r}")
            wanted |= set(matches)
        return tuple(one for one in series if one in wanted)

    @traitlets.validate("point")
    def _valid_point(self, proposal: dict[str, Any]) -> Point:
        point = tuple(proposal["value"])
        if point[4:] == ("row",):
            point = point[:4]
        if point and self._at(point) is None:
            raise traitlets.TraitError(
                "point must be (rule, on, k, seed), and behind these a scope other than 'row', of an evaluation in the "
                f"table, got {proposal['value']!r}"
            )
        return point

    @traitlets.validate("budget")
    def _valid_budget(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] == "entries" and not self._sweep.counted:
            raise traitlets.TraitError("budget must be 'share': the table does not say how many entries are retained")
        return str(proposal["value"])

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
        along = {"scale": self.scale, "budget": self.budget}
        self._data = figures.columns(self._lines, self._single, sweep.names, **along)
        self._ends = figures.extent(self._data, self._levels, self._single, **along)
        at = self._at(self.point) if self.point else None
        self._card.show(None if at is None else sweep_text.evaluation(sweep, metric, self.point, at=at))
        levels = list(self._levels.values())
        self.caption = sweep_text.caption(
            sweep, self._axis, self._lines, levels=levels, shown=self.shown, budget=self.budget
        )

    @property
    def python(self) -> str:
        """The line that makes the subnetwork of the point; empty if there is none."""
        return sweep_text.python(self.point)

    @property
    def _axis(self) -> str:
        return sweep_text.axis(self.metric, self.quantity)

    def _ring(self) -> dict[str, Any]:
        at = self._at(self.point) if self.point else None
        if at is None or sweep_text.series_of_point(self.point) not in self.shown:
            return {"x": np.empty(0), "y": np.empty(0)}
        line = self._single.iloc[at]
        x = position(line[BUDGETS[self.budget].column], self.scale)
        return {"x": np.array([x]), "y": np.array([line["value"]])}

    def _reads(self) -> dict[str, Any]:
        return {"the file of results": self._sweep.source}

    def _figure(self) -> Plot:
        return figures.build(
            self._data,
            self._ends,
            self._levels,
            names=self._sweep.names,
            shown=self.shown,
            scale=self.scale,
            budget=self.budget,
            words=self._axis,
            ring=self._ring(),
            theme=self.colours,
        )

    def _redraw(self) -> None:
        for source, columns in self._data.items():
            self.pane.patch(source, **columns)
        for name, (start, end) in self._ends.items():
            self.pane.set(name, start=start, end=end, reset_start=start, reset_end=end)
        marks = ticks(self._ends["shares"], scale=self.scale, budget=self.budget)
        self.pane.set("share_ticks", ticks=list(marks))
        self.pane.set("share_axis", major_label_overrides=marks, axis_label=BUDGETS[self.budget].words)
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
            shown = [series in self.shown for series in series_of(self._single)]
            x = position(self._single[BUDGETS[self.budget].column], self.scale)
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
            One line for each rule, on, scope and k that is shown: rule, on, scope, k, share, retained (entries, NaN if
            unknown), seeds (how many evaluations), mean, lowest, highest, error (standard error, NaN if unknown).

        Example:
            >>> line = {"model": "pruned", "rule": "ken", "on": "weights", "k": 0.5, "seed": -1}
            >>> SweepView(pd.DataFrame([line | {"share": 0.5, "metric": 9}])).numbers()["mean"].tolist()
            [9.0]
        """
        with self._lock:
            return self._lines.copy()
