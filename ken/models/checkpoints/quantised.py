"""Codes that are not weights: models whose tensors say nothing of a value without a scale, a table or an unpacking.

A table of schemes, each with what gives it away: the names that its tensors have beside each other, and their dtypes.
The tensors decide. A configuration that speaks of quantisation beside tensors that are plain values is worth a note.
Which of the schemes are read all the same, from files and folders, says `ken.models.checkpoints.dequantised`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ken.errors import PairingError

if TYPE_CHECKING:
    import torch

_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16", "int32", "uint32"})
_BYTES = frozenset({"int8", "uint8"})
_BEFORE = "give the checkpoint from before it was quantised"
_LOAD = "load it with transformers as values{how}, save_pretrained it into a folder and give that, or {before}"


def _loaded(how: str = "") -> str:
    return _LOAD.format(how=how and f" ({how})", before=_BEFORE)


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way of storing codes: a tensor whose last name is sign, of one of the dtypes, with others beside it.

    sign and beside are patterns for the whole last part of a name; in beside, {} stands for what the first group of
    sign matched. Without dtypes, and without beside, the name alone gives it away.
    """

    name: str
    sign: str
    beside: str = ""
    dtypes: frozenset[str] = frozenset()
    remedy: str = _loaded()


_FP8 = _loaded("quantization_config=FineGrainedFP8Config(dequantize=True)")
_BNB = _loaded("from_pretrained(…).dequantize()")
_PACKED = _loaded("quantization_config=CompressedTensorsConfig(run_compressed=False)")
_MXFP4 = _loaded("quantization_config=Mxfp4Config(dequantize=True)")

#: In this order: what is more particular comes first.
SCHEMES = (
    Scheme("bitsandbytes 4-bit", r"bitsandbytes__\w+", remedy=_BNB),
    Scheme("bitsandbytes 4-bit", r"absmax", r"quant_map|nested_absmax", remedy=_BNB),
    Scheme("bitsandbytes 8-bit", r"SCB", remedy=_BNB),
    Scheme("bitsandbytes 8-bit", r"weight_format", r"weight", remedy=_BNB),
    Scheme("FP-Quant", r"d?qweight", r"forward_hadamard_matrix|backward_hadamard_matrix|act_global_scale"),
    Scheme("GPTQ", r"qweight", r"g_idx"),
    Scheme("GPTQ or AWQ", r"qweight", r"qzeros|scales"),
    Scheme(
        "compressed-tensors", r"(.*)weight_packed", r"{}weight_(scale|shape|zero_point|global_scale)", remedy=_PACKED
    ),
    Scheme("compressed-tensors (sparse)", r"compressed", r"bitmask|row_offsets", remedy=_PACKED),
    Scheme("MXFP4", r"(.*)_blocks", r"{}_scales", dtypes=_BYTES, remedy=_MXFP4),
    Scheme("HQQ", r"W_q"),
    Scheme("quanto", r"_data", r"_scale|_shift"),
    Scheme("torchao", r"_?(.*?)_?qdata", r"_?{}_?(scale|zero_point|block_size)"),
    Scheme("AQLM", r"codes", r"codebooks", dtypes=_INTEGERS | {"int64"}),
    Scheme("VPTQ", r"indices", r"centroids", dtypes=_INTEGERS | {"int64"}),
    Scheme("SpQR", r"dense_weights", r"row_offsets|col_vals", dtypes=_INTEGERS | {"int64"}),
    Scheme("torch's own quantisation", r"_packed_params|_packed_weight"),
    Scheme("QAT of Gemma", r"embedding_quantized", r"embedding_scale"),
    Scheme("MLX", r"weight", r"biases|qbiases", dtypes=frozenset({"uint32"})),
    Scheme("HIGGS", r"weight", r"tables2?", dtypes=_INTEGERS),
    Scheme("NVFP4", r"(.*)", r"{}_(scale_2|global_scale)", dtypes=_BYTES | {"float4_e2m1fn_x2"}),
    Scheme("float4", r".*", dtypes=frozenset({"float4_e2m1fn_x2"})),
    Scheme("EETQ", r"(weight|.*_proj)", r"{}_scales", dtypes=frozenset({"int8"})),
    Scheme("integers with scales", r"(.*weight|.*_proj|w\d?)", r"{}_scale(_inv)?|{}_scales|scale_{}", dtypes=_INTEGERS),
    Scheme("integers with scales", r"weight", r"scales?|scale_inv", dtypes=_INTEGERS),
)

