"""From two models to a subnetwork.

selection, patterns    which tensors, with which k
plan                   what that would retain, before anything is pruned
prune                  does it, into memory (`collector`) or a file
remarks                what there is to say about the two models
"""
