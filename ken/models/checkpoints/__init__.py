"""One model, whatever it is in: a module, a state dict, a file, a folder, an id of the hub.

checkpoint           the model, read; from `checkpoint_files` (with `hub`, `links`) or from memory (`state_dicts`)
remote               what is behind a URL, read by ranges
location             what names a place, taken apart
hub_files            which files of a repository make up a model; `hub_errors`: what went wrong, in words
origins              which repository, commit and licence a model came from, and the base that its card names
checkpoint_files     what lies on disk: one set of weights (`weight_sets`, by `file_names`), or that of several `parts`
weight_files         one file: `safetensors_file`, `torch_files`, `numpy_files`
wrappers, ties       what is looked through, and which names are of one tensor (with `vocabularies`)
quantised, unmerged  what is refused, since its tensors are no weights
dequantised          codes that are read as plain values all the same
mistaken_files       files that are no weights, and what could be given instead
other_files          what belongs to a model and is no weight
architecture         the class of transformers that a checkpoint names: what is known of it, and models of it
"""