# Scales beside a tensor of float8: of the tensor, its rows or its blocks, or of its activations.
_SCALE = r"{}_scale(_inv|_2)?|{}_scales|scale_{}|{}_activation_scale"
_SCALE_OF_WEIGHT = rf"{_SCALE}|scale(_inv|s)?|(input|activation|act|output)_scale"
_LEFT_OVER = re.compile(r"(.*)_scale_inv")

#: Classes of tensors that hold codes, and the packages that they come from.
_CLASSES = {
    "Params4bit": "bitsandbytes 4-bit",
    "Int8Params": "bitsandbytes 8-bit",
    **dict.fromkeys(("QTensor", "QBytesTensor", "QBitsTensor", "WeightQBytesTensor", "WeightQBitsTensor"), "quanto"),
    **dict.fromkeys(("AffineQuantizedTensor", "LinearActivationQuantizedTensor"), "torchao"),
    "GGUFParameter": "GGUF",
}
_PACKAGES = {"bitsandbytes": "bitsandbytes", "torchao": "torchao", "quanto": "quanto", "hqq": "HQQ", "eetq": "EETQ"}
_KEYS = ("quantization_config", "compression_config", "quantization")


class Sign(NamedTuple):
    """A tensor that shows that there are codes: of which scheme, in words why, and what to do."""

    tensor: str
    scheme: str
    why: str
    remedy: str


class Codes(NamedTuple):
    """What was found: the scheme, a tensor that shows it, in words why, how many such tensors, and what to do."""

    scheme: str
    tensor: str
    why: str
    how_many: int
    remedy: str


def check(tensors: Mapping[str, Any], config: Mapping[str, Any] | None = None, where: str = "") -> tuple[str, ...]:
    """Refuse a model whose tensors are codes of a quantised one; else what there is to note.

    That is a configuration that speaks of quantisation beside tensors that are plain values all the same. What is no
    tensor counts by its name; where says what was read, to begin messages with. Raises `PairingError` if tensors are
    codes; it names the scheme, a tensor, and what to do.

    >>> import torch
    >>> check({"scale": torch.ones(3), "weight": torch.ones(3, 3)})
    ()
    """
    said = method(config or {})
    codes = find(tensors, said)
    begin = f"{where}: " if where else ""
    if codes is not None:
        among = f", one of {codes.how_many:,} such tensors" if codes.how_many > 1 else ""
        raise PairingError(
            f"{begin}the tensors are codes of a quantised model ({codes.scheme}), not weights: {codes.tensor} "
            f"{codes.why}{among}; {codes.remedy}"
        )
    if said is None:
        return ()
    return (
        f"{begin}the configuration speaks of quantisation ({said}), but the tensors are plain values and were read so",
    )


def find(tensors: Mapping[str, Any], said: str | None = None) -> Codes | None:
    """The first scheme whose signs some tensors have, or None. said is what the configuration calls it."""
    hits = signs(tensors, said)
    if not hits:
        return None
    rank = {scheme.name: place for place, scheme in enumerate(SCHEMES)}
    tensor, scheme, why, remedy = min(hits, key=lambda hit: rank.get(hit.scheme, 0))
    if scheme == "GPTQ or AWQ":
        scheme = which(tensor, tensors)
    if said is not None and said.lower() not in scheme.lower():
        scheme = f"{scheme}; the configuration says {said}"
    return Codes(scheme, tensor, why, how_many=len({hit.tensor for hit in hits}), remedy=remedy)


def signs(tensors: Mapping[str, Any], said: str | None = None) -> list[Sign]:
    """All tensors that show a scheme, in their order; said is as for `find`.

    >>> import torch
    >>> [sign.scheme for sign in signs({"a.W_q": torch.zeros(2), "b.weight": torch.zeros(2)})]
    ['HQQ']
    """
    dtypes = {name: _dtype(tensor) for name, tensor in tensors.items() if isinstance(name, str)}
    neighbours: dict[str, set[str]] = {}
    for name in dtypes:
        stem, _, leaf = name.rpartition(".")
        neighbours.setdefault(stem, set()).add(leaf)
        above, _, child = stem.rpartition(".")
        neighbours.setdefault(above, set()).add(child)
    hits = [Sign(name, *hit) for name, dtype in dtypes.items() if (hit := _sign(name, dtype, neighbours))]
    hits += [Sign(name, *hit) for name, tensor in tensors.items() if (hit := _class_of(tensor))]
    return hits + [Sign(*hit) for hit in _float8(dtypes, tensors, neighbours, said=said)]


