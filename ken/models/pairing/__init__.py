"""The two models beside each other.

pairs           what a pair is
pairing         the pretrained counterpart of every fine-tuned tensor: by name, prefix, ties, `weight_names`
rows            how a tensor is cut into rows, and k
growth          rows that were added; `lacking`: tensors that a fine-tuned checkpoint leaves out
relation        how large the update is; `mixups`: what looks like two models that were mixed up
"""
