"""The lines of a report's tables, as classes: tensors, places, layers, two subnetworks, a sweep.

What is measured of tensors is described by `kenviz.text.measures`, as in the views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from kenviz.reporting.fields import Json, Number, Part, Text, columns, said
from kenviz.text.measures import MEASURES

_NO_MODELS = "the models were not given, the tensor is not pruned, or there is nothing to divide by"
_BY_CHANCE = "chance has no say in it: both are one draw, or there is nothing to choose"


def _measured(*names: str) -> dict[str, tuple[Any, Any]]:
    """Columns of `ken.retention` as fields, in the words of the views; shares are from 0 to 1."""
    fields = {}
    for name in names:
        measure = MEASURES[name]
        kind = int | None if measure.style == "count" and name != "pairs_expected" else Number
        null = f"{_NO_MODELS}; or its attention heads are not known" if name.startswith("head") else _NO_MODELS
        unit = "share" if measure.style == "share" else measure.unit
        fields[name] = kind, said(measure.label, unit, null)
    return fields


_PLACE = {
    "stack": (Text, said("encoder, decoder, or empty")),
    "layer": (int | None, said("number of the layer", "", "the tensor lies outside of the layers")),
    "role": (Text, said("what it is for, such as query")),
}
_SUMS = (
    *("entries", "retained", "changed", "paired", "paired_retained", "energy", "energy_retained", "energy_reset"),
    *("retained_changed", "tails", "tails_retained", "pairs", "pairs_expected", "pairs_variance", "share"),
    *("update_rms", "update_share", "update_share_reset", "tails_share", "neighbours", "neighbours_expected"),
    "neighbours_z",
)
_COMPARED = {
    "paired": (int, said("entries that have a pretrained value: only these are counted", "entries")),
    "retained_a": (int, said("of these, those that this subnetwork retains", "entries")),
    "retained_b": (int, said("those that the second one retains", "entries")),
    "both": (int, said("those that both retain", "entries")),
    "both_expected": (
        Number,
        said(
            "its mean if each had drawn at random, row by row or, where rows share budgets in both, by tensor",
            "entries",
            _BY_CHANCE,
        ),
    ),
    "jaccard": (Number, said("both / retained by either", "share", "neither retains any")),
    "jaccard_expected": (Number, said("the same with both_expected for both", "share", _BY_CHANCE)),
    "energy": (Number, said("sum of the squares of the update", "squared units of the weights", "beyond float64")),
    "update_share_a": (Number, said("share of it that this subnetwork retains", "share", "nothing was changed")),
    "update_share_b": (Number, said("share of it that the second one retains", "share", "nothing was changed")),
    "update_share_both": (Number, said("share of it that both retain", "share", "nothing was changed")),
}
_BESIDES = {
    "both_z": (Number, said("both less both_expected", "standard deviations of what chance gives", _BY_CHANCE)),
    "overlap": (Number, said("both / the smaller of retained_a and retained_b", "share", "neither retains any")),
    "overlap_expected": (Number, said("the same with both_expected for both", "share", _BY_CHANCE)),
}
_TENSORS = (int, said("how many tensors there are", "tensors"))
_ELSEWHERE = f"{_NO_MODELS}; or, of the layer, it lies outside of the layers"
_OF_TENSOR = {
    name: (kind | None, said(str(meaning.description), null=_ELSEWHERE)) for name, (kind, meaning) in _PLACE.items()
}
_NAME = {"tensor": (Text, said("its name in the fine-tuned model"))}

if TYPE_CHECKING:
    Tensor: TypeAlias = Any
    Place: TypeAlias = Any
    Layer: TypeAlias = Any
    Compared: TypeAlias = Any
    ComparedRole: TypeAlias = Any
    ComparedTensor: TypeAlias = Any
else:
    Tensor = columns(
        "Tensor",
        "A tensor of either model.",
        {
            **_NAME,
            "status": (Text, said("pruned, unchanged, carried, tied, from pretrained, or only in pretrained")),
            "reason": (Text, said("why it was not pruned; empty if it was")),
            "shape": (list[int], said("lengths of its axes", "entries")),
            "dtype": (Text, said("type of its numbers; empty if only the pretrained model has it")),
            "rows": (int, said("rows that it was cut into", "rows")),
            "row_length": (int, said("entries of a row", "entries")),
            "entries": (
                int,
                said("entries; 0 for those that do not count: tied, or of the pretrained model", "entries"),
            ),
            "retained": (int, said("entries that are retained", "entries")),
            "share": (Number, said("retained / entries", "share", "it has no entries that count")),
            "kind": (Text | None, said("its name without the number of the layer", "", _NO_MODELS)),
            **_OF_TENSOR,
            **_measured(
                *(name for name in MEASURES if name not in ("rows", "row_length", "entries", "retained", "share"))
            ),
        },
    )
    Place = columns(
        "Place",
        "The pruned tensors of one place, added up.",
        {**_PLACE, "tensors": _TENSORS, **_measured(*_SUMS)},
    )
    Layer = columns(
        "Layer",
        "The pruned tensors of one layer, added up.",
        {"layer": _PLACE["layer"], "tensors": _TENSORS, **_measured(*_SUMS)},
    )
    Compared = columns("Compared", "Two subnetworks in all tensors that both have pruned.", _COMPARED)
    ComparedRole = columns("ComparedRole", "The same by role.", {"role": _PLACE["role"], **_COMPARED})
    ComparedTensor = columns("ComparedTensor", "The same by tensor.", {**_NAME, **_COMPARED, **_BESIDES})


class EvaluationLine(Part):
    """A rule at a k, evaluated; the mean over its seeds."""

    name: Text = said("rule and values that it looked at, in words")
    rule: Text = said("the rule")
    on: Text = said("the values that it looked at: weights, update or pretrained; empty if it does not heed that")
    scope: Text = said("over what k is counted: row, tensor or model; row where the results do not tell it")
    k: Json = said("how many entries are retained, as in the recipe", null="the rule itself says how many")
    share: Number = said("share of all entries that are retained", "share")
    retained: int = said("how many entries that is", "entries")
    metric: Number = said("mean of the metric", "metric", "the results do not tell it")
    standard_error: Number = said("standard error of one evaluation", "metric", "the results do not tell it")
    difference_error: Number = said(
        "standard error of the difference from the fine-tuned model, item by item",
        *("metric", "it was not measured item by item"),
    )
    further_metrics: dict[str, Number] = said(
        "means of the other metrics in the results", "metric", "the results do not tell it"
    )
    seeds: int = said("how many draws that is the mean of", "draws")


class EvaluationLevel(Part):
    """A model that was not pruned, evaluated."""

    metric: Number = said("what it reaches", "metric")
    standard_error: Number = said("its standard error", "metric", "the results do not tell it")
