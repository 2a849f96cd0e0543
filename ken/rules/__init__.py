"""Rules: which k entries of each row are retained.

row_block            the rows and settings that a rule is given
registered           a rule with what is known of it
registry             the names, and the checks of what a rule gives
registering          a rule of one's own, and its trial
scopes               over what k is counted
thresholds           the entries of highest score of a range that is larger than memory
builtin              the rules that come with ken, by name
density_rules        those that estimate a density; `fast_density` is the compiled density at many points,
                     `nearest_unclaimed` and `top_density` are what is made of it
magnitudes           those by the size of a value or of its update
draws                those that draw at random
merging_rules        what methods of merging models retain
given_scores         a rule from scores of one's own
"""

from ken.rules import builtin as builtin  # which registers its rules
from ken.rules.given_scores import by_score as by_score
from ken.rules.merging_rules import breadcrumbs as breadcrumbs
from ken.rules.merging_rules import cabs as cabs
from ken.rules.registered import RESCALES as RESCALES
from ken.rules.registered import Registered as Registered
from ken.rules.registering import register as register
from ken.rules.registry import check_k as check_k
from ken.rules.registry import check_rescale as check_rescale
from ken.rules.registry import check_settings as check_settings
from ken.rules.registry import counts as counts
from ken.rules.registry import forget as forget
from ken.rules.registry import get as get
from ken.rules.registry import mask_block as mask_block
from ken.rules.registry import names as names
from ken.rules.registry import retain as retain
from ken.rules.registry import usual_rescale as usual_rescale
from ken.rules.row_block import VALUES as VALUES
from ken.rules.row_block import Mask as Mask
from ken.rules.row_block import RowBlock as RowBlock
from ken.rules.row_block import Rule as Rule
from ken.rules.row_block import Settings as Settings
from ken.rules.row_block import values_on as values_on
from ken.rules.scopes import SCOPES as SCOPES
from ken.rules.scopes import SHARED as SHARED
from ken.rules.scopes import check_scope as check_scope
