"""The Python that leads an Explorer to what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kenviz.study.row_decision import own_k
from kenviz.study.study import Study
from kenviz.views.linked import Linked
from kenviz.views.side_by_side import SideBySideView

# Traits that follow the place, which is told of the Explorer itself.
_PLACE = ("tensor", "row", "entry")


def steps(explorer: Linked, study: Study, usual: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for each thing that is not as usual; usual: the state of all parts as it was at the beginning."""
    usual_place = {"tensor": usual["matrix"]["tensor"], "row": 0, "column": -1, "stage": "matrix"}
    for name, value in usual_place.items():
        if getattr(explorer, name) != value:
            yield f"explorer.{name} = {getattr(explorer, name)!r}"
    rows, columns = study.shape(explorer.tensor)
    states = explorer.state
    row = states.get("row_view")
    whole: dict[tuple[str, str], Any] = {
        ("matrix", "rows"): (0.0, float(rows)),
        ("matrix", "columns"): (0.0, float(columns)),
        ("row_view", "k"): None if row is None else own_k(study, row["tensor"], row["row"]),
    }
    for name, state in states.items():
        for trait, value in state.items():
            if trait not in _PLACE and value != whole.get((name, trait), usual[name][trait]):
                yield f"explorer.{name}.{trait} = {value!r}"
    compared = explorer.stage_box.made.get("comparison")
    if isinstance(compared, SideBySideView) and compared.rule:
        yield f"explorer.compare({compared.rule!r})"
        if explorer.stage != "comparison":
            yield f"explorer.stage = {explorer.stage!r}"
