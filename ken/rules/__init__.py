"""Rules: which k entries of each row are retained.

row_block            the rows and settings that a rule is given
registered           a rule with what is known of it
registry             the names, and the checks of what a rule gives
builtin              the rules that come with ken, by name
given_scores         a rule from scores of one's own
fast_density         the compiled density at many points, `nearest_unclaimed` and `top_density` what is made of it
"""

from ken.rules import builtin as builtin  # which registers its rules
from ken.rules.given_scores import by_score as by_score
from ken.rules.registered import Registered as Registered
from ken.rules.registry import check_k as check_k
from ken.rules.registry import check_settings as check_settings
from ken.rules.registry import counts as counts
from ken.rules.registry import forget as forget
from ken.rules.registry import get as get
from ken.rules.registry import mask_block as mask_block
from ken.rules.registry import names as names
from ken.rules.registry import register as register
from ken.rules.registry import retain as retain
from ken.rules.row_block import VALUES as VALUES
from ken.rules.row_block import Mask as Mask
from ken.rules.row_block import RowBlock as RowBlock
from ken.rules.row_block import Rule as Rule
from ken.rules.row_block import Settings as Settings
from ken.rules.row_block import values_on as values_on
