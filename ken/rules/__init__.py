"""Rules: which k entries of each row are retained.

row_block            the rows and settings that a rule is given
registered           a rule with what is known of it
registry             the names, and the checks of what a rule gives
scopes               over what k is counted
thresholds           the entries of highest score of a range that is larger than memory
builtin              the rules that come with ken, by name
fast_density         the compiled density at many points, `nearest_unclaimed` and `top_density` what is made of it
"""

from ken.rules import builtin as builtin  # which registers its rules
from ken.rules.registered import Registered as Registered
from ken.rules.registry import check_k as check_k
from ken.rules.registry import check_settings as check_settings
from ken.rules.registry import counts as counts
from ken.rules.registry import get as get
from ken.rules.registry import mask_block as mask_block
from ken.rules.registry import names as names
from ken.rules.registry import register as register
from ken.rules.registry import retain as retain
from ken.rules.row_block import Mask as Mask
from ken.rules.row_block import RowBlock as RowBlock
from ken.rules.row_block import Rule as Rule
from ken.rules.row_block import Settings as Settings
from ken.rules.scopes import SCOPES as SCOPES
from ken.rules.scopes import check_scope as check_scope
