"""How the frozen files of format version 1 were made. They are read by the tests, and not made again.

Usage: python tests/golden/make_format_v1.py     (writes beside itself; the format has changed if git sees a difference
in what is read from them)

Two subnetworks of one pair of models, with every coding, dtype and kind of tensor; and in format_v1.npz, as bits, the
pretrained tensors (`pretrained/NAME`) and what injection gives (`injected/NAME`).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import ken
from ken.subnetwork.retained_tensor import RetainedTensor

FOLDER = Path(__file__).parent


def models():
    """State dicts of a fine-tuned and a pretrained model."""
    generator = torch.Generator().manual_seed(2402)
    shapes = {
        "double": ((6, 9), torch.float64),
        "single": ((40, 30), torch.float32),
        "half": ((5, 4, 3, 2), torch.float16),
        "brain": ((3, 33), torch.bfloat16),
        "sparse": ((2, 700), torch.float32),
        "mostly": ((30, 100), torch.float32),
        "scalar": ((), torch.float32),
        'σ "quoted"': ((17,), torch.float32),
        "grown": ((4, 6), torch.bfloat16),
        "none": ((3, 3), torch.float32),
    }
    pretrained = {n: (torch.randn(s, generator=generator) * 0.1).to(d) for n, (s, d) in shapes.items()}
    fine_tuned = {
        n: (t.double() + 0.01 * torch.randn(t.shape, generator=generator).double()).to(t.dtype)
        for n, t in pretrained.items()
    }
    single = fine_tuned["single"].view(-1)
    single[:4] = torch.tensor([-0.0, 0.0, 1e-42, -3.4e38])
    pretrained["single"].view(-1)[4:8] = torch.tensor([-0.0, 0.0, -1e-45, 3.4e38])
    pretrained["grown"] = pretrained["grown"][:3]
    fine_tuned["tied"] = fine_tuned["single"]
    fine_tuned["head"] = torch.tensor([[1.5, float("nan")], [-0.0, float("inf")]])
    fine_tuned["steps"], pretrained["steps"] = torch.tensor(2**40), torch.tensor(3)
    fine_tuned["flags"], pretrained["flags"] = torch.tensor([True, False, True]), torch.zeros(3, dtype=torch.bool)
    fine_tuned["empty"], pretrained["empty"] = torch.zeros(0, 4), torch.zeros(0, 4)
    pretrained["unused"] = torch.ones(2, 2)
    return fine_tuned, pretrained


def bits(tensor):
    """The bits of a tensor, as unsigned integers in its shape."""
    flat = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return flat.view(f"u{tensor.element_size()}").reshape(tuple(tensor.shape))


def main():
    """Write the three files."""
    fine_tuned, pretrained = models()
    k = {"sparse": 4, "double": 1.0, "mostly": 0.95, "*": 0.5}
    for name, raw in (("format_v1.ken.safetensors", False), ("format_v1_raw.ken.safetensors", True)):
        net = ken.prune(fine_tuned, pretrained, k, rule="random", seed=7, raw=raw)
        nothing = RetainedTensor.of(
            fine_tuned["none"], np.zeros((3, 3), bool), pretrained["none"], name="none", raw=raw
        )
        tensors = {**net.tensors, "none": nothing}
        replace(net, tensors=tensors, files={"config.json": b'{"model_type": "none"}\n'}).save(FOLDER / name)
    injected = ken.inject(ken.load(FOLDER / "format_v1.ken.safetensors"), pretrained)
    arrays = {f"pretrained/{name}": bits(tensor) for name, tensor in pretrained.items()}
    arrays |= {f"injected/{name}": bits(tensor) for name, tensor in injected.items()}
    np.savez_compressed(FOLDER / "format_v1.npz", **arrays)


if __name__ == "__main__":
    main()
