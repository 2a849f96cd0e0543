"""Why an entry was retained or reset where rows share a budget: its score, and the threshold of its range."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ken import rules
from ken.rules.thresholds import Threshold, score_of


@dataclass(frozen=True, eq=False)
class SharedBudget:
    """What decided about the entries of a row that has no budget of its own.

    Attributes:
        scope: "tensor" or "model".
        threshold: That of the tensor; None if a rule without a score decided about the whole tensor as one row.
        scores: The scores of the row's entries that both models have, (n,) float64 or uint64; empty for such a rule.
        start: The place of the first of them in the tensor.
    """

    scope: str
    threshold: Threshold | None = None
    scores: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    start: int = 0

    @property
    def lowest(self) -> float | int | None:
        """The score at which entries are retained; None where there is none, and where all of the range are."""
        if self.threshold is None or self.threshold.key == 0:
            return None
        return score_of(self.threshold.key, str(self.scores.dtype))

    def score(self, i: int) -> float | int | None:
        """The score of an entry as a number of Python's own; None if it has none."""
        return self.scores[i].item() if i < len(self.scores) else None

    def facts(self, i: int) -> dict[str, Any]:
        """What there is to say of an entry, by name."""
        return {"scope": self.scope, "score": self.score(i), "threshold": self.lowest}

    def reason(self, i: int, rule: str) -> str:
        """Why an entry was retained or reset, in a clause."""
        assert self.threshold is not None
        lowest, score = self.lowest, self.scores[i].item()
        if lowest is None:
            return f"k retains all entries of the {self.scope}"
        place = self.start + i
        what = f"its {_in_words(rule, score)}, {_number(score)},"
        limit = f"the threshold of the {self.scope}, {_number(lowest)}"
        if score != lowest:
            return f"{what} is {'above' if score > lowest else 'below'} {limit}"
        kept = "among" if place < self.threshold.ties else "not among"
        order = "tensors by name, then entries by place" if self.scope == "model" else "entries by place"
        return f"{what} equals {limit}; of such entries the first are retained ({order}), and it is {kept} them"

    def count(self, k: int, n: int) -> str:
        """How many of the n entries of the row are retained, and over what k is counted."""
        if self.threshold is None:
            return f"k = {k} of {n}: the whole tensor is one row"
        return f"{k} of {n} retained in its row, as k is counted over {rules.SCOPES[self.scope]}"


def _in_words(rule: str, score: float | int) -> str:
    """What a score is. A rule's words say what is retained first; they name the score itself if that is a size.

    >>> _in_words("update", 0.5), _in_words("smallest_update", -0.5), _in_words("random", 7)
    ('absolute update', 'score (smallest absolute update first)', 'number drawn at random')
    """
    known = rules.get(rule) if rule in rules.names() else None
    if known is None or not (known.words or known.seeded):
        return "score"
    if known.seeded:
        return "number drawn at random"
    most, _, what = known.words.partition(" ")
    if most == "highest" or (most == "largest" and score >= 0):
        return what
    return f"score ({known.words} first)"


def _number(score: float | int) -> str:
    return f"{score:,}" if isinstance(score, int) else f"{score:.6g}"
