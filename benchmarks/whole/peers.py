"""The plain way with torch and safetensors, as a process: peers.py prune|inject|verify ARGUMENTS.

prune   read both models, take the k largest updates of every row, write these values into the pretrained model
inject  read a model that was stored whole, write it to another file
verify  read the pretrained file, hash its bytes

What is written is on the disk when they end, as with `ken`.
"""

import os
import sys
from pathlib import Path

FILE = "model.safetensors"


def prune(fine_tuned, pretrained, share, out):
    import torch
    from safetensors.torch import load_file

    tuned, base = load_file(Path(fine_tuned, FILE)), load_file(Path(pretrained, FILE))
    merged = {}
    for name, values in tuned.items():
        original = base[name]
        rows, result = (tensor.reshape(-1, tensor.shape[-1]) for tensor in (values, original.clone()))
        k = max(1, int(float(share) * rows.shape[1]))
        places = torch.topk((rows - result).abs(), k, dim=1).indices
        merged[name] = result.scatter_(1, places, rows.gather(1, places)).reshape(values.shape)
    _save(merged, out)


def inject(source, out):
    from safetensors.torch import load_file

    _save(load_file(Path(source, FILE)), out)


def verify(source):
    import xxhash

    running = xxhash.xxh3_128()
    with Path(source, FILE).open("rb") as file:
        while part := file.read(1 << 20):
            running.update(part)
    print(running.hexdigest())


def _save(tensors, out):
    from safetensors.torch import save_file

    save_file(tensors, out, {"format": "pt"})
    with Path(out).open("rb+") as file:
        os.fsync(file.fileno())


if __name__ == "__main__":
    _, name, *arguments = sys.argv
    {"prune": prune, "inject": inject, "verify": verify}[name](*arguments)
