"""One model, whatever it is in: a module, a state dict, a file, a folder, an id of the hub.

checkpoint           the model, read; from `checkpoint_files` (with `hub`, `links`) or from memory (`state_dicts`)
checkpoint_files     what lies on disk: one set of weights (`weight_sets`, by `file_names`), or that of several `parts`
weight_files         one file: `safetensors_file`, `torch_files`, `numpy_files`
wrappers, ties       what is looked through, and which names are of one tensor (with `vocabularies`)
quantised, unmerged  what is refused, since its tensors are no weights
mistaken_files       files that are no weights, and what could be given instead
other_files          what belongs to a model and is no weight
architecture         the class of transformers that a checkpoint names: what is known of it, and models of it
"""
