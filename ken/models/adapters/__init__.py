"""Adapters (LoRA and its kin): fine-tuned models that are stored as a small change of their base.

sources      what is an adapter, whose, and of which base
skeleton     the module that an adapter belongs to, with room for weights and none in it
merging      PEFT's own layers, merged one at a time when their weights are read
on_base      base and adapter as one checkpoint
adapted      the pair that both make, from folders or live
"""
