"""What a subnetwork is worth: pruned with every k and rule, evaluated, compared.

sweep, smallest_k    the two questions; `runner` prunes, injects and evaluates, and keeps what is known
classification       accuracy and its errors; `encoding`: texts as batches
datasets             texts and labels, divided; `docstring_task`: those of the demonstration, kept in a `cache_entry`
trainer              fine-tuning
published_models     what others have fine-tuned
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ken.evaluation.classification import Evaluation as Evaluation

if TYPE_CHECKING:
    import pandas as pd

    from ken.results import Record


def tabled(records: Sequence[Record]) -> pd.DataFrame:
    """Records as the table of a sweep; see `ken.evaluation.sweep.tabled`."""
    from ken.evaluation.sweep import tabled  # whoever reads texts alone needs none of it

    return tabled(records)
