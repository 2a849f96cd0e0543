"""What a subnetwork is worth: pruned with every k and rule, evaluated, compared.

sweep, smallest_k    the two questions; `runner` prunes, injects and evaluates, and keeps what is known
classification       accuracy and its errors; `encoding`: texts as batches
datasets             texts and labels, divided; `docstring_task`: those of the demonstration, kept in a `cache_entry`
trainer              fine-tuning
published_models     what others have fine-tuned
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ken.evaluation.classification import Evaluation as Evaluation

if TYPE_CHECKING:
    import pandas as pd

    from ken.evaluation.effects.groups import By
    from ken.results import Record


def tabled(records: Sequence[Record]) -> pd.DataFrame:
    """Records as the table of a sweep; see `ken.evaluation.sweep.tabled`."""
    from ken.evaluation.sweep import tabled  # whoever reads texts alone needs none of it

    return tabled(records)


def members(
    shapes: Mapping[str, tuple[int, ...]], by: By, config: Mapping[str, Any] | None = None
) -> dict[str, list[str]]:
    """The tensors of each group that `ken.ablate` knows; see `ken.evaluation.effects.groups.members`."""
    from ken.evaluation.effects.groups import members

    return members(shapes, by, config)
