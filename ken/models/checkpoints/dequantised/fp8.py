"""float8 with scales: transformers' own dequantisation, and the same product where a block is cut off at an edge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ken.models.checkpoints.dequantised.layer import Coded, Layer

if TYPE_CHECKING:
    import torch

#: What a module has beside its weight for its activations, which a plain model has no place for.
_ACTIVATIONS = ("activation_scale", "input_scale", "input_scale_ub", "output_scale", "act_scale")
_KINDS = {"float32", "bfloat16", "float16", "float8_e8m0fnu", "uint8"}


def read(coded: Coded, name: str) -> Layer | None:
    """A tensor of float8 and its scale; None if the scale is called in a way whose meaning is not known."""
    stem, _, leaf = name.rpartition(".")
    names = [f"{name}_scale_inv", f"{name}_scale"]
    if leaf == "weight" and coded.settings.get("quant_method") == "fp8":
        names.append(f"{stem}.scale".lstrip("."))
    scale = next((other for other in names if other in coded.tensors), "")
    if not scale:
        return None
    kind = str(coded.tensors[scale].dtype).removeprefix("torch.")
    if kind not in _KINDS:
        raise coded.damage(scale, f"is {kind}, and a scale of float8 is one of {', '.join(sorted(_KINDS))}")
    blocks = _blocks(coded, name, scale)
    dtype = coded.stated or _own(coded.tensors[scale])
    used = {name, scale, f"{name}_activation_scale"} & set(coded.tensors) | coded.beside(stem, _ACTIVATIONS)
    extent = "block" if coded.settings.get("weight_block_size") else "tensor" if blocks == (1, 1) else "row"

    def compute() -> torch.Tensor:
        return _product(coded.whole(name), coded.whole(scale), blocks=blocks, dtype=dtype)

    how = f"fp8 with a scale per {extent}"
    return Layer(name, coded.shape(name), dtype, compute=compute, used=frozenset(used), scheme=how)


def _own(scale: torch.Tensor) -> torch.dtype:
    """What transformers gives where nothing states a dtype."""
    import torch

    return scale.dtype if scale.dtype.itemsize > 1 else torch.bfloat16


def _blocks(coded: Coded, name: str, scale: str) -> tuple[int, int]:
    """How many scales there are along both of the last axes. Raises `PairingError` if they do not fit the codes."""
    shape, own = coded.shape(name), coded.shape(scale)
    rows, columns = (1, *shape)[-2:] if shape else (1, 1)
    if math.prod(own) == 1:
        return 1, 1
    if len(shape) >= 2 and own in ((shape[0],), (*shape[:-2],)):  # one a row, or one an expert
        return (rows, 1) if len(shape) == 2 else (1, 1)
    if len(own) != len(shape) or len(shape) < 2 or own[:-2] != shape[:-2]:
        raise coded.damage(scale, f"has the shape {own}, which fits no rows or blocks of {name}, {shape}")
    grid = own[-2], own[-1]
    if all(count in (1, length) for count, length in zip(grid, (rows, columns), strict=True)):
        return grid
    size = coded.settings.get("weight_block_size")
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        raise coded.damage(
            scale,
            f"has a scale for every block of {name}, and nothing says how large a block is",
            "give the folder with the config.json whose quantization_config has weight_block_size",
        )
    if grid != (-(-rows // size[0]), -(-columns // size[1])):
        raise coded.damage(scale, f"has the shape {own}, and blocks of {tuple(size)} in {name}, {shape}, need another")
    if rows % size[0] or columns % size[1]:
        return -size[0], -size[1]  # the last blocks are cut off
    return grid


def _product(codes: torch.Tensor, scale: torch.Tensor, *, blocks: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    """The values, as transformers computes them. It knows no blocks that are cut off, which are given as negative."""
    import torch
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    if blocks[0] < 0:
        factors = (scale.to(torch.float32) - 127.0).exp2() if scale.dtype == torch.uint8 else scale.to(torch.float32)
        for axis, size in zip((-2, -1), blocks, strict=True):
            factors = factors.repeat_interleave(-size, axis).narrow(axis, 0, codes.shape[axis])
        return (codes.to(torch.float32) * factors).to(dtype)
    flat = codes.reshape(1, -1) if codes.ndim < 2 else codes
    leading = scale.shape[:1] if codes.ndim > 2 and scale.numel() > 1 else ()
    grid = scale if scale.ndim == codes.ndim and codes.ndim >= 2 else scale.reshape(*leading, *blocks)
    return Fp8Dequantize(None)._dequantize_one(flat, grid, output_dtype=dtype).reshape(codes.shape)
