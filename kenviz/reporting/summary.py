"""The numbers in the summary of a report: what they mean, and how they follow from the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ken
from kenviz.reporting.fields import Number, Part, said
from kenviz.reporting.results import Results
from kenviz.reporting.role_overlap import RoleOverlap

if TYPE_CHECKING:
    import pandas as pd

_NO_MODELS = "the models were not given, the tensor is not pruned, or there is nothing to divide by"
NO_RESULTS = "no results of this rule and k were given"
_NO_FINE_TUNED = "the results do not have the fine-tuned model, or none of this rule and k were given"
_NO_ERROR = "the results do not tell it, or have no such line"
NO_RANDOM = "the results do not have the rule random at this k, or this is that rule"
_NO_OTHER = "no second subnetwork was given, or there is nothing to divide by"
_BY_CHANCE = "chance has no say in it: both are one draw, or there is nothing to choose"
_NOT_VISITED = "the section details was left out, or the rule visits no grid points"


class Summary(Part):
    """The numbers in the summary of the report. Thresholds (`--fail-if`) name them."""

    entries: int = said("entries of the fine-tuned model, tied tensors counted once", "entries")
    entries_retained: int = said(
        "of these, those that are retained, at their fine-tuned value unless it is rescaled",
        "entries",
    )
    share_retained: Number = said("entries_retained / entries", "share", "the model has no entries")
    entries_reset: int = said("entries that get back their pretrained value", "entries")
    tensors_pruned: int = said("tensors of which some entries were retained and the others reset", "tensors")
    tensors_carried: int = said("tensors that are retained whole", "tensors")
    names_tied: int = said("names that are aliases of tied tensors", "names")
    entries_paired: int | None = said("entries of pruned tensors that have a pretrained value", "entries", _NO_MODELS)
    entries_changed: int | None = said("of these, those that fine-tuning changed", "entries", _NO_MODELS)
    share_retained_of_paired: Number = said("retained ones of entries_paired, as a share", "share", _NO_MODELS)
    update_retained: Number = said(
        "share of the update's energy (sum of the squares of what fine-tuning changed) at retained entries",
        *("share", f"{_NO_MODELS}; or fine-tuning changed nothing"),
    )
    tail_entries: int | None = said(
        "entries more than two standard deviations from the mean of their row", "entries", _NO_MODELS
    )
    tails_retained: Number = said("share of tail_entries that are retained", "share", f"{_NO_MODELS}; or no tails")
    neighbours: Number = said(
        "mean number of retained ones among the neighbours (above, below, left, right) of a retained entry",
        *("neighbours", _NO_MODELS),
    )
    neighbours_expected: Number = said(
        "the same if every row had retained as many entries at random", "neighbours", _NO_MODELS
    )
    neighbours_z: Number = said(
        "difference of the two, in standard deviations of what chance gives", "standard deviations", _NO_MODELS
    )
    update_size: Number = said(
        "norm of the update in units of the norm of the pretrained values", "ratio", "not recorded, or beyond float64"
    )
    correlation: Number = said(
        "correlation of the fine-tuned with the pretrained values of matrices", "", "not recorded, or all are equal"
    )
    metric: Number = said("what the pruned model reaches in the evaluation", "metric", NO_RESULTS)
    metric_standard_error: Number = said("standard error of metric", "metric", _NO_ERROR)
    metric_fine_tuned: Number = said("what the fine-tuned model reaches", "metric", _NO_FINE_TUNED)
    metric_fine_tuned_standard_error: Number = said("its standard error", "metric", _NO_ERROR)
    metric_difference: Number = said("metric less metric_fine_tuned", "metric", _NO_FINE_TUNED)
    metric_difference_standard_error: Number = said("its standard error", "metric", _NO_ERROR)
    metric_difference_paired: bool | None = said(
        "whether that error was measured item by item, not from two separate measurements", "", _NO_FINE_TUNED
    )
    metric_loss_points: Number = said(
        "by how many percentage points metric is below metric_fine_tuned",
        *("percentage points", f"{_NO_FINE_TUNED}; or the metric is no share from 0 to 1"),
    )
    metric_random: Number = said("what as many entries drawn at random reach, mean of the draws", "metric", NO_RANDOM)
    metric_random_standard_error: Number = said("mean of their standard errors", "metric", _NO_ERROR)
    random_draws: int | None = said("how many draws that is the mean of", "draws", NO_RANDOM)
    metric_gain: Number = said("metric less metric_random", "metric", NO_RANDOM)
    metric_gain_standard_error: Number = said(
        "its standard error, as of two separate measurements", "metric", _NO_ERROR
    )
    compared_either: int | None = said("entries that this or the second subnetwork retains", "entries", _NO_OTHER)
    compared_both: int | None = said("entries that both retain", "entries", _NO_OTHER)
    compared_jaccard: Number = said("compared_both / compared_either", "share", _NO_OTHER)
    compared_jaccard_expected: Number = said(
        "the same if each had drawn its entries at random, row by row or, where rows share budgets in both, by tensor",
        "share",
        f"{_NO_OTHER}; or {_BY_CHANCE}",
    )
    compared_update_share_a: Number = said(
        "share of the update's energy that this subnetwork retains, in tensors that both have pruned",
        *("share", _NO_OTHER),
    )
    compared_update_share_b: Number = said("the same of the second subnetwork", "share", _NO_OTHER)
    reversed_share: Number = said(
        "share of entries that would be decided otherwise if the grid points were visited in reverse",
        *("share", _NOT_VISITED),
    )
    reversed_rows: int = said("in how many rows that was tried", "rows")


def summarise(
    net: ken.Subnetwork,
    retained: pd.DataFrame | None,
    *,
    results: Results | None,
    both: RoleOverlap | None,
    turned: Sequence[float],
) -> Summary:
    """The numbers: retained is `ken.retention.table`, None without models; turned, shares of rows that flip."""
    pruned = len(net.pruned())
    counts = {
        "entries": net.entries,
        "entries_retained": net.retained,
        "share_retained": net.share,
        "entries_reset": net.entries - net.retained,
        "tensors_pruned": pruned,
        "tensors_carried": len(net) - pruned,
        "names_tied": len(net.tied),
        "update_size": None if net.relation is None else net.relation.size,
        "correlation": None if net.relation is None else net.relation.correlation,
        "reversed_share": sum(turned) / len(turned) if turned else None,
        "reversed_rows": len(turned),
    }
    given = counts | _of_update(retained) | _of_results(net, results) | ({} if both is None else _of_both(both.total))
    return Summary.model_validate(dict.fromkeys(Summary.model_fields) | given)


def _of_update(retained: pd.DataFrame | None) -> dict[str, Any]:
    if retained is None or retained.empty:
        return {}
    total = ken.retention.by_place(retained.assign(all=""), ["all"]).iloc[0].to_dict()
    paired = int(total["paired"])
    return {
        "entries_paired": paired,
        "entries_changed": int(total["changed"]),
        "share_retained_of_paired": int(total["paired_retained"]) / paired if paired else None,
        "update_retained": total["update_share"],
        "tail_entries": int(total["tails"]),
        "tails_retained": total["tails_share"],
        **{name: total[name] for name in ("neighbours", "neighbours_expected", "neighbours_z")},
    }


def _of_results(net: ken.Subnetwork, results: Results | None) -> dict[str, Any]:
    own = None if results is None else results.own(net)
    if results is None or own is None:
        return {}
    given: dict[str, Any] = {"metric": own.metric, "metric_standard_error": own.standard_error}
    level, drawn = results.fine_tuned, results.drawn(net)
    if level is not None:
        paired = not math.isnan(own.difference_error)
        separate = math.hypot(own.standard_error, level.error)
        given |= {
            "metric_fine_tuned": level.value,
            "metric_fine_tuned_standard_error": level.error,
            "metric_difference": own.metric - level.value,
            "metric_difference_standard_error": own.difference_error if paired else separate,
            "metric_difference_paired": paired,
            "metric_loss_points": 100 * (level.value - own.metric) if results.shares else None,
        }
    if drawn is not None:
        given |= {
            "metric_random": drawn.metric,
            "metric_random_standard_error": drawn.standard_error,
            "random_draws": drawn.seeds,
            "metric_gain": own.metric - drawn.metric,
            "metric_gain_standard_error": math.hypot(own.standard_error, drawn.standard_error),
        }
    return given


def _of_both(total: pd.Series) -> dict[str, Any]:
    shares = ("jaccard", "jaccard_expected", "update_share_a", "update_share_b")
    return {
        "compared_either": round(total["retained_a"] + total["retained_b"] - total["both"]),
        "compared_both": round(total["both"]),
        **{f"compared_{name}": float(total[name]) for name in shares},
    }