def _sign(name: str, dtype: str, neighbours: Mapping[str, set[str]]) -> tuple[str, str, str] | None:
    """(scheme, why, remedy) if the tensor is the sign of a scheme."""
    stem, _, leaf = name.rpartition(".")
    for scheme, match in _named_like(leaf, dtype):
        if not scheme.beside:
            return scheme.name, f"is {dtype}", scheme.remedy
        other = _beside(scheme.beside, match[1] if match.groups() else "", neighbours[stem] - {leaf})
        if other:
            return scheme.name, f"is {dtype}, with {other} beside it", scheme.remedy
    return None


@lru_cache(maxsize=1024)  # a model has few last names, and many tensors of each
def _named_like(leaf: str, dtype: str) -> list[tuple[Scheme, re.Match[str]]]:
    """The schemes that have tensors of that dtype whose last name is like this one, and how it matches."""
    fitting = [scheme for scheme in SCHEMES if not scheme.dtypes or dtype in scheme.dtypes]
    return [(scheme, match) for scheme in fitting if (match := re.fullmatch(scheme.sign, leaf))]


def _beside(pattern: str, own: str, neighbours: set[str]) -> str:
    """A neighbour whose last name matches the pattern, or nothing."""
    wanted = re.compile(pattern.replace("{}", re.escape(own)))
    others = filter(wanted.fullmatch, neighbours)
    return min(others, key=lambda other: ("put" in other or "act" in other, other), default="")  # its own comes first


def _float8(
    dtypes: Mapping[str, str], tensors: Mapping[str, Any], neighbours: Mapping[str, set[str]], said: str | None
) -> Iterator[tuple[str, str, str, str]]:
    """Tensors of float8 that have a scale, or must have had one; and scales beside what is no float8 any more."""
    for name, dtype in dtypes.items():
        stem, _, leaf = name.rpartition(".")
        if dtype.startswith("float8") and dtype != "float8_e8m0fnu":
            scale = _beside(_SCALE_OF_WEIGHT if leaf == "weight" else _SCALE, leaf, neighbours[stem] - {leaf})
            whole = f"{stem}.{scale}".lstrip(".")
            # A model that was cast as a whole has scales of its own, which are float8 as well.
            if scale and dtypes.get(whole) != dtype:
                yield name, f"fp8{_extent(tensors, name, whole)}", f"is {dtype}, with {scale} beside it", _FP8
            elif said is not None:
                why = f"is {dtype}, and has no scale beside it although the configuration says {said}"
                yield name, "fp8", why, _FP8
        left = _LEFT_OVER.fullmatch(leaf)
        if left and left[1] in neighbours[stem]:
            weight = f"{stem}.{left[1]}".lstrip(".")
            if not dtypes.get(weight, "float8").startswith("float8"):
                why = f"is a scale beside {left[1]}, which is {dtypes[weight]}: whether it has been applied is not said"
                yield name, "fp8, half dequantised", why, _FP8


def _extent(tensors: Mapping[str, Any], name: str, scale: str) -> str:
    """What a scale is for: the tensor, each of its rows, or blocks of it."""
    shape, own = getattr(tensors.get(name), "shape", ()), getattr(tensors.get(scale), "shape", None)
    if own is None or "scale" not in scale.rpartition(".")[2] or "input" in scale or "act" in scale:
        return ""
    lengths = [length for length in own if length != 1]
    if not lengths:
        return " with a scale per tensor"
    return " with a scale per row" if lengths == [*shape[:1]] else " with a scale per block"


def which(tensor: str, tensors: Mapping[str, Any]) -> str:
    """GPTQ packs the input, AWQ the output: there the scales have several columns for each of the codes."""
    codes: tuple[int, ...] = getattr(tensors[tensor], "shape", ())
    scales: tuple[int, ...] = getattr(tensors.get(tensor.removesuffix("qweight") + "scales"), "shape", ())
    if len(codes) != 2 or len(scales) != 2:
        return "GPTQ or AWQ"
    return "GPTQ" if codes[1] == scales[1] else "AWQ"


