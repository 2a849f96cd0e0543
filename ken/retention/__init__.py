"""Tidy tables of what was retained, by tensor, place, attention head, row and column, and of two subnetworks.

tally, tally_loop              what one pass over the tensors counts
summary_columns, statistics    the columns made of that
measured                       what that comes to of each tensor, counted here or by the workers of an executor
tables                         the tables; `attention_heads` says which rows are a head's
comparison, common_sums        two subnetworks of one pair, and what their masks have in common, likewise
differing, difference          two models, whatever is retained: `ken.diff`, and what it gives
difference_counts              two tensors: a first look at their bytes, sums only where they differ
difference_lines, difference_tables  what is said of one tensor, and the tables made of that

Every column is defined in docs/statistics.md.
"""

from ken.models.pairing.pairs import Pair as Pair
from ken.models.pairing.pairs import PairOfModels as PairOfModels
from ken.models.tensors.tensor_roles import Place as Place
from ken.models.tensors.tensor_roles import place as place
from ken.models.tensors.tensor_roles import role as role
from ken.retention.attention_heads import Heads as Heads
from ken.retention.attention_heads import heads_of as heads_of
from ken.retention.comparison import alike as alike
from ken.retention.comparison import compare as compare
from ken.retention.comparison import counterparts as counterparts
from ken.retention.comparison import in_common as in_common
from ken.retention.comparison import same_draw as same_draw
from ken.retention.statistics import chance as chance
from ken.retention.statistics import expected_neighbours as expected_neighbours
from ken.retention.statistics import z_score as z_score
from ken.retention.tables import Retention as Retention
from ken.retention.tables import by_place as by_place
from ken.retention.tables import columns as columns
from ken.retention.tables import heads as heads
from ken.retention.tables import measure as measure
from ken.retention.tables import rows as rows
from ken.retention.tables import table as table
