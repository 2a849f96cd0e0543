"""Where tensors come from: modules, state dicts, files, folders and hub ids, read alike, and paired.

tensors        bytes, fingerprints and names of single tensors
checkpoints    one model, whatever it is in
adapters       a base and its adapters (LoRA and its kin), read as one
pairing        the pretrained counterpart of every fine-tuned tensor, and the rows of both
"""

from ken.models.named_tables import index_as_column as index_as_column
