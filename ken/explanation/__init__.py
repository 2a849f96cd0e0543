"""Why entries were retained or reset.

explain            a row, or a tensor of a subnetwork, step by step
claims             what each grid point takes when its turn comes
shared_budget      what decided where rows share their budget
row_explanation    what is known of a row then: claims, tables, the card of an entry
stability          what another bandwidth would have decided
"""

from ken.explanation.explain import CLAIMING as CLAIMING
from ken.explanation.explain import TensorExplanation as TensorExplanation
from ken.explanation.row_explanation import Card as Card
from ken.explanation.row_explanation import RowExplanation as RowExplanation
from ken.explanation.row_explanation import reason as reason
from ken.explanation.stability import Stability as Stability
from ken.explanation.stability import heeds_bandwidth as heeds_bandwidth
from ken.explanation.stability import stability_of as stability_of
