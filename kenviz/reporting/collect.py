"""What a report is about, measured: one pass over both models, then some rows and masks, a tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import ken
from kenviz.reporting.interactive_map import embedded, mapped
from kenviz.reporting.results import Results
from kenviz.reporting.role_overlap import RoleOverlap, compared
from kenviz.reporting.sampling import SampledRow, brushed, detailed, rows_of, sampled
from kenviz.reporting.schema import Card
from kenviz.reporting.tiles import MaskTiles, pooled
from kenviz.study.effects import Effects
from kenviz.study.row_decision import decide_as_stored
from kenviz.study.study import Study

if TYPE_CHECKING:
    import pandas as pd

#: What a report may have, in the order in which it stands there.
SECTIONS = (
    "summary",
    "provenance",
    "results",
    "effects",
    "map",
    "details",
    "comparison",
    "card",
    "tensors",
    "glossary",
)
#: Tiles along a side of a matrix that is shown in detail.
_SIDE = 128


@dataclass(frozen=True, eq=False)
class Detail:
    """A tensor that is shown in detail, and why; turned: shares of its rows that flip in reverse order."""

    name: str
    reason: str
    tiles: MaskTiles
    rows: Sequence[SampledRow]
    turned: Sequence[float]

    def record(self) -> dict[str, Any]:
        """What the data of the report has of it: all but the tiles."""
        low, high = self.tiles.limits
        return {
            "tensor": self.name,
            "reason": self.reason,
            "shape": list(self.tiles.place.shape),
            "tile": list(self.tiles.place.tile),
            "share_lowest": low,
            "share_highest": high,
            "chance_deviation": self.tiles.chance,
            "note": self.tiles.note(),
            "rows": [row.record() for row in self.rows],
        }


@dataclass(frozen=True, eq=False)
class Contents:
    """All that was measured for a report.

    tensors: a line for every tensor of either model. retained: `ken.retention.table`, None without models. matrices:
    the lines of it that are in the map; held: what is embedded of each, None of those that were left out.
    """

    net: ken.Subnetwork
    sections: Sequence[str]
    tensors: pd.DataFrame
    results: Results | None
    retained: pd.DataFrame | None = None
    effects: Effects | None = None
    comparison: RoleOverlap | None = None
    details: Sequence[Detail] = ()
    card: Card | None = None
    matrices: pd.DataFrame | None = None
    held: Sequence[Mapping[str, Any] | None] = ()
    quantiles: Sequence[float] = ()

    @property
    def turned(self) -> list[float]:
        """Shares of entries that flip in reverse order, of all rows in detail that can be visited so."""
        return [share for detail in self.details for share in detail.turned]

    @property
    def left_out(self) -> int:
        """Matrices that have no tiles and rows in the report, or no cell in the map."""
        matrices = 0 if self.retained is None else int((self.retained["rows"] > 1).sum())
        return matrices - sum(tensor is not None for tensor in self.held)


#: What some sections need, by the name of the argument.
_NEEDS = {"results": "results", "effects": "ablation", "comparison": "compare"}


def choose(sections: Sequence[str] | None, results: Any, compare: Any, *, ablation: Any = None) -> list[str]:
    """The sections that a report gets: those asked for, in order, or all that there is something for.

    Raises `ValueError` for one that does not exist, or for which something is missing.
    """
    given = {"results": results, "ablation": ablation, "compare": compare}
    missing = {name for name, argument in _NEEDS.items() if given[argument] is None}
    if sections is None:
        return [name for name in SECTIONS if name not in missing]
    if isinstance(sections, str):
        raise ValueError(f"sections must be a sequence of names, got the text {sections!r}")
    for name in sections:
        if name not in SECTIONS:
            raise ValueError(f"sections must be of {', '.join(SECTIONS)}; got {name!r}")
        if name in missing:
            raise ValueError(f"section {name!r} needs {_NEEDS[name]}, which was not given")
    if not sections:
        raise ValueError("sections must name at least one section, got none")
    return [name for name in SECTIONS if name in set(sections)]


def gather(
    study: Study,
    sections: Sequence[str],
    results: Results | None,
    compare: ken.Subnetwork | None,
    tensors: Sequence[str] | None,
    quantiles: Sequence[float],
    step: Callable[[str], None],
    effects: Effects | None = None,
) -> Contents:
    """Measure what the sections need. step is called before each part of the work, with a word for it."""
    net = study.net
    step("measuring")
    tensors_of_both = net.table()
    if study.pair is None or not study.tensors:
        return Contents(net=net, sections=(), tensors=tensors_of_both, results=results, effects=effects)
    retained = study.retention.table()
    further = retained.drop(columns=[*(set(retained) & set(tensors_of_both))])
    chosen = detailed(retained) if tensors is None else dict.fromkeys(tensors, "chosen for this report")
    details: list[Detail] = []
    if {"details", "summary"} & set(sections):
        for name, reason in chosen.items():
            step("details")
            details.append(_detail(study, name, reason, quantiles=quantiles))
    matrices, held = retained[retained["rows"] > 1].head(0), []
    if "map" in sections:
        matrices = mapped(retained[retained["rows"] > 1])
        names, side = brushed(matrices, list(chosen))
        for name in matrices.index:
            step("matrices")
            held.append(_held(study, str(name), side, quantiles=quantiles) if str(name) in set(names) else None)
    comparison = None
    if compare is not None and {"comparison", "summary"} & set(sections):
        step("comparing")
        comparison = compared(net, compare, study)
    card = None
    if "card" in sections and chosen:
        step("card")
        card = _card(study, next(iter(chosen)), max(quantiles))
    return Contents(
        net=net,
        sections=sections,
        tensors=tensors_of_both.join(further),
        retained=retained,
        results=results,
        effects=effects,
        comparison=comparison,
        details=details,
        card=card,
        matrices=matrices,
        held=held,
        quantiles=tuple(quantiles),
    )


def steps(study: Study, sections: Sequence[str], tensors: Sequence[str] | None) -> int:
    """About how often `gather` calls step."""
    matrices = sum(1 for name in study.tensors if study.shape(name)[0] > 1)
    return 3 + (3 if tensors is None else len(tensors)) + (matrices if "map" in sections else 0)


def _detail(study: Study, name: str, reason: str, quantiles: Sequence[float]) -> Detail:
    tensor = study.net.pruned()[name]
    rows = sampled(study, name, tensor, quantiles=quantiles)
    decisions = [decide_as_stored(study, name, row.row) for row in rows]
    stabilities = [decision.stability for decision in decisions if decision.steps]
    shares = [stability.reversed.share for stability in stabilities if stability is not None]
    turned = [share for share in shares if not np.isnan(share)]
    return Detail(name=name, reason=reason, tiles=pooled(tensor, _SIDE), rows=rows, turned=turned)


def _held(study: Study, name: str, side: int, quantiles: Sequence[float]) -> Mapping[str, Any]:
    tensor = study.net.pruned()[name]
    return embedded(pooled(tensor, side), sampled(study, name, tensor, quantiles=quantiles))


def _card(study: Study, name: str, quantile: float) -> Card | None:
    """Of a row at that quantile the reset entry that fine-tuning changed most; if none is reset, of all of them."""
    ((row, _, _),) = rows_of(study.retention.rows(name), (quantile,))
    decision = decide_as_stored(study, name, row)
    update = np.abs(decision.fine_tuned - decision.pretrained)
    if np.isnan(update).all():
        return None
    reset = ~decision.mask & ~np.isnan(update)
    entry = int(np.nanargmax(np.where(reset, update, -1.0) if reset.any() else update))
    why = decision.explanation
    text = f"It cannot be explained: {decision.unexplained}." if why is None else why.entry(entry).text
    return Card(tensor=name, row=row, entry=entry, quantile=quantile, reset=bool(reset.any()), text=text)
