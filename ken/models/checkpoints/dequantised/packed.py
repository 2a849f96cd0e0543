"""GPTQ and AWQ, unpacked as their formats are defined: small integers in words of 32 bits, with scales and zeros.

GPTQ packs inputs, one group of them after the other, or as g_idx says; AWQ (its layout gemm) packs outputs, eight to a
word, in the order 0 2 4 6 1 3 5 7. A weight is (code − zero) · scale, in the dtype of the scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ken.models.checkpoints.dequantised.layer import Coded, Layer
from ken.models.checkpoints.quantised import which

if TYPE_CHECKING:
    import torch

_WORD = 32
_BITS = (2, 3, 4, 8)
_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
_UNKNOWN = "give the checkpoint from before it was quantised"


def read(coded: Coded, name: str) -> Layer:
    """The weight of a module whose codes are called qweight (or g_idx stands for)."""
    stem = name.rpartition(".")[0]
    codes = f"{stem}.qweight".lstrip(".")
    parts = [coded.need(f"{stem}.{leaf}".lstrip("."), codes) for leaf in ("scales", "qzeros")]
    for part in (codes, *parts):
        if len(coded.shape(part)) != 2:
            raise coded.damage(part, f"has the shape {coded.shape(part)}; it must be a matrix")
    layout = str(coded.settings.get("quant_method") or which(codes, coded.tensors)).lower()
    return (_awq if layout == "awq" else _gptq)(coded, stem, codes)


def _gptq(coded: Coded, stem: str, codes: str) -> Layer:
    import torch

    scales, zeros, order = (f"{stem}.{leaf}".lstrip(".") for leaf in ("scales", "qzeros", "g_idx"))
    groups, outputs = coded.shape(scales)
    bits = _WORD * coded.shape(zeros)[1] // max(outputs, 1)
    said = coded.settings.get("bits", bits)
    if bits not in _BITS or said != bits:
        raise coded.damage(
            zeros, f"has the shape {coded.shape(zeros)}, which for {outputs} outputs means {bits} bits", _UNKNOWN
        )
    coded.need_shape(zeros, (groups, outputs * bits // _WORD))
    inputs = coded.shape(codes)[0] * _WORD // bits
    coded.need_shape(codes, (inputs * bits // _WORD, outputs))
    layout = str(coded.settings.get("checkpoint_format") or coded.settings.get("format") or "gptq")
    if layout not in ("gptq", "gptq_v2"):
        raise coded.damage(codes, f"is of the layout {layout!r}, and only gptq and gptq_v2 are read", _UNKNOWN)
    if order in coded.tensors:
        coded.need_shape(order, (inputs,))
    elif inputs % groups:
        raise coded.damage(scales, f"has {groups} groups for {inputs} inputs, and there is no g_idx")
    dtype, turned = coded.tensors[scales].dtype, coded.turned(stem)

    def compute() -> torch.Tensor:
        values = unpacked(coded.whole(codes).T, bits).T
        shift = unpacked(coded.whole(zeros), bits) + (1 if layout == "gptq" else 0)  # which stores one less
        of_input = coded.whole(order).long() if order in coded.tensors else torch.arange(inputs) // (inputs // groups)
        if bool((of_input < 0).any()) or bool((of_input >= groups).any()):
            raise coded.damage(order, f"names groups that there are none of: there are {groups}")
        weight = (values - shift[of_input]).to(dtype) * coded.whole(scales)[of_input]
        return _laid(weight, turned, coded.stated)

    shape = (inputs, outputs) if turned else (outputs, inputs)
    used = coded.beside(stem, ("qweight", "qzeros", "scales", "g_idx"))
    how = f"GPTQ, {bits} bits, layout {layout}"
    return Layer(_weight(stem), shape, coded.stated or dtype, compute=compute, used=used, scheme=how)


def _awq(coded: Coded, stem: str, codes: str) -> Layer:
    import torch

    scales, zeros = f"{stem}.scales".lstrip("."), f"{stem}.qzeros".lstrip(".")
    layout = str(coded.settings.get("version") or coded.settings.get("format") or "gemm").lower()
    if layout != "gemm" or coded.settings.get("bits", 4) != 4:
        bits = coded.settings.get("bits", 4)
        raise coded.damage(codes, f"is of the layout {layout} with {bits} bits, and only gemm with 4 is read", _UNKNOWN)
    inputs, words = coded.shape(codes)
    groups = coded.shape(scales)[0]
    coded.need_shape(scales, (groups, 8 * words))
    coded.need_shape(zeros, (groups, words))
    if inputs % max(groups, 1):
        raise coded.damage(scales, f"has {groups} groups for {inputs} inputs")
    dtype, turned = coded.tensors[scales].dtype, coded.turned(stem)

    def compute() -> torch.Tensor:
        of_input = torch.arange(inputs) // (inputs // groups)
        values, shift = (_in_order(unpacked(coded.whole(part), 4)) for part in (codes, zeros))
        weight = (values - shift[of_input]).to(dtype) * coded.whole(scales)[of_input]
        return _laid(weight, turned, coded.stated)

    shape = (inputs, 8 * words) if turned else (8 * words, inputs)
    used = coded.beside(stem, ("qweight", "qzeros", "scales"))
    how = "AWQ, 4 bits, layout gemm"
    return Layer(_weight(stem), shape, coded.stated or dtype, compute=compute, used=used, scheme=how)


def unpacked(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Small integers out of rows of words of 32 bits, the lowest bits first; one may lie across two words.

    Args:
        words: int32, (rows, words).
        bits: How many bits an integer has.

    Returns:
        int32, (rows, words · 32 / bits).

    Example:
        >>> import torch
        >>> unpacked(torch.tensor([[0x87654321 - (1 << 32)]], dtype=torch.int32), 4).tolist()
        [[1, 2, 3, 4, 5, 6, 7, 8]]
    """
    import torch

    count = words.shape[1] * _WORD // bits
    starts = torch.arange(count) * bits
    first = starts // _WORD
    wide = words.to(torch.int64) & 0xFFFFFFFF
    values = wide[:, first] >> (starts % _WORD)
    if _WORD % bits:
        following = wide[:, (first + 1).clamp(max=words.shape[1] - 1)]
        values |= following << (_WORD - starts % _WORD)
    return (values & ((1 << bits) - 1)).to(torch.int32)


def _in_order(values: torch.Tensor) -> torch.Tensor:
    """Outputs in their order, out of that in which AWQ packs them."""
    import torch

    back = torch.empty_like(values)
    for place, output in enumerate(_ORDER):
        back[:, output :: len(_ORDER)] = values[:, place :: len(_ORDER)]
    return back


def _laid(weight: torch.Tensor, turned: bool, dtype: torch.dtype | None) -> torch.Tensor:
    """A weight with inputs first as the class has it, in its dtype."""
    return (weight if turned else weight.T).to(dtype or weight.dtype)


def _weight(stem: str) -> str:
    return f"{stem}.weight".lstrip(".")
