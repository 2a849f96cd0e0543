"""Can two models be told apart, and if not, how close are they surely: differences and equivalence, side by side.

A difference that is not significant says little: too few texts make any two models alike. The question is asked the
other way round as well, by two one-sided tests (Schuirmann 1987): the hypotheses are that the true difference is
+`MARGIN` or more, and that it is −`MARGIN` or less; where both are rejected at level α, it lies between. That is so
exactly if the 1 − 2α interval lies within ±`MARGIN`. Both tests take the estimate, its standard error and its degrees
of freedom from `evidence_statistics.estimate`, so that they too cover another draw of texts, seeds and fine-tunings.

Verdicts of a comparison, each kind judged together by Holm's method:

    differs          the true difference is not 0
    alike            the true difference is within ±`MARGIN`
    differs, small   both: a difference that is there, and does not matter
    open             neither: more texts, seeds or fine-tunings would be needed
"""

from __future__ import annotations

import math

from evidence_statistics import MARGIN, Estimate
from scipy import stats

LEVEL = 0.05
VERDICTS = {
    (True, False): "differs",
    (False, True): "alike",
    (True, True): "differs, small",
    (False, False): "open",
}


def equivalence(found: Estimate, levels: tuple[int, int, int], margin: float = MARGIN) -> float:
    """The p-value of both one-sided tests: the larger of the two. levels are the shape of what was estimated.

    Of n texts none of which differs, a share of `margin` would be missed with probability (1 − margin)ⁿ. One text by
    itself says nothing: p is 1.

    >>> import numpy as np
    >>> from evidence_statistics import estimate
    >>> values = np.array([[[0, 0, 0, 0, 1, -1] * 500]])
    >>> round(equivalence(estimate(values), values.shape), 2)
    0.17
    >>> round(equivalence(estimate(values), values.shape, margin=0.03), 3)
    0.002
    """
    error = math.sqrt(sum(part**2 for part in found.errors if not math.isnan(part)))
    if math.isnan(found.df):  # every text alike
        return (1 - margin) ** levels[2] if abs(found.mean) < 1e-12 else 1.0
    below = float(stats.t.sf((found.mean + margin) / error, found.df))
    above = float(stats.t.cdf((found.mean - margin) / error, found.df))
    return max(below, above)


def verdict(p_holm: float, p_equivalent_holm: float) -> str:
    """What two adjusted p-values, of difference and of equivalence, allow to say.

    >>> verdict(0.4, 0.001), verdict(0.4, 0.4)
    ('alike', 'open')
    """
    return VERDICTS[p_holm < LEVEL, p_equivalent_holm < LEVEL]