def _class_of(tensor: Any) -> tuple[str, str, str] | None:
    """(scheme, why, remedy) if the very class of a tensor, or what hangs on it, says that it holds codes."""
    import torch

    if not isinstance(tensor, torch.Tensor):
        return None
    if tensor.is_quantized:
        return "torch's own quantisation", f"is {_dtype(tensor)}", f"dequantize() its tensors, or {_BEFORE}"
    cls = type(tensor)
    if cls in (torch.Tensor, torch.nn.Parameter):
        return None
    packages = cls.__module__.split(".")
    scheme = _CLASSES.get(cls.__name__) or next((_PACKAGES[part] for part in packages if part in _PACKAGES), None)
    if scheme is None:
        return None
    return scheme, f"is a {cls.__name__}", _BNB if "bitsandbytes" in scheme else _loaded()


def check_module(module: Any, where: str = "") -> None:
    """Raise `PairingError` if parameters of a live module are codes, which its state dict may no longer show.

    No parameter that an optimiser could train is an integer; those of a quantised layer are.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    check({name: tensor for name, tensor in parameters.items() if _class_of(tensor)}, None, where)
    for name, tensor in parameters.items():
        if _dtype(tensor) in _INTEGERS and tensor.ndim > 1:
            said = method(settings(getattr(module, "config", None))) or "an unknown scheme"
            raise PairingError(
                f"{where}: the parameters are codes of a quantised model ({said}), not weights: {name} is "
                f"{_dtype(tensor)}; {_loaded('model.dequantize(), where the scheme has it')}"
            )


def check_pair(name: str, fine_tuned: torch.Tensor, pretrained: torch.Tensor) -> None:
    """Raise `PairingError` for a matrix, or more, of narrow integers in the place of floating-point values.

    Those are packed codes whose scales are elsewhere, or lost.
    """
    for codes, values in ((fine_tuned, pretrained), (pretrained, fine_tuned)):
        if codes.ndim > 1 and _dtype(codes) in _INTEGERS and values.is_floating_point():
            raise PairingError(
                f"{name}: fine-tuned is {fine_tuned.dtype}, pretrained is {pretrained.dtype}; integers in the place of "
                f"floating-point values are codes of a quantised model, not weights; {_loaded()}"
            )


def settings(config: Any) -> Mapping[str, Any]:
    """A live module's configuration as a dictionary, as far as it can be had."""
    if isinstance(config, Mapping):
        return config
    to_dict = getattr(config, "to_dict", None)
    values = to_dict() if callable(to_dict) else getattr(config, "__dict__", {})
    return values if isinstance(values, Mapping) else {}


def method(config: Mapping[str, Any], depth: int = 3) -> str | None:
    """What a configuration, or one nested in it, calls its quantisation; None if it says nothing of any.

    >>> method({"text_config": {"quantization_config": {"quant_method": "gptq", "bits": 4}}}), method({})
    ('gptq', None)
    """
    for key in _KEYS:
        said = config.get(key)
        said = said if said is None or isinstance(said, Mapping) else settings(said)
        if said:
            names = [said.get(word) for word in ("quant_method", "quant_type", "quant_algo", "format", "mode")]
            if said.get("load_in_4bit") or said.get("load_in_8bit"):
                names.insert(1, "bitsandbytes")
            name = next((str(getattr(word, "value", word)) for word in names if word), "")
            return name[:80] or f"{key} without a name"
    inner = [value for value in config.values() if isinstance(value, Mapping)] if depth else []
    return next(filter(None, (method(value, depth - 1) for value in inner)), None)


def settings_of_codes(config: Mapping[str, Any], depth: int = 3) -> Mapping[str, Any]:
    """What a configuration, or one nested in it, says of quantisation; empty if nothing.

    >>> settings_of_codes({"text_config": {"quantization_config": {"quant_method": "gptq", "bits": 4}}})
    {'quant_method': 'gptq', 'bits': 4}
    """
    for key in _KEYS:
        if isinstance(said := config.get(key), Mapping) and said:
            return said
    inner = [value for value in config.values() if isinstance(value, Mapping)] if depth else []
    return next(filter(None, (settings_of_codes(value, depth - 1) for value in inner)), {})


def without(config: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """A configuration, and those nested in it, without what they say of quantisation.

    >>> without({"hidden_size": 4, "text_config": {"quantization_config": {"bits": 4}}})
    {'hidden_size': 4, 'text_config': {}}
    """
    return {
        key: without(value, depth - 1) if isinstance(value, Mapping) and depth else value
        for key, value in config.items()
        if key not in _KEYS
    }


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor, "dtype", type(tensor).__name__)).removeprefix("torch.")
