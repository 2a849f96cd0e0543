"""bitsandbytes: its own dequantisation of four and eight bits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ken.models.checkpoints.dequantised.layer import Coded, Layer, library

if TYPE_CHECKING:
    import torch

_STATE = "quant_state.bitsandbytes__"


def read_4bit(coded: Coded, name: str) -> Layer:
    """A weight of nf4 or fp4; name is that of any part of its state."""
    import torch

    functional = library("bitsandbytes.functional", "bitsandbytes")
    weight = name.partition(f".{_STATE}")[0] if _STATE in name else name.rpartition(".")[0]
    coded.need(weight, name)
    parts = [other for other in coded.tensors if other.startswith(f"{weight}.")]
    packed = next((other for other in parts if other.startswith(f"{weight}.{_STATE}")), "")
    if not packed:
        raise coded.damage(weight, f"has no {_STATE}nf4 or fp4 beside it, which says its shape")
    state = _state(coded, packed)
    needed = ["absmax", "quant_map"] + (["nested_absmax", "nested_quant_map"] if "nested_blocksize" in state else [])
    for leaf in needed:
        coded.need(f"{weight}.{leaf}", weight)
    shape, blocksize = tuple(state["shape"]), state["blocksize"]
    count = 1
    for length in shape:
        count *= length
    bytes_there = coded.tensors[weight].numel() * coded.tensors[weight].dtype.itemsize
    if bytes_there != -(-count // 2):
        raise coded.damage(weight, f"has {bytes_there:,} bytes, and {shape} takes {-(-count // 2):,}")
    if coded.tensors[f"{weight}.absmax"].numel() != -(-count // blocksize):
        raise coded.damage(f"{weight}.absmax", f"must have {-(-count // blocksize):,} entries, one for each block")
    turned = coded.turned(weight.rpartition(".")[0])
    dtype = coded.stated or getattr(torch, state["dtype"])

    def compute() -> torch.Tensor:
        stored = {other.removeprefix(f"{weight}."): coded.whole(other) for other in parts}
        quant_state = functional.QuantState.from_dict(stored, device=torch.device("cpu"))
        values = functional.dequantize_4bit(coded.whole(weight), quant_state).to(dtype)
        return values.T if turned else values

    kind = f"bitsandbytes 4-bit, {state['quant_type']}" + (", nested" if "nested_blocksize" in state else "")
    shape = shape[::-1] if turned else shape
    return Layer(weight, shape, dtype, compute=compute, used=frozenset({weight, *parts}), scheme=kind)


def _state(coded: Coded, packed: str) -> dict[str, Any]:
    """What bitsandbytes says of a weight: JSON in bytes."""
    try:
        state = json.loads(bytes(coded.whole(packed).tolist()).decode("utf-8"))
        lengths = [int(length) for length in state["shape"]]
        known = state["quant_type"] in ("nf4", "fp4") and state["dtype"] in ("float16", "bfloat16", "float32")
        if known and all(length > 0 for length in lengths) and int(state["blocksize"]) > 0:
            return {**state, "shape": lengths, "blocksize": int(state["blocksize"])}
    except (ValueError, KeyError, TypeError):
        pass
    raise coded.damage(packed, "does not say quant_type, dtype, shape and blocksize")


def read_8bit(coded: Coded, name: str) -> Layer:
    """A weight of int8 with its scales SCB; name is that of the scales, or of weight_format."""
    import torch

    functional = library("bitsandbytes.functional", "bitsandbytes")
    stem = name.rpartition(".")[0]
    weight = coded.need(f"{stem}.weight".lstrip("."), name)
    scales = coded.need(f"{stem}.SCB".lstrip("."), weight)
    shape = coded.shape(weight)
    if len(shape) != 2 or coded.tensors[weight].dtype != torch.int8:
        raise coded.damage(weight, f"is {coded.tensors[weight].dtype} {shape}; it must be a matrix of int8")
    coded.need_shape(scales, (shape[0],))
    layout = f"{stem}.weight_format".lstrip(".")
    if layout in coded.tensors and int(coded.whole(layout)) != 0:
        raise coded.damage(layout, "says that the rows are in an order for one kind of GPU", "save the model anew")
    turned = coded.turned(stem)
    dtype = coded.stated or torch.float32

    def compute() -> torch.Tensor:
        values = functional.int8_vectorwise_dequant(coded.whole(weight), coded.whole(scales)).to(dtype)
        return values.T if turned else values

    used = coded.beside(stem, ("weight", "SCB", "weight_format"))
    shape = shape[::-1] if turned else shape
    return Layer(weight, shape, dtype, compute=compute, used=used, scheme="bitsandbytes 8-bit")
