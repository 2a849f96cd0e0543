"""From two models to a subnetwork.

selection, patterns    which tensors, with which k
plan                   what that would retain, before anything is pruned
paired_rows, ranges    what a rule sees of a tensor, and how its masks come of that when rows share their budget
prune                  does it, into memory (`collector`) or a file
remarks                what there is to say about the two models
"""
