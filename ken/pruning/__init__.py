"""From two models to a subnetwork.

selection, patterns    which tensors, with which k
plan                   what that would retain, before anything is pruned
paired_rows, ranges    what a rule sees of a tensor, and how its masks come of that when rows share their budget
opening, prepared      all that is known before a value is read
prune, making          does it, into memory (`collector`) or a file
lazy_subnetwork        decides what is looked at: `lazy_tensors`, `lazy_carried`; by `lazy_decider`, into `decided_rows`
parts                  does it in parts, by several processes
remarks                what there is to say about the two models
"""
