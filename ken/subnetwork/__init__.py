"""What was retained, as data: it knows neither a file nor a model to inject it into.

subnetwork         all tensors, the recipe, and where they came from
retained_tensor    one tensor: its mask, and its retained entries as `ulp_distances` from the pretrained ones;
                   `ulp_torch` applies them on other devices
extract            takes them out of a fine-tuned tensor, a stretch at a time, in `threads`
injected_rows      some rows as injection gives them
belonging          whether a pair of models is the one that a subnetwork was made from
"""

from ken.subnetwork.belonging import check_tensor as check_tensor
from ken.subnetwork.belonging import open_for as open_for
from ken.subnetwork.injected_rows import injected_rows as injected_rows
