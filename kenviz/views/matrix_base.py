"""The state of a view of matrices: what is shown of them, which part, on which scale, and which entry is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets
import traitlets

from kenviz.figures import legends, matrix
from kenviz.study import quantities
from kenviz.study.quantities import FIXED, QUANTITIES
from kenviz.study.study import Study
from kenviz.text.labels import NARROW, label
from kenviz.views.goto import GoTo
from kenviz.views.parts import PartView

_LIST = {"width": "min(240px, 100%)"}
_SMALL = {"width": "min(170px, 100%)"}
#: Going to an entry shows at most this many rows and columns around it.
_AROUND = 60.0


class MatrixState(PartView):
    """A part of one or more matrices of one shape, as tiles on one scale of colours.

    Subclasses say which matrices these are (`_names`, `_shape`), what is said of them (`_tell`, `_lines`) and what else
    is drawn (`_sources`, `_draw_more`). The first trait in TILED names the matrices; a change of any brings new tiles.
    """

    #: Traits that decide which tiles are shown.
    TILED: tuple[str, ...] = ()
    #: Tiles a side of a matrix, and marks of tiles beyond one end of the scale, at most.
    MOST_TILES, MOST_MARKS = 400, matrix.MOST_MARKS

    show = traitlets.Enum(list(QUANTITIES), "mask", help="What is shown; all but the mask needs the pair of models.")
    clip = traitlets.Float(0.99, help="Quantile of the absolute tile values at which the scale ends, 0 to 1.")
    entry: Any = traitlets.Tuple(
        traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True, help="(row, column) chosen, or None."
    )

    _study: Study
    _settling = False
    # What the tiles were read for, and what was drawn last.
    _read_for: tuple[Any, ...] = ()
    _drawn: tuple[Any, ...] = ()

    # ---- what subclasses say

    @property
    def _names(self) -> list[str]:
        """The tensors that are shown."""
        raise NotImplementedError

    def _open(self) -> None:
        """Begin with other matrices: show all of them, and no entry."""
        self.set_trait("entry", None)
        self._widen()

    def _tell(self) -> None:
        """Bring the caption, the card and the controls in line with the state and the tiles."""
        raise NotImplementedError

    def _lines(self) -> str:
        """What the figure says of its tiles, above them."""
        raise NotImplementedError

    def _sources(self) -> dict[str, dict[str, Any]]:
        """The columns of all sources that follow from the tiles."""
        raise NotImplementedError

    def _draw_more(self, tiled: bool, other: bool) -> None:
        """Draw what is not common; `tiled` if there are new tiles, `other` if they are of other matrices."""

    def _tapped(self, event: dict[str, Any]) -> None:
        """A figure was tapped in the browser. Called with the lock held."""

    # ---- what the state is

    @traitlets.validate("show")
    def _valid_show(self, proposal: dict[str, Any]) -> str:
        try:
            return quantities.check(proposal["value"], self._study)
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None

    @traitlets.validate("clip")
    def _valid_clip(self, proposal: dict[str, Any]) -> float:
        if not 0 < proposal["value"] <= 1:
            raise traitlets.TraitError(f"clip is a quantile above 0, up to 1, got {proposal['value']}")
        return float(proposal["value"])

    @traitlets.validate("entry")
    def _valid_entry(self, proposal: dict[str, Any]) -> tuple[int, int] | None:
        if proposal["value"] is None:
            return None
        row, column = proposal["value"]
        rows, n = self._shape
        if not (0 <= row < rows and 0 <= column < n):
            raise traitlets.TraitError(
                f"entry must be (row, column) from (0, 0) to ({rows - 1}, {n - 1}), got ({row}, {column})"
            )
        return row, column

    # ---- from the state to what is shown

    def _changed(self, change: dict[str, Any]) -> None:
        """A trait of the state was changed: subclasses observe theirs by this."""
        if not hasattr(self, "pane"):
            return
        with self._lock:
            if self._settling:
                return
            if change["name"] == self.TILED[0]:
                with self._settled():
                    self._open()
            self._update()

    def _read(self) -> None:
        """The tiles of the part that is shown, unless they are there; then everything that is said."""
        wanted = tuple(getattr(self, name) for name in self.TILED)
        if wanted != self._read_for:
            names = self._names
            self._place = quantities.place(self._study, names[0], self.rows, self.columns, self.MOST_TILES)
            self._tiles = quantities.tiles(self._study, names, self.show, self._place, self.clip)
            self._read_for = wanted
        self._tell()

    def _update(self) -> None:
        """Bring what is shown in line with the state. Called with the lock held."""
        self._read()
        before, self._drawn = self._drawn, self._read_for
        tiled, other = before != self._drawn, before[0] != self._drawn[0]
        with self.pane.hold():
            self.pane.patch("entry", **matrix.chosen(self.entry))
            self._draw_more(tiled, other)
            if not tiled:
                return
            if other:
                self._bound_ranges()
                self.pane.set("name", text=label(self._drawn[0], NARROW))
            self._draw_range("rows")
            self._draw_range("columns")
            for source, columns in self._sources().items():
                self.pane.patch(source, **columns)
            self.pane.set("codes", **matrix.colours(self._tiles[0]))
            self.pane.set("scale", **matrix.scale(self._tiles[0]))
            self.pane.set("note", text=self._lines())
            self._draw_legend()

    def _draw_legend(self) -> None:
        told = legends.items(self._tiles, QUANTITIES[self.show].missing, self.MOST_MARKS)
        self.pane.set("legend", visible=any(there for there, _ in told.values()))
        for name, (there, words) in told.items():
            self.pane.set(name, visible=there, label=words)

    # ---- parts of a change

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Change several traits; nothing is drawn in between, and nothing after unless `_update` is called."""
        with self._lock:
            before, self._settling = self._settling, True
            try:
                yield
            finally:
                self._settling = before

    def show_all(self) -> None:
        """Zoom out to the whole matrix."""
        with self._lock:
            with self._settled():
                self._widen()
            self._update()

    def go_to(self, row: int, column: int) -> None:
        """Choose an entry, and show it together with what is around it, entry by entry.

        Raises `traitlets.TraitError` if there is no such entry; nothing changes then.
        """
        with self._lock:
            with self._settled():
                self.entry = (row, column)
                for name, at, size in (("rows", row, self._shape[0]), ("columns", column, self._shape[1])):
                    low, high = getattr(self, name)
                    span = min(high - low, _AROUND)
                    start = min(max(at + 0.5 - span / 2, 0.0), max(size - span, 0.0))
                    if not (low <= at and at + 1 <= high and high - low <= _AROUND):
                        self.set_trait(name, (start, start + span))
            self._update()

    # ---- controls

    def _make_controls(self) -> None:
        self._shows = ipywidgets.Dropdown(
            options=quantities.offered(self._study), value=self.show, description="show", layout=_LIST
        )
        self._clips = ipywidgets.BoundedFloatText(
            value=self.clip,
            min=0.001,
            max=1,
            step=0.005,
            description="clip",
            layout=_SMALL,
            tooltip="Quantile of the absolute tile values at which the scale of colours ends",
        )
        self._to = GoTo(self)

    def _follow(self) -> None:
        """Let the controls offer what there is."""
        with self._sync():
            self._clips.disabled = self.show in FIXED
            self._to.follow(self._shape, self.entry)

    # ---- what the user does in the figure

    def _listen(self) -> None:
        self.pane.on_event(self._heard)

    def _heard(self, event: dict[str, Any]) -> None:
        if event["kind"] == "range" and event["name"] in ("rows", "columns"):
            self._moved(event["name"], float(event["start"]), float(event["end"]))
        elif event["kind"] == "tap":
            with self._lock:
                self._tapped(event)

    def _at(self, event: dict[str, Any]) -> tuple[int, int] | None:
        """The entry at which the figure of a matrix was tapped, if there is one."""
        row, column = int(event["y"] // 1), int(event["x"] // 1)
        rows, n = self._shape
        return (row, column) if 0 <= row < rows and 0 <= column < n else None

    # ---- ranges

    def _moved(self, name: str, start: float, end: float) -> None:
        """A range of the figure was moved in the browser."""
        with self._lock:
            with self._settled():
                self.set_trait(name, (start, end))
            other = "columns" if name == "rows" else "rows"
            shown = self._range(other)
            # A zoom moves both ranges, in one message: what is shown follows once, with the second.
            if sorted((shown.start, shown.end)) == [*getattr(self, other)]:
                self._update()
