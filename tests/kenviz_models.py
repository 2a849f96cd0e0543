"""A small pair with layers, vectors, a new head, and names that want to be HTML."""

import torch

import ken

HOSTILE = "<script>alert(1)</script>&\"'\n\u202e" + "x" * 500


def small_pair(extra=()):
    generator = torch.Generator().manual_seed(0)
    shapes = {"embed.weight": (300, 24)}
    for layer in range(2):
        shapes |= {f"layer.{layer}.query.weight": (24, 24), f"layer.{layer}.query.bias": (24,)}
        shapes |= {f"layer.{layer}.out.weight": (24, 48)}
    shapes |= dict.fromkeys(extra, (24, 24))
    pretrained = {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}
    fine_tuned = {
        name: tensor + torch.randn(tensor.shape, generator=generator) * 0.01 for name, tensor in pretrained.items()
    }
    return ken.Pair(fine_tuned | {"head.weight": torch.ones(3, 24)}, pretrained)
