"""Lines about tensors and heads in two models: as tables, as data for programs, as text for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ken.models.named_tables import index_as_column, named_table
from ken.models.tensors.tensor_roles import place, role, stack
from ken.retention.difference_lines import HeadDifference, TensorDifference

if TYPE_CHECKING:
    import pandas as pd


def tensor_table(tensors: Sequence[TensorDifference]) -> pd.DataFrame:
    """A row for every tensor of either model."""
    lines = [line(tensor) for tensor in tensors]
    columns = [
        *("tensor", "status", "reason", "layer", "stack", "role", "counterpart", "shape", "dtype", "pretrained_shape"),
        *("pretrained_dtype", "entries", "compared", "changed", "share", "not_finite", "norm", "relative", "largest"),
        *("row", "column"),
    ]
    return named_table(lines, columns).astype({"layer": "Int64"}).set_index("tensor")


def line(tensor: TensorDifference) -> dict[str, Any]:
    """A line of the table of tensors, by column."""
    fields = {name: getattr(tensor, name) for name in tensor.__dataclass_fields__}
    where = {"layer": place(tensor.tensor).layer, "stack": stack(tensor.tensor), "role": role(tensor.tensor)}
    return {**fields, **where, "entries": tensor.entries, "share": tensor.share}


def place_table(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """The table of tensors added up by place, in the order in which places first occur."""
    shown = table.assign(
        tensors=1,
        tensors_changed=(table["status"] != "equal").astype(int),
        squares=table["norm"].fillna(0.0) ** 2,
    )
    sums = ["tensors", "tensors_changed", "compared", "changed", "squares"]
    places = shown.groupby(by, sort=False, dropna=False)[sums].sum()
    compared = places["compared"].astype(float)
    places["share"] = places["changed"] / compared.where(compared > 0)
    places["norm"] = places.pop("squares").map(math.sqrt)
    return places


def head_table(heads: Sequence[HeadDifference]) -> pd.DataFrame:
    """A row for every attention head of every tensor that changed and has any."""
    lines = [
        {
            "tensor": head.tensor,
            "layer": place(head.tensor).layer,
            "stack": stack(head.tensor),
            "role": head.role,
            "head": head.head,
            "axis": head.axis,
            "compared": head.compared,
            "changed": head.changed,
            "share": head.changed / head.compared,
            "norm": head.norm,
        }
        for head in heads
    ]
    columns = ["tensor", "layer", "stack", "role", "head", "axis", "compared", "changed", "share", "norm"]
    return named_table(lines, columns).astype({"layer": "Int64"})


def tensor_lines(table: pd.DataFrame) -> list[str]:
    """The table of tensors as text."""
    if table.empty:
        return []
    lines = [f"{'status':<9}{'changed':>12}{'of':>13}{'share':>9}{'norm':>11}{'relative':>11}  largest, tensor"]
    for record in index_as_column(table).to_dict("records"):
        largest = f"{record['largest']:.3g} at ({record['row']}, {record['column']})  " if record["row"] >= 0 else ""
        shape = record["pretrained_shape"] if record["status"] == "missing" else record["shape"]
        dtype = record["pretrained_dtype"] if record["status"] == "missing" else record["dtype"]
        kind = f"{dtype} {[*shape]}"
        if record["status"] in ("reshaped", "dtype"):
            kind = f"{record['pretrained_dtype']} {[*record['pretrained_shape']]} -> {kind}"
        unknown = f"{record['not_finite']:,} not finite" if record["not_finite"] else ""
        why = ", ".join(filter(None, [record["reason"], unknown]))
        why = f" ({why})" if why else ""
        lines.append(
            f"{record['status']:<9}{record['changed']:>12,}{record['compared']:>13,}{percent(record['share']):>9}"
            f"{digits(record['norm']):>11}{digits(record['relative']):>11}  {largest}{record['tensor']} {kind}{why}"
        )
    return lines


def sum_lines(table: pd.DataFrame, by: str) -> list[str]:
    """A table of sums by place, layer or head as text."""
    if table.empty:
        return []
    lines = [f"{'changed':>12}{'of':>13}{'share':>9}{'norm':>11}  {by}"]
    for record in index_as_column(table).to_dict("records"):
        layer = record["layer"]
        where = "outside of layers" if layer is None or layer != layer or str(layer) == "<NA>" else f"layer {layer}"
        if by == "head":
            where = f"{record['tensor']} {record['role']} head {record['head']}"
        elif by == "place":
            where = " ".join(filter(None, [record["stack"], where, record["role"]]))
        lines.append(
            f"{record['changed']:>12,}{record['compared']:>13,}{percent(record['share']):>9}"
            f"{digits(record['norm']):>11}  {where}"
        )
    return lines


def number(value: Any) -> Any:
    """As JSON has it: no NaN, no infinity, lists for tuples."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value


def percent(share: float) -> str:
    """A share in percent; nothing for NaN."""
    return "" if math.isnan(share) else f"{100 * share:.3g} %"


def digits(value: float) -> str:
    """A number to four digits; nothing for NaN."""
    return "" if math.isnan(value) else f"{value:.4g}"
