"""compressed-tensors: its own decompression of integers, packed or not, and of float8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ken.errors import PairingError, in_brief
from ken.models.checkpoints.dequantised.layer import Coded, Layer, library

if TYPE_CHECKING:
    import torch

FORMATS = ("pack-quantized", "int-quantized", "float-quantized", "naive-quantized")
_PARTS = ("weight_packed", "weight", "weight_scale", "weight_zero_point", "weight_shape")
_ACTIVATIONS = tuple(f"{side}_{leaf}" for side in ("input", "output") for leaf in ("scale", "zero_point"))
_BEFORE = "give the checkpoint from before it was quantised"


def read(coded: Coded, name: str) -> Layer | None:
    """The weight of a module; None if it is of a format that is not read."""
    library("compressed_tensors", "compressed-tensors")
    from compressed_tensors.compressors import BaseCompressor

    stem = name.rpartition(".")[0]
    scheme, layout = _scheme(coded, stem)
    if layout not in FORMATS:
        return None
    if f"{stem}.weight_g_idx" in coded.tensors:
        raise coded.damage(
            f"{stem}.weight_g_idx", "orders its inputs, which compressed-tensors no longer applies", _BEFORE
        )
    scale = coded.need(f"{stem}.weight_scale".lstrip("."), name)
    names = {leaf: f"{stem}.{leaf}".lstrip(".") for leaf in _PARTS if f"{stem}.{leaf}".lstrip(".") in coded.tensors}
    shape = _shape(coded, name, names)
    groups, own = getattr(scheme.weights, "group_size", None), coded.shape(scale)
    if groups and groups > 0 and own[-1:] != (-(-shape[-1] // groups),):
        raise coded.damage(scale, f"has the shape {own}, and {shape} in groups of {groups} need another")
    if len(own) == 2 and scheme.weights.strategy in ("group", "channel") and own[0] != shape[0]:
        raise coded.damage(scale, f"has the shape {own}, and {shape} need as many rows")
    if not scheme.weights.symmetric:
        coded.need(f"{stem}.weight_zero_point".lstrip("."), name)
    dtype = coded.stated or coded.tensors[scale].dtype
    compressor = BaseCompressor.get_value_from_registry(layout)

    def compute() -> torch.Tensor:
        state = {leaf: coded.whole(part) for leaf, part in names.items()}
        return compressor.decompress(state, scheme)["weight"].to(dtype)

    used = frozenset(names.values()) | coded.beside(stem, _ACTIVATIONS)
    how = f"compressed-tensors {layout}, {scheme.weights.num_bits} bits"
    return Layer(f"{stem}.weight".lstrip("."), shape, dtype, compute=compute, used=used, scheme=how)


def _shape(coded: Coded, name: str, names: dict[str, str]) -> tuple[int, ...]:
    """The shape of the weight; of a packed one a tensor says it."""
    if "weight_packed" not in names:
        return coded.shape(names["weight"])
    said = coded.need(names.get("weight_shape", f"{name.rpartition('.')[0]}.weight_shape"), name)
    shape = tuple(int(length) for length in coded.whole(said).reshape(-1).tolist())
    if shape[:-1] != coded.shape(names["weight_packed"])[:-1]:
        raise coded.damage(
            said, f"says {shape}, and {names['weight_packed']} has {coded.shape(names['weight_packed'])}"
        )
    return shape


def _scheme(coded: Coded, stem: str) -> tuple[Any, str]:
    """How the weight of a module is stored, as the configuration says, and the name of the format."""
    from compressed_tensors.quantization import QuantizationConfig
    from compressed_tensors.utils.match import match_name
    from pydantic import ValidationError

    settings = {key: value for key, value in coded.settings.items() if key in QuantizationConfig.model_fields}
    try:
        config = QuantizationConfig.model_validate(settings)
    except (ValidationError, ValueError, TypeError) as error:
        raise PairingError(
            f"{coded.where}: the quantization_config is none of compressed-tensors: {in_brief(error)}; {_BEFORE}"
        ) from None
    if (coded.settings.get("transform_config") or {}).get("config_groups"):
        raise coded.damage(stem, "is a weight that the model transforms as it runs (transform_config)", _BEFORE)
    schemes = [scheme for scheme in config.config_groups.values() if scheme.weights is not None]
    by_name = [scheme for scheme in schemes if any(match_name(stem, target) for target in scheme.targets)]
    by_class = [scheme for scheme in schemes if any(_is_class(target) for target in scheme.targets)]
    for scheme in (*by_name, *by_class):
        return scheme, str(getattr(scheme.format or config.format, "value", scheme.format or config.format))
    raise coded.damage(f"{stem}.weight", "is in none of the config_groups of the quantization_config", _BEFORE)


def _is_class(target: str) -> bool:
    return not target.startswith("re:") and "." not in target
