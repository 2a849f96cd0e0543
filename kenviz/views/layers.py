"""LayersView: one kind of matrix in all layers, side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

import ipywidgets
import pandas as pd
import traitlets
from bokeh.models import LayoutDOM

import ken
from ken.retention import PairOfModels
from kenviz.figures import layers as figures
from kenviz.figures import matrix_text
from kenviz.study.quantities import QUANTITIES
from kenviz.study.study import Study
from kenviz.text.labels import label
from kenviz.tiles.tiles import Tiles
from kenviz.views.controls import width
from kenviz.views.matrix_base import MatrixState
from kenviz.views.parts import numbers
from kenviz.views.tensors import picker

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

    Layers in which the kind has another shape than in most are left out, and the view says so. The arguments from kind
    on are the state: they are traits, which can be assigned to, and which the controls move.

    Args:
        net: The subnetwork.
        pair: The models it is of. Without them there is only the mask.
        kind: As in the table of `ken.retention`, the tensor's name with ``*`` for the layer; by default the largest.
        sheet: From 1; a sheet has twelve layers.
        show: As for `MatrixView`, by default "mask".
        rows: The part that is shown of every layer, (from, to) in entries; by default all.
        columns: The same of the columns.
        clip: The quantile at which the scale ends, as for `MatrixView`.
        tensor: The layer that was tapped last, empty for none; its decision card is shown.
        entry: (row, column) that is marked in every layer, None for none.
        theme: "light", "dark", or "auto", which follows the page.

    Raises:
        ValueError: No kind of tensor is in layers, or the models are not those of the subnetwork.

    Example:
        >>> import torch
        >>> names = [f"l.{i}.w" for i in range(3)]
        >>> pair = ken.Pair({name: torch.eye(4) for name in names}, {name: torch.zeros(4, 4) for name in names})
        >>> view = LayersView(ken.prune(*pair, k=2), pair, show="update")
        >>> view.layers
        {'0': 'l.0.w', '1': 'l.1.w', '2': 'l.2.w'}
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
        super().__init__(net, pair, theme=theme)
        self._kinds = _kinds(self._study)
        if not self._kinds:
            raise ValueError("the subnetwork has no pruned tensor that is in a layer")
        self.set_trait("kind", _first(self._kinds) if kind is None else kind)
        self._open()
        self._assign(sheet=sheet, show=show, rows=rows, columns=columns, clip=clip, tensor=tensor, entry=entry)
        self._picker = picker("kind", list(self._kinds))
        self._pager = ipywidgets.BoundedIntText(
            description="sheet",
            min=1,
            max=max(self.sheet, self._now.sheets),
            value=self.sheet,
            layout=width(170),
            tooltip="Sheet of layers",
        )
        self._start(
            {self._picker: "kind", self._pager: "sheet"},
            invitation="Tap an entry in one of the layers to read why it was retained or reset.",
        )

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
            kinds = f"one of {len(self._kinds)}, such as {next(iter(self._kinds))!r}"
            raise traitlets.TraitError(
                f"kind must be that of a pruned tensor in layers, {kinds}; got {proposal['value']!r}"
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

    def _tell(self) -> None:
        self.caption = self._in_words()
        with self._syncing:
            self._pager.value = min(self.sheet, self._now.sheets)
            self._pager.max = self._now.sheets
            self._pager.value = self.sheet

    def _in_words(self) -> str:
        rows, n = self._shape
        layers = list(self.layers)
        sentences = [
            f"{QUANTITIES[self.show].words} of {label(self.kind)} in layers {layers[0]} to {layers[-1]}, "
            f"sheet {self.sheet} of {self._now.sheets}: matrices of {rows:,} rows × {n:,} columns; "
            + matrix_text.resolution(self._place, self.show),
            matrix_text.sampled(self.every),
            matrix_text.beyond(self._tiles, show=self.show, clip=self.clip, most_marks=self.MOST_MARKS),
        ]
        if self._now.left_out:
            sentences.append(f"{self._now.left_out} of another shape are left out.")
        if self.entry is not None:
            sentences.append(f"Marked: the entries in row {self.entry[0]:,}, column {self.entry[1]:,}.")
        if self.tensor:
            sentences.append(f"Chosen: {label(self.tensor)}.")
        return " ".join(filter(None, sentences))

    @property
    def _most(self) -> int:
        """Slots that the figure has: as many as a sheet of any kind needs."""
        return min(PER_SHEET, max(len(kind.layers) for kind in self._kinds.values()))

    def _titles(self) -> list[str]:
        """What is written above each slot; nothing above one without a layer."""
        titles = []
        for layer, tensor in self.layers.items():
            kept = self._study.tensor(tensor).retained / (self._shape[0] * self._shape[1])
            titles.append(("▸ " if tensor == self.tensor else "") + f"layer {layer}: {kept:.1%} retained")
        return titles + [""] * (self._most - len(titles))

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
                matrix_text.colours(self._tiles[0], self.show, self.clip) + matrix_text.sampled_in_words(self.every),
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
        slots = list(map(figures.Slot, self._filled(), self._titles()))
        return figures.build(slots, **self._drawn_as(self.kind))

    def _tapped(self, event: dict[str, Any]) -> None:
        if not str(event["figure"]).startswith("layer_"):
            return
        slot, entry = int(event["figure"].removeprefix("layer_")), self._at(event)
        if slot < len(self._names) and entry is not None:
            with self._settling:
                self.tensor = self._names[slot]
                self.entry = entry
            self._draw()

    def shows(self, tensor: str) -> bool:
        """Say whether a tensor is one of those that can be shown.

        Args:
            tensor: Name of the tensor.

        Returns:
            True if its kind is in layers, and it is not left out for its shape.

        Example:
            >>> import torch
            >>> net = ken.prune({"l.0.w": torch.eye(4)}, {"l.0.w": torch.zeros(4, 4)}, k=2)
            >>> LayersView(net).shows("l.0.w"), LayersView(net).shows("l.1.w")
            (True, False)
        """
        kind = self._kinds.get(ken.retention.place(tensor).kind)
        return kind is not None and tensor in kind.layers.values()

    def go_to_tensor(self, tensor: str, entry: tuple[int, int] | None = None) -> None:
        """Show the kind and the sheet that a tensor is on, and choose it.

        Args:
            tensor: Name of the tensor; one that `shows` knows.
            entry: (row, column) to mark, None for none.

        Raises:
            traitlets.TraitError: There is no such tensor or entry.

        Example:
            >>> import torch
            >>> net = ken.prune({"l.0.w": torch.eye(4)}, {"l.0.w": torch.zeros(4, 4)}, k=2)
            >>> view = LayersView(net)
            >>> view.go_to_tensor("l.0.w", (1, 2))
            >>> view.tensor, view.entry
            ('l.0.w', (1, 2))
        """
        with self._lock:
            with self._settling:
                kind = ken.retention.place(tensor).kind
                if kind != self.kind:
                    self.kind = kind
                    self._open()
                at = list(self._now.layers.values()).index(tensor) if self.shows(tensor) else 0
                self.sheet = at // PER_SHEET + 1
                self.tensor, self.entry = tensor, entry
            self._draw()

    def numbers(self) -> pd.DataFrame:
        """Give the tiles that are shown.

        Returns:
            Percent retained (mask) or mean values, indexed by layer and first row; columns by first column.
        """
        with self._lock:
            return pd.concat(dict(zip(self.layers, map(numbers, self._tiles), strict=True)), names=["layer"])


def _kinds(study: Study) -> dict[str, Kind]:
    """All kinds that are in layers; of each, the tensors of the shape that most have."""
    table = study.shares[study.shares["layer"].notna()]
    kinds = {}
    for kind, lines in table.groupby("kind", sort=False):
        shapes = list(zip(lines["rows"].tolist(), lines["row_length"].tolist(), strict=True))
        shape = max(dict.fromkeys(shapes), key=shapes.count)
        same = lines[[one == shape for one in shapes]].sort_values("layer", kind="stable")
        names = {str(layer): str(name) for name, layer in same["layer"].items()}
        kinds[str(kind)] = Kind(names, shape, len(lines) - len(names))
    return kinds


def _first(kinds: dict[str, Kind]) -> str:
    """The kind whose matrices are largest: what is looked at first."""
    return max(kinds, key=lambda kind: (kinds[kind].shape[0] > 1, kinds[kind].shape[0] * kinds[kind].shape[1]))
