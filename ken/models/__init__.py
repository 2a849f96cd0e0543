"""Where tensors come from: modules, state dicts, files, folders and hub ids, read alike, and paired.

tensors        bytes, fingerprints and names of single tensors
checkpoints    one model, whatever it is in
pairing        the pretrained counterpart of every fine-tuned tensor, and the rows of both
"""
