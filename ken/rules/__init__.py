"""Rules: which k entries of each row are retained.

registry             the names, what a rule is given, and the checks of what it gives
builtin              the rules that come with ken, by name
fast_density         the compiled density at many points, `nearest_unclaimed` and `top_density` what is made of it
"""

from ken.rules import builtin as builtin  # which registers its rules
from ken.rules.registry import Mask as Mask
from ken.rules.registry import Registered as Registered
from ken.rules.registry import RowBlock as RowBlock
from ken.rules.registry import Rule as Rule
from ken.rules.registry import Settings as Settings
from ken.rules.registry import check_settings as check_settings
from ken.rules.registry import get as get
from ken.rules.registry import mask_block as mask_block
from ken.rules.registry import names as names
from ken.rules.registry import register as register
from ken.rules.registry import retain as retain
