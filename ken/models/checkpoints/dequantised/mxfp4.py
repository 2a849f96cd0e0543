"""MXFP4, as gpt-oss has its experts: transformers' own conversion, which also turns them round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ken.models.checkpoints.dequantised.layer import Coded, Layer

if TYPE_CHECKING:
    import torch


def read(coded: Coded, name: str) -> Layer:
    """A tensor of blocks and the scales beside it."""
    import torch

    plain = name.removesuffix("_blocks")
    scales = coded.need(f"{plain}_scales", name)
    shape = coded.shape(name)
    if len(shape) != 4:
        raise coded.damage(name, f"has the shape {shape}; blocks are (experts, outputs, groups, bytes)")
    coded.need_shape(scales, shape[:-1])
    experts, outputs, groups, size = shape
    dtype = coded.stated or torch.bfloat16

    def compute() -> torch.Tensor:
        from transformers.integrations.mxfp4 import convert_moe_packed_tensors

        return convert_moe_packed_tensors(coded.whole(name), coded.whole(scales), dtype=dtype)

    shape = experts, groups * size * 2, outputs
    return Layer(plain, shape, dtype, compute=compute, used=frozenset({name, scales}), scheme="MXFP4")
