"""What was retained, as data: it knows neither a file nor a model to inject it into.

subnetwork         all tensors, the recipe, and where they came from (`provenance`)
retained_tensor    one tensor: its mask, and its retained entries as `ulp_distances` from the pretrained ones, which
                   `ulp_torch` applies on other devices; some rows of it by `row_access`
extract            takes them out of a fine-tuned tensor, a stretch at a time, in `threads`
executors          work given to other processes: `concurrent.futures`, Dask, submitit
injected_rows      some rows as injection gives them
belonging          whether a pair of models is the one that a subnetwork was made from
"""

from ken.subnetwork.belonging import check_tensor as check_tensor
from ken.subnetwork.belonging import open_for as open_for
from ken.subnetwork.injected_rows import injected_rows as injected_rows
