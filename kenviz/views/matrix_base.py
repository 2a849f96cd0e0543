"""The state of a view of matrices: what is shown of them, which part, on which scale, and which entry is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets
import traitlets

from kenviz.figures import axes, legends, lettering, matrix
from kenviz.study import quantities
from kenviz.study.quantities import FIXED, QUANTITIES
from kenviz.study.study import Study
from kenviz.views.base import refusal
from kenviz.views.cards import INVITATION, CardBox, entry_card
from kenviz.views.controls import GoTo, choice, width
from kenviz.views.parts import PartView
from kenviz.views.tensors import StudyView

#: Going to an entry shows at most this many rows and columns around it.
_AROUND = 60.0


class MatrixState(PartView, StudyView):
    """A part of one or more matrices of one shape, as tiles on one scale of colours.

    Subclasses say which matrices these are (`_names`, `_shape`), what is said of them (`_tell`, `_lines`) and what else
    is drawn (`_sources`, `_draw_more`). The first trait in TILED names the matrices; a change of any brings new tiles.
    """

    #: Traits that decide which tiles are shown.
    TILED: tuple[str, ...] = ()
    #: Tiles a side of a matrix, and marks of tiles beyond one end of the scale, at most.
    MOST_TILES, MOST_MARKS = 400, matrix.MOST_MARKS
    #: What can be shown.
    SHOWS: tuple[str, ...] = tuple(QUANTITIES)

    show = traitlets.Enum(list(QUANTITIES), "mask", help="What is shown; all but the mask needs the pair of models.")
    clip = traitlets.Float(0.99, help="Quantile of the absolute tile values at which the scale ends, 0 to 1.")
    entry: Any = traitlets.Tuple(
        traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True, help="(row, column) chosen, or None."
    )

    tensor: Any  # a trait of the subclasses: the matrix whose decision card is shown, once an entry is chosen
    # What the tiles were read for, and what was drawn last.
    _read_for: tuple[Any, ...] = ()
    #: n, where every n-th row has been decided for what is shown; 1: every row has.
    every = 1
    _drawn: tuple[Any, ...] = ()

    def _start(
        self,
        controls: Mapping[ipywidgets.Widget, str | None],
        *below: ipywidgets.Widget,
        invitation: str = INVITATION,
    ) -> None:
        self._shows = choice("show", [one for one in quantities.offered(self._study) if one[1] in self.SHOWS])
        self._clips = ipywidgets.BoundedFloatText(
            min=0.001,
            max=1,
            step=0.005,
            description="clip",
            layout=width(170),
            tooltip="Quantile of the absolute tile values at which the scale of colours ends",
        )
        self._to = GoTo(self)
        self._card = CardBox(invitation)
        super()._start({**controls, self._shows: "show", self._clips: "clip", self._to: None}, self._card, *below)
        self._drawn = self._read_for

    @property
    def decision_card(self) -> CardBox:
        """The decision card, which may stand elsewhere, too."""
        return self._card

    # ---- what subclasses say

    @property
    def _names(self) -> list[str]:
        """The tensors that are shown."""
        raise NotImplementedError

    @property
    def _matrices(self) -> list[tuple[Study, str]]:
        """What is shown of which subnetwork, as (study, tensor)."""
        return [(self._study, name) for name in self._names]

    def _open(self) -> None:
        """Begin with other matrices: show all of them, and no entry."""
        self.set_trait("entry", None)
        super()._open()

    def _tell(self) -> None:
        """Bring the caption and the controls of its own in line with the state and the tiles."""
        raise NotImplementedError

    def _lines(self) -> str:
        """What the figure says of its tiles, above them."""
        raise NotImplementedError

    def _sources(self) -> dict[str, dict[str, Any]]:
        """The columns of all sources that follow from the tiles."""
        raise NotImplementedError

    def _draw_more(self, tiled: bool, other: bool) -> None:
        """Draw what is not common; `tiled` if there are new tiles, `other` if they are of other matrices."""

    # ---- what the state is

    @traitlets.validate("show")
    def _valid_show(self, proposal: dict[str, Any]) -> str:
        with refusal():
            return quantities.check(proposal["value"], self._study, self.SHOWS)

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

    def _rows_apart(self) -> int:
        """n, where every n-th row of what is shown has been decided; 1 if every row has."""
        return max(map(self._study.sampled, self._names), default=1)

    # ---- from the state to what is shown

    def _update(self, name: str) -> None:
        if name == self.TILED[0]:
            with self._settling:
                self._open()
        self._draw()

    def _read(self) -> None:
        """The tiles of the part that is shown, unless they are there; then everything that is said."""
        every = self._rows_apart()
        wanted = (*(getattr(self, name) for name in self.TILED), every)
        if wanted != self._read_for:
            matrices = self._matrices
            self._place = quantities.place(*matrices[0], rows=self.rows, columns=self.columns, most=self.MOST_TILES)
            self._tiles = quantities.tiles(matrices, self.show, at=self._place, clip=self.clip)
            self._read_for = wanted
            self.every = every
        self._tell()
        chosen = self.tensor and self.entry is not None
        self._card.show(entry_card(self._study, self.tensor, self.entry) if chosen else None)
        with self._syncing:
            self._clips.disabled = self.show in FIXED
            self._to.follow(self._shape, self.entry)

    def _drawn_as(self, name: str) -> dict[str, Any]:
        """What the figures of all views of matrices are built with, of what is called by that name."""
        return {
            "ranges": axes.ranges(self._shape, self.rows, self.columns),
            "words": lettering.Words(name, self._lines(), QUANTITIES[self.show].missing),
            "entry": self.entry,
            "theme": self.colours,
        }

    def _draw(self) -> None:
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
                self._draw_another(self._drawn[0])
            self._draw_range("rows")
            self._draw_range("columns")
            for source, columns in self._sources().items():
                self.pane.patch(source, **columns)
            self.pane.set("codes", **matrix.colours(self._tiles[0]))
            self.pane.set("scale", **matrix.scale(self._tiles[0]))
            self.pane.set("note", text=self._lines())
            self._draw_legend()

    def _draw_legend(self) -> None:
        items = legends.items(self._tiles, QUANTITIES[self.show].missing, self.MOST_MARKS)
        self.pane.set("legend", visible=any(visible for visible, _ in items.values()))
        for name, (visible, words) in items.items():
            self.pane.set(name, visible=visible, label=words)

    # ---- parts of a change

    def show_all(self) -> None:
        """Zoom out to the whole matrix."""
        with self._lock:
            with self._settling:
                PartView._open(self)
            self._draw()

    def go_to(self, row: int, column: int) -> None:
        """Choose an entry, and show it together with what is around it, entry by entry.

        Args:
            row: Row of the entry, from 0.
            column: Its column, from 0.

        Raises:
            traitlets.TraitError: There is no such entry. Nothing changes then.
        """
        with self._lock:
            with self._settling:
                self.entry = (row, column)
                for name, at, size in (("rows", row, self._shape[0]), ("columns", column, self._shape[1])):
                    low, high = getattr(self, name)
                    span = min(high - low, _AROUND)
                    start = min(max(at + 0.5 - span / 2, 0.0), max(size - span, 0.0))
                    if not (low <= at and at + 1 <= high and high - low <= _AROUND):
                        self.set_trait(name, (start, start + span))
            self._draw()

    # ---- what the user does in the figure

    def _at(self, event: dict[str, Any]) -> tuple[int, int] | None:
        """The entry at which the figure of a matrix was tapped, if there is one."""
        row, column = int(event["y"] // 1), int(event["x"] // 1)
        rows, n = self._shape
        return (row, column) if 0 <= row < rows and 0 <= column < n else None

    def _moved(self, name: str, start: float, end: float) -> None:
        with self._settling:
            super()._moved(name, start, end)
        other = "columns" if name == "rows" else "rows"
        shown = self._range(other)
        # A zoom moves both ranges, in one message: what is shown follows once, with the second.
        if sorted((shown.start, shown.end)) == [*getattr(self, other)]:
            self._draw()
