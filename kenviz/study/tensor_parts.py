"""One tensor by attention head, by column or by row: the values of a strip, read only when one is shown."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken.retention import Heads, heads_of
from kenviz.study.study import Study

#: What a tensor can be divided into.
PARTS = ("heads", "columns", "rows")

# What the subnetwork alone tells of a part, and what a look at the models adds (docs/statistics.md).
_OWN = ("share", "retained", "entries")
_OF_ALL = ("changed", "retained_changed", "energy", "energy_retained", "energy_reset", "update_share")
_OF_ROWS = ("paired", "tails", "tails_retained", "tails_share", "bandwidth", "kurtosis")


class Strip(NamedTuple):
    """What there is to show of a tensor's parts.

    measure: what the values (parts,) float64 are, a column of the retention table. names: of the parts, where a number
    is not enough; else empty. problem: why there are no values, else empty.
    """

    measure: str
    values: NDArray[np.float64]
    names: list[str]
    problem: str = ""


#: No strip.
NOTHING = Strip("share", np.zeros(0), [])


def nearest(measure: str, parts: str) -> str:
    """The measure itself if it is known of such parts, else the share that is closest to it in kind.

    >>> nearest("kurtosis", "rows"), nearest("kurtosis", "heads"), nearest("row_length", "rows")
    ('kurtosis', 'update_share', 'share')
    """
    if measure in (*_OWN, *_OF_ALL, *(_OF_ROWS if parts == "rows" else ())):
        return measure
    return "share" if measure in ("rows", "row_length") else "update_share"


def strip(study: Study, tensor: str, parts: str, measure: str) -> Strip:
    """The `nearest` measure of each part of a pruned tensor; parts is one of PARTS.

    The models are read only for what the subnetwork alone does not tell. Heads are those of
    `ken.retention.attention_heads`: known only where the configuration of the fine-tuned model says which rows or
    columns are theirs.
    """
    shown = nearest(measure, parts)
    groups = _heads(study, tensor) if parts == "heads" else None
    if parts == "heads" and groups is None:
        return Strip(shown, np.zeros(0), [], problem="no attention heads are known of this tensor")
    names = [] if groups is None else [f"{role} {head}" for role, head in groups.groups]
    if shown in _OWN:
        return Strip(shown, _own(study, tensor, parts, groups=groups, measure=shown), names)
    if parts == "heads":
        table = study.retention.heads()
        table = table[table["tensor"] == tensor]
    else:
        table = (study.retention.columns if parts == "columns" else study.retention.rows)(tensor)
    return Strip(shown, table[shown].to_numpy(dtype=float), names)


def _heads(study: Study, tensor: str) -> Heads | None:
    """The heads of a tensor that is cut into the rows it has anyway; as `ken.retention.heads` counts them."""
    shape, architecture = study.net.outlines[tensor].shape, study.net.architecture
    if architecture is None or (len(shape) == 2 and study.shape(tensor) != shape):
        return None
    return heads_of(tensor, shape, architecture.config)


def _own(study: Study, tensor: str, parts: str, groups: Heads | None, measure: str) -> NDArray[np.float64]:
    pyramid, along = study.pyramid(tensor), parts if groups is None else groups.axis
    counts: NDArray[Any] = (pyramid.row_counts if along == "rows" else pyramid.column_counts).astype(float)
    if groups is not None:
        counts = np.bincount(groups.group, weights=counts, minlength=len(groups.groups))
    entries = math.prod(pyramid.shape) / len(counts)
    if measure == "entries":
        return np.full(len(counts), entries)
    return counts if measure == "retained" else counts / entries
