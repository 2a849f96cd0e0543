"""Codes of quantised models, read as the values that the library which made them gives, a tensor at a time.

table        which schemes are read, and a folder of codes as one of plain tensors
layer        one tensor of codes: what it becomes, known from headers, and how; `store` gives the values
fp8          float8 with scales per tensor, row or block
mxfp4        blocks of four-bit floats (gpt-oss)
packed       GPTQ and AWQ
bnb          bitsandbytes, 4 and 8 bits
compressed   compressed-tensors
gguf_file    a GGUF file, which brings its own names and configuration

What gives codes away is in `ken.models.checkpoints.quantised`, and nowhere else.
"""
