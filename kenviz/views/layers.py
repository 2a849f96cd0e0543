"""LayersView: one kind of matrix in all layers, side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

import ipywidgets
import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from kenviz.figures import axes, lettering, matrix_text
from kenviz.figures import layers as figures
from kenviz.study.quantities import QUANTITIES
from kenviz.study.study import Study
from kenviz.text.labels import label
from kenviz.tiles.tiles import Tiles
from kenviz.views.card import CardBox
from kenviz.views.entry_card import entry_card
from kenviz.views.matrix_base import MatrixState
from kenviz.views.parts import numbers
from kenviz.views.tensors import options

#: Layers on a sheet.
PER_SHEET = 12


class Kind(NamedTuple):
    """The tensors of one kind that are shown, by layer, all of one shape; and how many are left out for theirs."""

    layers: dict[str, str]
    shape: tuple[int, int]
    left_out: int

    @property
    def sheets(self) -> int:
        """How many sheets the layers take."""
        return -(-len(self.layers) // PER_SHEET)


class LayersView(MatrixState):
    """The same kind of matrix in every layer, on one scale of colours; zooming into one zooms into all.

    The state, which can be assigned to, moved with the controls, and given as keyword arguments:

    - kind: as in the table of `ken.retention`, the tensor's name with ``*`` for the layer
    - sheet: from 1; a sheet has twelve layers
    - show, rows, columns, clip, entry: as of `MatrixView`; the entry is marked in every layer
    - tensor: the layer that was tapped last, empty for none; its decision card is shown

    Layers in which the kind has another shape than in most are left out, and the view says so. Raises `ValueError` if
    there is no kind of tensor in layers.

    >>> import torch
    >>> pair = ken.Pair({f"l.{i}.w": torch.eye(4) for i in range(3)}, {f"l.{i}.w": torch.zeros(4, 4) for i in range(3)})
    >>> view = LayersView(ken.prune(*pair, k=2), pair, show="update")
    >>> view.numbers().loc["1"].shape
    (4, 4)
    """

    STATE = ("kind", "sheet", "show", "rows", "columns", "clip", "tensor", "entry")
    TILED = ("kind", "sheet", "show", "rows", "columns", "clip")
    MOST_TILES, MOST_MARKS = 200, figures.MOST_MARKS

    kind = traitlets.Unicode(help="Kind of the tensors.")
    sheet = traitlets.Int(1, help="Sheet, from 1.")
    tensor = traitlets.Unicode(help="Name of the tensor that was tapped last; empty for none.")

    def __init__(
        self,
        net: ken.Subnetwork,
        pair: PairOfModels | Study | None = None,
        kind: str | None = None,
        *,
        sheet: int = 1,
        show: str = "mask",
        rows: tuple[float, float] | None = None,
        columns: tuple[float, float] | None = None,
        clip: float = 0.99,
        tensor: str = "",
        entry: tuple[int, int] | None = None,
        theme: str = "auto",
    ) -> None:
        self._study = Study.of(net, pair)
        self._kinds = _kinds(self._study)
        if not self._kinds:
            raise ValueError("the subnetwork has no pruned tensor that is in a layer")
        super().__init__(theme=theme)
        self.set_trait("kind", _first(self._kinds) if kind is None else kind)
        self._open()
        given = {"sheet": sheet, "show": show, "rows": rows, "columns": columns, "clip": clip, "tensor": tensor}
        for name, value in {**given, "entry": entry}.items():
            if value is not None:
                self.set_trait(name, value)
        self._picker = ipywidgets.Dropdown(
            options=options(list(self._kinds)),
            value=self.kind,
            description="kind",
            layout={"width": "min(560px, 100%)"},
        )
        self._pager = ipywidgets.BoundedIntText(
            description="sheet",
            min=1,
            max=max(self.sheet, self._now.sheets),
            value=self.sheet,
            layout={"width": "min(170px, 100%)"},
            tooltip="Sheet of layers",
        )
        self._make_controls()
        self._card = CardBox("Tap an entry in one of the layers to read why it was retained or reset.")
        self._read()
        self._drawn = self._read_for
        self._start([self._picker, self._pager, self._shows, self._clips, self._to], self._figure())
        self.children = [self._controls, self.pane, self._note, self._card]
        bound = {self._picker: "kind", self._pager: "sheet", self._shows: "show", self._clips: "clip"}
        for control, trait in bound.items():
            self._bind(control, trait)

    @property
    def _now(self) -> Kind:
        return self._kinds[self.kind]

    @property
    def _shape(self) -> tuple[int, int]:
        return self._now.shape

    @property
    def layers(self) -> dict[str, str]:
        """The tensors on this sheet, by layer."""
        first = (self.sheet - 1) * PER_SHEET
        return dict(list(self._now.layers.items())[first : first + PER_SHEET])

    @traitlets.validate("kind")
    def _valid_kind(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in self._kinds:
            known = f"one of {len(self._kinds)}, such as {next(iter(self._kinds))!r}"
            raise traitlets.TraitError(
                f"kind must be that of a pruned tensor in layers, {known}; got {proposal['value']!r}"
            )
        return str(proposal["value"])

    @traitlets.validate("sheet")
    def _valid_sheet(self, proposal: dict[str, Any]) -> int:
        if not 1 <= proposal["value"] <= self._now.sheets:
            raise traitlets.TraitError(f"sheet must be from 1 to {self._now.sheets}, got {proposal['value']}")
        return int(proposal["value"])

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] and proposal["value"] not in self._now.layers.values():
            raise traitlets.TraitError(f"tensor must be one of kind {self.kind!r}, or empty; got {proposal['value']!r}")
        return str(proposal["value"])

    # ---- from the state to what is shown

    @property
    def _names(self) -> list[str]:
        return list(self.layers.values())

    def _open(self) -> None:
        self.set_trait("sheet", 1)
        self.set_trait("tensor", "")
        super()._open()

    _observed = traitlets.observe(*STATE)(MatrixState._changed)

    def _tell(self) -> None:
        self.caption = self._told(self.layers)
        self._follow()
        with self._sync():
            self._pager.value = min(self.sheet, self._now.sheets)
            self._pager.max = self._now.sheets
            self._pager.value = self.sheet
        chosen = self.tensor and self.entry is not None
        self._card.show(entry_card(self._study, self.tensor, self.entry) if chosen else None)

    def _told(self, layers: dict[str, str]) -> str:
        rows, n = self._shape
        numbers_of = list(layers)
        told = [
            f"{QUANTITIES[self.show].words} of {label(self.kind)} in layers {numbers_of[0]} to {numbers_of[-1]}, "
            f"sheet {self.sheet} of {self._now.sheets}: matrices of {rows:,} rows × {n:,} columns; "
            + matrix_text.resolution(self._place, self.show),
            matrix_text.beyond(self._tiles, self.show, self.clip, figures.MOST_MARKS),
        ]
        if self._now.left_out:
            told.append(f"{self._now.left_out} of another shape are left out.")
        if self.entry is not None:
            told.append(f"Marked: the entries in row {self.entry[0]:,}, column {self.entry[1]:,}.")
        if self.tensor:
            told.append(f"Chosen: {label(self.tensor)}.")
        return " ".join(filter(None, told))

    @property
    def _most(self) -> int:
        """Slots that the figure has: as many as a sheet of any kind needs."""
        return min(PER_SHEET, max(len(kind.layers) for kind in self._kinds.values()))

    def _titles(self) -> list[str]:
        """What is written above each slot; nothing above one without a layer."""
        found = []
        for layer, tensor in self.layers.items():
            kept = self._study.tensor(tensor).retained / (self._shape[0] * self._shape[1])
            found.append(("▸ " if tensor == self.tensor else "") + f"layer {layer}: {kept:.1%} retained")
        return found + [""] * (self._most - len(found))

    def _filled(self) -> list[Tiles]:
        """The tiles of each slot."""
        return list(self._tiles) + [figures.NOTHING] * (self._most - len(self._tiles))

    def _lines(self) -> str:
        rows, n = self._shape
        left_out = f"; {self._now.left_out} of another shape left out" if self._now.left_out else ""
        return "\n".join(
            [
                f"{QUANTITIES[self.show].title}; {matrix_text.tile_in_words(self._place, self.show)}",
                f"{rows:,} × {n:,}; sheet {self.sheet} of {self._now.sheets}{left_out}",
                matrix_text.colours(self._tiles[0], self.show, self.clip),
            ]
        )

    def _sources(self) -> dict[str, dict[str, Any]]:
        return figures.sources(self._filled())

    def _draw_more(self, tiled: bool, other: bool) -> None:
        for i, title in enumerate(self._titles()):
            self.pane.set(f"title_{i}", text=title)
            if tiled:
                self.pane.set(f"layer_{i}", visible=bool(title))

    def _figure(self) -> LayoutDOM:
        return figures.build(
            list(map(figures.Slot, self._filled(), self._titles())),
            axes.ranges(self._shape, self.rows, self.columns),
            lettering.Words(self.kind, self._lines(), QUANTITIES[self.show].missing),
            self.entry,
            self.colours,
        )

    def _tapped(self, event: dict[str, Any]) -> None:
        if not str(event["figure"]).startswith("layer_"):
            return
        slot, entry = int(event["figure"].removeprefix("layer_")), self._at(event)
        if slot < len(self._names) and entry is not None:
            with self._settled():
                self.tensor = self._names[slot]
                self.entry = entry
            self._update()

    def numbers(self) -> pd.DataFrame:
        """The tiles shown, percent retained or mean values, by layer and first row; columns by first column."""
        with self._lock:
            return pd.concat(dict(zip(self.layers, map(numbers, self._tiles), strict=True)), names=["layer"])


def _kinds(study: Study) -> dict[str, Kind]:
    """All kinds that are in layers; of each, the tensors of the shape that most have."""
    table = study.shares[study.shares["layer"].notna()]
    found = {}
    for kind, of in table.groupby("kind", sort=False):
        shapes = list(zip(of["rows"].tolist(), of["row_length"].tolist(), strict=True))
        shape = max(dict.fromkeys(shapes), key=shapes.count)
        same = of[[one == shape for one in shapes]].sort_values("layer", kind="stable")
        names = {str(layer): str(name) for name, layer in same["layer"].items()}
        found[str(kind)] = Kind(names, shape, len(of) - len(names))
    return found


def _first(kinds: dict[str, Kind]) -> str:
    """The kind whose matrices are largest: what is looked at first."""
    return max(kinds, key=lambda kind: (kinds[kind].shape[0] > 1, kinds[kind].shape[0] * kinds[kind].shape[1]))
