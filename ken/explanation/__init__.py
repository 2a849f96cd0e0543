"""Why entries were retained or reset.

explain            a row, or a tensor of a subnetwork, step by step
shared_budget      what decided where rows share their budget
row_explanation    what is known of a row then: claims, tables, the card of an entry
reasons            why an entry was retained or reset, in a clause
stability          what another bandwidth would have decided
"""

from ken.explanation.explain import CLAIMING as CLAIMING
from ken.explanation.explain import TensorExplanation as TensorExplanation
from ken.explanation.reasons import reason as reason
from ken.explanation.row_explanation import Card as Card
from ken.explanation.row_explanation import RowExplanation as RowExplanation
from ken.explanation.stability import Stability as Stability
from ken.explanation.stability import heeds_bandwidth as heeds_bandwidth
from ken.explanation.stability import stability_of as stability_of
